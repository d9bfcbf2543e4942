"""The fake kernel's own promises: what it refuses, what it catches, and what its seed repeats."""

from __future__ import annotations

import errno
import threading
from typing import Any

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint, pack_many
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.rings import Tuning
from c1m.errors import LimitError, UsageError
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import BufferArena, BufferRing
from c1m.testing.fake_kernel import FakeKernel
from c1m.testing.fake_requests import FileTable
from c1m.testing.fake_ring import FakeRing
from c1m.testing.manual_clock import ManualClock

LOOPBACK = Endpoint(AF_INET, "127.0.0.1", 0)


def table_of(kernel: FakeKernel, size: int) -> FakeRing:
    ring = kernel.ring(0, 8, 16)
    arg = np.zeros(1, abi.FILES_REGISTER)
    arg["nr"], arg["flags"] = size, abi.FILES_SPARSE
    ring.register(abi.REGISTER_FILES2, arg, abi.FILES_REGISTER.itemsize)
    return ring


def test_the_manual_clock_moves_when_told_and_never_back() -> None:
    clock = ManualClock(5)
    clock.advance(10)
    assert clock.now_ns() == 15
    with pytest.raises(AssertionError, match="back"):
        clock.advance(-1)


def test_a_wait_lets_the_time_pass_without_sleeping() -> None:
    kernel = FakeKernel()
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=Tuning(capacity=40_000))
    engine.listen([LOOPBACK], 8)
    assert len(engine.wait(3_600_000_000_000)) == 0
    assert kernel.clock.now_ns() == 3_600_000_000_000
    engine.shutdown()
    assert kernel.open_files() == 0


def test_a_wake_from_another_thread_ends_a_wait_without_end() -> None:
    kernel = FakeKernel()
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=Tuning(capacity=40_000))
    engine.listen([LOOPBACK], 8)
    timer = threading.Timer(0.01, engine.wake)
    timer.start()
    assert len(engine.wait(-1)) == 0
    timer.join()
    engine.shutdown()


def test_listening_is_all_or_none() -> None:
    kernel = FakeKernel()
    (taken,) = kernel.listen([LOOPBACK], 8)
    files = kernel.open_files()
    with pytest.raises(UsageError, match=f":{taken.endpoint.port} cannot be listened on: it is in"):
        kernel.listen([LOOPBACK, taken.endpoint], 8)
    assert kernel.open_files() == files


def test_more_rings_than_the_kernel_gives() -> None:
    kernel = FakeKernel(files_max=8)
    kernel.refusals.refuse("ring", 2, 1)
    listener = kernel.peer_listener()
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=Tuning(capacity=800))
    to = pack_many(AF_INET, ["127.0.0.1"] * 9, [listener.endpoint.port] * 9)
    with pytest.raises(LimitError, match="io_uring number 2"):
        engine.connect(None, to)
    engine.shutdown()


def test_a_file_table_takes_the_place_freed_last_then_the_next() -> None:
    kernel = FakeKernel()
    table = FileTable(kernel.chance.counts)
    table.size = 4
    files = [kernel.network.socket(AF_INET) for _ in range(6)]
    for file in files:
        file.hold()
    assert [table.install(file) for file in files[:3]] == [0, 1, 2]
    table.clear(0)
    assert [table.install(file) for file in files[3:]] == [0, 3, None]
    table.clear(2)
    with pytest.raises(OSError, match="Bad file"):
        table.clear(2)
    table.put(1, files[5])
    assert kernel.chance.counts["replaced_files"] == 1


def test_a_buffer_given_twice_is_caught() -> None:
    ring = table_of(FakeKernel(), 8)
    arena = BufferArena(8, 64)
    buffers = BufferRing(ring, arena, 4, 16)
    assert len(ring.buffers[0]) == 4
    with pytest.raises(AssertionError):
        buffers.give(np.array([2], np.uint16))  # more than there are
    ring = table_of(FakeKernel(), 8)
    buffers = BufferRing(ring, BufferArena(8, 64), 4, 16)
    buffers.free -= 1  # another one has come back
    buffers.give(np.array([2], np.uint16))
    with pytest.raises(AssertionError, match="buffer 2 was given twice"):
        len(ring.buffers[0])


def test_registrations_that_are_refused() -> None:
    kernel = FakeKernel(files_max=8)
    with pytest.raises(OSError, match=r".") as caught:
        table_of(kernel, 9)
    assert caught.value.errno == errno.EMFILE
    ring = table_of(kernel, 8)
    with pytest.raises(OSError, match=r".") as caught:
        ring.register(abi.REGISTER_PROBE, np.zeros(1, np.uint8), 1)
    assert caught.value.errno == errno.EINVAL
    BufferRing(ring, BufferArena(8, 64), 4, 16)
    with pytest.raises(OSError, match=r".") as caught:
        BufferRing(ring, BufferArena(8, 64), 4, 16)
    assert caught.value.errno == errno.EEXIST


def test_a_connection_the_network_resets_is_known() -> None:
    kernel = FakeKernel(seed=1, reset=0.9)
    engine = UringEngine(kernel=kernel, clock=kernel.clock, tuning=Tuning(capacity=40_000))
    (endpoint,) = engine.listen([LOOPBACK], 8)
    peers = [kernel.network.peer(endpoint) for _ in range(20)]
    for peer in peers:
        peer.send(b"hello")
    closed: list[int] = []
    for _ in range(10):
        batch = engine.wait(0)
        assert (batch.closed_errnos == errno.ECONNRESET).all()
        closed += batch.closed.tolist()
    assert len(closed) == sum(peer.was_reset for peer in peers) == kernel.chance.counts["reset"] > 0
    engine.shutdown()


def test_the_draws_of_one_fault_do_not_depend_on_others_that_are_off() -> None:
    def shorts(**faults: Any) -> list[bool]:
        chance = FakeKernel(seed=7, short_send=0.5, **faults).chance
        found = []
        for _ in range(50):
            found.append(chance.strikes("short_send"))
            chance.strikes("reset")
        return found

    assert shorts() == shorts(reset=0.0)
    assert shorts() != shorts(reset=0.5)
