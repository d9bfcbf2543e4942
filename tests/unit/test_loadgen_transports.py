"""What transports say and take, beside what the property test shows."""

from __future__ import annotations

import re

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.limits.reasons import NOT_HTTP, PEER_EOF, explain
from c1m.loadgen.schemes.known import HOLD_NS, meant
from c1m.loadgen.schemes.publishing import Publishing
from c1m.loadgen.transports.base import NOBODY, Taken
from c1m.loadgen.transports.events import EventsTransport
from c1m.loadgen.transports.http import HttpTransport
from c1m.loadgen.transports.posting import Beside, PostingTransport
from c1m.loadgen.transports.websocket import WebSocketTransport
from c1m.protocols.websocket.frames import FrameReader, Op, frame
from c1m.protocols.websocket.handshake import accepted
from c1m.results.options import LoadOptions

TEN = np.arange(10)


def opened(transport: WebSocketTransport, numbers: np.ndarray = TEN) -> WebSocketTransport:
    """The same with these connections open."""
    _, requests = transport.opened(numbers)
    keys = [each.partition(b"Key: ")[2][:24] for each in requests.pieces()]
    taken = transport.take(numbers, Ragged.of([accepted(key) for key in keys]))
    assert taken.ready.tolist() == numbers.tolist() and not taken.failed
    return transport


def said(pieces: Ragged) -> list[tuple[Op, bytes]]:
    """Masked frames as a server reads them."""
    return [
        (message.op, message.payload)
        for piece in pieces.pieces()
        for message in FrameReader(1 << 20).take(piece)
    ]


def test_messages_are_text_where_they_may_be() -> None:
    messages = [b"plain", "zwölf".encode(), b"\xff\xfe", b"x" * 70_000] * 2
    transport = opened(WebSocketTransport(10, "/", "a"))
    for some in (messages, [b"a", b"b"]):
        frames = transport.wrap(np.arange(len(some)), Ragged.of(some))
        ops = [Op.BINARY if each == b"\xff\xfe" else Op.TEXT for each in some]
        assert said(frames) == list(zip(ops, some, strict=True))
    binary = opened(WebSocketTransport(10, "/", "a", is_binary=True))
    assert said(binary.wrap(TEN[:1], Ragged.of([b"a"]))) == [(Op.BINARY, b"a")]


def test_masks_and_keys_differ() -> None:
    transport = opened(WebSocketTransport(10, "/", "a"))
    frames = transport.wrap(TEN, Ragged.repeat(bytes(8), 10)).pieces()
    assert len(set(frames)) == 10
    numbers, closes = transport.farewell(TEN)
    assert numbers is TEN and said(closes) == [(Op.CLOSE, b"\x03\xe8")] * 10
    assert len(set(closes.pieces())) == 10


@pytest.mark.parametrize("kind", [WebSocketTransport, EventsTransport])
def test_places_in_the_target_and_in_fields_are_of_each_connection(
    kind: type[WebSocketTransport | EventsTransport],
) -> None:
    fields = ["Authorization: Bearer {n}-{random:8}", 'X: {"n": 1}']
    _, requests = kind(2_000, "/tea?name={n}", "a", fields).opened(np.array([7, 1_999]))
    for number, request in zip((7, 1_999), requests.pieces(), strict=True):
        assert request.startswith(b"GET /tea?name=%d HTTP/1.1\r\n" % number)
        assert re.search(rb"\r\nAuthorization: Bearer %d-[\w-]{8}\r\n" % number, request)
        assert b'\r\nX: {"n": 1}\r\n' in request


def test_what_comes_with_the_handshake() -> None:
    transport = WebSocketTransport(10, "/", "a")
    _, requests = transport.opened(TEN)
    keys = [each.partition(b"Key: ")[2][:24] for each in requests.pieces()]
    more = frame(Op.TEXT, b"welcome") + frame(Op.PING, b"?")
    taken = transport.take(TEN, Ragged.of([accepted(key) + more for key in keys]))
    assert taken.ready.tolist() == TEN.tolist()
    ((numbers, messages),) = taken.messages
    assert numbers.tolist() == TEN.tolist() and messages.pieces() == [b"welcome"] * 10
    assert said(taken.replies[0][1]) == [(Op.PONG, b"?")] * 10


def test_a_number_that_is_opened_again_begins_anew() -> None:
    transport = opened(WebSocketTransport(10, "/", "a"))
    half = frame(Op.TEXT, b"half")[:3]
    assert transport.take(TEN, Ragged.of([half] * 10)).messages == []
    transport.gone(TEN)
    opened(transport)
    taken = transport.take(TEN, Ragged.of([frame(Op.TEXT, b"whole")] * 10))
    assert [each for _, some in taken.messages for each in some.pieces()] == [b"whole"] * 10


# --- publishers -----------------------------------------------------------------------------------


