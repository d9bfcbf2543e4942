"""The loop under servers and load clients: an engine below, handlers of its events above.

A tick waits (the engine hands over what was asked for and collects what came), calls the handlers
of what came in one fixed order, then the timers that are due. One thread runs it; `wake` and `stop`
may also be called by other threads and by signal handlers.

Programs of asyncio run on its own loop, which waits in an engine as well: see `aio/`.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.clock import Clock
from c1m.engine.contract import NOTHING, Engine, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged

Int32s = npt.NDArray[np.int32]


def _ignore(*_: object) -> None:
    """What a loop does with events that nobody handles."""


@dataclass(frozen=True, slots=True)
class Handlers:
    """What to call for each kind of event in a batch, in the order in which it is called.

    The arrays are the engine's: valid until the next wait.
    """

    expired: Callable[[Slots], object] = _ignore
    opened: Callable[[Slots, Int32s], object] = _ignore  # with the listener of each
    connected: Callable[[Slots], object] = _ignore
    secured: Callable[[Slots], object] = _ignore  # connected before, and TLS is ready now
    failed: Callable[[Slots, Int32s], object] = _ignore  # with the errno of each
    data: Callable[[Slots, Ragged], object] = _ignore
    pieces: Callable[[Pieces], object] | None = None  # data that an engine has as Python's bytes
    blocked: Callable[[Slots], object] = _ignore
    drained: Callable[[Slots], object] = _ignore
    eof: Callable[[Slots], object] = _ignore
    closed: Callable[[Slots, Int32s], object] = _ignore  # with the errno of each


class Loop:
    """Owns an engine until `shutdown`."""

    def __init__(self, engine: Engine, clock: Clock, handlers: Handlers) -> None:
        self.engine = engine
        self.clock = clock
        self.batch = EventBatch.nothing()  # what the last wait brought
        self.woke_ns = clock.now_ns()  # when it returned; kept for timers, and for who calls wait
        self.is_stopping = False
        self.has_ended = False
        self._on = handlers
        self._timers: list[tuple[int, int, Callable[[int], object]]] = []  # a heap
        self._order = itertools.count()
        # A doorbell that is rung while it is taken down may be somebody else's descriptor by then.
        self._bell = threading.RLock()

    def tick(self, timeout_ns: int) -> int:
        """One pass, no longer than to the next timer; returns the number of events it brought."""
        if self._timers:
            timeout_ns = min(timeout_ns, max(self._timers[0][0] - self.clock.now_ns(), 0))
        if self._on.pieces is not None:
            return self._tick_in_pieces(timeout_ns, self._on.pieces)
        batch = self.batch = self.engine.wait(timeout_ns)
        if batch.is_plain and not self._timers:  # the short way for most ticks of a busy server
            self._on.data(batch.data_slots, batch.data)
        else:
            self.woke_ns = self.clock.now_ns()
            self.dispatch()
        return len(batch)

    def _tick_in_pieces(self, timeout_ns: int, take: Callable[[Pieces], object]) -> int:
        """The same, where the engine may hand data over as Python's bytes, which come first."""
        pieces: Pieces = []
        batch = self.batch = self.engine.wait(timeout_ns, pieces)
        if pieces:
            take(pieces)
        if batch is not NOTHING or self._timers:
            self.woke_ns = self.clock.now_ns()
            self.dispatch()
        return len(pieces) + len(batch)

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> int:
        """The first half of a tick, which timers do not shorten: how many events it has brought.

        Data may be in `pieces` then (see Engine.wait), which are the caller's to take.
        """
        batch = self.batch = self.engine.wait(timeout_ns, pieces)
        self.woke_ns = self.clock.now_ns()
        count = 0 if batch is NOTHING else len(batch)
        return count + len(pieces) if pieces else count

    def dispatch(self) -> bool:
        """The other half: handlers, then timers. Whether there was anything but data."""
        batch, on = self.batch, self._on
        has_news = False
        if batch.is_plain:
            on.data(batch.data_slots, batch.data)
        elif batch is not NOTHING:
            has_news = True
            if len(batch.expired):
                on.expired(batch.expired)
            if len(batch.opened):
                on.opened(batch.opened, batch.opened_listeners)
            if len(batch.connected):
                on.connected(batch.connected)
            if len(batch.secured):
                on.secured(batch.secured)
            if len(batch.failed):
                on.failed(batch.failed, batch.failed_errnos)
            if len(batch.data_slots):
                on.data(batch.data_slots, batch.data)
            if len(batch.blocked):
                on.blocked(batch.blocked)
            if len(batch.drained):
                on.drained(batch.drained)
            if len(batch.eof):
                on.eof(batch.eof)
            if len(batch.closed):
                on.closed(batch.closed, batch.closed_errnos)
        if not self._timers or self._timers[0][0] > self.woke_ns:
            return has_news
        due = deque[tuple[int, int, Callable[[int], object]]]()
        while self._timers and self._timers[0][0] <= self.woke_ns:
            due.append(heapq.heappop(self._timers))
        try:
            while due:
                due.popleft()[2](self.woke_ns)
        finally:
            for timer in due:  # one has raised: the others are still due
                heapq.heappush(self._timers, timer)
        return True

    def call_at(self, when_ns: int, callback: Callable[[int], object]) -> None:
        """Call `callback(now_ns)` at the end of the first tick that this time falls into.

        May be called from another thread, which then calls `wake`: a heap's steps are one each.

        What a callback asks for itself comes in the next tick at the earliest, so none can keep
        events from being handled.
        """
        heapq.heappush(self._timers, (when_ns, next(self._order), callback))

    def call_every(
        self, interval_ns: int, callback: Callable[[int], object], start_ns: int
    ) -> None:
        """Call it at `start_ns` and after each interval since then; those missed are left out."""

        def call(now_ns: int) -> None:
            self.call_at(now_ns + interval_ns - (now_ns - start_ns) % interval_ns, call)
            callback(now_ns)

        self.call_at(start_ns, call)

    def wake(self) -> None:
        """Make the current or the next wait return; may be called from another thread."""
        with self._bell:
            if not self.has_ended:
                self.engine.wake()

    def stop(self) -> None:
        """Set `is_stopping`, and wake the loop's owner to see it; also from another thread."""
        with self._bell:
            self.is_stopping |= not self.has_ended
            self.wake()

    def shutdown(self) -> None:
        """Give everything back. May be called twice."""
        with self._bell:
            self.has_ended = True
        self.engine.shutdown()


