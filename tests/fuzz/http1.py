"""Random streams of HTTP/1.1.

Requests and responses: what is read does not depend on how a stream was cut, and the bytes that
are looked at grow with the stream's and not faster. What is taken, llhttp takes, too (httptools, if
it is installed), and reads the same in it. Upgrades: what the batch form finds is what the plain
form reads.
"""

from __future__ import annotations

import re
from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any, NamedTuple, SupportsIndex

from c1m.protocols.http.messages import Stream
from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.http.requests import FIELD_COST, Bounds, Refused, RequestReader
from c1m.protocols.http.upgrades import Upgrades
from c1m.protocols.websocket.handshake import check
from http_cases import CASES

from .streams import cut, mutated

llhttp: Any = import_module("httptools") if find_spec("httptools") else None

WIDE = Bounds()
NARROW = Bounds(line=60, head=200, fields=5, body=40)
TOKENS = (b"\r\n", b"\r", b"\n", b" ", b":", b"\t", b"\0", b",", b"0", b"chunked", b"5", b";",
          b"\x7f", b"\xff", b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
          b"HTTP/1.1", b"\r\n\r\n", b"Host: b\r\n", b"Expect: 100-continue\r\n",
          b"Connection: close\r\n")  # fmt: skip
SMALL = [case.stream for case in CASES if len(case.stream) < 2000]
REPLIES = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200\r\n\r\nto the end",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nA: b\r\n\r\nmore",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
)  # fmt: skip
UPGRADE = (
    b"GET ", b"/connect?channel=a", b" HTTP/1.1", b"\r\nHost: ", b"a:80", b"\r\nUpgrade: websocket",
    b"\r\nConnection: Upgrade", b"\r\nSec-WebSocket-Version: 13", b"\r\nSec-WebSocket-Key: ",
    b"AAAAAAAAAAAAAAAAAAAAAA==", b"\r\nOrigin: http://a", b"\r\n\r\n",
)  # fmt: skip
PLAIN_LINE = re.compile(rb"GET /\S* HTTP/1\.1\r\n")
PLAIN_KEY = re.compile(rb"\nSec-WebSocket-Key: [A-Za-z0-9+/]{22}==\r\n", re.IGNORECASE)


class Watched(bytearray):
    """Counts the bytes that are looked at or moved."""

    seen = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        found = super().find(sub, start) if end is None else super().find(sub, start, end)
        Watched.seen += (len(self) if found < 0 else found + 1) - start
        return found

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        Watched.seen += 1 if isinstance(key, SupportsIndex) else len(part)
        return part


class Read(NamedTuple):
    """What became of a stream: requests as (method, target, body), what ended it, what is left."""

    requests: list[tuple[bytes, bytes, bytes]]
    status: int
    rest: bytes


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    kind = random.random()
    if kind < 0.2:
        return _upgrades(random)
    if kind < 0.4:
        return _replies(random)
    stream = b"".join(random.choice(SMALL) for _ in range(random.randrange(1, 4)))
    stream = _mutated(random, stream)
    for bounds in (WIDE, NARROW):
        wanted = _read([stream], bounds)
        assert _read(_cut(random, stream), bounds) == wanted
        assert Watched.seen <= 8 * len(stream) + 100
    if llhttp is not None:
        _compare(_read([stream], WIDE), stream)
    return len(stream)


# --- requests -----------------------------------------------------------------------------------


def _read(pieces: list[bytes], bounds: Bounds) -> Read:
    Watched.seen = 0
    reader = RequestReader(bounds)
    _watch(reader._stream)
    requests, status = [], 0
    try:
        for piece in pieces:
            reader.feed(piece)
            while (request := reader.next()) is not None:
                head = request.head
                requests.append((head.method, head.target, request.body))
            size = sum(map(len, pieces)) + FIELD_COST * sum(piece.count(b"\n") for piece in pieces)
            assert len(reader) <= size
    except Refused as refused:
        status = refused.status
    return Read(requests, status, b"" if status else reader.rest())


def _watch(stream: Stream) -> None:
    stream._bytes = Watched()


