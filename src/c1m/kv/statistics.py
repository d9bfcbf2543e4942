"""What a server counts: commands, errors, times of slow commands. Pure: the clock is given."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from typing import NamedTuple

Who = tuple[str, bytes]  # a client's address and name

ARGUMENTS_SHOWN = 32  # of a command in the slow log
BYTES_SHOWN = 128  # of one of its arguments
SAMPLES_MAX = 160  # of an event of LATENCY
NS_PER_US, NS_PER_MS, NS_PER_S = 1_000, 1_000_000, 1_000_000_000


class SlowCommand(NamedTuple):
    """An entry of SLOWLOG."""

    number: int
    second: int  # Unix time
    microseconds: int
    args: list[bytes]
    client: Who


class Statistics:
    """Counters since the start, or since CONFIG RESETSTAT.

    Commands that are quick by their nature are not timed, unless the slow log is to have all.
    """

    def __init__(self) -> None:
        self.now_ns: Callable[[], int] = lambda: 0  # whoever runs commands sets it
        self.log: Callable[[str], object] = lambda text: None  # where faults are said
        self.faults = 0  # commands that ended by an exception of ours
        self.spoke_tls = 0  # clients that did, where there is none
        self.connections = 0  # that came; those that were refused included
        self.slow: deque[SlowCommand] = deque(maxlen=128)
        self.slow_count = 0
        self.latencies: dict[bytes, deque[tuple[int, int]]] = {}  # (second, ms) by event
        self.worst: dict[bytes, int] = {}  # ms by event
        self._slow_ns, self._late_ns = 10_000 * NS_PER_US, 0
        self._sampled = (0, 0, 0, 0)
        self.per_s = 0, 0, 0  # commands, bytes in, bytes out: of the last second or so
        self.reset()
        self.time_from(10_000, 0)

    def reset(self) -> None:
        """Count from zero."""
        self.calls: dict[str, int] = defaultdict(int)  # by command
        self.failed: dict[str, int] = defaultdict(int)  # its reply was an error
        self.rejected: dict[str, int] = defaultdict(int)  # it did not run
        self.took_ns: dict[str, int] = defaultdict(int)  # those that are timed
        self.errors: dict[bytes, int] = defaultdict(int)  # by an error's first word
        self.connections_refused = 0  # by maxclients
        self.clients_evicted = 0  # by maxmemory-clients

    def fault(self, what: str) -> None:
        """A command ended by an exception of ours: said once, counted always."""
        self.faults += 1
        if self.faults == 1:
            self.log(what)

    # --- times --------------------------------------------------------------------------------

    def time_from(self, slow_us: int, late_ms: int) -> None:
        """SLOWLOG has what takes `slow_us` (negative: nothing), LATENCY what takes `late_ms`."""
        self._slow_ns, self._late_ns = slow_us * NS_PER_US, late_ms * NS_PER_MS
        self.is_timing = slow_us >= 0 or late_ms > 0
        self.is_timing_all = slow_us == 0

    def keep_slow(self, most: int) -> None:
        """The slow log's length."""
        self.slow = deque(self.slow, maxlen=most)

    def is_noteworthy(self, ns: int) -> bool:
        """The slow log or LATENCY is to have a command that took so long."""
        return 0 <= self._slow_ns <= ns or 0 < self._late_ns <= ns

    def note(self, ns: int, event: bytes, second: int, args: list[bytes], client: Who) -> None:
        """A noteworthy command has run; `event`: which one it is for LATENCY."""
        if 0 <= self._slow_ns <= ns:
            entry = SlowCommand(self.slow_count, second, ns // NS_PER_US, shortened(args), client)
            self.slow.appendleft(entry)
            self.slow_count += 1
        if 0 < self._late_ns <= ns:
            self.late(event, second, ns // NS_PER_MS)

    def late(self, event: bytes, second: int, milliseconds: int) -> None:
        """Something took long: the worst of a second is kept."""
        samples = self.latencies.setdefault(event, deque(maxlen=SAMPLES_MAX))
        if samples and samples[-1][0] == second:
            samples[-1] = second, max(samples[-1][1], milliseconds)
        else:
            samples.append((second, milliseconds))
        self.worst[event] = max(self.worst.get(event, 0), milliseconds)

    def sample(self, now_ns: int, received: int, sent: int) -> None:
        """Once a second or so: how much was done since the last time."""
        before, commands = self._sampled, sum(self.calls.values())
        seconds = (now_ns - before[0]) / NS_PER_S
        if seconds > 0:
            now = commands, received, sent
            rates = [(n - b) / seconds for n, b in zip(now, before[1:], strict=True)]
            self.per_s = max(int(rates[0]), 0), max(int(rates[1]), 0), max(int(rates[2]), 0)
        self._sampled = now_ns, commands, received, sent


def shortened(args: list[bytes]) -> list[bytes]:
    """Arguments as the slow log shows them."""
    shown = args[:ARGUMENTS_SHOWN]
    if len(args) > ARGUMENTS_SHOWN:
        more = len(args) - ARGUMENTS_SHOWN + 1
        shown = [*args[: ARGUMENTS_SHOWN - 1], b"... (%d more arguments)" % more]
    return [
        arg
        if len(arg) <= BYTES_SHOWN
        else b"%b... (%d more bytes)" % (arg[:BYTES_SHOWN], len(arg) - BYTES_SHOWN)
        for arg in shown
    ]
