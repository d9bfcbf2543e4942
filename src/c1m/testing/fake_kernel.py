"""A kernel in memory on which the real uring engine runs, with faults drawn from one seed.

Satisfies kernel.real.Kernel. Rings follow io_uring's rules (fake_ring, fake_operations), sockets
those of TCP (fake_network); pointers are real: data is read from and written to the engine's own
memory. Nothing sleeps: time is `clock`, which moves on when there is nothing to do. The same seed
and the same calls give the same run.
"""

from __future__ import annotations

import ctypes
import dataclasses
import errno
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from c1m.addresses import AF_INET, Endpoint, unpack
from c1m.errors import UsageError
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import anonymous
from c1m.kernel.ring import RingLike, register_file
from c1m.kernel.sockets import Listener
from c1m.kernel.uring_probe import Features
from c1m.testing import fake_network
from c1m.testing.fake_network import Event, File, Network, error
from c1m.testing.fake_ring import FakeRing, ProvidedBuffers
from c1m.testing.manual_clock import ManualClock

if TYPE_CHECKING:
    import mmap

FOREVER_S = 10.0  # a sleep without end waits so long for a `wake` from another thread

REGISTRATIONS = {
    abi.REGISTER_FILES2: "files",
    abi.REGISTER_FILES_UPDATE: "move in",
    abi.REGISTER_PBUF_RING: "buffers",
    abi.REGISTER_EVENTFD: "eventfd",
    abi.REGISTER_IOWQ_MAX_WORKERS: "workers",
}
CALLS = ("ring", "memory", "start", *REGISTRATIONS.values(), "accept", "socket", "open socket")
"""A ring, memory, a ring's start and registrations, an accept, a socket by a call or in a ring."""


class Refusals:
    """Counts the calls by name in `calls`, what was refused in `refused`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._planned: dict[str, tuple[int, int, int]] = {}

    def refuse(self, call: str, first: int, times: int, code: int = errno.ENOMEM) -> None:
        """Refuse the calls of this name from the `first`th (from 1) on, so many times."""
        assert call in CALLS, call
        self._planned[call] = (first, first + times, code)

    def call(self, name: str) -> None:
        """One call. Raises OSError where it is to be refused."""
        self.calls[name] += 1
        first, end, code = self._planned.get(name, (0, 0, 0))
        if first <= self.calls[name] < end:
            self.refused[name] += 1
            raise error(code)

    def lift(self) -> None:
        self._planned.clear()


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, each between 0 and below 1, drawn wherever the thing could happen."""

    short_send: float = 0.0  # a send takes only a part of what would fit
    refuse_send: float = 0.0  # a send that must not wait gets EAGAIN although there is room
    no_buffers: float = 0.0  # a receive finds no buffer although there is one
    reset: float = 0.0  # the network resets a connection while it is sent to or read
    end_multishot: float = 0.0  # a multishot's completion is valid, but its last
    accept_error: float = 0.0  # an accept fails (no connection is taken)
    sticky_taskrun: float = 0.0  # TASKRUN stays set with nothing left to do
    interrupt: float = 0.0  # a sleep ends early, as by a signal

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < 1:
                raise ValueError(f"{name} = {value} is no probability below 1")