class _Taken:
    """What llhttp calls back with: the bodies of whole requests."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self._body = b""

    def on_message_begin(self) -> None:
        self._body = b""

    def on_body(self, part: bytes) -> None:
        self._body += part

    def on_message_complete(self) -> None:
        self.bodies.append(self._body)


def _compare(read: Read, stream: bytes) -> None:
    """The requests that are taken are the first that llhttp takes."""
    taken = _Taken()
    parser = llhttp.HttpRequestParser(taken)
    try:
        parser.feed_data(stream)
    except llhttp.HttpParserUpgrade:
        return  # it reads nothing behind what could be an upgrade to anything
    except llhttp.HttpParserError as error:
        if "Data after" in str(error) or "Invalid HTTP version" in str(error):
            return  # the connection is closed by others; RFC 9110, 2.5: 1.5 is read as 1.1
    bodies = [body for _, _, body in read.requests]
    assert taken.bodies[: len(bodies)] == bodies or _knows_not(read, len(taken.bodies))


def _knows_not(read: Read, count: int) -> bool:
    """Whether the first request that llhttp does not take is one that it has no word for."""
    if count >= len(read.requests):
        return False
    method, target, _ = read.requests[count]
    return method not in METHODS or target == b"*"


METHODS = (b"GET", b"POST", b"OPTIONS", b"HEAD", b"PUT", b"DELETE")

# --- upgrades -----------------------------------------------------------------------------------


def _upgrades(random: Random) -> int:
    upgrades, size = Upgrades(WIDE), 0
    for _ in range(random.randrange(1, 5)):
        parts = list(UPGRADE)
        while random.random() < 0.4:
            at = random.randrange(len(parts))
            parts[at] = random.choice(UPGRADE + TOKENS)
        piece = b"".join(parts) if random.random() < 0.6 else _mutated(random, b"".join(parts))
        likes = [piece, piece.replace(b"AAAA", b"BBBB", 1), piece.replace(b"AAAA", b"AA-A", 1),
                 piece.replace(b"a", random.choice(TOKENS), 1), b"\r\n" + piece]  # fmt: skip
        for each in random.sample(likes, len(likes)):
            size += len(each)
            _check_upgrade(upgrades, each)
    return size


def _check_upgrade(upgrades: Upgrades, piece: bytes) -> None:
    found = upgrades.find(piece)
    reader = RequestReader(WIDE)
    reader.feed(piece)
    try:
        request = reader.next()
        if request is not None:
            check(request.head)
    except Refused:
        request = None
    rest = reader.rest()
    if found is None:
        is_plain = PLAIN_LINE.match(piece) and PLAIN_KEY.search(piece)
        assert request is None or rest or not is_plain
        return
    assert request is not None and not rest and not request.body
    head, key = found
    assert (head.method, head.target, head.minor) == (b"GET", request.head.target, 1)
    assert key == request.head.get(b"sec-websocket-key")
    others = [[each for each in which.fields if each[0] != b"sec-websocket-key"]
              for which in (head, request.head)]  # fmt: skip
    assert others[0] == others[1]


# --- responses ----------------------------------------------------------------------------------


def _replies(random: Random) -> int:
    stream = _mutated(random, random.choice(REPLIES))
    method = random.choice((b"GET", b"HEAD"))
    wanted = _reply([stream], method)
    assert _reply(_cut(random, stream), method) == wanted
    assert Watched.seen <= 8 * len(stream) + 100
    return len(stream)


def _reply(pieces: list[bytes], method: bytes) -> tuple[Any, ...]:
    Watched.seen = 0
    reader, body = ResponseReader(method), b""
    _watch(reader._stream)
    is_right = True
    try:
        for piece in pieces:
            reader.feed(piece)
            body += reader.body()
        reader.end()
    except Refused:
        body += reader.body()
        is_right = False
    head = reader.head
    return head and (head.status, head.fields), body, is_right, is_right and reader.rest()


# --- streams ------------------------------------------------------------------------------------


def _mutated(random: Random, stream: bytes) -> bytes:
    return mutated(random, stream, TOKENS, 0.5)


def _cut(random: Random, stream: bytes) -> list[bytes]:
    return cut(random, stream, (b"\n", b"\r"), singly=0.2, singles=500)
