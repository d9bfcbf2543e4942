"""Compression of messages (permessage-deflate, RFC 7692), without a window between messages. Pure.

So a connection keeps nothing: one compressor serves all, and a message that goes to many is
compressed once. The compressor takes 144 KiB ((1 << WINDOW_BITS + 2) + (1 << 8 + 9), zconf.h); to
inflate a message takes up to 48 KiB while that lasts.
"""

from __future__ import annotations

import zlib

from c1m.protocols.websocket.frames import FIN, RSV1, Broken, Close, Op, frame

WINDOW_BITS = 12  # of what we compress; what is asked for most often where something is asked for
SHORTEST = 64  # bytes: shorter messages do not become shorter
NAME = b"permessage-deflate"
_BARE = b"server_no_context_takeover", b"client_no_context_takeover"
_BITS = b"server_max_window_bits", b"client_max_window_bits"
_TAIL = b"\0\0\xff\xff"  # of each message; it is not sent (RFC 7692, 7.2.1)
_FINAL = _TAIL, b"\0" + _TAIL  # what may stand behind a block that says it is the last (7.2.3.4)


def negotiated(offers: bytes) -> tuple[bytes, bool] | None:
    """What to answer to Sec-WebSocket-Extensions, and whether we may compress; None: nothing.

    A window smaller than ours is agreed to, and not used: compressing is up to the sender (6).
    """
    for offer in offers.split(b","):
        name, *parameters = (word.strip() for word in offer.split(b";"))
        bits = _window_bits(parameters) if name.lower() == NAME else None
        if bits is not None:
            answer = b"; ".join((NAME, *_BARE))
            if bits:
                answer += b"; %b=%d" % (_BITS[0], bits)
            return answer, not bits or bits >= WINDOW_BITS
    return None


def _window_bits(parameters: list[bytes]) -> int | None:
    """The window that the server may use; 0: any; None: this is not to be agreed to (7.1)."""
    seen: set[bytes] = set()
    bits = 0
    for parameter in parameters:
        name, equals, value = parameter.partition(b"=")
        name, value = name.strip(), value.strip().strip(b'"')
        is_bits = value.isdigit() and value[:1] != b"0" and 8 <= int(value[:3]) <= 15
        if name in seen or name not in (*_BARE, *_BITS) or (equals and not is_bits):
            return None
        if (name in _BARE and equals) or (name == _BITS[0] and not equals):
            return None
        seen.add(name)
        if name == _BITS[0]:
            bits = int(value)
    return bits


class Deflater:
    """The one compressor. What it gives can be read without anything that came before."""

    def __init__(self) -> None:
        self._state = zlib.compressobj(wbits=-WINDOW_BITS)

    def deflated(self, payload: bytes) -> bytes:
        """A message's payload as it is sent with RSV1 set."""
        # A full flush forgets the window: no further message refers to this one.
        out = self._state.compress(payload) + self._state.flush(zlib.Z_FULL_FLUSH)
        return out[: -len(_TAIL)]

    def frame(self, op: int, payload: bytes) -> bytes:
        """A server's frame, compressed where that makes it shorter."""
        if len(payload) >= SHORTEST:
            short = self.deflated(payload)
            if len(short) < len(payload):
                return frame(op, short, first=FIN | RSV1)
        return frame(op, payload)

    def frames(self, stream: bytes) -> bytes:
        """The same for whole frames of a server, each of which is a message or control frame."""
        parts, at = [], 0
        while at < len(stream):
            start = at + 2
            size = stream[at + 1]
            if size >= 126:
                start += 2 if size == 126 else 8
                size = int.from_bytes(stream[at + 2 : start], "big")
            end = start + size
            op = stream[at] & 15
            is_data = op in (Op.TEXT, Op.BINARY)
            parts.append(self.frame(op, stream[start:end]) if is_data else stream[at:end])
            at = end
        return b"".join(parts)


def inflated(payload: bytes, message_max: int) -> bytes:
    """The message in a payload that came with RSV1 set. Raises Broken, also for a bomb."""
    state = zlib.decompressobj(wbits=-15)
    try:
        message = state.decompress(payload + _TAIL, message_max + 1)
    except zlib.error:
        raise Broken(Close.INVALID_DATA, "A message cannot be inflated.") from None
    if len(message) > message_max:
        raise Broken(Close.TOO_LARGE, f"A message has more than {message_max} bytes.")
    if state.eof and state.unused_data not in _FINAL:
        raise Broken(Close.INVALID_DATA, "Something follows the last block of a message.")
    return message
