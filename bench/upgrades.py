"""What a million requests for a WebSocket cost to read and to answer, beside httptools.

    pip install httptools; bench/upgrades.py [--count 1000000]

CPU time of one process, microseconds each, no socket: the lesser of two runs. The requests are
those of browsers, which differ in their key only; but for "own addresses", where each has a token.
"""

from __future__ import annotations

import argparse
import base64
import random
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from c1m.protocols.http.requests import Bounds, RequestReader
from c1m.protocols.http.upgrades import Upgrades
from c1m.protocols.websocket.handshake import accepted, check

HEAD = (
    b"GET /connect?channel=news HTTP/1.1\r\nHost: push.example.com\r\nConnection: Upgrade\r\n"
    b"Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) "
    b"AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n"
    b"Upgrade: websocket\r\nOrigin: http://push.example.com\r\nSec-WebSocket-Version: 13\r\n"
    b"Accept-Encoding: gzip, deflate\r\nAccept-Language: en\r\nSec-WebSocket-Key: %b\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
)
PIECE = 100_000  # requests that are made at a time


def pieces(count: int, own: bool = False) -> Iterator[list[bytes]]:
    """Requests, each with a key of its own."""
    draw = random.Random(1)
    for start in range(0, count, PIECE):
        n = min(PIECE, count - start)
        keys = [base64.b64encode(draw.randbytes(16)) for _ in range(n)]
        yield [(HEAD.replace(b"news", key, 1) if own else HEAD) % key for key in keys]


def in_batches() -> Callable[[bytes], object]:
    """The batch form."""
    return Upgrades(Bounds()).find


def plainly() -> Callable[[bytes], object]:
    """The plain form: a reader for each."""
    bounds = Bounds()

    def read(piece: bytes) -> object:
        reader = RequestReader(bounds)
        reader.feed(piece)
        request = reader.next()
        assert request is not None and request.head.is_upgrade
        check(request.head)
        return request

    return read


class Collected:
    """What a server needs of httptools: the target and the fields."""

    def __init__(self) -> None:
        self.url = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_url(self, url: bytes) -> None:
        """A part of the target."""
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field."""
        self.fields.append((name.lower(), value))


def by_httptools() -> Callable[[bytes], object]:
    """A parser of httptools for each, which is what llhttp asks for."""
    httptools: Any = import_module("httptools")

    def read(piece: bytes) -> object:
        collected = Collected()
        parser = httptools.HttpRequestParser(collected)
        try:
            parser.feed_data(piece)
        except httptools.HttpParserUpgrade:
            return collected
        raise AssertionError("no upgrade")

    return read


def answering() -> Callable[[bytes], object]:
    """The batch form, and the response with its accept key."""
    find = Upgrades(Bounds()).find

    def answer(piece: bytes) -> object:
        found = find(piece)
        assert found is not None
        return accepted(found[1])

    return answer


def cost(make: Callable[[], Callable[[bytes], object]], count: int, own: bool = False) -> float:
    """Microseconds of one."""
    read, took = make(), 0
    for some in pieces(count, own):
        start = time.process_time_ns()
        for piece in some:
            assert read(piece) is not None
        took += time.process_time_ns() - start
    return took / count / 1000


def main() -> None:
    """Measure each, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    count = parser.parse_args().count
    for name, make, own in (
        ("batch form", in_batches, False),
        ("batch form and response", answering, False),
        ("batch form, own addresses", in_batches, True),
        ("plain form", plainly, False),
        ("httptools, head only", by_httptools, False),
    ):
        print(f"{name:26} {min(cost(make, count, own) for _ in range(2)):6.2f} us")


if __name__ == "__main__":
    main()
