"""Whether a CPU quota (a cgroup's) stopped a process during a run: read before it and after.

A process that is stopped for its quota uses less than a core, looks idle, and is not: what it could
have done it was not let. Docker's --cpus and Kubernetes' limits.cpu are such quotas.
"""

from __future__ import annotations

from pathlib import Path

from c1m.kernel import procfs
from c1m.report.measured import Throttling
from c1m.units import NS_PER_S, format_count, format_duration

# Of the periods in which it ran: stopped in fewer of them it had time to spare on the whole.
THROTTLED_SHARE_MIN = 0.05


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


def is_held_back(quota: Throttling | None) -> bool:
    """Whether it was stopped so often that it had no CPU to spare."""
    return quota is not None and quota.throttled > THROTTLED_SHARE_MIN * quota.periods


def quota_sentences(who: str, quota: Throttling) -> list[str]:
    """What the quota did, and what to do about it. `who`: "generator", "server" or both."""
    share, period = (format_duration(s * NS_PER_S) for s in (quota.cores * quota.period_s,
                                                              quota.period_s))  # fmt: skip
    return [
        f"The {who} was held back by a CPU quota: {quota.group} may use {share} of processor time "
        f"each {period} ({quota.cores:.3g} cores), and the kernel stopped it in "
        f"{format_count(quota.throttled)} of {format_count(quota.periods)} such periods.",
        "Raise it (cpu.max, or cpu.cfs_quota_us; docker --cpus, Kubernetes limits.cpu), or run "
        "outside of that cgroup.",
    ]