@contextlib.contextmanager
def stopped_by_signals(
    stop: Callable[[], object],
    *,
    exits_at_second: bool,
    hung_up: Callable[[], bool] | None = None,
) -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP calls `stop`, which ends a loop in good order.

    `hung_up` is called at SIGHUP and returns whether it was something else than the end.

    A second one, unless it is a SIGHUP, ends the process at once, or does what it did before
    this. Without effect outside the main thread: only that one gets signals.

    Facts. Where a terminal is closed, its shell sends SIGHUP to its jobs and the kernel sends
    another to those in the foreground: the second is no second request. A SIGHUP that is
    ignored (nohup) stays ignored.
    """
    is_main = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if is_main else ()
    before: dict[int, Any] = {n: signal.getsignal(n) or signal.SIG_DFL for n in numbers}
    if before.get(signal.SIGHUP) is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def first(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and hung_up is not None and hung_up():
            return
        for ending, handler in before.items():
            again = _exit if exits_at_second else handler
            signal.signal(ending, signal.SIG_IGN if ending == signal.SIGHUP else again)
        stop()

    try:
        for number in before:
            signal.signal(number, first)
        yield
    finally:
        for ending, handler in before.items():
            has_come = signal.getsignal(ending) is signal.SIG_IGN
            if ending != signal.SIGHUP or not has_come:
                signal.signal(ending, handler)


def _exit(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


@contextlib.contextmanager
def frozen_heap() -> Iterator[None]:
    """Keep the collector from looking again at what is there now, which lives to the end."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
