"""What a run knows about itself when it asks why connections are missing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from c1m.errors import LimitError
from c1m.results.record import Metadata, Ramp, Samples

if TYPE_CHECKING:
    from c1m.limits.limit import Counter, Finding


class Silence(NamedTuple):
    """A time (s) in which a stage waited for connects or first replies, and none came.

    `is_end`: the stage was ended for that with more to begin; otherwise it waited for nothing else.
    """

    start_s: float
    end_s: float
    is_end: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a run knows besides its connections; any of it may be absent.

    `gauges` are the highest values seen (Sampler.gauges). `ports`: local ports that connect() finds
    quickly for one pair of source and target. `triples`: such pairs that the run used.
    """

    kernel_counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, int] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    metadata: Metadata = field(default_factory=Metadata)
    ramp: Ramp = field(default_factory=Ramp)
    ports: int | None = None
    triples: int | None = None
    is_server_here: bool | None = None  # None: not known
    findings: Sequence[Finding] = ()  # the doctor's, for this machine
    unanswered: int = 0  # connections that opened and never had a first reply
    server_nofile: int = 0  # RLIMIT_NOFILE (soft) of the server's process; 0: not known
    silence: Silence | None = None  # in which the server answered no connect
    refusal: LimitError | None = None  # the limit of this machine at which connects stopped

    def moved(self, counter: Counter) -> int:
        """How much a counter rose; 0 where it says nothing about this run's server."""
        if counter.of_server and self.is_server_here is False:
            return 0
        count = self.kernel_counters.get(counter.name, 0)
        return max(0, count - self.kernel_counters.get(counter.includes, 0))
