"""What is there of one attempt at a part of a run, for the record of the whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from c1m.cluster.frames import Frames
from c1m.cluster.head import Head
from c1m.results.record import RunRecord


@dataclass(slots=True)
class Found:
    """What is there of one attempt at a part: its record, its own or made of its frames.

    `lost`, why: nothing more came of it, since `lost_s`.
    """

    head: Head
    record: RunRecord
    frames: Frames = field(default_factory=Frames)
    lost: str = ""
    lost_s: float = 0.0
    clock_offset_s: float | None = None
    clock_uncertain_s: float | None = None
    start_errors_s: list[float] = field(default_factory=list)
