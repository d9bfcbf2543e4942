"""What happened in a load run in a time, as far as it adds up: counts and histograms. Pure.

Tallies of a run, one after the other, add up to all of it; those of several load clients to the
whole of them. So nothing in here is a mean, a quantile or a highest value: those are computed once,
of the sum. What is open at a moment is here as what it has grown by.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from c1m.results.histogram import Delta

SETTLE, CLOSE = -1, -2  # numbers of the spans behind the stages


class StageSpan(NamedTuple):
    """A stage that has begun or ended, in ns since the run's start; `end_ns` 0: it goes on."""

    number: int
    start_ns: int
    end_ns: int = 0
    open_at_end: int = 0


@dataclass(slots=True)
class Tally:
    """Since the tally before, until `t_ns` after the run's start, in stage `stage` (from 0).

    `counts` by dotted name:

    - `connections.NAME`, a count of the record's; `open` and `in_flight`, what they have grown by
    - `first.NAME`, `stage.N.NAME`: requests; `first.faults.KIND`, `stage.N.faults.KIND`
    - `failed.PHASE.CODE`: connections by errno, or what a protocol said (`limits/reasons.py`)
    - `status.CODE`, `check.passed.NAME`, `check.failed.NAME`, `fan_out.NAME`, `share.COUNT.NAME`
    - `cpu.user_us`, `cpu.system_us`, `rss` (bytes): the load client's process
    - `late_after`: of the late requests, those while it caught up on a gap of the server

    `histograms` (ns): `connect`, `secured`, `handshake`, `first` (or `ended`), `lag`, `lag_after`,
    `push`, `push_last`, `stage.N.corrected`, `stage.N.uncorrected`. `spans` are the stages that
    have begun or ended.
    """

    t_ns: int = 0
    stage: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, Delta] = field(default_factory=dict)
    spans: list[StageSpan] = field(default_factory=list)
