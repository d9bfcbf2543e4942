"""Sends that fail before the input of their connection was read: it is read to its end, once."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.receive import Input
from c1m.engine.uring.rings import Tuning
from c1m.testing.fake_kernel import FakeKernel

SLOT = np.zeros(1, np.int32)


def test_it_is_read_once_at_a_time_however_many_have_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else two receives are under way for one connection, and its end is reported twice."""
    asked: list[list[int]] = []
    read = Input._read

    def noted(self: Input, slots: Slots) -> None:
        asked.append(slots.tolist())
        read(self, slots)

    monkeypatch.setattr(Input, "_read", noted)
    kernel = FakeKernel()
    tuning = Tuning(capacity=512, files_per_ring=128)
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=tuning)
    endpoint = Endpoint(AF_INET, "127.0.0.1", 8001)
    engine.listen([endpoint], 10)
    peer = kernel.network.peer(endpoint)
    for _ in range(4):
        engine.wait(0)
    peer.send(bytes(9000))
    peer.close()
    for _ in range(6):  # the first is answered by a reset
        engine.send(SLOT, Ragged.of([b"x"]))
    size, ends = 0, 0
    for _ in range(20):
        batch = engine.wait(0)
        size += batch.data.nbytes()
        ends += len(batch.eof) + len(batch.closed)
    assert (size, ends) == (9000, 1)
    assert [0] in asked
    assert all(len(slots) == len({*slots}) for slots in asked)
    engine.shutdown()
