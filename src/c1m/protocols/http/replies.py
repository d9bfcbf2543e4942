"""Responses as a client reads them out of a stream of bytes. Pure.

One reader is for one response. Its head comes first, its body in parts, so that a stream of events
that never ends can be read; what follows it (frames behind a 101, the next response) is `rest`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from c1m.protocols.http.messages import (
    Body,
    Bounds,
    Fields,
    HasFields,
    Refused,
    Stream,
    content_length,
    read_fields,
)

_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: ([\t -~\x80-\xff]*+))?\r\n")
WIDE = Bounds(body=1 << 62)  # who reads in parts keeps nothing
TO_THE_END = -1  # a body that ends with its connection


@dataclass
class ReplyHead(HasFields):
    """A response's head; `fields` are (name in lower case, value), in order."""

    status: int
    minor: int
    reason: bytes = b""
    fields: Fields = field(default_factory=list)

    @cached_property
    def text(self) -> bytes:
        """Its lines, with names of fields in lower case, and the empty one."""
        lines = [b"HTTP/1.%d %d %b" % (self.minor, self.status, self.reason)]
        lines += [b"%b: %b" % each for each in self.fields]
        return b"\r\n".join(lines) + b"\r\n\r\n"


class ResponseReader:
    """Reads the response to one request, `method` of which says whether it can have a body.

    Interim responses (100, 103) are passed over. Raises Refused for what is no response.
    """

    __slots__ = (
        "_body",
        "_bounds",
        "_is_head",
        "_read",
        "_stream",
        "head",
        "is_whole",
    )

    def __init__(self, method: bytes = b"GET", bounds: Bounds = WIDE) -> None:
        self.head: ReplyHead | None = None  # when it is whole
        self.is_whole = False
        self._bounds = bounds
        self._is_head = method == b"HEAD"
        self._stream = Stream()
        self._read: ReplyHead | None = None  # whose line has come
        self._body: Body | None = None

    def feed(self, piece: bytes) -> None:
        """More has come."""
        self._stream.feed(piece)
        if self.is_whole:
            return
        if self.head is None and not self._read_head():
            return
        assert self._body is not None
        self.is_whole = self._body.read(self._stream)

    def end(self) -> None:
        """The connection has ended: so has a body of which nothing says how long it is."""
        if not self.is_whole:
            if self.head is None or _length(self.head, self._is_head) != TO_THE_END:
                raise Refused(502, "The connection ended before the response did.")
            self.is_whole = True

    def body(self) -> bytes:
        """What has come of the body since this was last asked."""
        if self._body is None:
            return b""
        part = bytes(self._body.data)
        self._body.data.clear()
        return part

    def rest(self) -> bytes:
        """What came behind the response; it is not kept here any more."""
        return self._stream.take(len(self._stream)) if self.is_whole else b""

    def _read_head(self) -> bool:
        stream = self._stream
        while True:
            if self._read is None:
                stream.line_bytes = 0
                line = stream.line(self._bounds.line, 502)
                if line is None:
                    return False
                match = _LINE.fullmatch(line)
                if match is None:
                    raise Refused(502, "That is no response of HTTP/1.1.")
                self._read = ReplyHead(int(match[2]), int(match[1]), match[3] or b"")
            if not read_fields(stream, self._read.fields, self._bounds):
                return False
            head, self._read = self._read, None
            if head.status >= 200 or head.status == 101:
                self.head = head
                self._body = Body(_length(head, self._is_head), self._bounds)
                return True


def _length(head: ReplyHead, is_head: bool) -> int | None:
    """Bytes of the body; None: it comes in chunks; TO_THE_END (RFC 9112, 6.3)."""
    if is_head or head.status < 200 or head.status in (204, 304):
        return 0
    coding = head.get(b"transfer-encoding")
    if coding is not None:
        if head.get(b"content-length") is not None:
            raise Refused(502, "The length of the body is said in two ways.")
        if coding.lower() != b"chunked":
            raise Refused(502, "Of transfer codings only chunked is known here.")
        return None
    length = content_length(head)
    return TO_THE_END if length is None else length
