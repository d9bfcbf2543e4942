"""What the engine relies on of a ring, on the real kernel, with Linux 6.1's features, and the fake.

Each test is a fact about io_uring. Where the fake kernel would differ, the engine's tests on it
would prove nothing.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint, pack
from c1m.engine.ragged import Ragged
from c1m.engine.uring import submissions as sub
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import GROUP, BufferArena, BufferRing
from c1m.kernel.real import Kernel
from c1m.kernel.ring import Ring, RingLike
from c1m.kernel.uring_probe import OLDEST
from c1m.testing.fake_kernel import FakeKernel
from contract.harness import LOOPBACK, Harness, SocketHarness
from contract.peers import Peer
from contract.uring_harnesses import FakeHarness, real_kernel
from kernel.watched import KINDS

FILES = 64
ACCEPT, RECEIVE, SEND, WAKE = 1 << 32, 2 << 32, 3 << 32, 7 << 32
STEP_NS = 2_000_000
STEPS_MAX = 500
Completion = tuple[int, int, int]  # user data, result, flags


class Bench:
    """One ring with a table of 64 files and buffers of 64 bytes, and peers for its sockets."""

    def __init__(self, kernel: Kernel, harness: Harness, sq: int, cq: int) -> None:
        self.kernel = kernel
        self.harness = harness
        self.ring: RingLike = kernel.ring(0, sq, cq)
        arg = np.zeros(1, abi.FILES_REGISTER)
        arg["nr"], arg["flags"] = FILES, abi.FILES_SPARSE
        self.ring.register(abi.REGISTER_FILES2, arg, abi.FILES_REGISTER.itemsize)
        self.arena = BufferArena(256, 64)
        self.buffers = BufferRing(self.ring, self.arena, 128, 256)
        self.listener = kernel.listen([LOOPBACK], 128)[0]
        self._into = np.zeros((4096, 4), np.uint32)

    def collect(self, most: int = 4096) -> list[Completion]:
        """What one drain and one reap bring."""
        self.ring.drain(most, 0, 0)
        return self.reap()

    def reap(self) -> list[Completion]:
        """What is in the queue."""
        count = self.ring.reap(self._into)
        rows = self._into[:count]
        return [
            (slot | tag << 32, int(result), flags)
            for (slot, tag, _, flags), result in zip(
                rows.tolist(), rows[:, 2].view(np.int32), strict=True
            )
        ]

    def until(self, count: int) -> list[Completion]:
        """Drain until there are so many."""
        found: list[Completion] = []
        for _ in range(STEPS_MAX):
            found += self.collect()
            if len(found) >= count:
                return found
            self.harness.step()
            self.ring.drain(1, 1, STEP_NS)
            found += self.reap()
        raise AssertionError(f"{len(found)} of {count} completions: {found}")

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Step the peers until the condition holds; the ring sleeps meanwhile."""
        for _ in range(STEPS_MAX):
            while self.harness.step():
                pass
            if condition():
                return
            self.ring.drain(1, 1, STEP_NS)
        raise AssertionError("the condition does not hold")

    def accepted(self, count: int = 1, **options: int) -> list[Peer]:
        """Connections in places 0.. of the table."""
        peers = [self.harness.peer(self.listener.endpoint, **options) for _ in range(count)]
        self.ring.push(sub.accept(self.listener.fd, count, False, ACCEPT))
        places = [result for _, result, _ in self.until(count)]
        assert places == list(range(count))
        return peers

    def arm(self, *files: int, poll_first: bool = False) -> None:
        """Multishot receives; user data RECEIVE | file."""
        at = np.array(files, np.int32)
        rows = sub.receive(at, GROUP, at.astype(np.uint64) + np.uint64(RECEIVE))
        if poll_first:
            rows[:, 0] |= np.uint64(abi.RECV_POLL_FIRST << 16)
        self.ring.push(rows)
        self.ring.submit()

    def bytes_of(self, completion: Completion) -> bytes:
        """What a receive brought."""
        at = (completion[2] >> abi.CQE_BUFFER_SHIFT) * self.arena.size
        return self.arena.memory[at : at + completion[1]].tobytes()

    def close(self) -> None:
        self.ring.close()
        self.listener.close()
        self.kernel.shutdown()
        self.harness.close()


MakeBench = Callable[..., Bench]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Iterator[MakeBench]:
    benches: list[Bench] = []

    def make(sq: int = 64, cq: int = 256) -> Bench:
        oldest = OLDEST if request.param.endswith("oldest") else None
        if request.param.startswith("fake"):
            fake = FakeHarness(features=oldest)
            harness: Harness = fake
            kernel: Kernel = fake.kernel
        else:
            harness = SocketHarness(lambda: pytest.fail("no engine here"))
            kernel = real_kernel(oldest is not None)
        benches.append(Bench(kernel, harness, sq, cq))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def nops(count: int, first: int = 0) -> sub.Words:
    """NOPs with user data first, first + 1, ..."""
    rows = np.zeros((count, 8), np.uint64)
    rows[:, 4] = np.arange(first, first + count)
    return rows


