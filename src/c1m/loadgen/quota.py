"""Watches the CPU quota of a process (its cgroups'): read before a run and after."""

from __future__ import annotations

from pathlib import Path

from c1m.kernel import procfs
from c1m.results.record import Throttling


class QuotaWatch:
    """Of one process (None: none, nothing is found). It may be gone when `found` is asked."""

    def __init__(self, pid: int | str | None, root: Path = procfs.ROOT) -> None:
        groups = [] if pid is None else procfs.cpu_groups(root, pid)
        self._before = {group: procfs.cpu_quota(*group) for group in groups}

    def found(self) -> Throttling | None:
        """The quota that stopped it in most periods since; None where none did."""
        worst: Throttling | None = None
        for (directory, is_v2), before in self._before.items():
            now = procfs.cpu_quota(directory, is_v2)
            if now is None or before is None:
                continue
            found = Throttling(
                str(directory), round(now.cores, 4), now.period_s, now.periods - before.periods,
                now.throttled - before.throttled, round(now.stopped_s - before.stopped_s, 3),
            )  # fmt: skip
            if found.throttled > (worst.throttled if worst else 0):
                worst = found
        return worst
