"""Requests of HTTP/1.1 out of a stream of bytes, one by one: the plain form. Pure.

Strict, as RFC 9112 asks of who must not be smuggled past: what two readers could read in two ways
is refused with 400. Bounds are named in `Bounds`; what is beyond one is refused with its status.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qs, unquote

Fields = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what a client may have unfinished, in bytes and counts."""

    line: int = 8 << 10  # method, target and version: 414
    head: int = 32 << 10  # 431
    fields: int = 100  # 431
    body: int = 1 << 20  # 413


class Refused(Exception):
    """A request that is not taken: `status` says why, and the connection ends behind it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass
class Head:
    """A request's head. Requests that say the same share one: it is not to be changed.

    `fields` are (name in lower case, value), in order.
    """

    method: bytes
    target: bytes
    minor: int  # of HTTP/1.minor
    fields: Fields = field(default_factory=list)

    def get(self, name: bytes) -> bytes | None:
        """The value of a field, of several with commas between them; None: it is not there."""
        values = [value for each, value in self.fields if each == name]
        return b", ".join(values) if values else None

    @cached_property
    def path(self) -> str:
        """What the target says before a question mark, decoded."""
        return unquote(self.target.partition(b"?")[0].decode("latin-1"))

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """What it says behind it, decoded: all values of each name."""
        text = self.target.partition(b"?")[2].decode("latin-1")
        return parse_qs(text, keep_blank_values=True, max_num_fields=1000)

    def tokens(self, name: bytes) -> list[bytes]:
        """The elements of a list, in lower case: b"Keep-Alive, Upgrade"."""
        value = self.get(name) or b""
        return [token for each in value.split(b",") if (token := each.strip().lower())]

    @cached_property
    def stays(self) -> bool:
        """Whether the client means to ask more on this connection."""
        said = self.tokens(b"connection")
        return b"close" not in said and (self.minor == 1 or b"keep-alive" in said)

    @cached_property
    def is_upgrade(self) -> bool:
        """Whether it asks for a WebSocket."""
        return b"websocket" in self.tokens(b"upgrade") and b"upgrade" in self.tokens(b"connection")


@dataclass(slots=True)
class Request:
    """One whole request."""

    head: Head
    body: bytes = b""


class RequestReader:
    """Takes a connection's stream apart. Made when a request is not whole in one piece, or odd."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._stream = bytearray()

    def take(self, piece: bytes) -> Iterator[Request]:
        """The requests that are whole with this piece. Raises Refused, behind those before it.

        Behind an upgrade nothing is read any more: `rest` has what came.
        """
        self._stream += piece
        while True:
            end = self._stream.find(b"\r\n\r\n")
            if end < 0:
                if len(self._stream) > self._bounds.head:
                    raise Refused(431, "The head is too large.")
                return
            head = parse_head(bytes(self._stream[: end + 4]), self._bounds)
            size = int(head.get(b"content-length") or 0)
            if size > self._bounds.body:
                raise Refused(413, "The body is too large.")
            if len(self._stream) < end + 4 + size:
                return
            body = bytes(self._stream[end + 4 : end + 4 + size])
            del self._stream[: end + 4 + size]
            yield Request(head, body)
            if head.is_upgrade:
                return

    @property
    def rest(self) -> bytes:
        """What came and belongs to no whole request yet."""
        return bytes(self._stream)

    @property
    def wants_continue(self) -> bool:
        """Whether the client waits for 100 (Continue) before it sends the body; once."""
        return False


def parse_head(text: bytes, bounds: Bounds) -> Head:
    """A whole head, with the empty line that ends it. Raises Refused."""
    first, *lines = text[:-4].split(b"\r\n")
    words = first.split(b" ")
    if len(words) != 3 or words[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
        raise Refused(400, "That is no request of HTTP/1.1.")
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise Refused(400, "A field has no colon.")
        fields.append((name.lower(), value.strip(b" \t")))
    return Head(words[0], words[1], int(words[2][-1:]), fields)
