"""What the push server says of a channel to those who ask."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from c1m.push.hub import Hub
from c1m.push.statistics import EACH_NS, PACE_NS
from c1m.push.wire import JSON, RAW
from c1m.units import NS_PER_MS

Told = list[dict[str, Any]]


class Clocked:
    """A hub with a clock that is set by hand, and one who asks about the channel `news`."""

    def __init__(self, subscribers: int = 3) -> None:
        self.now_ns = 1_000_000_000
        self.hub = Hub(1000, "e", lambda: self.now_ns)
        self.subscribe(np.arange(subscribers, dtype=np.int32), "news", RAW)
        self.subscribe(np.array([900], np.int32), "$stats:news", JSON)

    def subscribe(self, slots: Any, channel: str, form: bytes) -> None:
        self.hub.join(slots, [channel], form, [])

    def tick(self, count: int = 100) -> Told:
        """What is said in a tick in which `count` receivers are sent to."""
        self.hub.statistics.tick(self.now_ns, self.hub.deliveries.done)
        told = []
        taken = self.hub.deliveries.take(count)
        for slot, payload in zip(taken[0], taken[1].pieces(), strict=True) if taken else ():
            if slot == 900:
                message = json.loads(payload[payload.index(b"{") :])
                assert message["channel"] == "$stats:news" and not message["id"]
                told.append(json.loads(message["data"]))
        return told

    def later(self, ns: int = PACE_NS) -> None:
        self.now_ns += ns


def test_the_number_of_subscribers_is_said_when_it_has_changed() -> None:
    run = Clocked()
    assert run.tick() == [{"subscribers": 3, "delivered": []}]
    run.later()
    assert run.tick() == []
    run.subscribe(np.array([10, 11], np.int32), "news", JSON)
    run.later(PACE_NS - 1)
    assert run.tick() == []  # not so soon
    run.later(1)
    assert run.tick() == [{"subscribers": 5, "delivered": []}]


def test_who_comes_later_hears_it_too() -> None:
    run = Clocked()
    run.tick()
    run.hub.forget(np.array([900], np.int32))
    run.subscribe(np.array([900], np.int32), "$stats:news", JSON)
    run.later()
    assert run.tick() == [{"subscribers": 3, "delivered": []}]


def test_a_publication_is_delivered_when_its_last_slice_has_gone() -> None:
    run = Clocked(subscribers=200)
    run.tick()
    run.later()
    made = run.hub.publish("news", b"hello")
    for _ in range(2):  # two slices of a hundred
        run.later(PACE_NS)
        assert run.tick() == []
    run.later(4 * NS_PER_MS)
    assert run.hub.statistics.is_waiting
    run.later(PACE_NS)
    figures = {"id": made.id, "subscribers": 200, "ms": 3 * PACE_NS / NS_PER_MS + 4}
    assert run.tick() == [{"subscribers": 200, "delivered": [figures]}]
    assert not run.hub.statistics.is_waiting


def test_subscribers_that_go_do_not_make_it_delivered_sooner() -> None:
    run = Clocked(subscribers=200)
    run.tick()
    run.later()
    run.hub.publish("news", b"first")
    run.subscribe(np.array([500], np.int32), "other", RAW)
    run.hub.publish("other", b"second")
    run.hub.forget(np.array([500], np.int32))
    assert run.tick() == [] and run.hub.statistics.is_waiting
    run.tick()
    run.later()
    (told,) = run.tick()
    assert [each["id"] for each in told["delivered"]] == ["e-1"]


def test_nobody_asks_and_nothing_is_counted() -> None:
    run = Clocked()
    run.hub.forget(np.array([900], np.int32))
    assert run.hub.statistics.tick(run.now_ns, 0) is not None
    run.later()
    assert run.hub.statistics.tick(run.now_ns, 0) is None
    run.hub.publish("news", b"hello")
    assert not run.hub.statistics.is_waiting


def test_a_great_many_who_ask_are_told_less_often() -> None:
    run = Clocked()
    run.hub = Hub(1_000_000, "e")
    run.hub.join(np.arange(1_000_000, dtype=np.int32), ["$stats:news"], JSON, [])
    assert run.hub.statistics.tick(run.now_ns, 0) == run.now_ns + 1_000_000 * EACH_NS