def heard(taken: Taken) -> list[tuple[int, bytes]]:
    return [
        (number, piece)
        for numbers, pieces in taken.messages
        for number, piece in zip(numbers.tolist(), pieces.pieces(), strict=True)
    ]


ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n12\n"
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("cut", [1, 10, 1000])
def test_answers_to_publishers(cut: int) -> None:
    transport = PostingTransport(2, "/publish?channel=a", "h:1", ["X-A: b"])
    assert transport.opened(TEN[:2])[0] is NOBODY and transport.is_idle(0)
    requests = [transport.wrap(TEN[:1], Ragged.of([b"news"])).piece(0) for _ in range(3)]
    assert requests[0].startswith(b"POST /publish?channel=a HTTP/1.1\r\nHost: h:1\r\n")
    assert requests[0].endswith(b"X-A: b\r\nContent-Length: 4\r\n\r\nnews")
    answers: list[tuple[int, bytes]] = []
    for at in range(0, len(ANSWERS), cut):
        assert not transport.is_idle(0)
        taken = transport.take(TEN[:1], Ragged.of([ANSWERS[at : at + cut]]))
        answers += heard(taken)
        assert not taken.failed
    assert answers == [(0, b"200 12"), (0, b"204 "), (0, b"403 no")]
    assert transport.is_idle(0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", PEER_EOF),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", PEER_EOF),
        (b"+OK\r\n", NOT_HTTP),
    ],
)
def test_connections_of_publishers_that_end(answer: bytes, reason: int) -> None:
    transport = PostingTransport(2, "/", "a")
    transport.wrap(TEN[:1], Ragged.of([b"news"]))
    assert transport.take(TEN[:1], Ragged.of([answer])).failed == [(0, reason)]
    for phase in ("handshake", "open"):
        assert all(explain(reason, phase))


def test_publishers_and_subscribers_side_by_side() -> None:
    transport = Beside(2, PostingTransport(2, "/", "a"), WebSocketTransport(10, "/", "a"))
    asking, _ = transport.opened(TEN)
    assert asking.tolist() == TEN[2:].tolist()
    assert transport.farewell(TEN)[0].tolist() == TEN[2:].tolist()
    mixed = transport.wrap(TEN[1:3], Ragged.of([b"a", b"b"])).pieces()
    assert mixed[0].startswith(b"POST ") and said(Ragged.of(mixed[1:])) == [(Op.TEXT, b"b")]
    assert not transport.is_idle(1) and transport.is_idle(0) and not transport.is_idle(5)
    transport.gone(TEN)
    assert transport.is_idle(1)


# --- what is asked for ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("targets", "more", "host", "target", "publish_to"),
    [
        (["ws://h"], {}, "h", "/", ""),
        (["WS://h:8/a?b=c&d"], {}, "h:8", "/a?b=c&d", ""),
        (["ws://[::1]:8?b"], {}, "[::1]:8", "/?b", ""),
        (["ws://h/zwölf"], {}, "h", "/zw%C3%B6lf", ""),
        (["ws://h"], {"headers": ["Host: other"]}, "other", "/", ""),
        (["sse://h/e?channel=a&x=1"], {}, "h", "/e?channel=a&x=1", "/publish?channel=a"),
        (["sse://h/e?channel=a"], {"publish_to": "/p"}, "h", "/e?channel=a", "/p"),
        (["ws://h/c"], {"publish_to": "http://o:9/p?q"}, "h", "/c", "/p?q"),
    ],
)
def test_what_is_asked_for(
    targets: list[str], more: dict[str, object], host: str, target: str, publish_to: str
) -> None:
    scenario = "publish" if publish_to else "echo"
    options = LoadOptions(targets=targets, scenario=scenario, **more)  # type: ignore[arg-type]
    found, options = meant(options)
    assert isinstance(found, Publishing)
    assert (found.host, found.target, found.publish_to) == (host, target, publish_to)
    assert found.apart == ("tcp://o:9" if "http" in str(more) else "")
    assert not [each for each in found.fields if each.startswith("Host")]
    assert found.transport(found.scenario_for(options), 10, options) is not None


@pytest.mark.parametrize(
    ("target", "scenario", "place", "named", "think_ns"),
    [
        ("ws://127.0.0.1/a:b?c", "echo", "tcp://127.0.0.1:80", "echo", 0),
        ("ws://[::1]:81-83/x", "publish", "tcp://[::1]:81-83", "publish", 0),
        ("ws://h", "hold", "tcp://h:80", "hold", None),
        ("sse://h?a", "", "tcp://h:80", "hold", None),
        ("sse://h/e", "publish", "tcp://h:80", "publish", 0),
    ],
)
def test_schemes(target: str, scenario: str, place: str, named: str, think_ns: int | None) -> None:
    to = "/p" if scenario == "publish" else None
    options = meant(LoadOptions(targets=[target], scenario=scenario, publish_to=to))[1]
    assert (options.targets, options.scenario) == ([place], named)
    assert (options.think_ns, options.hold_ns) == (think_ns, HOLD_NS)


@pytest.mark.parametrize("text", ["", "a", "a b: c", ": b", "a: b\r\nc: d", "a: \x00"])
def test_fields_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="no field"):
        meant(LoadOptions(targets=["ws://h"], headers=[text]))


def test_two_pieces_of_what_is_no_http_are_one_failure() -> None:
    """Both came in one batch: the connection ends once."""
    transport, twice = HttpTransport(4), np.array([2, 2])
    transport.wrap(np.array([2]), Ragged.of([b"GET / HTTP/1.1\r\n\r\n"]))
    taken = transport.take(twice, Ragged.of([b"HTTP/1.@ 200\r\n", b"what\r\n"]))
    assert taken.failed == [(2, NOT_HTTP)] and not taken.messages
