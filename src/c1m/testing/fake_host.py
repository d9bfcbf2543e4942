"""The machine that a fake kernel is: its files, its time, and the faults that befall it."""

from __future__ import annotations

import dataclasses
import errno
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from c1m.kernel import uring_abi as abi
from c1m.testing.fake_network import Event, File, Network, error
from c1m.testing.manual_clock import ManualClock

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
COMMANDS = ("install",)
"""A descriptor of a connection."""
OPERATION = "op "
"""Before the name of an operation in a ring: each time that it is tried counts."""


class Refusals:
    """Counts the calls by name in `calls`, what was refused in `refused`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._planned: dict[str, tuple[int, int, int]] = {}

    def refuse(self, call: str, first: int, times: int, code: int = errno.ENOMEM) -> None:
        """Refuse the calls of this name from the `first`th (from 1) on, so many times."""
        assert call in (*CALLS, *COMMANDS) or call.startswith(OPERATION), call
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


class Host:
    """Files by descriptor, a network and a clock that moves on when there is nothing to do.

    files_max: direct descriptors of one ring.
    """

    def __init__(self, files_max: int, chance: Chance, network: Network) -> None:
        self.clock = ManualClock()
        self.chance = chance
        self.network = network
        self.refusals = Refusals()
        self.pointers: Any = None  # a fake_pointers.Pointers, where a test wants it
        self._files_max = files_max
        self._files: dict[int, File] = {}
        self._next_fd = 100
        self._wake = Event()
        self._woken = threading.Event()

    def files_max(self) -> int:
        return self._files_max

    def wake(self) -> None:
        self._woken.set()  # nothing else: it may come from a signal handler or another thread

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

    def install(self, file: File) -> int:
        file.hold()
        self._next_fd += 1
        self._files[self._next_fd] = file
        return self._next_fd

    def close(self, fd: int) -> None:
        self._files.pop(fd).drop()
