"""A web server's requests over a fake kernel: order, waiting, time, bounds, ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from c1m.protocols.http.replies import ResponseReader
from c1m.protocols.http.responses import Response, text
from c1m.testing.fake_network import Socket
from c1m.units import NS_PER_S
from http_cases import HOST
from web_stage import KEY, UPGRADE, Stage, get, statuses


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage(request_s=10, idle_s=20)
    yield stage
    stage.server.shutdown()


def has_ended(stage: Stage, peer: Socket) -> bool:
    stage.ticks()
    peer.recv()
    peer.recv()
    return peer.at_eof


# --- order ----------------------------------------------------------------------------------------


def test_pipelined_requests_are_answered_in_order_and_one_that_is_later_holds_the_next(
    stage: Stage,
) -> None:
    peer = stage.client()
    assert statuses(stage.say(peer, get(b"/a") + get(b"/later") + get(b"/b"))) == [200]
    assert stage.say(peer, get(b"/c")) == b""
    assert stage.app.paths == ["/a", "/later"]
    stage.app.respond(stage.app.later[0][0], text(202, "Later."), stage.server)
    assert statuses(stage.say(peer, get(b"/d"))) == [202, 200, 200, 200]
    assert stage.app.paths == ["/a", "/later", "/b", "/c", "/d"]
    assert not stage.app._readers and not stage.app._unfinished


def test_who_waits_for_a_response_is_not_read_from_for_ever(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, get(b"/later"))
    sent = 0
    for _ in range(100):
        sent += peer.send(get(b"/a") * 1000)
        stage.ticks(2)
    assert sent < 1 << 20  # what its buffers and ours take
    stage.app.respond(stage.app.later[0][0], text(202, "Later."), stage.server)
    came = b""
    for _ in range(3000):
        stage.ticks(1)
        stage.kernel.clock.advance(NS_PER_S // 100)
        came += peer.recv()
    assert came.count(b"HTTP/1.1 200") == sent // len(get(b"/a"))


def test_large_responses_wait_for_who_reads_them(stage: Stage) -> None:
    peer = stage.client()
    peer.send(get(b"/big") * 50)
    stage.ticks()
    assert stage.app.paths == ["/big"]
    came = 0
    for _ in range(5000):
        stage.ticks(1)
        stage.kernel.clock.advance(NS_PER_S // 100)
        came += len(peer.recv())
    assert stage.app.paths == ["/big"] * 50
    assert came > 50 << 20


def test_a_response_to_who_has_gone_is_nobodys(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, get(b"/later"))
    peer.reset()
    stage.ticks()
    other = stage.client()
    stage.app.respond(stage.app.later[0][0], text(200, "Late."), stage.server)
    stage.ticks()
    assert other.recv() == b""


def test_who_closes_its_half_is_answered_still(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, get(b"/later") + get(b"/b"))
    peer.shutdown_write()
    stage.ticks()
    stage.app.respond(stage.app.later[0][0], text(202, "Later."), stage.server)
    stage.ticks()
    assert statuses(peer.recv()) == [202, 200]
    assert has_ended(stage, peer)
    assert not stage.app._half_closed


# --- forms ----------------------------------------------------------------------------------------


def test_a_response_to_head_has_no_body(stage: Stage) -> None:
    peer = stage.client()
    came = stage.say(peer, get(b"/", method=b"HEAD") + get(b"/events", method=b"HEAD"))
    assert statuses(came, b"HEAD") == [200, 200]
    assert came.endswith(b"\r\n\r\n") and b"Content-Length: 4\r\n" in came
    assert statuses(stage.say(peer, get(b"/"))) == [200]


@pytest.mark.parametrize(("line", "fields", "stays", "said"), [
    (b"1.1", b"", True, None), (b"1.1", b"Connection: close\r\n", False, b"close"),
    (b"1.0", b"", False, b"close"), (b"1.1", b"Connection: x, Close\r\n", False, b"close"),
    (b"1.0", b"Connection: keep-alive\r\n", True, b"keep-alive"),
])  # fmt: skip
def test_a_connection_is_kept_as_its_client_says(
    stage: Stage, line: bytes, fields: bytes, stays: bool, said: bytes | None
) -> None:
    peer = stage.client()
    reader = ResponseReader()
    reader.feed(stage.say(peer, b"GET / HTTP/" + line + b"\r\n" + HOST + fields + b"\r\n"))
    assert reader.head is not None and reader.head.get(b"connection") == said
    assert reader.head.get(b"date") is not None
    assert has_ended(stage, peer) is not stays


def test_a_client_that_expects_to_be_asked_for_the_body_is_asked_once(stage: Stage) -> None:
    peer = stage.client()
    head = get(b"/", b"Expect: 100-Continue\r\n", b"Content-Length: 4\r\n", method=b"POST")
    assert stage.say(peer, head[:50]) == b""
    assert stage.say(peer, head[50:]) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert stage.say(peer, b"ab") == b""
    assert statuses(stage.say(peer, b"cd")) == [200]
    assert statuses(stage.say(peer, head + b"abcd")) == [200]  # it did not wait
    too_large = get(
        b"/", b"Expect: 100-continue\r\n", b"Content-Length: 9999999\r\n", method=b"PUT"
    )
    assert statuses(stage.say(peer, too_large)) == [413]


def test_a_field_of_a_response_cannot_bring_another(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, get(b"/later"))
    fields = [("Location", "/\r\nSet-Cookie: a\n\0b")]
    stage.app.respond(stage.app.later[0][0], Response(302, b"", fields), stage.server)
    stage.ticks()
    reader = ResponseReader()
    reader.feed(peer.recv())
    assert reader.head is not None and reader.head.get(b"set-cookie") is None
    assert reader.head.get(b"location") == b"/  Set-Cookie: a  b"


# --- upgrades -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("request_", "status"), [
    (get(b"/", *UPGRADE), 101),
    (get(b"/", *UPGRADE, b"Content-Length: 0\r\n"), 101),
    (get(b"/no", *UPGRADE), 403),
    (get(b"/", *UPGRADE, method=b"POST"), 400),
    (get(b"/", *UPGRADE).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    (get(b"/", *UPGRADE[:-1]), 400),
    (get(b"/", *UPGRADE, KEY), 400),
    (get(b"/", *UPGRADE).replace(b"AA==", b"A=="), 400),
    (get(b"/", *UPGRADE).replace(b"AA==", b"!A=="), 400),
    (get(b"/", *UPGRADE, b"Content-Length: 1\r\n") + b"x", 400),
    (get(b"/", *UPGRADE, b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n", 400),
    (get(b"/", UPGRADE[0], UPGRADE[1], UPGRADE[3]), 426),
    (get(b"/", *UPGRADE).replace(b"13", b"8"), 426),
    (get(b"/", *UPGRADE, UPGRADE[2]), 426),
    (get(b"/", *UPGRADE[1:]), 426),
    (get(b"/", UPGRADE[0], *UPGRADE[2:]), 426),
    (get(b"/", UPGRADE[0].lower(), UPGRADE[1].replace(b"U", b"keep-alive, u"), *UPGRADE[2:]), 101),
])  # fmt: skip
def test_who_asks_wrongly_for_a_websocket_gets_the_status_of_the_rfc(
    stage: Stage, request_: bytes, status: int
) -> None:
    peer = stage.client()
    reader = ResponseReader()
    reader.feed(stage.say(peer, request_ + b"\x89\x80abcd"))
    assert reader.head is not None and reader.head.status == status
    if status == 101:
        assert reader.rest() == b"\x8a\x00"
        return
    if status == 426:
        assert reader.head.get(b"upgrade") == b"websocket"  # RFC 9110, 15.5.22
        assert reader.head.get(b"connection") == b"Upgrade, close"  # RFC 9110, 7.8
    assert has_ended(stage, peer) and not peer.was_reset


def test_a_wrong_version_is_told_the_right_one(stage: Stage) -> None:
    came = stage.say(stage.client(), get(b"/", *UPGRADE).replace(b"13", b"8"))
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in came  # RFC 6455, 4.2.2


def test_a_websocket_may_be_asked_for_behind_other_requests(stage: Stage) -> None:
    peer = stage.client()
    assert b" 101 " in stage.say(peer, get(b"/a") + get(b"/", *UPGRADE) + b"\x89\x80abcd")


# --- time and bounds ------------------------------------------------------------------------------


def test_a_slow_request_is_refused_however_steadily_it_comes(stage: Stage) -> None:
    peer = stage.client()
    came = b""
    for byte in get(b"/", b"X: " + b"a" * 100):
        peer.send(bytes([byte]))
        stage.seconds(1)
        came += peer.recv()
        if came:
            break
    assert statuses(came) == [408]
    assert has_ended(stage, peer)
    stage.seconds(10)
    assert stage.server.statistics.live == 0
    assert not stage.app._readers and not stage.app._unfinished


def test_a_slow_body_is_refused(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, get(b"/", b"Content-Length: 5\r\n", method=b"POST") + b"ab")
    stage.seconds(9)
    assert peer.recv() == b""
    stage.seconds(5)
    assert statuses(peer.recv()) == [408]


def test_who_asks_nothing_is_closed_without_a_word(stage: Stage) -> None:
    silent, asks = stage.client(), stage.client()
    stage.seconds(15)
    assert statuses(stage.say(asks, get(b"/"))) == [200]
    stage.seconds(10)
    assert silent.recv() == b"" and has_ended(stage, silent)
    assert statuses(stage.say(asks, get(b"/"))) == [200]
    stage.seconds(30)
    assert has_ended(stage, asks)


def test_websockets_streams_and_who_waits_for_a_response_have_all_the_time(stage: Stage) -> None:
    peers = [stage.client() for _ in range(3)]
    stage.say(peers[0], get(b"/", *UPGRADE))
    stage.say(peers[1], get(b"/events"))
    stage.say(peers[2], get(b"/later"))
    stage.seconds(100)
    assert stage.server.statistics.live == 3


def test_who_does_not_read_its_last_response_is_closed(stage: Stage) -> None:
    peer = stage.client()
    stage.say(peer, b"nonsense\r\n")
    stage.say(peer, get(b"/") * 10)
    assert stage.app.paths == []
    assert stage.server.statistics.live == 1
    stage.seconds(10)
    assert stage.server.statistics.live == 0


def test_all_that_is_unfinished_is_bounded_together() -> None:
    stage = Stage(unfinished_max=10_000)
    peers = [stage.client() for _ in range(20)]
    head = get(b"/", b"Content-Length: 5000\r\n", method=b"POST")
    found = [stage.say(peer, head + b"a" * 1000) for peer in peers]
    assert [statuses(each) for each in found] == [[]] * 4 + [[503]] * 16
    assert statuses(stage.say(stage.client(), get(b"/"))) == [200]  # what is whole is no matter
    for peer in peers:
        peer.close()
    stage.ticks()
    assert not stage.app._readers and not stage.app._unfinished
    stage.server.shutdown()


def test_what_follows_a_last_request_does_not_spoil_the_response(stage: Stage) -> None:
    peer = stage.client()
    last = get(b"/", b"Connection: close\r\n")
    assert statuses(stage.say(peer, last + get(b"/a") * 10)) == [200]
    assert statuses(stage.say(peer, get(b"/a") * 10)) == []
    assert has_ended(stage, peer) and not peer.was_reset
    assert stage.app.paths == ["/"]


def test_who_asks_on_without_reading_is_dropped(stage: Stage) -> None:
    peer = stage.client()
    peer.send(get(b"/big") * 20)
    stage.ticks()
    stage.seconds(60)
    assert stage.server.statistics.live == 0 and stage.app.paths == ["/big"]
    assert not stage.app._readers and not stage.app._behind
    assert b" 408 " not in peer.recv()
