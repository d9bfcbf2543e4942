"""What a worker is told of its part of a run, and what the processes say to each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from c1m.results.options import LoadOptions
from c1m.results.share import Share

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Part:
    """One worker's part of a run. `run`: the run's id; `attempt`: from 0, counts further ones."""

    run: str
    share: Share
    options: LoadOptions
    attempt: int = 0

    @property
    def topic(self) -> str:
        """Under which its worker says how it is."""
        return f"c1m-{self.run}"


@dataclass(frozen=True, slots=True)
class News:
    """What a worker says: `kind` is "ready", "ended" (a stage, `number`), "frame" (`data`, a tally
    since the frame before, numbered from 0), "record" (its final one, as text), "failed"."""

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
    """What a worker is told: "begin" a stage (`number`; at `when_ns`, monotonic nanoseconds of the
    worker's machine; 0: at once), or "stop" (end early, in good order)."""

    kind: str
    number: int = 0
    when_ns: int = 0


@dataclass(slots=True)
class Standing:
    """What is known of a part."""

    worker: str = ""
    offset_ns: int = 0  # its clock less the controller's
    uncertain_ns: int = 0
    stage: int = -1  # the last one that it has ended; -1: it is ready
    is_ready: bool = False
    heard_ns: int = 0
    lost: str = ""  # why
    record: Any = None
    told: list[str] = field(default_factory=list)
