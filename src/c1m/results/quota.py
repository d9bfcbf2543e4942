"""Whether a CPU quota (a cgroup's) held a process back during a run, and how that is said. Pure.

A process that is stopped for its quota uses less than a core, looks idle, and is not: what it could
have done it was not let. Docker's --cpus and Kubernetes' limits.cpu are such quotas.
"""

from __future__ import annotations

from c1m.results.requests import Throttling
from c1m.units import NS_PER_S, format_count, format_duration

# Of the periods in which it ran: stopped in fewer of them it had time to spare on the whole.
THROTTLED_SHARE_MIN = 0.05


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
