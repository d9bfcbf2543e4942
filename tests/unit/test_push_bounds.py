"""The push server on a fake kernel: bounds of what clients and programs ask of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from pytest import MonkeyPatch

from c1m.apps.push.app import PushApp
from c1m.apps.push.options import PushOptions
from c1m.apps.push.push import WAITING_BYTES_MAX, Push
from c1m.errors import UsageError
from c1m.protocols.http.requests import Bounds
from c1m.protocols.http.upgrades import KEPT_BYTES, Upgrades
from c1m.protocols.websocket.frames import Op, frame
from c1m.push.asked import LINES_MAX, Limits, published_in
from c1m.push.mistakes import Mistake
from c1m.testing.fake_network import Socket
from c1m.web.app import CLOSING, WEBSOCKET
from websocket_stage import MASK, Stage

NDJSON = b"application/x-ndjson"


@pytest.mark.parametrize(
    "body",
    [
        b'{"channel": "a", "data": "x"}\n' + b"\n" * LINES_MAX + b"{",
        b'{"channel": "a", "data": "x"}\n' * (LINES_MAX + 1),
        json.dumps({"channels": [*map(str, range(100))], "data": ""}).encode().join([b"\n"] * 102),
    ],
    ids=["empty lines", "lines", "channels of lines"],
)
def test_one_request_has_a_bound_of_publications(body: bytes) -> None:
    with pytest.raises(Mistake) as raised:
        published_in({}, NDJSON, body, Limits())
    assert raised.value.status == 413


def test_as_many_lines_as_are_allowed() -> None:
    body = b'{"channel": "a", "data": "x"}\n' * LINES_MAX
    assert len(published_in({}, NDJSON, body, Limits())) == LINES_MAX


@pytest.mark.parametrize(
    "given",
    [
        {"channel": "a", "data": "x", "event": "a\nb"},
        {"channel": "a", "data": "x", "id": 5},
        {"channel": "a", "data": "\ud800"},
        {"channel": "a", "data": 5},
        {"channel": "$stats:a", "data": "x"},
    ],
)
def test_what_a_program_cannot_publish_is_refused_where_it_calls(given: dict[str, Any]) -> None:
    push = Push()
    with pytest.raises(UsageError):
        push.publish(**given)
    assert not push.take()


def test_empty_messages_of_a_program_take_room_too() -> None:
    push = Push()
    push._waiting_bytes = WAITING_BYTES_MAX - 1
    assert not push.publish("a", "")


UPGRADE = b"""GET %b HTTP/1.1\r
Host: x\r
Upgrade: websocket\r
Connection: Upgrade\r
Sec-WebSocket-Version: 13\r
Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
\r
"""


def stage(**options: Any) -> tuple[Stage, PushApp]:
    app = PushApp(PushOptions(**options), list)
    return Stage(app), app


def asks(stage: Stage, request: bytes) -> Socket:
    peer = stage.connection()
    peer.send(request)
    stage.ticks()
    return peer


def test_who_hears_everything_of_mercure_hears_no_statistics() -> None:
    a_stage, _ = stage()
    peer = asks(a_stage, b"GET /.well-known/mercure?topic=* HTTP/1.1\r\nHost: x\r\n\r\n")
    asks(a_stage, UPGRADE % b"/connect?channel=$stats:a")
    a_stage.pass_time(0.5)
    assert b"data:" not in peer.recv()


def test_who_published_too_fast_is_heard_when_it_is_closed(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr("c1m.push.hub.BUSY_COUNT", 0)
    a_stage, app = stage()
    peer = asks(a_stage, UPGRADE % b"/connect?channel=a")
    peer.send(frame(Op.TEXT, b"x", MASK))
    a_stage.ticks()
    (slot,) = app._slowed
    app.close(slot, 3000, a_stage.server)
    peer.send(frame(Op.CLOSE, b"\x0b\xb8", MASK))
    a_stage.ticks()
    assert not app._slowed and not app.kinds.any()  # at once, not after a while


def test_what_many_have_missed_is_not_all_kept_for_them_at_a_stop() -> None:
    a_stage, app = stage()
    for _ in range(20):
        app.publish("a", bytes(100_000))
    for _ in range(20):
        asks(a_stage, UPGRADE % b"/connect?channel=a&since=0-0")
    app.unread_total = 3_000_000
    app.on_stop(a_stage.server)
    assert a_stage.server.engine.statistics().outbox_bytes < 2 * app.unread_total
    assert app.hub._replays
    a_stage.pass_time(1)
    assert not app.hub._replays and (app.kinds == CLOSING).any()
    assert not (app.kinds == WEBSOCKET).any()


def test_heads_with_long_queries_count_for_what_they_take() -> None:
    upgrades = Upgrades(Bounds())
    for number in range(1000):
        query = b"&".join(b"%x" % (number * 2000 + n) for n in range(1000))
        found = upgrades.find(UPGRADE % (b"/connect?" + query))
        assert found is not None and len(found[0].query) == 1000
    assert len(upgrades._heads) * 300 * 1000 <= KEPT_BYTES


def test_what_comes_of_nobody_but_those_who_are_closed_is_no_news() -> None:
    a_stage, app = stage()
    peer = asks(a_stage, UPGRADE % b"/connect?channel=a")
    (slot,) = a_stage.server.live_slots()
    a_stage.server.send(int(slot), bytes(1 << 20))  # which is not read
    a_stage.server.close(int(slot))
    app._forget(np.array([slot], np.int32))
    a_stage.ticks()
    for _ in range(3):
        peer.send(frame(Op.TEXT, b"x", MASK))
        a_stage.ticks()
    assert not peer.at_eof


@pytest.mark.parametrize("form", ["raw", "json"])
@pytest.mark.parametrize("end", ["stays", "closes", "says no more"])
def test_a_burst_of_messages_goes_over_several_ticks_and_none_is_lost(form: str, end: str) -> None:
    a_stage, app = stage(history=1000)
    app.at_once = 10
    peer = asks(a_stage, UPGRADE % b"/connect?channel=a&form=%b" % form.encode())
    for number in range(200):
        said = b"%d" % number
        if form == "json":
            said = json.dumps({"publish": {"channel": "a", "data": str(number)}}).encode()
        peer.send(frame(Op.TEXT, said, MASK))
    if end == "closes":
        peer.send(frame(Op.CLOSE, b"\x03\xe8", MASK))
    elif end == "says no more":
        peer.shutdown_write()
    most = 0
    for _ in range(100):
        before = app.hub.published
        a_stage.server.tick(0)
        most = max(most, app.hub.published - before)
    assert most <= 20 and not app._bursts and not app._orphans
    kept = [each.data for each in app.hub.history.since("a", 0)]
    assert kept == [b"%d" % number for number in range(200)]
    if end == "stays":
        peer.send(frame(Op.PING, b"", MASK))
        a_stage.ticks()
        assert peer.recv().endswith(frame(Op.PONG, b""))


def test_what_is_wrong_in_a_burst_ends_it() -> None:
    a_stage, app = stage()
    app.at_once = 3
    peer = asks(a_stage, UPGRADE % b"/connect?channel=$stats:a")
    peer.send(frame(Op.TEXT, b"x", MASK) * 10)
    a_stage.ticks(20)
    assert not app.hub.published and not app._bursts and not app._orphans
    assert app.counts.ended == {1008: 1}
