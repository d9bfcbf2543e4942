"""What the push server counts beyond what every server counts. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """Since the start."""

    delivered: int = 0  # publications, once for each who was sent it
    ended: Counter[int] = field(default_factory=Counter)  # WebSockets and streams, by close code
    refused: Counter[int] = field(default_factory=Counter)  # requests, by status
