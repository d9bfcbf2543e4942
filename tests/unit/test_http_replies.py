"""Responses as a client reads them, and those that a server writes."""

from __future__ import annotations

import pytest

from c1m.protocols.http.messages import Bounds, Refused
from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.http.responses import Response, encoded, text

DATE = "Sun, 29 Nov 2026 15:00:00 GMT"


Read = tuple[int, bytes, bool, bytes]


def read(*pieces: bytes, method: bytes = b"GET", ends: bool = False) -> Read:
    """Status, body, whether it is whole, what is behind it."""
    reader, body = ResponseReader(method), b""
    for piece in pieces:
        reader.feed(piece)
        body += reader.body()
    if ends:
        reader.end()
    return (reader.head.status if reader.head else 0), body, reader.is_whole, reader.rest()


@pytest.mark.parametrize(("stream", "wanted"), [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabrest", (200, b"ab", True, b"rest")),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", (200, b"ab", False, b"")),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", (200, b"", True, b"")),
    (b"HTTP/1.1 200 \r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nrest",
     (200, b"ab", True, b"rest")),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", (200, b"ab", False, b"")),
    (b"HTTP/1.0 200 OK\r\n\r\nab", (200, b"ab", False, b"")),
    (b"HTTP/1.1 204 No Content\r\n\r\nrest", (204, b"", True, b"rest")),
    (b"HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\nrest", (304, b"", True, b"rest")),
    (b"HTTP/1.1 101 Y\r\nUpgrade: websocket\r\n\r\n\x81\x00", (101, b"", True, b"\x81\x00")),
    (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\nHTTP/1.1 404 N\r\n"
     b"Content-Length: 1\r\n\r\na", (404, b"a", True, b"")),
    (b"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 2", (0, b"", False, b"")),
])  # fmt: skip
def test_a_response(stream: bytes, wanted: Read) -> None:
    assert read(stream) == wanted
    assert read(*(bytes([byte]) for byte in stream)) == wanted


def test_a_response_to_head_has_no_body_whatever_it_says() -> None:
    stream = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nrest"
    assert read(stream, method=b"HEAD") == (200, b"", True, b"rest")


def test_a_body_may_end_with_its_connection_and_no_other_may() -> None:
    assert read(b"HTTP/1.1 200 OK\r\n\r\nab", ends=True) == (200, b"ab", True, b"")
    for stream in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
                   b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"):  # fmt: skip
        with pytest.raises(Refused):
            read(stream, ends=True)


@pytest.mark.parametrize("stream", [
    b"nonsense\r\n", b"HTTP/2 200 OK\r\n", b"HTTP/1.1 20 OK\r\n", b"HTTP/1.1 200 O\0K\r\n",
    b"HTTP/1.1 200 OK\n", b"HTTP/1.1 600 OK\r\n", b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"HTTP/1.1 200 " + b"a" * 9000, b"HTTP/1.1 200 OK\r\nX: " + b"a" * 33_000,
])  # fmt: skip
def test_what_is_no_response(stream: bytes) -> None:
    with pytest.raises(Refused):
        read(stream)
    with pytest.raises(Refused):
        read(*(stream[i : i + 100] for i in range(0, len(stream), 100)))


def test_a_client_may_bound_a_body() -> None:
    reader = ResponseReader(bounds=Bounds(body=3))
    with pytest.raises(Refused):
        reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")


@pytest.mark.parametrize(("response", "method", "body"), [
    (text(200, "ä"), b"GET", "ä\n".encode()), (text(404, "No."), b"HEAD", b""),
    (Response(204), b"GET", b""), (Response(304, b"not sent"), b"GET", b""),
    (Response(599, b"x"), b"GET", b"x"), (Response(200, b"", [("X", "\u20ac")]), b"GET", b""),
])  # fmt: skip
def test_what_a_server_writes_is_read(response: Response, method: bytes, body: bytes) -> None:
    payload = encoded(response, date=DATE, is_head=method == b"HEAD")
    assert read(payload + b"rest", method=method) == (response.status, body, True, b"rest")


def test_a_response_that_is_open_ends_with_its_connection() -> None:
    payload = encoded(Response(200, b"ab", is_open=True), date=DATE, stays=False)
    assert read(payload) == (200, b"ab", False, b"")
    assert b"\r\nConnection: close\r\n" in payload
