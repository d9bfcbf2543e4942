"""The transport of HTTP: however the bytes are cut and batched, and beside h11's client."""

from __future__ import annotations

import random

import h11
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import NOT_HTTP, PEER_EOF
from c1m.loadgen.transports.http import HttpTransport

METHODS = (b"GET", b"GET", b"HEAD", b"POST", b"PUT")


def a_response(rng: random.Random, method: bytes) -> tuple[bytes, int, bytes]:
    """One of a few whole ones, as a server may answer this method: bytes, status, body."""
    status = rng.choice((200, 200, 200, 204, 304, 404, 500))
    body = rng.choice((b"", b"hello\n", b"x" * rng.randrange(3000)))
    interim = rng.choice((b"", b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"))
    head = b"HTTP/1.1 %d Any\r\nServer: a\r\n" % status
    if status in (204, 304):
        return interim + head + b"\r\n", status, b""
    if rng.random() < 0.3:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        cut = rng.randrange(len(body) + 1)
        chunks = [part for part in (body[:cut], body[cut:]) if part]
        coded = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in chunks)
        coded += b"0\r\n" + rng.choice((b"", b"Trailer: b\r\n")) + b"\r\n"
    else:
        head, coded = head + b"Content-Length: %d\r\n\r\n" % len(body), body
    return (
        interim + head + (b"" if method == b"HEAD" else coded),
        status,
        (b"" if method == b"HEAD" else body),
    )


def plain(message: bytes) -> tuple[int, bytes]:
    head, _, body = message.partition(b"\r\n\r\n")
    return int(head[9:12]), body


@given(st.integers(0, 1 << 32))
def test_all_connections_hear_what_was_answered(seed: int) -> None:
    """Several connections with requests in flight, pieces cut anywhere, several in one batch."""
    rng = random.Random(seed)
    count = rng.randrange(1, 12)
    transport = HttpTransport(count)
    known = [a_response(rng, b"GET") for _ in range(3)]
    streams: dict[int, bytes] = {}
    due: dict[int, list[tuple[int, bytes]]] = {n: [] for n in range(count)}
    for number in range(count):
        stream = b""
        for _ in range(rng.randrange(6)):
            method = rng.choice(METHODS)
            transport.wrap(np.array([number]), Ragged.of([method + b" / HTTP/1.1\r\n\r\n"]))
            one = a_response(rng, method)
            if method != b"HEAD" and rng.random() < 0.7:
                one = rng.choice(known)
            stream += one[0]
            due[number].append(one[1:])
        streams[number] = stream
    heard: dict[int, list[tuple[int, bytes]]] = {n: [] for n in range(count)}
    while any(streams.values()):
        numbers, pieces = [], []
        for number in rng.choices(range(count), k=rng.randrange(1, 2 * count + 1)):
            size = rng.choice((1, 7, 60, 200, 5000))
            piece, streams[number] = streams[number][:size], streams[number][size:]
            if piece:
                numbers.append(number)
                pieces.append(piece)
        taken = transport.take(np.array(numbers, np.int64), Ragged.of(pieces))
        assert not taken.failed
        for some, messages in taken.messages:
            for number, message in zip(some.tolist(), messages.pieces(), strict=True):
                heard[number].append(plain(message))
    assert heard == due
    assert transport.statuses().total() == sum(map(len, due.values()))
    assert all(transport.is_idle(number) for number in range(count))


@given(st.integers(0, 1 << 32))
def test_the_same_as_h11(seed: int) -> None:
    rng = random.Random(seed)
    method = rng.choice(METHODS)
    stream, _, _ = a_response(rng, method)
    if rng.random() < 0.5:  # something is wrong with it
        at = rng.randrange(len(stream))
        stream = stream[:at] + rng.choice((b"", b"\0", b"x", b" ", b"\n")) + stream[at + 1 :]
    theirs = by_h11(method, stream)
    transport = HttpTransport(1)
    transport.wrap(np.array([0]), Ragged.of([method + b" / HTTP/1.1\r\n\r\n"]))
    ours: tuple[int, bytes] | str | None = None
    while stream and ours is None:
        size = rng.choice((1, 10, 1000))
        piece, stream = stream[:size], stream[size:]
        taken = transport.take(np.array([0]), Ragged.of([piece]))
        if taken.messages:
            ours = plain(taken.messages[0][1].piece(0))
        if taken.failed:
            ours = "wrong" if taken.failed[0][1] == NOT_HTTP else ours
    if ours != "wrong" and theirs != "wrong":  # strict in what the other is lenient about
        assert ours == theirs


def by_h11(method: bytes, stream: bytes) -> tuple[int, bytes] | str | None:
    """Status and body of the first response; None: it is not whole."""
    client = h11.Connection(h11.CLIENT)
    fields = [("Host", "a"), *([("Content-Length", "0")] if method in (b"POST", b"PUT") else [])]
    client.send(h11.Request(method=method, target="/", headers=fields))
    client.send(h11.EndOfMessage())
    client.receive_data(stream)
    status, body = 0, b""
    try:
        while True:
            event = client.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, body
    except h11.RemoteProtocolError:
        return "wrong"


@pytest.mark.parametrize(
    ("stream", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", PEER_EOF),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", PEER_EOF),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", None),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", NOT_HTTP),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", NOT_HTTP),
        (b"SSH-2.0-OpenSSH\r\n", NOT_HTTP),
    ],
)
@pytest.mark.parametrize("cut", [1, 1000])
def test_who_ends_a_connection(stream: bytes, reason: int | None, cut: int) -> None:
    transport, one = HttpTransport(3), np.array([1])
    for _ in range(2):  # what comes behind the last response is not asked for
        transport.wrap(one, Ragged.of([b"POST / HTTP/1.1\r\n\r\n"]))
    failed = []
    for at in range(0, len(stream), cut):
        failed += transport.take(one, Ragged.of([stream[at : at + cut]])).failed
    assert failed == ([] if reason is None else [(1, reason)])
    assert transport.is_idle(1) == (reason == PEER_EOF)  # else the other POST may have come there
    transport.gone(one)
    assert transport.is_idle(1)


