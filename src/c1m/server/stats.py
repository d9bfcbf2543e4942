"""What a server has done so far: counters that add up. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from c1m.server.close_reasons import CloseReason


@dataclass(slots=True)
class ServerStatistics:
    """opened = live + sum of closed, at any time. Bytes are counts since the start."""

    opened: int = 0
    live: int = 0
    peak: int = 0
    closed: dict[CloseReason, int] = field(default_factory=lambda: dict.fromkeys(CloseReason, 0))
    messages: int = 0  # pieces of data received
    received_bytes: int = 0
    sent_bytes: int = 0
    unsent_bytes: int = 0  # owed to connections that ended first
    ticks: int = 0
    refused: dict[str, int] = field(default_factory=dict)  # what the kernel refused, how often
    refusal: str = ""  # the last of that in a sentence

    def count_opened(self, count: int) -> None:
        """Connections were accepted."""
        self.opened += count
        self.live += count
        self.peak = max(self.peak, self.live)

    def count_closed(self, reason: CloseReason, count: int) -> None:
        """Connections ended."""
        self.closed[reason] += count
        self.live -= count

    def count_not_read(self, reason: CloseReason, count: int) -> None:
        """Connections that were counted as closed for `reason` have lingered too long."""
        self.closed[reason] -= count
        self.closed[CloseReason.NOT_READ] += count
