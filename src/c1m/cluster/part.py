"""What a worker is told of its part of a run, and what the processes say to each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from c1m.cluster.clocks import drift_ns
from c1m.results.options import LoadOptions
from c1m.results.share import Share

NS_PER_S = 1_000_000_000
LEASE_NS = 10 * NS_PER_S  # so long a part goes on without an order
GRACE_NS = 5 * NS_PER_S  # and so long it may then take to end, before it is ended hard


@dataclass(frozen=True, slots=True)
class Luggage:
    """Files by their paths, from the root on, and where the run was started."""

    files: dict[str, bytes] = field(default_factory=dict, repr=False)
    folder: str = "/"


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's part of a run. `run`: the run's id; `attempt`: from 0, counts further ones;
    `worker`: its address; `process`: the name of its process, which alone may do it; `topic`:
    under which it says how it is; `luggage`: the files that it reads."""

    run: str
    share: Share
    options: LoadOptions
    attempt: int = 0
    worker: str = ""
    process: str = ""
    topic: str = ""
    luggage: Luggage = field(default_factory=Luggage)


@dataclass(frozen=True, slots=True)
class News:
    """What a worker says. `kind`:

    - "head": who it is and what it was asked (`data`, a `Head` as text); before all else
    - "ready": all is prepared, nothing is open
    - "begun": a stage, `number`; `data`: when it really did, in ns of the worker's monotonic clock
    - "ended": a stage, `number`; behind the last one also what was in flight
    - "alive": the answer to "go on": its `number`; `data`: the worker's monotonic clock
    - "frame": `data`, a `Frame` as bytes, `number`ed from 0
    - "record": its final one, as text: it is over
    - "failed": why, in a sentence: it is over
    """

    part: int
    attempt: int
    kind: str
    number: int = 0
    data: Any = None

    def packed(self) -> list[Any]:
        """As plain values."""
        return [self.part, self.attempt, self.kind, self.number, self.data]


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told. `kind`:

    - "begin": a stage, `number`, at `when_ns`, monotonic nanoseconds of the worker's machine; and
      only its rest, where it says `until_ns`
    - "join": take a lost one's place in a run that began at `when_ns`; be as the others are before
      the stage `number`, and wait
    - "go on": that the controller is there: a further lease. To be answered at once ("alive", with
      its `number`, the controller's clock)
    - "stop": end early, in good order
    - "kill": end at once
    """

    kind: str
    number: int = 0
    when_ns: int = 0
    until_ns: int = 0


@dataclass(slots=True)
class Lease:
    """By which a part knows that its controller is there. Nothing it opened outlives this by more
    than GRACE_NS, whatever becomes of the controller, the scheduler or the way to them.

    An order that was long on its way says little about now: it counts from when it was sent, as
    far as that can be told from the quickest one.
    """

    now_ns: int
    until_ns: int = 0
    _quickest_ns: int | None = None  # our clock less the controller's, and the way

    def __post_init__(self) -> None:
        self.until_ns = self.now_ns + LEASE_NS

    def renew(self, sent_ns: int, now_ns: int) -> None:
        """A "go on" came, sent at `sent_ns` (its `number`) by the controller's clock."""
        took_ns, known_ns = now_ns - sent_ns, self._quickest_ns
        if known_ns is not None:
            took_ns = min(took_ns, known_ns + drift_ns(now_ns - self.now_ns))
        self._quickest_ns, self.now_ns = took_ns, now_ns
        self.until_ns = max(self.until_ns, sent_ns + took_ns + LEASE_NS)

    def is_over(self, now_ns: int) -> bool:
        """Whether the part has to end by itself."""
        return now_ns >= self.until_ns


def name_of(worker: str) -> str:
    """A worker's address as people read it."""
    return worker.partition("://")[2] or worker
