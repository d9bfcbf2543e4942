"""What is around a store: the process, the machine, the disk. Who runs the store tells. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Usage:
    """Of the process so far, and of the connections."""

    rss_bytes: int = 0
    rss_peak_bytes: int = 0
    user_s: float = 0.0
    system_s: float = 0.0
    received_bytes: int = 0
    sent_bytes: int = 0
    unsent_bytes: int = 0


@dataclass(slots=True)
class Kept:
    """What the disk has of the data."""

    is_failing: bool
    unsaved: int  # changes that may not be on the disk yet
    saved_ms: int  # Unix time: what was written before is on the disk
    durability: str


@dataclass(slots=True)
class Host:
    """Facts are set at the start; the functions are called when somebody asks."""

    version: str = ""
    engine: str = ""
    system: str = ""
    run_id: str = ""
    executable: str = ""
    process_id: int = 0
    port: int = 0
    is_tls: bool = False  # that port's
    memory_bytes: int = 0  # of the machine
    started_ms: int = 0  # Unix time
    usage: Callable[[], Usage] = field(default=Usage)
    now_us: Callable[[], int] | None = None  # Unix time, finer than the tick's
    kept: Callable[[], Kept] | None = None  # None: nothing is kept
    save: Callable[[], None] | None = None  # until all is on disk; None: nothing is kept
    stop: Callable[[], None] | None = None  # ends the server
    relay: Callable[[], dict[str, int]] | None = None  # figures of publishing by a broker, if it is