def test_a_body_that_ends_with_its_connection() -> None:
    transport, both = HttpTransport(3), np.array([0, 2])
    transport.wrap(both, Ragged.of([b"GET / HTTP/1.1\r\n\r\n"] * 2))
    taken = transport.take(both, Ragged.of([b"HTTP/1.1 200 OK\r\n\r\nab", b"HTTP/1.1 200 OK\r\n"]))
    assert not taken.messages and not transport.is_idle(0) and not transport.is_idle(2)
    ((numbers, messages),) = transport.ended(both)
    assert numbers.tolist() == [0] and plain(messages.piece(0)) == (200, b"ab")
    assert transport.is_idle(0) and not transport.is_idle(2)


@pytest.mark.parametrize(
    "method", [b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"POST", b"X-A"]
)
def test_what_may_be_said_twice(method: bytes) -> None:
    transport, one = HttpTransport(1), np.array([0])
    transport.wrap(one, Ragged.of([method + b" / HTTP/1.1\r\n\r\n"]))
    transport.wrap(one, Ragged.of([b"GET / HTTP/1.1\r\n\r\n"]))
    assert transport.is_idle(0) == (method not in (b"POST", b"X-A"))


def test_more_responses_than_were_asked_for_are_heard() -> None:
    transport, one = HttpTransport(1), np.array([0])
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
    for _ in range(3):
        transport.wrap(one, Ragged.of([b"GET / HTTP/1.1\r\n\r\n"]))
        taken = transport.take(one, Ragged.of([response * 2]))
        assert [len(messages) for _, messages in taken.messages] in ([2], [1, 1])
    assert transport.statuses() == {200: 6}


@pytest.mark.parametrize("most", [0, 1, 100, None])
@pytest.mark.parametrize("end", ["sized", "chunked", "to the end"])
def test_no_more_is_kept_of_a_long_body_than_is_needed(most: int | None, end: str) -> None:
    transport, one, body = HttpTransport(1, most), np.array([0]), b"0123456789" * 10_000
    heads = {
        "sized": b"Content-Length: %d\r\n\r\n" % len(body),
        "chunked": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body), "to the end": b"\r\n",
    }  # fmt: skip
    stream = b"HTTP/1.1 200 OK\r\n" + heads[end] + body
    stream += b"\r\n0\r\n\r\n" if end == "chunked" else b""
    for _ in range(2):
        transport.wrap(one, Ragged.of([b"GET / HTTP/1.1\r\n\r\n"]))
        messages = []
        for at in range(0, len(stream), 7_000):
            messages += transport.take(one, Ragged.of([stream[at : at + 7_000]])).messages
        messages += transport.ended(one)
        assert [plain(pieces.piece(0)) for _, pieces in messages] == [(200, body[:most])]
        transport.gone(one)
