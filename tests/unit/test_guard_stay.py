"""Limits on connections that were let in, on a fake kernel with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.guard import turns
from c1m.units import NS_PER_S
from guard_stage import Keeps, Stage

S = NS_PER_S
Make = Callable[..., Stage]


@pytest.fixture
def make() -> Iterator[Make]:
    stages: list[Stage] = []

    def make_one(app: Any = None, linger_ns: int = 30 * S, **limits: Any) -> Stage:
        stages.append(Stage(c1m.Limits(**limits), app=app, linger_ns=linger_ns))
        return stages[-1]

    yield make_one
    for stage in stages:
        stage.end()


# --- a first byte, and idleness


def test_who_sends_nothing_is_closed_when_its_time_is_up_and_not_before(make: Make) -> None:
    stage = make(first_byte_timeout=5)
    silent, speaks = stage.peer(), stage.peer()
    stage.passes(4 * S)
    speaks.send(b"?")
    stage.passes(S)
    assert stage.closed() == {}
    stage.passes(2 * S)
    assert stage.closed() == {"SILENT": 1}
    assert silent.recv() == b"" and silent.at_eof
    assert stage.app.closed == [(stage.app.opened[0], "SILENT")]
    assert stage.limited() == {"first_byte_timeout": 1}
    stage.passes(3600 * S)
    assert stage.server.statistics.live == 1


def test_what_is_sent_to_a_silent_peer_is_no_first_byte(make: Make) -> None:
    stage = make(first_byte_timeout=3, idle_timeout=100)
    stage.peer()
    for _ in range(5):
        stage.server.send(stage.server.live_slots(), b"hello")
        stage.passes(S)
    assert stage.closed() == {"SILENT": 1}


@pytest.mark.parametrize("says", ["receives", "sends"])
def test_who_says_something_or_is_told_something_is_not_idle(make: Make, says: str) -> None:
    stage = make(idle_timeout=3)
    busy, idle = stage.peer(), stage.peer()
    for _ in range(5):
        if says == "receives":
            busy.send(b"?")
        else:
            stage.server.send(stage.app.opened[0], b"!")
        stage.passes(2 * S)
    assert stage.closed() == {"IDLE": 1}
    assert stage.server.live_slots().tolist() == [stage.app.opened[0]]
    stage.passes(6 * S)
    assert stage.closed() == {"IDLE": 2}
    assert idle.recv() == b"" and idle.at_eof


def test_who_takes_slowly_what_it_is_owed_is_not_idle_until_it_stops(make: Make) -> None:
    stage = make(Keeps(echoes=False), idle_timeout=5)
    peer = stage.peer()
    stage.server.send(stage.app.opened[0], b"x" * 400_000)
    for _ in range(15):
        stage.passes(2 * S)
        peer.recv(10_000)
    assert stage.closed() == {}
    stage.passes(20 * S)
    assert stage.closed() == {"IDLE": 1}


def test_a_slot_that_ended_has_no_deadline_for_the_next_one(make: Make) -> None:
    stage = make(first_byte_timeout=10)
    for _ in range(20):
        stage.peer().close()
        stage.passes(S)
    assert stage.closed() == {"PEER_EOF": 20}
    stage.peer()
    stage.passes(9 * S)
    assert stage.server.statistics.live == 1


# --- output


def test_who_reads_nothing_of_what_is_over_the_watermark_is_reset(make: Make) -> None:
    stage = make(Keeps(echoes=False), unread_timeout=5)
    stops, reads = stage.peer(), stage.peer()
    for slot in stage.app.opened:
        stage.server.send(slot, b"x" * 500_000)
    for _ in range(9):
        stage.server.send(stage.app.opened[1], b"y" * 10_000)  # more than it takes
        reads.recv(9_000)
        stage.passes(S)
    assert stage.closed() == {"UNREAD": 1} and stops.was_reset
    assert stage.server.live_slots().tolist() == [stage.app.opened[1]]
    assert stage.limited() == {"unread_timeout": 1}
    assert stage.server.statistics.unsent_bytes > 0
    stage.passes(7 * S)
    assert stage.closed() == {"UNREAD": 2}


def test_more_unsent_than_the_hard_limit_is_too_much_at_once(make: Make) -> None:
    stage = make(Keeps(echoes=False), unsent_max=300_000)
    peer, other = stage.peer(), stage.peer()
    stage.server.send(stage.app.opened[0], b"x" * 500_000)
    stage.server.send(stage.app.opened[1], b"x" * 250_000)
    stage.passes(S)
    assert stage.closed() == {"UNSENT": 1} and peer.was_reset and not other.was_reset


def test_more_than_the_soft_limit_is_too_much_after_its_time(make: Make) -> None:
    stage = make(Keeps(echoes=False), unsent_soft=100_000, unsent_soft_time=10)
    stage.peer()
    stage.server.send(stage.app.opened[0], b"x" * 300_000)
    stage.passes(9 * S)
    assert stage.closed() == {}
    stage.passes(2 * S)
    assert stage.closed() == {"UNSENT": 1}
    assert stage.limited() == {"unsent_soft": 1}


def test_beyond_the_total_who_is_owed_most_goes(make: Make) -> None:
    stage = make(Keeps(echoes=False), unsent_total=1 << 20)
    peers = [stage.peer() for _ in range(4)]
    for place, slot in enumerate(stage.app.opened):
        stage.server.send(slot, b"x" * (200_000 + place * 100_000))
    stage.passes(S)
    assert stage.closed() == {"UNSENT": 1}
    assert [peer.was_reset for peer in peers] == [False, False, False, True]
    assert stage.limited() == {"unsent_total": 1}


def test_who_is_closed_and_reads_nothing_has_the_linger_time_and_counts_in_the_total(
    make: Make,
) -> None:
    stage = make(Keeps(echoes=False), unsent_total=600_000, unread_timeout=100, linger_ns=20 * S)
    closed, stays = stage.peer(), stage.peer()
    stage.server.send(stage.app.opened[0], b"x" * 500_000)
    stage.ticks()
    stage.server.close(stage.app.opened[0])
    stage.passes(10 * S)
    assert not closed.was_reset
    stage.server.send(stage.app.opened[1], b"x" * 400_000)
    stage.passes(S)
    assert closed.was_reset and not stays.was_reset
    assert stage.closed() == {"LOCAL": 1}
    stage.server.send(stage.app.opened[1], b"x" * 10)
    stage.server.close(stage.app.opened[1])
    stage.passes(45 * S)
    assert stage.closed() == {"LOCAL": 1, "NOT_READ": 1} and stays.was_reset


# --- turns


def test_what_a_tick_brings_of_one_peer_is_bounded_while_others_speak(make: Make) -> None:
    turn = 4096
    stage = make(Keeps(echoes=False), turn=turn)
    floods, others = stage.peer(), [stage.peer() for _ in range(3)]
    flood, first = stage.app.opened[0], len(stage.app.ticks)
    sent = 0
    for _ in range(400):
        sent += floods.send(b"x" * 65_536)
        for other in others:
            other.send(b"?" * 16)
        stage.ticks(1)
    ticks = stage.app.ticks[first:]
    brought = [tick.get(flood, 0) for tick in ticks]
    assert max(brought) == turn and sum(brought) > 200 * turn
    for slot in stage.app.opened[1:]:
        assert sum(tick.get(slot, 0) for tick in ticks) >= 16 * 390
    assert stage.limited()["turn"] > 0


def test_what_is_kept_comes_before_the_end_of_the_stream_and_before_a_reset(make: Make) -> None:
    stage = make(Keeps(echoes=False), turn=1024)
    ends, breaks = stage.peer(), stage.peer()
    for peer in (ends, breaks):
        assert peer.send(b"x" * 10_500) == 10_500
    stage.ticks(2)
    ends.close()
    breaks.reset()
    stage.ticks(30)
    for slot in stage.app.opened:
        assert sum(tick.get(slot, 0) for tick in stage.app.ticks) == 10_500
    assert stage.closed() == {"PEER_EOF": 1, "RESET": 1}


def test_so_much_is_kept_in_all_and_no_more(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "KEPT_MAX", 20_000)
    stage = make(Keeps(echoes=False), turn=1024)
    peers = [stage.peer() for _ in range(8)]
    for peer in peers:
        assert peer.send(b"x" * 20_000) == 20_000
        stage.ticks(3)
    kept = [max(tick.get(slot, 0) for tick in stage.app.ticks) for slot in stage.app.opened]
    assert 1024 in kept and max(kept) > 1024  # the last had all of their turns at once
    stage.ticks(60)
    for slot in stage.app.opened:
        assert sum(tick.get(slot, 0) for tick in stage.app.ticks) == 20_000


def test_who_is_alone_has_all_of_the_time(make: Make) -> None:
    stage = make(turn=4096)
    peer = stage.peer()
    sent = came = 0
    for _ in range(300):
        sent += peer.send(b"x" * 65_536)
        stage.ticks(2)
        came += len(peer.recv())
    assert sent > 200 * 4096 and stage.limited()["turn"] > 0
    for _ in range(100):
        stage.ticks(2)
        came += len(peer.recv())
    assert came == sent  # nothing is lost


def test_who_is_paused_stays_so_when_its_turn_comes(make: Make) -> None:
    stage = make(Keeps(echoes=False), turn=1024)
    peer = stage.peer()
    slot = stage.app.opened[0]
    peer.send(b"x" * 65_536)
    while not stage.limited().get("turn"):
        stage.ticks(1)
    stage.server.pause(slot)
    stage.ticks(4)
    brought = sum(tick.get(slot, 0) for tick in stage.app.ticks)
    peer.send(b"x" * 65_536)
    stage.ticks(20)
    assert sum(tick.get(slot, 0) for tick in stage.app.ticks) == brought
    stage.server.resume(slot)
    stage.ticks(200)
    assert sum(tick.get(slot, 0) for tick in stage.app.ticks) > brought


def test_connections_of_the_program_itself_are_not_limited(make: Make) -> None:
    stage = make(first_byte_timeout=2, idle_timeout=2, unread_timeout=2, unsent_max=65_536)
    near, far = stage.kernel.network.socket(2), stage.kernel.network.socket(2)
    near.join(far)
    slot = stage.server.engine.adopt(stage.kernel.install(near))
    stage.server.engine.send(np.array([slot], np.int32), c1m.Ragged.of([b"x" * 500_000]))
    stage.passes(30 * S)
    assert not far.was_reset and stage.limited() == {}