def cancel_of(data: int) -> sub.Words:
    rows = sub.cancel(np.array([data], np.uint64))
    rows[:, 0] = abi.OP_ASYNC_CANCEL  # success too is told
    return rows


# --- queues -------------------------------------------------------------------------------------


def test_completions_come_in_order_through_queues_that_wrap(make: MakeBench) -> None:
    bench = make(sq=8, cq=16)
    told: list[int] = []
    for start in range(0, 2000, 13):
        bench.ring.push(nops(13, start))
        told += [data for data, _, _ in bench.collect()]
    assert told == list(range(13 * len(range(0, 2000, 13))))


def test_a_full_completion_queue_loses_nothing(make: MakeBench) -> None:
    bench = make(sq=8, cq=16)
    bench.ring.push(nops(180))
    bench.ring.submit()
    told = [data for data, _, _ in bench.reap()]
    assert told == list(range(16))
    assert bench.ring.has_overflow()
    assert bench.ring.wants_attention()
    while bench.ring.has_overflow():
        told += [data for data, _, _ in bench.collect()]
    assert told == list(range(180))


def test_a_small_array_takes_a_part(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(nops(10))
    assert bench.ring.drain(100, 0, 0) == 10
    into = np.zeros((4, 4), np.uint32)
    assert [bench.ring.reap(into) for _ in range(4)] == [4, 4, 2, 0]


def test_nothing_comes_without_a_drain(make: MakeBench) -> None:
    bench = make()
    peers = bench.accepted(30)
    bench.arm(*range(30))
    for peer in peers:
        peer.send(b"hello")
    bench.ring.submit()
    assert bench.reap() == []
    assert len(bench.until(30)) == 30


def test_one_drain_brings_more_than_the_kernel_runs_in_one_pass(make: MakeBench) -> None:
    bench = make()
    peers = bench.accepted(60)
    bench.arm(*range(60))
    for _ in range(5):  # a busy machine may deliver some of it a moment later
        for peer in peers:
            peer.send(b"hello")
        told = bench.collect()
        bench.buffers.free -= len(told)
        bench.buffers.give(np.array([c[2] >> abi.CQE_BUFFER_SHIFT for c in told], np.uint16))
        if len(told) == 60:  # a pass is 20
            return
    raise AssertionError("no drain brought all")


def test_a_sleep_ends_when_its_time_is_up(make: MakeBench) -> None:
    bench = make()
    assert bench.ring.drain(10, 1, 1_000_000) == 0


def test_a_table_of_too_many_files_is_refused(make: MakeBench) -> None:
    bench = make()
    ring = bench.kernel.ring(1, 8, 16)
    arg = np.zeros(1, abi.FILES_REGISTER)
    arg["nr"], arg["flags"] = bench.kernel.files_max() + 1, abi.FILES_SPARSE
    with pytest.raises(OSError, match=r".") as caught:
        ring.register(abi.REGISTER_FILES2, arg, abi.FILES_REGISTER.itemsize)
    assert caught.value.errno == errno.EMFILE
    ring.close()


def test_close_may_be_called_twice(make: MakeBench) -> None:
    bench = make()
    bench.ring.close()
    bench.ring.close()


# --- accepting ----------------------------------------------------------------------------------


def test_a_multishot_accept_into_a_full_table_loses_one_client(make: MakeBench) -> None:
    bench = make()
    peers = [bench.harness.peer(bench.listener.endpoint) for _ in range(FILES + 5)]
    bench.ring.push(sub.accept(bench.listener.fd, 1, True, ACCEPT))
    told = bench.until(FILES + 1)
    assert [result for _, result, _ in told[:FILES]] == list(range(FILES))
    assert all(flags & abi.CQE_MORE for _, _, flags in told[:FILES])
    assert told[FILES][1:] == (-errno.ENFILE, told[FILES][2] & ~abi.CQE_MORE)
    bench.wait_for(lambda: any(peer.has_ended() for peer in peers))
    assert sum(peer.has_ended() for peer in peers) == 1


def test_cancels_of_one_name_find_the_same_request_and_all_finds_all(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(sub.accept(bench.listener.fd, 5, False, ACCEPT))
    bench.ring.submit()
    bench.ring.push(sub.cancel(np.repeat(np.array([ACCEPT], np.uint64), 5)))
    assert [result for _, result, _ in bench.collect()] == [-errno.ECANCELED]
    bench.ring.push(sub.cancel(np.array([ACCEPT], np.uint64), everyone=True))
    assert [result for _, result, _ in bench.collect()] == [-errno.ECANCELED] * 4


def test_a_cancelled_listener_lets_go_of_its_port(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(sub.accept(bench.listener.fd, 1, True, ACCEPT))
    bench.ring.submit()
    bench.ring.push(sub.cancel(np.array([ACCEPT], np.uint64), everyone=True))
    bench.listener.close()
    bench.collect()
    bench.listener = bench.kernel.listen([bench.listener.endpoint], 1)[0]


# --- receiving ----------------------------------------------------------------------------------


def test_data_then_the_end(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    bench.arm(0)
    peer.send(b"x" * 100)
    told = bench.until(2)
    assert b"".join(map(bench.bytes_of, told)) == b"x" * 100
    assert all(flags & abi.CQE_MORE and flags & abi.CQE_BUFFER for _, _, flags in told)
    peer.shutdown_write()
    ((data, result, flags),) = bench.until(1)
    assert (data, result, flags & 3) == (RECEIVE, 0, 0)


@pytest.mark.parametrize("is_late", [False, True])
def test_data_then_a_reset(make: MakeBench, is_late: bool) -> None:
    bench = make()
    (peer,) = bench.accepted()
    if not is_late:
        bench.arm(0)
    peer.send(b"last words")
    peer.reset()
    if is_late:
        bench.arm(0)
    told = bench.until(2)
    assert [result for _, result, _ in told] == [10, -errno.ECONNRESET]


def test_poll_first_does_not_see_the_reset_behind_the_data(make: MakeBench) -> None:
    """Why the engine does not use it, and why the fake does not have it."""
    bench = make()
    if isinstance(bench.kernel, FakeKernel):
        pytest.skip("what no engine asks for is not faked")
    (peer,) = bench.accepted()
    peer.send(b"last words")
    peer.reset()
    bench.arm(0, poll_first=True)
    told = bench.until(1)
    told += bench.collect() + bench.collect()
    if len(told) == 2:
        pytest.skip("this kernel looks at the socket again")
    assert [result for _, result, _ in told] == [10]


def test_without_buffers_a_receive_ends_and_the_data_stays(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    peer.send(b"y" * 64 * 130)  # two more than there are buffers
    bench.arm(0)
    told = bench.until(129)
    assert [result for _, result, _ in told] == [64] * 128 + [-errno.ENOBUFS]
    assert told[-1][2] == 0
    bench.arm(0)  # none yet: ends at once
    assert [result for _, result, _ in bench.until(1)] == [-errno.ENOBUFS]
    bench.buffers.grow(8)
    bench.arm(0)
    assert [result for _, result, _ in bench.until(2)] == [64, 64]


def test_a_full_queue_ends_a_receive_with_valid_data(make: MakeBench) -> None:
    bench = make(sq=8, cq=16)
    (peer,) = bench.accepted()
    peer.send(b"z" * 64 * 20)
    bench.arm(0)
    bench.ring.drain(100, 0, 0)
    told = bench.until(17)
    assert [result for _, result, _ in told] == [64] * 17
    assert [bool(flags & abi.CQE_MORE) for _, _, flags in told] == [True] * 16 + [False]


# --- closing ------------------------------------------------------------------------------------


def test_a_close_with_an_armed_receive_neither_ends_nor_silences_it(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    bench.arm(0)
    bench.ring.push(sub.close(np.zeros(1, np.int32)))
    peer.send(b"hello")
    ((data, result, _),) = bench.until(1)
    assert (data, result) == (RECEIVE, 5)
    peer.step()
    assert not peer.has_ended()
    other = bench.accepted()[0]  # place 0 is free at once
    bench.ring.push(cancel_of(RECEIVE))
    told = bench.until(2)
    assert sorted(result for _, result, _ in told) == [-errno.ECANCELED, 0]
    bench.wait_for(lambda: peer.is_eof)
    assert not other.has_ended()


def test_a_cancel_of_nothing_is_told(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(sub.cancel(np.array([RECEIVE], np.uint64)))
    assert [result for _, result, _ in bench.collect()] == [-errno.ENOENT]


def test_a_close_of_nothing_is_told(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(sub.close(np.array([3], np.int32)))
    assert [result for _, result, _ in bench.collect()] == [-errno.EBADF]


def test_a_close_with_unread_data_resets(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    peer.send(b"unread")
    bench.ring.push(sub.close(np.zeros(1, np.int32)))
    bench.collect()
    bench.wait_for(peer.has_ended)
    assert peer.error == errno.ECONNRESET


# --- sending ------------------------------------------------------------------------------------


def send_now(bench: Bench, data: np.ndarray) -> None:
    zero = np.zeros(1, np.int32)
    piece = Ragged(data, np.zeros(1, np.int64), np.array([len(data)], np.int32))
    bench.ring.push(sub.SendBlock(1).fill(zero, zero, np.zeros(1, np.uint16), piece))
    bench.ring.submit()


def test_a_send_is_silent_when_all_went(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    send_now(bench, np.frombuffer(b"hello", np.uint8))
    assert bench.collect() == []
    bench.wait_for(lambda: peer.received == b"hello")


def test_a_send_is_short_then_refused(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted(buffers=65_536)
    peer.is_reading = False
    data = np.frombuffer(bytes(range(256)) * 32_000, np.uint8)
    send_now(bench, data)
    ((_, short, _),) = bench.until(1)
    assert 0 < short < len(data)
    refused = 0
    while refused != -errno.EAGAIN:
        send_now(bench, data[short:])
        ((_, refused, _),) = bench.until(1)
        short += max(refused, 0)
    peer.is_reading = True
    bench.wait_for(lambda: len(peer.received) == short)
    assert peer.received == data[:short].tobytes()


def test_a_send_after_a_reset(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    peer.reset()
    results = []
    for _ in range(3):
        send_now(bench, np.frombuffer(b"anybody?", np.uint8))
        results += [result for _, result, _ in bench.until(1)]
    assert results == [-errno.ECONNRESET, -errno.EPIPE, -errno.EPIPE]


# --- connecting, the doorbell ---------------------------------------------------------------------


def test_a_connect_by_a_socket_that_is_moved_in(make: MakeBench) -> None:
    bench = make()
    listener = bench.harness.peer_listener()
    fd = bench.kernel.socket(AF_INET, pack(Endpoint(AF_INET, "127.0.0.7", 0)))
    bench.kernel.move_in(bench.ring, fd, 5)
    address = np.frombuffer(pack(listener.endpoint), np.uint8)
    at = np.array([address.ctypes.data], np.uint64)
    bench.ring.push(sub.connect(np.array([5], np.int32), at, len(address), np.ones(1, np.uint64)))
    assert bench.until(1) == [(1, 0, 0)]
    assert bench.harness.step()
    assert len(listener.accepted) == 1


def test_a_connect_in_the_ring(make: MakeBench) -> None:
    bench = make()
    if not bench.kernel.features.direct_socket:
        pytest.skip("Linux 6.1 makes no sockets in a ring")
    listener = bench.harness.peer_listener()
    files = np.array([5], np.int32)
    data = np.ones(1, np.uint64)
    good = np.frombuffer(pack(listener.endpoint), np.uint8)
    bad = np.frombuffer(pack(Endpoint(AF_INET, "192.0.2.1", 0)), np.uint8)
    on = np.ones(1, np.int32)
    option = socket.IPPROTO_TCP, socket.TCP_NODELAY, on.ctypes.data, on.itemsize
    bench.ring.push(sub.open_socket(files, AF_INET, data))
    bench.ring.push(sub.set_option(files, *option, data))
    bench.ring.push(sub.bind(files, np.array([bad.ctypes.data], np.uint64), len(bad), data))
    assert bench.until(1) == [(1, -errno.EADDRNOTAVAIL, 0)]
    bench.ring.push(sub.connect(files, np.array([good.ctypes.data], np.uint64), len(good), data))
    assert bench.until(1) == [(1, 0, 0)]


def test_the_bell_rings_for_a_watched_ring_and_wake_wakes(make: MakeBench) -> None:
    bench = make()
    (peer,) = bench.accepted()
    bench.kernel.watch(bench.ring)
    bench.arm(0)
    bench.kernel.sleep(0)
    peer.send(b"hello")
    assert bench.kernel.sleep(1_000_000_000) is False
    assert bench.ring.wants_attention()
    assert [result for _, result, _ in bench.collect()] == [5]
    bench.kernel.wake()
    assert bench.kernel.sleep(-1) is True


def test_a_ring_sees_a_wake_by_polling(make: MakeBench) -> None:
    bench = make()
    bench.ring.push(sub.poll(bench.kernel.wake_fd(), 1, WAKE))
    assert bench.collect() == []
    for _ in range(3):
        bench.kernel.wake()
        ((data, result, flags),) = bench.until(1)
        assert (data, result, flags) == (WAKE, 1, abi.CQE_MORE)


def test_rings_of_the_real_kernel_give_their_descriptor_back() -> None:
    real_kernel().shutdown()  # or skip
    ring = Ring(0, 8, 16, True)
    fd = ring.fd
    ring.close()
    with pytest.raises(OSError, match="Bad file descriptor"), socket.socket(fileno=fd):
        pass
