"""Memory: a forecast from the kernel's own object sizes, against what is available.

MemAvailable counts the kernel's reclaimable caches as free, and the inodes and directory entries of
open sockets are in such caches though they cannot be reclaimed. Watching it fall therefore shows
about 1 KiB a socket too little; this forecast counts them.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, bounded, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import Situation
from c1m.units import format_bytes

NAME = "memory"
CGROUP_NAME = "cgroup memory"


def machine(request: Request, situation: Situation) -> Finding:
    """The whole machine's."""
    if situation.memory_available_bytes is None:
        return unknown(NAME, "MemAvailable in /proc/meminfo")
    have = max(0, situation.memory_available_bytes - needs.MEMORY_RESERVE_BYTES)
    forecast = _forecast(request, situation)
    text = (
        f"sockets {format_bytes(forecast.sockets)}, waiting for input "
        f"{format_bytes(forecast.waiting)}, a message under way on each "
        f"{format_bytes(forecast.messages)}, processes {format_bytes(forecast.processes)}."
    )
    if not situation.slab_bytes:
        text += " By usual object sizes: only root can read this kernel's in /proc/slabinfo."
    remedy = f"Free or add {format_bytes(max(0, forecast.total - have))}, or hold fewer."
    if request.role == "both":
        remedy += " With client and server on two machines each needs about half."
    return bounded(
        NAME,
        request,
        lambda r: _forecast(r, situation).total,
        have,
        unit="bytes",
        text=text,
        remedy=remedy,
    )


def cgroup(request: Request, situation: Situation) -> Finding:
    """The tightest limit of this process' control groups: a container's."""
    limit, used = situation.cgroup_limit_bytes, situation.cgroup_used_bytes
    if limit is None:
        return Finding(CGROUP_NAME, OK, None, "no limit")
    if used is None:
        return unknown(CGROUP_NAME, "The memory cgroup's usage")
    have = max(0, limit - used)
    missing = _forecast(request, situation).total - have
    return bounded(
        CGROUP_NAME,
        request,
        lambda r: _forecast(r, situation).total,
        have,
        unit="bytes",
        text=f"{format_bytes(used)} of {format_bytes(limit)} are used; sockets count too.",
        remedy=f"Raise this container's or service's memory limit by {format_bytes(missing)} "
        "(docker run --memory, MemoryMax= in systemd).",
    )


def _forecast(request: Request, situation: Situation) -> needs.Memory:
    return needs.memory(request, situation.slab_bytes, situation.hard_nofile)
