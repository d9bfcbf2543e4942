"""Whether a batch is worked through one by one or by arrays makes no difference to anybody.

Engines on fake kernels of the same seed get the same peers and the same schedule; one does every
batch one by one, one does so and copies its data out, one does none. What they report,
and all counters, must be equal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.addresses import AF_INET, Endpoint
from c1m.engine import checks
from c1m.engine.ragged import Ragged
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.receive import BUSY_EARLY
from c1m.engine.uring.rings import Tuning
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_network import Socket

checks.COSTLY = True

PEERS = 5

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("peers send"), st.lists(st.integers(0, PEERS - 1)), st.integers(1, 900)),
        st.tuples(st.just("peers send"), st.lists(st.integers(0, PEERS - 1)), st.just(1)),
        st.tuples(st.just("peers send"), st.lists(st.integers(0, PEERS - 1)), st.just(2)),
        st.tuples(st.just("peer closes"), st.integers(0, PEERS - 1)),
        st.tuples(st.just("peer resets"), st.integers(0, PEERS - 1)),
        st.tuples(st.just("close"), st.integers(0, PEERS - 1)),
        st.tuples(st.just("send"), st.lists(st.integers(0, PEERS - 1)), st.integers(0, 3000)),
        st.tuples(st.just("send each"), st.lists(st.integers(0, PEERS - 1)), st.integers(0, 3000)),
        st.tuples(st.just("ask"), st.integers(0, PEERS - 1)),
        st.tuples(st.just("second passes")),
    ),
    max_size=25,
)

FAULTS = st.sampled_from([{}, {"short_send": 0.2, "no_buffers": 0.2}])


class Side:
    """An echoing engine with a few peers, and a log of all it reports."""

    def __init__(
        self, few: int, seed: int, faults: Any, is_busy: bool, *, takes: bool = False
    ) -> None:
        self.takes = takes
        self.kernel = FakeKernel(seed, **faults)
        tuning = Tuning(
            capacity=64, files_per_ring=32, buffer_size=512, buffers_each=8,
            buffers_first=32 if is_busy else 8, buffers_max=64, sq_entries=8, cq_entries=16,
            few=few,
        )  # fmt: skip
        self.engine = UringEngine(kernel=self.kernel, clock=self.kernel.clock, tuning=tuning)
        (endpoint,) = self.engine.listen([Endpoint(AF_INET, "127.0.0.1", 0)], 8)
        self.peers: list[Socket] = [self.kernel.network.peer(endpoint) for _ in range(PEERS)]
        self.log: list[Any] = []
        self.slots: list[int] = []
        self.turn()
        for _ in range(BUSY_EARLY + 1 if is_busy else 0):  # then they are received from, not polled
            self.step(("peers send", [*range(PEERS)], 1))

    def turn(self) -> None:
        """A few ticks; what comes goes back."""
        for _ in range(6):
            come: list[tuple[int, bytes]] = []
            batch = self.engine.wait(0, come if self.takes else None)
            if come:
                self.engine.send_each([slot for slot, _ in come], [piece for _, piece in come])
            self.slots += batch.opened.tolist()
            come += zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True)
            self.log.append(
                (
                    batch.opened.tolist(), come, batch.eof.tolist(), batch.closed.tolist(),
                    batch.closed_errnos.tolist(), batch.blocked.tolist(), batch.drained.tolist(),
                )
            )  # fmt: skip
            assert batch.data.nbytes() == sum(map(len, batch.data.pieces()))
            if len(batch.data_slots):
                self.engine.send(batch.data_slots, batch.data)
            if len(batch.eof):
                self.engine.close(batch.eof)
            for peer in self.peers:
                if not peer.is_closed:
                    self.log.append(self._received(peer))

    @staticmethod
    def _received(peer: Socket) -> bytes | int | None:
        try:
            return peer.recv(1 << 20)
        except OSError as error:
            return error.errno

    def step(self, step: tuple[Any, ...]) -> None:
        match step:
            case "peers send", list() as several, int() as size:
                for number in several:
                    try:
                        self.peers[number].send(bytes([65 + number]) * size)
                    except OSError as error:
                        self.log.append(error.errno)
            case "peer closes", int() as number:
                self.peers[number].close()
            case "peer resets", int() as number:
                self.peers[number].reset()
            case "close", int() as number:
                self.engine.close(self._array([number]))
            case "send", list() as several, int() as size:
                slots = self._array(several)
                self.engine.send(slots, Ragged.repeat(b"s" * size, len(slots)))
                self.engine.send(slots, Ragged.repeat(b"t" * size, len(slots)))
            case "send each", list() as several, int() as size:
                slots = self._array(several).tolist()
                self.engine.send_each(slots, [bytes([97 + slot % 26]) * size for slot in slots])
                self.engine.send_each(slots[:1], [b"!"] * len(slots[:1]))
            case "ask", int() as number:
                slots = self._array([number]).tolist()
                self.log += [self.engine.unsent(slot) for slot in slots]
            case _:
                self.kernel.clock.advance(1_000_000_000)
        self.turn()

    def _array(self, numbers: list[int]) -> Any:
        return np.array([self.slots[n] for n in numbers if n < len(self.slots)], np.int32)

    def counters(self) -> Any:
        return self.engine.statistics()


@settings(max_examples=60)
@given(
    STEPS,
    st.integers(0, 3),
    st.sampled_from([{}, {"short_send": 0.2, "no_buffers": 0.2}]),
    st.booleans(),
)
def test_one_by_one_and_by_arrays_are_the_same(
    steps: list[tuple[Any, ...]], seed: int, faults: dict[str, float], is_busy: bool
) -> None:
    by_arrays = Side(0, seed, faults, is_busy)
    others = Side(1000, seed, faults, is_busy), Side(1000, seed, faults, is_busy, takes=True)
    for step in steps:
        by_arrays.step(step)
        for side in others:
            side.step(step)
            assert side.log == by_arrays.log
    for side in others:
        assert side.counters() == by_arrays.counters()
        side.engine.shutdown()
    by_arrays.engine.shutdown()
