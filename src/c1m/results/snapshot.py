"""Where a run stands at one moment, for whoever shows it: the dashboard, plain lines, metrics.

Plain data, made a few times a second by the generator; counts are since the start of the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One moment of a run. Rates are of the time since the snapshot before."""

    elapsed_s: float = 0.0
    target: str = ""
    scenario: str = ""
    stage: str = ""  # its text
    stage_number: int = 0  # from 1
    stages: int = 0
    stage_left_s: float | None = None  # None: until it is done
    asked: int = 0  # connections, the most that the plan has at once
    attempted: int = 0
    opened: int = 0
    ready: int = 0  # had their first reply
    open: int = 0
    failed: int = 0
    lost: int = 0
    closed: int = 0  # by the plan
    connects_per_s: float = 0.0
    last_step_ms: float | None = None  # what the latest 1,000 connections took
    due: int = 0
    sent: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0
    unsent: int = 0
    in_flight: int = 0
    sent_per_s: float = 0.0
    right_per_s: float = 0.0
    rate_asked_per_s: float | None = None
    faults: dict[str, int] = field(default_factory=dict)  # by kind (measured.py)
    errnos: dict[str, int] = field(default_factory=dict)  # "ECONNREFUSED" -> how many
    percentiles_ns: dict[str, int] = field(default_factory=dict)  # corrected, of the whole run
    recent_ns: dict[str, int] = field(default_factory=dict)  # "p50", "p99", "max": the last second
    octaves: list[int] = field(default_factory=list)  # replies with 2**i <= latency < 2**(i+1) ns
    lag_max_ns: int = 0  # the generator behind its schedule, in the last second
    server_rss_bytes: int | None = None
    client_rss_bytes: int | None = None
    slab_bytes: int | None = None
    used_bytes: int | None = None
    is_last: bool = False
