"""What --relay takes, and what a relay makes of what its link tells it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any, ClassVar

import numpy as np
import pytest

from c1m.apps.push.options import PushOptions
from c1m.engine.contract import Slots
from c1m.errors import UsageError
from c1m.push.hub import Hub
from c1m.push.positions import Positions
from c1m.push.wire import JSON
from c1m.relay import relay as relay_module
from c1m.relay.broker import Broker, broker_of
from c1m.relay.envelope import Envelope
from c1m.relay.link import Came, Down, Up
from c1m.relay.numbers import NotRelayed
from c1m.relay.relay import Relay
from c1m.relay.sessions import _Redis
from c1m.testing.manual_clock import ManualClock

OTHER = "000000000000"


@pytest.mark.parametrize(
    ("url", "broker", "shown"),
    [
        ("redis://10.0.0.1", Broker("redis", "10.0.0.1", 6379, name="c"), "redis://10.0.0.1:6379"),
        ("rediss://u:p%40@h:1/n", Broker("rediss", "h", 1, "", "u", "p@", "n"), "rediss://h:1"),
        ("redis://:p@[::1]:7", Broker("redis", "::1", 7, "", None, "p", "c"), "redis://[::1]:7"),
        ("redis+unix:///r/s", Broker("redis+unix", path="/r/s", name="c"), "redis+unix:///r/s"),
        ("redis+unix:///s?name=n", Broker("redis+unix", path="/s", name="n"), "redis+unix:///s"),
        ("nats://h/a.b", Broker("nats", "h", 4222, name="a.b"), "nats://h:4222"),
    ],
)
def test_brokers(url: str, broker: Broker, shown: str) -> None:
    found = broker_of(url, "c")
    assert found == broker
    assert str(found) == shown


@pytest.mark.parametrize(
    "url",
    ["", "redis", "redis://", "redis://h:0", "redis://h:70000", "redis://h:x", "http://h",
     "redis://h/a b", "redis://h/a/b", "redis://h?x=1", "redis://h#x", "nats://h/a..b",
     "nats://h/a.*", "nats://h/.", "redis+unix://h/p", "redis+unix:p", "redis+unix:///p?db=1",
     "redis://[::1", "redis://h/\x00", "redis+unix:///" + "x" * 200],
)  # fmt: skip
def test_what_is_no_broker_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(UsageError) as refused:
        broker_of(url, "c")
    assert refused.value.remedy


def test_the_password_may_be_in_a_file(tmp_path: Any) -> None:
    file = tmp_path / "password"
    file.write_text("s%41cret\n")
    file.chmod(0o600)
    options = PushOptions(relay="redis://u@h", relay_password_file=str(file))
    assert options.broker is not None and options.broker.password == "s%41cret"
    with pytest.raises(UsageError, match="Give one"):
        PushOptions(relay="redis://u:p@h", relay_password_file=str(file))
    with pytest.raises(UsageError, match="without one"):
        PushOptions(relay_password_file=str(file))


# --- a relay ----------------------------------------------------------------------------------


class Link:
    """One that a test speaks for."""

    foreign = 0

    def __init__(self, broker: Broker, origin: str, wake: Any) -> None:
        self.events: deque[Any] = deque()
        self.out: list[tuple[int, int, bytes]] = []

    def start(self) -> None:
        self.is_started = True

    def hand_over(self, connection: int, number: int, item: bytes) -> None:
        self.out.append((connection, number, item))

    def take(self) -> Any:
        return self.events.popleft() if self.events else None


class Server:
    """What a relay asks of a server."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.log = self
        self.said: list[tuple[str, int]] = []
        self.failures: list[Exception] = []

    def wake(self) -> None: ...

    def say(self, event: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
        self.said.append((event, level))

    def failed(self, callback: str, error: Exception, app: Any = None) -> None:
        self.failures.append(error)


class Stage:
    """A relay, what it delivered and what its publishers were told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(relay_module, "Link", Link)
        self.server = Server()
        self.delivered: list[tuple[str, int, bytes]] = []
        self.gaps: list[int] = []
        self.told: list[Any] = []
        broker = Broker("redis", "h", 1, name="c")
        self.relay = Relay(broker, "me", self._deliver, self.gaps.append)
        self.relay.start(self.server)  # type: ignore[arg-type]
        self.link: Link = self.relay._link  # type: ignore[assignment]

    def _deliver(self, origin: str, number: int, item: bytes) -> int:
        if item == b"bad":
            raise ValueError("bad")
        self.delivered.append((origin, number, item))
        return len(self.delivered)

    def happens(self, *events: Any) -> None:
        self.link.events.extend(events)
        assert not self.relay.take(lambda: False)

    def publish(self, *items: bytes) -> None:
        self.relay.publish(items, self.told.append)

    def figures(self, *names: str) -> list[int]:
        values = self.relay.values()
        return [values[name] for name in names]


def came(origin: str, first: int, *items: bytes) -> Came:
    return Came(Envelope(origin, first, list(items)), 100)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


def test_nothing_is_taken_before_the_broker_is_there(stage: Stage) -> None:
    with pytest.raises(NotRelayed, match="not there"):
        stage.publish(b"a")
    stage.happens(Down("refused", 0), Down("refused", 0))
    assert stage.server.said == [("relay-lost", logging.WARNING)]
    stage.happens(Up(1, 1000))
    assert stage.server.said[1:] == [("relay-up", logging.WARNING)]
    stage.publish(b"a")
    assert stage.link.out == [(1, 1, b"a")] and not stage.told
    stage.happens(came("me", 1, b"a"))
    assert stage.told == [1] and stage.delivered == [("me", 1, b"a")]
    assert stage.figures("refused", "sent", "received", "lost") == [1, 1, 1, 0]


def test_what_may_have_got_there_is_unknown_and_the_rest_is_refused(stage: Stage) -> None:
    stage.happens(Up(1, 1000))
    stage.publish(b"1", b"2", b"3", b"4")
    stage.happens(came("me", 1, b"1"), Down("gone", 3))
    assert stage.told[0] == 1
    assert [each.is_unknown for each in stage.told[1:]] == [True, True, False]
    assert stage.figures("unknown", "refused", "lost", "connected", "waiting") == [2, 1, 1, 0, 0]
    stage.happens(Up(2, 1000))
    stage.publish(b"5")
    assert stage.link.out[-1] == (2, 4, b"5"), "numbers that were never sent are given anew"
    stage.happens(came("me", 2, b"2"), came("me", 4, b"5"), came("me", 3, b"3"))
    assert [number for _, number, _ in stage.delivered] == [1, 2, 4], "3 came too late"
    assert stage.gaps == [1]
    assert stage.figures("missed", "doubles", "sent", "received") == [1, 1, 3, 3]


def test_what_did_not_come_back_before_what_did_is_unknown(stage: Stage) -> None:
    stage.happens(Up(1, 1000))
    stage.publish(b"1", b"2")
    stage.happens(came("me", 2, b"2"))
    assert [isinstance(each, NotRelayed) for each in stage.told] == [True, False]


def test_what_is_too_large_or_too_much_is_refused(stage: Stage) -> None:
    stage.happens(Up(1, 100))
    with pytest.raises(NotRelayed, match="100 bytes"):
        stage.publish(b"small", b"x" * 100)
    stage.publish(*[b""] * relay_module.BUSY_COUNT)
    assert stage.relay.is_busy
    stage.publish(*[b""] * (relay_module.FULL_COUNT - relay_module.BUSY_COUNT))
    with pytest.raises(NotRelayed, match="Too much"):
        stage.publish(b"")
    assert stage.figures("refused", "waiting") == [3, relay_module.FULL_COUNT]


def test_who_is_busy_takes_no_more_and_goes_on_where_it_was(stage: Stage) -> None:
    stage.link.events.extend([Up(1, 100), came(OTHER, 5, b"a", b"b"), came(OTHER, 7, b"c")])
    assert stage.relay.take(lambda: len(stage.delivered) == 1)
    assert [item for *_, item in stage.delivered] == [b"a"]
    assert not stage.relay.take(lambda: False)
    assert [item for *_, item in stage.delivered] == [b"a", b"b", b"c"]
    assert stage.gaps == []


def test_one_that_cannot_be_delivered_is_a_failure_and_no_end(stage: Stage) -> None:
    stage.happens(Up(1, 100))
    stage.publish(b"bad", b"good")
    stage.happens(came("me", 1, b"bad", b"good"))
    assert len(stage.server.failures) == 1
    assert [isinstance(each, NotRelayed) for each in stage.told] == [True, False]


def test_a_client_that_connects_again_by_itself_has_lost_its_connection() -> None:
    class PubSub:
        says: ClassVar[list[Any]] = [{"type": "message", "data": b"x"}, None, {"type": "subscribe"}]

        async def get_message(self, timeout: Any) -> Any:
            return self.says.pop(0)

    async def both() -> bytes:
        session = _Redis(None, PubSub(), "c")
        first = await session.receive()
        with pytest.raises(ConnectionError, match="lost"):
            await session.receive()
        return first

    assert asyncio.run(both()) == b"x"


# --- the hub of one of several servers ----------------------------------------------------------


def publish(hub: Hub, origin: str, number: int, data: bytes, channel: str = "a") -> None:
    hub.publish(channel, data, origin=(origin, number))


def replayed(hub: Hub, id: str, channel: str = "a") -> bytes:
    slots = hub_slots(1)
    hub.join(slots, [channel], JSON, [id])
    hub.channels.forget(slots)
    return b"".join(payload for _, payload in hub.take(lambda slot: 0))


def hub_slots(count: int) -> Slots:
    return np.arange(count, dtype=np.int32)


def test_an_id_of_another_server_is_found_and_what_came_after_it_follows() -> None:
    one, other = (Hub(8, epoch, positions=Positions()) for epoch in ("one", "two"))
    publish(other, "one", 1, b"before")  # which `one` has not had, as it began later
    for hub in (one, other):
        publish(hub, "one", 2, b"first")
        publish(hub, "two", 1, b"second")
        publish(hub, "one", 3, b"elsewhere", "b")
        publish(hub, "one", 4, b"third")
    for hub in (one, other):
        assert hub.last_id == "one-4"
        said = replayed(hub, "one-2")
        assert b"second" in said and b"third" in said and b"first" not in said
        said = replayed(hub, "one-3")
        assert b"second" not in said and b"third" in said
        assert b"missed" in replayed(hub, "three-1")
        assert hub.is_given("one-9") and hub.is_given("two-1") and not hub.is_given("mine-1")


def test_a_gap_is_told_to_all_who_hear_and_to_who_comes_from_before_it() -> None:
    hub = Hub(8, "one", positions=Positions())
    hub.join(hub_slots(2), ["a"], JSON, [])
    publish(hub, "two", 1, b"first")
    hub.gap()
    publish(hub, "two", 3, b"third")
    pieces = [data.pieces() for _, data in hub.deliveries.due()]
    said = b"".join(piece for each in pieces for piece in each)
    assert said.count(b"missed") == 2
    assert said.index(b"first") < said.index(b"missed") < said.index(b"third")
    said = replayed(hub, "two-1")
    assert b"missed" in said and b"third" in said and b"first" not in said
    assert b"missed" not in replayed(hub, "two-3")
    assert hub.resumed_from(["a"], [], "two-1") == ""
    assert hub.resumed_from(["a"], [], "two-3") == "two-3"
