"""What is heard of the server, and whether it, or the load client, stood still for a while.

Replies go to `traffic`; here it is seen how long none had come, and what that was: see
`recorder.Watch`, which keeps the times and the gaps.
"""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Pieces
from c1m.engine.ragged import Ragged
from c1m.loadgen.connections import ConnectionPool
from c1m.loadgen.recorder import STILL_NS, Recorder, Watch
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.traffic import Traffic
from c1m.scenarios.messages import Numbers

DOUBT_NS = 100_000_000  # behind a silence, for replies that an engine brings later than others


class Hearing:
    """Takes what comes; `watch` is what is known of the time since then."""

    def __init__(
        self,
        traffic: Traffic,
        connections: ConnectionPool,
        recorder: Recorder,
        sampler: Sampler,
        start_ns: int,
    ) -> None:
        self.watch = Watch(start_ns)
        self._traffic = traffic
        self._connections = connections
        self._recorder = recorder
        self._sampler = sampler

    def begin(self, now_ns: int) -> None:
        """Data has come; `take` and `take_few` are for what it says."""
        watch = self.watch
        if watch.broken_ns and now_ns - watch.broken_ns > DOUBT_NS:
            watch.hear(watch.broken_ns)

    def take(self, numbers: Numbers, data: Ragged, now_ns: int) -> None:
        """Pieces for the scenario."""
        if now_ns - self.watch.heard_ns > STILL_NS:
            self._break_silence(numbers, data, now_ns)
        elif self._traffic.take(numbers, data, now_ns):
            self.watch.hear(now_ns)
            self._moved(now_ns)

    def take_few(self, pieces: Pieces, now_ns: int) -> None:
        """The scalar form of both, by slots."""
        watch, number_at = self.watch, self._connections.number_at
        some = [(number_at[slot], piece) for slot, piece in pieces]
        if watch.broken_ns or now_ns - watch.heard_ns > STILL_NS:
            self.begin(now_ns)
            numbers = np.array([number for number, _ in some])
            self.take(numbers, Ragged.of([piece for _, piece in some]), now_ns)
        elif self._traffic.take_few(some, now_ns):
            watch.hear(now_ns)
            self._moved(now_ns)

    def keep_gap(self, is_ours: bool, start_ns: int, end_ns: int, waiting: int = 0) -> None:
        """A gap is over: the load client's, or the server's with so many requests in flight."""
        self.watch.keep(is_ours, start_ns, end_ns, waiting)
        self._recorder.is_after_gap |= not is_ours  # what it was late by itself stays its own
        self._sampler.sample(self._connections.live, keep=True)

    def _moved(self, now_ns: int) -> None:
        self.watch.moved_ns, self.watch.gave_up = now_ns, False

    def _break_silence(self, numbers: Numbers, data: Ragged, now_ns: int) -> None:
        """Something comes after a long time of nothing: the server stood still where it answers
        what it had all the time, and not where it left out a few replies and nothing was asked.

        What it had all the time may come a little later: those connections were quiet, and an
        engine may take longer to read from such ones.
        """
        watch, traffic, extras = self.watch, self._traffic, self._traffic.ledger.extras
        waiting, late, sent_ns = (
            traffic.ledger.in_flight, extras["late"], traffic.oldest_sent(numbers),
        )  # fmt: skip
        end_ns = watch.broken_ns or now_ns
        is_whole = traffic.take(numbers, data, now_ns)
        is_late = extras["late"] > late
        if is_late or (is_whole and sent_ns <= (watch.heard_ns + end_ns) // 2):
            self.keep_gap(False, watch.heard_ns, end_ns, waiting)
            watch.hear(now_ns)
        elif is_whole:
            watch.broken_ns = end_ns
        if is_whole:
            self._moved(now_ns)