class Chance:
    """Draws faults from one seeded source; `counts` says what happened, by name."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self.random = Random(seed)
        self.faults = faults
        self.counts: Counter[str] = Counter()

    def strikes(self, fault: str) -> bool:
        probability: float = getattr(self.faults, fault)
        # No draw for what is switched off: a run without faults is the same whatever others add.
        if probability == 0 or self.random.random() >= probability:
            return False
        self.counts[fault] += 1
        return True


class FakeListener(Listener):
    """A listening socket of the fake kernel, as the engine holds it."""

    def __init__(self, kernel: FakeKernel, fd: int, file: fake_network.Listener) -> None:
        self.endpoint = file.endpoint
        self.fd = fd
        self._kernel = kernel
        self._listening = file

    def set_backlog(self, backlog: int) -> None:
        self._listening.backlog = backlog

    def close(self) -> None:
        self._kernel.close(self.fd)


class FakeKernel:
    """One seed, one run. Keyword arguments named in `Faults` are probabilities.

    files_max: direct descriptors of one ring. rings_max: rings before the kernel refuses (ENOMEM).
    cq_entries_max: bound for completion queues, whatever is asked. socket_buffer: bytes that wait
    in a socket. ports: ephemeral ports for each source, destination and port. network: another
    kernel's, to be on the same host. What an engine needs may be refused at any call: `refusals`.
    `chance.counts` says what happened: faults by their name, and "dropped_accepts" (connections
    lost to a full table), "replaced_files", "bad_files", "out_of_buffers",
    "full_submission_queue", "overflowed_completions", "ended_by_overflow".
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        files_max: int = 20_000,
        rings_max: int = 1 << 16,
        cq_entries_max: int = 1 << 16,
        socket_buffer: int = 65_536,
        ports: int = 28_232,
        features: Features | None = None,
        clock: ManualClock | None = None,
        network: Network | None = None,
        **faults: float,
    ) -> None:
        self.seed = seed
        self.features = features or Features()
        self.clock = clock or ManualClock()
        self.chance = Chance(seed, Faults(**faults))
        self.network = network or Network(socket_buffer, ports)
        self.refusals = Refusals()
        self.rings: list[FakeRing] = []
        self.has_run = False  # an engine has been made on it
        self._files_max = files_max
        self._rings_max = rings_max
        self._cq_entries_max = cq_entries_max
        self._files: dict[int, File] = {}
        self._next_fd = 100
        self._idle: list[Callable[[], bool]] = []
        self._bell = Event()
        self._wake = Event()
        self._woken = threading.Event()
        self._bell_fd = self._install(self._bell)
        self._wake_fd = self._install(self._wake)

    # --- the seam: kernel.real.Kernel -----------------------------------------------------------

    def files_max(self) -> int:
        return self._files_max

    def ring(self, index: int, sq_entries: int, cq_entries: int, at_rest: bool = False) -> FakeRing:
        self.refusals.call("ring")
        if len(self.rings) >= self._rings_max:
            raise error(errno.ENOMEM)
        cq_entries = min(cq_entries, self._cq_entries_max)
        ring = FakeRing(self, index, sq_entries, cq_entries, at_rest)
        self.rings.append(ring)
        self.has_run = True
        return ring

    def rings_left(self, ring: RingLike, locked_bytes: int) -> int:
        return self._rings_max - len(self.rings)

    def memory(self, length: int) -> mmap.mmap:
        self.refusals.call("memory")
        return anonymous(length)

    def watch(self, ring: RingLike) -> None:
        ring.register(abi.REGISTER_EVENTFD, np.array([self._bell_fd], np.int32), 1)

    def look(self, ring: RingLike, time_ns: int) -> bool:
        return ring.wants_attention()

    def sleep(self, timeout_ns: int) -> bool:
        if not self.chance.strikes("interrupt"):
            self.idle_until(lambda: self._bell.has_rung or self._wake.has_rung, timeout_ns)
        self._bell.take()
        return self._wake.take()

    def wake(self) -> None:
        self._woken.set()  # nothing else: it may come from a signal handler or another thread

    def wake_fd(self) -> int:
        return self._wake_fd

    def listen(self, endpoints: Sequence[Endpoint], backlog: int) -> list[Listener]:
        opened: list[Listener] = []
        for endpoint in endpoints:
            try:
                listener = self.network.listen(endpoint, backlog)
            except OSError as problem:
                for before in opened:
                    before.close()
                raise _refused(endpoint, problem) from None
            opened.append(FakeListener(self, self._install(listener), listener))
        return opened

    def socket(self, family: int, source: bytes | None) -> int:
        self.refusals.call("socket")
        made = self.network.socket(family)
        if source is not None:
            self.network.bind(made, unpack(family, source))
        return self._install(made)

    def move_in(self, ring: RingLike, fd: int, file: int) -> None:
        try:
            register_file(ring, file, fd)
        finally:
            self.close(fd)

    def shutdown(self) -> None:
        for fd in (self._bell_fd, self._wake_fd):
            if fd in self._files:
                self.close(fd)

    # --- what tests use -------------------------------------------------------------------------

    def peer_listener(
        self, endpoint: Endpoint | None = None, backlog: int = 128
    ) -> fake_network.Listener:
        """Listen outside, for the engine to connect to (default: 127.0.0.1, a free port)."""
        listener = self.network.listen(endpoint or Endpoint(AF_INET, "127.0.0.1", 0), backlog)
        listener.hold()
        return listener

    def on_idle(self, step: Callable[[], bool]) -> None:
        """`step` runs whenever the engine would sleep; True says that it did something."""
        self._idle.append(step)

    def open_files(self) -> int:
        """Descriptors and direct descriptors in use: what a test expects to be 0 at the end."""
        return len(self._files) + sum(len(r.table) for r in self.rings)

    # --- the inside -----------------------------------------------------------------------------

    def take_wake(self) -> None:
        """Let a `wake` take effect, in the engine's thread."""
        if self._woken.is_set():
            self._woken.clear()
            self._wake.signal()

    def idle_until(self, is_ready: Callable[[], bool], timeout_ns: int) -> bool:
        """What happens while the engine sleeps; False when its time is up."""
        self.take_wake()
        while not is_ready():
            progress = self.network.advance()
            for step in self._idle:
                progress |= step()
            self.take_wake()
            if progress or is_ready():
                continue
            if timeout_ns >= 0:
                self.clock.advance(timeout_ns)
                return False
            if not self._woken.wait(FOREVER_S):
                raise RuntimeError("The engine sleeps for ever and nobody is there to wake it.")
            self.take_wake()
        return True

    def file(self, fd: int) -> File | None:
        return self._files.get(fd)

    def _install(self, file: File) -> int:
        file.hold()
        self._next_fd += 1
        self._files[self._next_fd] = file
        return self._next_fd

    def close(self, fd: int) -> None:
        self._files.pop(fd).drop()

    def ring_closed(self, ring: FakeRing) -> None:
        """It no longer counts against `rings_max`."""
        self.rings.remove(ring)

    def register(
        self, ring: FakeRing, opcode: int, arg: npt.NDArray[np.generic], count: int
    ) -> None:
        """io_uring_register. Raises OSError."""
        first: Any = arg[0]
        self.refusals.call(REGISTRATIONS.get(opcode, ""))
        if opcode == abi.REGISTER_FILES2:
            assert arg.dtype == abi.FILES_REGISTER and count == abi.FILES_REGISTER.itemsize
            size = int(first["nr"])
            if ring.table.size:
                raise error(errno.EBUSY)
            if size > min(self._files_max, abi.FILES_MAX):
                raise error(errno.EMFILE)
            ring.table.size = size
        elif opcode == abi.REGISTER_FILES_UPDATE:
            self._update_files(ring, int(first["offset"]), int(first["fds"]), count)
        elif opcode == abi.REGISTER_PBUF_RING:
            entries, group = int(first["ring_entries"]), int(first["bgid"])
            if group in ring.buffers:
                raise error(errno.EEXIST)
            if entries > abi.BUFFER_RING_MAX or entries & (entries - 1):
                raise error(errno.EINVAL)
            ring.buffers[group] = ProvidedBuffers(int(first["ring_addr"]), entries)
        elif opcode == abi.REGISTER_EVENTFD:
            bell = self._files[int(first)]
            assert isinstance(bell, Event)
            ring.watch(bell)
        elif opcode != abi.REGISTER_IOWQ_MAX_WORKERS:
            raise error(errno.EINVAL)

    def _update_files(self, ring: FakeRing, first: int, address: int, count: int) -> None:
        for i, fd in enumerate((ctypes.c_int32 * count).from_address(address)):
            file = self._files.get(fd)
            if file is None:
                raise error(errno.EBADF)
            ring.table.put(first + i, file)


def _refused(endpoint: Endpoint, problem: OSError) -> UsageError:
    asked = f"{endpoint} cannot be listened on"
    if problem.errno == errno.EADDRINUSE:
        return UsageError(f"{asked}: it is in use.", "Stop that one, or use another port.")
    return UsageError(f"{asked}: {problem.strerror}.")
