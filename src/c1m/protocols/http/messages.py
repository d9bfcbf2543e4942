"""What requests and responses of HTTP/1.1 have in common: lines, fields, content. Pure.

Strict (RFC 9112): a line ends with CR LF and has neither elsewhere, a name ends at its colon, no
field goes on in the next line. Where something is wrong depends on the bytes alone, not on how the
stream was cut; and each byte is looked at once, however small the pieces are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

Fields = list[tuple[bytes, bytes]]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"  # RFC 9110, 5.6.2
CHUNK_LINE_MAX = 4096  # bytes of the line before a chunk

# Possessive (`*+`): what does not match is found out in one pass, whatever it is.
_FIELD = re.compile(rb"(%b):[ \t]*+([\t -~\x80-\xff]*+)\r\n" % TOKEN)
_FIELDS = re.compile(rb"(?:%b:[\t -~\x80-\xff]*+\r\n)*+\r\n" % TOKEN)
_QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*+"'
_EXTENSION = rb";%b(?:=(?:%b|%b))?+" % (TOKEN, TOKEN, _QUOTED)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16}+)((?:%b)*+)\r\n" % _EXTENSION)
_FRAMING = {b"content-length", b"transfer-encoding", b"host"}  # no trailer (RFC 9110, 6.5.1)
_LENGTH = re.compile(rb"[0-9]++")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what a peer may send, in bytes and counts, and what a request beyond one is told."""

    line: int = 8 << 10  # method, target and version: 414
    head: int = 32 << 10  # all lines of it: 431
    fields: int = 100  # 431
    body: int = 1 << 20  # 413


class Refused(Exception):
    """A message that is not taken: the connection ends behind the response.

    `status` and `fields` are those of a server's response. `why` is a sentence.
    """

    def __init__(self, status: int, why: str, *fields: tuple[str, str]) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.fields = fields


class HasFields:
    """What has `fields`: (name in lower case, value), in order. They do not change any more."""

    fields: Fields

    @cached_property
    def _values(self) -> dict[bytes, bytes]:
        values: dict[bytes, bytes] = {}
        for name, value in self.fields:
            values[name] = values[name] + b", " + value if name in values else value
        return values

    def get(self, name: bytes) -> bytes | None:
        """The value of a field, of several with commas between them; None: it is not there."""
        return self._values.get(name)

    def tokens(self, name: bytes) -> list[bytes]:
        """The elements of a list, in lower case: b"Keep-Alive, Upgrade"."""
        value = self.get(name) or b""
        return [token for each in value.split(b",") if (token := each.strip().lower())]


class Stream:
    """The bytes that came and were not read yet."""

    __slots__ = ("_bytes", "_seen", "line_bytes")

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._seen = 0  # no line ends before
        self.line_bytes = 0  # in lines that were read; for who bounds them

    def __len__(self) -> int:
        return len(self._bytes)

    def feed(self, piece: bytes) -> None:
        """More has come."""
        self._bytes += piece

    def line(self, most: int, status: int) -> bytes | None:
        """The next line with its end; None: it is not whole. Refused where it is too long."""
        end = self._bytes.find(b"\n", self._seen) + 1
        if end > most or (not end and len(self._bytes) >= most):
            raise Refused(status, "A line or the whole head is too long.")
        if not end:
            self._seen = len(self._bytes)
            return None
        self.line_bytes += end
        return self.take(end)

    def block(self, most: int) -> bytes:
        """All lines to an empty one, to be looked at, where they are there and not too long."""
        end = 0 if self._seen else self._bytes.find(b"\r\n\r\n", 0, most) + 4
        return bytes(self._bytes[:end]) if end >= 4 else b""

    def take(self, most: int) -> bytes:
        """The next bytes, as many as there are."""
        if most >= len(self._bytes):
            part = bytes(self._bytes)
            self._bytes.clear()
        else:
            part = bytes(self._bytes[:most])
            del self._bytes[:most]
        self._seen = 0
        return part

    def first(self) -> bytes:
        """The first byte, if there is one."""
        return bytes(self._bytes[:1])


