"""The loop: one order of events, timers, waking and stopping, signals; on an engine in memory."""

from __future__ import annotations

import gc
import os
import signal
import threading
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from c1m.engine.contract import NOTHING, EventBatch, Pieces
from c1m.engine.ragged import Ragged
from c1m.loop import Handlers, Loop, frozen_heap, stopped_by_signals
from c1m.testing.manual_clock import ManualClock

SLOTS = np.array([3], np.int32)
ALL = EventBatch(
    opened=SLOTS, opened_listeners=SLOTS, connected=SLOTS, failed=SLOTS, failed_errnos=SLOTS,
    data_slots=SLOTS, data=Ragged.of([b"x"]), eof=SLOTS, closed=SLOTS, closed_errnos=SLOTS,
    blocked=SLOTS, drained=SLOTS, expired=SLOTS, secured=SLOTS,
)  # fmt: skip


class Engine:
    """Waits on a manual clock for as long as it is asked to, unless it has a batch to hand over."""

    def __init__(self, clock: ManualClock, *batches: EventBatch) -> None:
        self.clock, self.batches = clock, list(batches)
        self.waits: list[int] = []
        self.pieces: Pieces = []  # what it has as Python's bytes
        self.wakes = self.ends = 0

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        self.waits.append(timeout_ns)
        if pieces is not None:
            pieces += self.pieces
        if self.batches:
            return self.batches.pop(0)
        self.clock.advance(timeout_ns)
        return EventBatch.nothing()

    def wake(self) -> None:
        self.wakes += 1

    def shutdown(self) -> None:
        self.ends += 1


def made(*batches: EventBatch, handlers: Handlers | None = None) -> tuple[Loop, Any]:
    clock = ManualClock(1_000)
    engine: Any = Engine(clock, *batches)
    return Loop(engine, clock, handlers or Handlers()), engine


def test_each_kind_goes_to_its_handler_in_the_order_in_which_they_are_listed() -> None:
    called: list[tuple[str, int]] = []
    names = [field.name for field in fields(Handlers) if field.name != "pieces"]

    def handler(name: str) -> Any:
        return lambda *arguments: called.append((name, len(arguments)))

    loop, _ = made(ALL, handlers=Handlers(**{name: handler(name) for name in names}))
    loop.call_at(0, lambda now_ns: called.append(("timer", 1)))
    assert loop.tick(0) == len(ALL) == 10
    with_more = {"opened", "failed", "data", "closed"}
    expected = [(name, 2 if name in with_more else 1) for name in names]
    assert called == [*expected, ("timer", 1)]


def test_pieces_come_before_all_else() -> None:
    called: list[Any] = []
    handlers = Handlers(
        pieces=lambda pieces: called.append(list(pieces)),
        data=lambda slots, data: called.append(data.pieces()),
    )
    batch = EventBatch(data_slots=SLOTS, data=Ragged.of([b"x"]), is_plain=True)
    loop, engine = made(NOTHING, batch, handlers=handlers)
    engine.pieces = [(3, b"a"), (5, b"b")]
    assert loop.tick(0) == 2
    assert called == [engine.pieces]
    assert loop.tick(0) == 3
    assert called[1:] == [engine.pieces, [b"x"]]


def test_events_without_a_handler_are_passed_over() -> None:
    loop, _ = made(ALL, EventBatch(data_slots=SLOTS, data=Ragged.of([b"x"]), is_plain=True))
    assert loop.tick(0) == 10
    assert loop.tick(0) == 1


def test_a_tick_ends_at_the_next_timer_and_calls_those_that_are_due_in_order() -> None:
    loop, engine = made()
    called: list[Any] = []
    loop.call_at(1_300, lambda now_ns: called.append(("b", now_ns)))
    loop.call_at(1_200, lambda now_ns: called.append(("a", now_ns)))
    loop.call_at(1_300, lambda now_ns: called.append(("c", now_ns)))
    loop.tick(1_000)
    assert called == [("a", 1_200)]
    loop.tick(1_000)
    assert called == [("a", 1_200), ("b", 1_300), ("c", 1_300)]
    loop.tick(1_000)
    assert engine.waits == [200, 100, 1_000]


def test_timers_due_beside_one_that_raises_are_called_in_the_next_tick() -> None:
    loop, _ = made()
    called: list[int] = []

    def fail(now_ns: int) -> None:
        raise ValueError("on purpose")

    loop.call_at(1_000, fail)
    loop.call_at(1_000, called.append)
    with pytest.raises(ValueError, match="on purpose"):
        loop.tick(0)
    assert called == []
    loop.tick(0)
    assert called == [1_000]


def test_a_callback_that_asks_for_itself_at_once_is_called_once_a_tick() -> None:
    loop, engine = made()
    called: list[int] = []

    def again(now_ns: int) -> None:
        called.append(now_ns)
        loop.call_at(0, again)

    loop.call_at(0, again)
    for _ in range(3):
        loop.tick(1_000)
    assert called == [1_000] * 3 and engine.waits == [0] * 3


def test_the_halves_of_a_tick_wait_as_long_as_they_are_asked_and_then_call_what_is_late() -> None:
    loop, engine = made()
    called: list[int] = []
    loop.call_at(1_200, called.append)
    loop.wait(1_000)
    assert (engine.waits, called) == ([1_000], [])
    loop.dispatch()
    assert called == [loop.woke_ns] == [2_000]


def test_calls_at_intervals_keep_to_their_grid_and_leave_out_those_that_were_missed() -> None:
    loop, _ = made()
    called: list[int] = []
    loop.call_every(100, called.append, 1_000)
    for _ in range(3):
        loop.tick(1_000)
    loop.wait(450)
    loop.dispatch()
    loop.tick(1_000)
    assert called == [1_000, 1_100, 1_200, 1_650, 1_700]


def test_stopping_wakes_the_loop_also_from_another_thread() -> None:
    loop, engine = made()
    thread = threading.Thread(target=loop.stop)
    thread.start()
    thread.join()
    assert loop.is_stopping and engine.wakes == 1


def test_a_loop_that_has_ended_is_neither_woken_nor_stopped() -> None:
    loop, engine = made()
    loop.shutdown()
    loop.shutdown()
    loop.wake()
    loop.stop()
    assert (loop.has_ended, loop.is_stopping, engine.wakes) == (True, False, 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_the_loop_and_handlers_are_put_back(number: int) -> None:
    asked = []
    before = {n: signal.signal(n, lambda n, frame: asked.append(n)) for n in (1, 2, 15)}
    try:
        loop, engine = made()
        with stopped_by_signals(loop.stop, exits_at_second=False):
            assert not loop.is_stopping
            os.kill(os.getpid(), number)
            assert loop.is_stopping and engine.wakes == 1 and asked == []
            os.kill(os.getpid(), number)  # what it did before, unless it is a SIGHUP
            assert asked == ([] if number == signal.SIGHUP else [number])
        if number == signal.SIGHUP:
            assert signal.getsignal(number) is signal.SIG_IGN
        else:
            assert signal.getsignal(number) not in (signal.SIG_IGN, signal.SIG_DFL)
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)


def test_another_thread_than_the_main_one_gets_no_signals() -> None:
    loop, _ = made()
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def run() -> None:
        with stopped_by_signals(loop.stop, exits_at_second=True):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_is_frozen_is_collected_again_afterwards() -> None:
    with frozen_heap():
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
