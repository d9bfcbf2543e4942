"""Messages of TLS 1.3 behind the handshake, and alerts: what they say, and what is wrong with them.

Pure. RFC 8446: 4.6 (post-handshake messages), 5.1 (how they lie in records), 6 (alerts).
"""

from __future__ import annotations

from collections.abc import Iterator

from c1m.tls.reasons import Alert, Broken

NEW_SESSION_TICKET, KEY_UPDATE = 4, 24
HEAD = 4  # bytes of a message before its body: its type, and the length of that
TICKET_MAX = 4 + 4 + (1 + 255) + (2 + 65535) + (2 + 65534)  # bytes of a NewSessionTicket (4.6.1)


def key_update(*, is_requested: bool) -> bytes:
    """A KeyUpdate, which may ask the peer for one (RFC 8446, 4.6.3)."""
    return b"\x18\0\0\x01\x01" if is_requested else b"\x18\0\0\x01\0"


class Messages:
    """What of handshake messages has come so far: they may be split over records, or share one."""

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = bytearray()

    def take(self, content: bytes, *, is_client: bool) -> Iterator[bool]:
        """The content of one record: for each KeyUpdate whether it asks for one in return.

        Tickets are looked at and dropped. Raises Broken.
        """
        if not content:
            raise Broken(Alert.UNEXPECTED_MESSAGE, "A handshake record is empty.")
        rest = self.rest
        rest += content
        while rest:
            if rest[0] != KEY_UPDATE and not (is_client and rest[0] == NEW_SESSION_TICKET):
                # As a CertificateRequest without post_handshake_auth is to be answered (4.6.2).
                raise Broken(Alert.UNEXPECTED_MESSAGE, "A handshake message may not come here.")
            if len(rest) < HEAD:
                return
            size = int.from_bytes(rest[1:HEAD], "big")
            if size != 1 if rest[0] == KEY_UPDATE else size > TICKET_MAX:
                raise Broken(Alert.DECODE_ERROR, "A handshake message has a wrong length.")
            if len(rest) < HEAD + size:
                return
            kind, body = rest[0], bytes(rest[HEAD : HEAD + size])
            del rest[: HEAD + size]
            if kind == NEW_SESSION_TICKET:
                _check_ticket(body)
                continue
            if rest:
                raise Broken(Alert.UNEXPECTED_MESSAGE, "A record goes on behind a KeyUpdate.")
            if body[0] > 1:
                raise Broken(Alert.ILLEGAL_PARAMETER, "A KeyUpdate asks for something unknown.")
            yield body[0] == 1


def _check_ticket(body: bytes) -> None:
    """That the fields of a NewSessionTicket fill it (RFC 8446, 4.6.1)."""
    at = 8  # behind ticket_lifetime and ticket_age_add
    sizes = []
    for size_size in (1, 2, 2):  # ticket_nonce, ticket, extensions
        sizes.append(int.from_bytes(body[at : at + size_size], "big"))
        at += size_size + sizes[-1]
    if at != len(body) or not sizes[1]:
        raise Broken(Alert.DECODE_ERROR, "A ticket's fields do not fit it.")


def alert_in(content: bytes) -> int:
    """What an alert says. Its level says nothing in TLS 1.3 (RFC 8446, 6). Raises Broken."""
    if not content:
        raise Broken(Alert.UNEXPECTED_MESSAGE, "An alert is empty.")
    if len(content) != 2:
        raise Broken(Alert.DECODE_ERROR, "An alert is not two bytes.")
    return content[1]