def read_fields(stream: Stream, fields: Fields, bounds: Bounds) -> bool:
    """Read fields to the empty line behind them; whether that has come. Raises Refused."""
    block = b"" if fields else stream.block(bounds.head - stream.line_bytes)
    if block.count(b"\n") <= bounds.fields and _FIELDS.fullmatch(block):  # quickly, all at once
        stream.line_bytes += len(stream.take(len(block)))
        fields += [(name.lower(), value.rstrip(b" \t")) for name, value in _FIELD.findall(block)]
        return True
    while (line := stream.line(bounds.head - stream.line_bytes, 431)) is not None:
        if line == b"\r\n":
            return True
        match = _FIELD.fullmatch(line)
        if match is None:
            raise Refused(400, "A line of the head is no field.")
        if len(fields) >= bounds.fields:
            raise Refused(431, f"There are more than {bounds.fields} fields.")
        fields.append((match[1].lower(), match[2].rstrip(b" \t")))
    return False


def content_length(message: HasFields) -> int | None:
    """What Content-Length says. Raises Refused for all but one number (RFC 9112, 6.3).

    That the same number may stand there twice is leave, not duty: it is a sign of smuggling.
    """
    value = message.get(b"content-length")
    if value is None:
        return None
    if not _LENGTH.fullmatch(value):
        raise Refused(400, "Content-Length is not one whole number.")
    return int(value) if len(value) < 19 else 1 << 62


_SIZE, _DATA_END, _TRAILER = range(3)


class Body:
    """Content as it comes: `length` bytes, in chunks (None), or to the connection's end (-1).

    `data` is what has been read of it; who reads in parts may empty it. Trailers are checked, and
    dropped as RFC 9110, 6.5.1 has it.
    """

    __slots__ = ("_bounds", "_extensions", "_is_chunked", "_lacks", "_next", "_total", "_trailers",
                 "data")  # fmt: skip

    def __init__(self, length: int | None, bounds: Bounds) -> None:
        self.data = bytearray()
        self._bounds = bounds
        self._is_chunked = length is None
        self._lacks = length or 0  # of the content, or of the chunk
        self._next = _SIZE  # what follows, in chunks
        self._total = self._lacks
        self._extensions = 0  # bytes
        self._trailers: Fields = []
        if self._total > bounds.body:
            raise Refused(413, f"A body may have {bounds.body:,} bytes.")

    def read(self, stream: Stream) -> bool:
        """Take what there is of it; whether it is whole now. Raises Refused."""
        while True:
            if self._lacks:
                part = stream.take(self._lacks if self._lacks > 0 else len(stream))
                self.data += part
                if self._lacks < 0:
                    return False
                self._lacks -= len(part)
                if self._lacks:
                    return False
            if not self._is_chunked:
                return True
            if self._next == _TRAILER:
                if not read_fields(stream, self._trailers, self._bounds):
                    return False
                if not _FRAMING.isdisjoint(name for name, _ in self._trailers):
                    raise Refused(400, "A trailer says what belongs into the head.")
                return True
            if not self._read_line(stream):
                return False

    @property
    def is_between(self) -> bool:
        """Whether it comes in chunks, and all is whole that has begun."""
        return self._is_chunked and self._next == _SIZE and not self._lacks

    def _read_line(self, stream: Stream) -> bool:
        """The line before a chunk, or the end of the one behind it."""
        if self._next == _DATA_END:
            line = stream.line(2, 400)
            if line is None:
                return False
            if line != b"\r\n":
                raise Refused(400, "A chunk does not end where it says.")
            self._next = _SIZE
            return True
        line = stream.line(CHUNK_LINE_MAX, 400)
        if line is None:
            return False
        match = _CHUNK.fullmatch(line)
        if match is None:
            raise Refused(400, "The size of a chunk is no number.")
        self._lacks = int(match[1], 16)
        self._total += self._lacks
        self._extensions += len(match[2])
        if self._total > self._bounds.body:
            raise Refused(413, f"A body may have {self._bounds.body:,} bytes.")
        if self._extensions > self._bounds.head:
            raise Refused(400, "There is too much between the chunks.")
        self._next = _DATA_END if self._lacks else _TRAILER
        stream.line_bytes = 0  # the bound of a head holds for trailers, too
        return True
