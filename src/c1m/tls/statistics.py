"""What an engine counts of TLS. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Handshakes:
    """Of connections that were accepted, at any time: all = done + failed + under way."""

    under_way: int = 0
    done: int = 0
    resumed: int = 0  # of those done
    handed: int = 0  # of those done: behind the handshake by our own records
    versions: Counter[str] = field(default_factory=Counter)  # of those done
    failed: Counter[int] = field(default_factory=Counter)  # by tls.reasons
