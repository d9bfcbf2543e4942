"""Requests of HTTP/1.1 out of a stream of bytes, one by one: the plain form. Pure.

Strict, as RFC 9112 asks of who must not be smuggled past: what two readers could read in two ways
is refused with 400. What is beyond a bound, or not supported, is refused with the status for that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import parse_qs, unquote

from c1m.protocols.http.messages import (
    TOKEN,
    Body,
    Bounds,
    Fields,
    HasFields,
    Refused,
    Stream,
    content_length,
    read_fields,
)

__all__ = ["Bounds", "Head", "Refused", "Request", "RequestReader", "head_like", "parse_head"]

_LINE = re.compile(rb"(%b) ([!-~]++) HTTP/([0-9])\.([0-9])\r\n" % TOKEN)
FIELD_COST = 100  # bytes that a field takes beside its own
_PLAIN_LINE = re.compile(rb"GET (/[!\"$-~]*+) HTTP/1\.1")
TLS_HANDSHAKE = b"\x16"  # the first byte of a client that speaks TLS (RFC 8446, 5.1)
NO_TLS = "That is TLS, and this port speaks none: ask for http:// or ws://."
_FIRST = b"\r!#$%&'*+-.^_`|~0123456789" + bytes(range(65, 91)) + bytes(range(97, 123))
_HOST = rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9._~!$&'()*+,;=%-]*+)(?::[0-9]*+)?"  # RFC 3986, 3.2.2
_IS_HOST = re.compile(_HOST)
_ABSOLUTE = re.compile(rb"(?:https?|wss?)://(%b)([/?].*)?" % _HOST, re.IGNORECASE)


@dataclass
class Head(HasFields):
    """A request's head. Requests that say the same share one: it is not to be changed.

    `fields` are (name in lower case, value), in order. `target` is in origin form ("/a?b=c"), or *.
    """

    method: bytes
    target: bytes
    minor: int  # of HTTP/1.minor
    fields: Fields = field(default_factory=list)

    @cached_property
    def path(self) -> str:
        """What the target says before a question mark, decoded."""
        return unquote(self.target.partition(b"?")[0].decode("latin-1"))

    @cached_property
    def query(self) -> dict[str, list[str]]:
        """What it says behind it, decoded: all values of each name."""
        return parse_qs(self.target.partition(b"?")[2].decode("latin-1"), keep_blank_values=True)

    @cached_property
    def stays(self) -> bool:
        """Whether the client means to ask more on this connection."""
        said = self.tokens(b"connection")
        return b"close" not in said and (self.minor == 1 or b"keep-alive" in said)

    @cached_property
    def is_upgrade(self) -> bool:
        """Whether it asks for a WebSocket, rightly or not."""
        return (
            b"websocket" in self.tokens(b"upgrade")
            or self.get(b"sec-websocket-key") is not None
            or self.get(b"sec-websocket-version") is not None
        )


@dataclass(slots=True)
class Request:
    """One whole request."""

    head: Head
    body: bytes = b""


class RequestReader:
    """Takes a connection's stream apart. Made when a request is not whole in one piece, or odd.

    `feed` it pieces; `next` returns one request after the other, for as long as the caller asks.
    """

    __slots__ = ("_body", "_bounds", "_head", "_stream", "_waits", "counted")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._stream = Stream()
        self._head: Head | None = None  # of which the line at least has come
        self._body: Body | None = None  # its head is whole
        self._waits = False
        self.counted = 0  # bytes, by who bounds them over all readers

    def __len__(self) -> int:
        """The bytes that what is unfinished takes, about; 0: nothing is."""
        size = len(self._stream)
        if self._head is not None:
            size += self._stream.line_bytes + FIELD_COST * (len(self._head.fields) + 1)
        return size + (len(self._body.data) if self._body else 0)

    def feed(self, piece: bytes) -> None:
        """More has come."""
        self._stream.feed(piece)

    def next(self) -> Request | None:
        """The next request that is whole. Raises Refused; nothing is to be read behind that."""
        if self._body is None:
            if not self._read_head():
                return None
            assert self._head is not None
            self._body = Body(_body_length(self._head), self._bounds)
            expects = self._head.minor == 1 and self._head.get(b"expect") is not None
            self._waits = expects and not len(self._stream)
        if not self._body.read(self._stream):
            return None
        assert self._head is not None
        request = Request(self._head, bytes(self._body.data))
        self._head = self._body = None
        self._waits = False
        return request

    def rest(self) -> bytes:
        """What came behind the last request; it is not kept here any more."""
        return self._stream.take(len(self._stream))

    def wants_continue(self) -> bool:
        """Whether the client waits for 100 (Continue) before it sends the body; said once."""
        waits, self._waits = self._waits, False
        return waits

    def _read_head(self) -> bool:
        stream = self._stream
        while self._head is None:
            if stream.first() not in _FIRST:  # nor is it TLS, whose line would never end
                is_tls = stream.first() == TLS_HANDSHAKE
                raise Refused(400, NO_TLS if is_tls else "That is no request of HTTP/1.1.")
            stream.line_bytes = 0
            line = stream.line(self._bounds.line, 414)
            if line is None:
                return False
            if line != b"\r\n":  # empty lines before a request are passed over (RFC 9112, 2.2)
                self._head = _head_of(line)
        if not read_fields(stream, self._head.fields, self._bounds):
            return False
        _check(self._head)
        return True


def parse_head(text: bytes, bounds: Bounds) -> Head:
    """A whole head, with the empty line that ends it, and nothing else. Raises Refused."""
    reader = RequestReader(bounds)
    reader.feed(text)
    if not reader._read_head() or len(reader._stream) or reader._head is None:
        raise Refused(400, "That is no head.")
    return reader._head


def head_like(head: Head, line: bytes) -> Head | None:
    """One with the same fields and another first line (without its end), of GET and a path.

    None: the line is not as plain as that. `head` has such a line, too.
    """
    match = _PLAIN_LINE.fullmatch(line)
    if match is None:
        return None
    other = Head(b"GET", match[1], 1, head.fields)
    other._values = head._values
    return other


def _head_of(line: bytes) -> Head:
    match = _LINE.fullmatch(line)
    if match is None:
        raise Refused(400, "That is no request of HTTP/1.1.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Refused(505, "Only HTTP/1.1 and 1.0 are spoken here.")
    if method == b"CONNECT":
        raise Refused(501, "This is no proxy.")
    return Head(method, target, 1 if minor != b"0" else 0)


def _check(head: Head) -> None:
    """What a head must say as a whole, and what its target is. Raises Refused."""
    hosts = [value for name, value in head.fields if name == b"host"]
    if len(hosts) > 1 or (head.minor and not hosts):
        raise Refused(400, "A request says once for which host it is.")
    if hosts and not _IS_HOST.fullmatch(hosts[0]):
        raise Refused(400, "The host has no valid name.")
    if not head.target.startswith(b"/") and (head.target, head.method) != (b"*", b"OPTIONS"):
        match = _ABSOLUTE.fullmatch(head.target)
        if match is None or not match[1]:
            raise Refused(400, "The target is no path.")
        # RFC 9112, 3.2.2: the host that counts is that of the target.
        target = match[2] or b"/"
        head.target = target if target.startswith(b"/") else b"/" + target
        head.fields[:] = [each for each in head.fields if each[0] != b"host"]
        head.fields.append((b"host", match[1]))
    if b"#" in head.target:
        raise Refused(400, "A target has no fragment.")
    expected = head.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue" and head.minor:
        raise Refused(417, "Only 100-continue can be expected.")


def _body_length(head: Head) -> int | None:
    """Bytes of the body; None: it comes in chunks. Raises Refused (RFC 9112, 6.1, 6.3)."""
    length = content_length(head)
    coding = head.get(b"transfer-encoding")
    if coding is None:
        return length or 0
    if length is not None or not head.minor:
        raise Refused(400, "The length of the body is said in two ways.")
    codings = [each.strip() for each in coding.lower().split(b",")]
    if codings == [b"chunked"]:
        return None
    if codings[-1] == b"chunked" and codings.count(b"chunked") == 1 and b"" not in codings:
        raise Refused(501, "Of transfer codings only chunked is known here.")
    raise Refused(400, "Where the body ends is not said.")
