"""What the samples of a run say: CPU of a process and idle cores over a time, memory a connection.

Pure arithmetic. Between two samples a total (CPU seconds) is taken to grow evenly.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from c1m.results.record import KernelColumns, MemoryPerConnection, ProcessColumns, Samples

_SPAN_LEAST_S = 0.1  # ten ticks of CPU time: over less, a share is mostly rounding
_ALMOST_ALL = 0.999  # of the peak: a sample counts as "all are open"
# The machine's used memory moves by tens of MB with whatever else runs: below so many connections
# it says nothing about them.
_RESOLVED_FROM = 10_000


def cpu_used(
    process: ProcessColumns | None, t_s: Sequence[float], from_s: float, to_s: float
) -> tuple[float, float] | None:
    """(CPU seconds, seconds): what a process used from `from_s` to `to_s`, and for how much of that
    it was sampled. None where it is not known; times are as in `t_s`, which rises.
    """
    if process is None:
        return None
    columns = zip(process.user_s, process.system_s, strict=True)
    used = [None if user is None or system is None else user + system for user, system in columns]
    return _grown(used, t_s, from_s, to_s)


def cpu_share(
    process: ProcessColumns | None, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """CPU, in cores, that a process used in that time, as far as it was sampled.

    None where that is less than 0.1 s, for CPU time comes in ticks of 10 ms.
    """
    return _share(cpu_used(process, t_s, from_s, to_s))


def idle_cores(
    kernel: KernelColumns, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """How many of this machine's cores were idle from `from_s` to `to_s`; None as in cpu_share."""
    return _share(_grown(kernel.idle_s, t_s, from_s, to_s))


def _share(grown: tuple[float, float] | None) -> float | None:
    if grown is None or grown[1] < _SPAN_LEAST_S:
        return None
    return round(grown[0] / grown[1], 4)


def _grown(
    totals: Sequence[float | None], t_s: Sequence[float], from_s: float, to_s: float
) -> tuple[float, float] | None:
    """How much a total that never falls grew, and in how many seconds of that time."""
    known = [(t, total) for t, total in zip(t_s, totals, strict=False) if total is not None]
    if len(known) < 2:
        return None
    times, values = zip(*known, strict=True)
    start, end = max(from_s, times[0]), min(to_s, times[-1])
    before, after = np.interp([start, end], times, values).tolist()
    return max(0.0, after - before), max(0.0, end - start)


def memory_of(samples: Samples) -> MemoryPerConnection:
    """Growth a connection from the first sample to those with (almost) all connections open.

    User memory takes the highest of those samples; the kernel's, which echoes in flight inflate
    and other processes disturb, their median. None where nothing was open, nothing is known, or
    other processes moved more than the connections.
    """
    peak = max(samples.open, default=0)
    grown_by = peak - (samples.open[0] if samples.open else 0)
    if grown_by <= 0:
        return MemoryPerConnection()
    full = [i for i, count in enumerate(samples.open) if count >= peak * _ALMOST_ALL]
    used = samples.kernel.used_bytes
    growths = [used[i] - used[0] - _user_growth(samples, i) for i in full]
    kernel = statistics.median(growths)
    slab = statistics.median(
        samples.kernel.slab_bytes[i] - samples.kernel.slab_bytes[0] for i in full
    )
    # Less than its own slab: another process gave memory back meanwhile.
    is_resolved = grown_by >= _RESOLVED_FROM and kernel >= slab > 0
    return MemoryPerConnection(
        server_user_bytes_per_connection=_highest(samples.server, full, grown_by),
        client_user_bytes_per_connection=_highest(samples.client, full, grown_by),
        kernel_bytes_per_connection=round(kernel / grown_by, 1) if is_resolved else None,
        slab_bytes_per_connection=round(slab / grown_by, 1) if slab > 0 else None,
    )


def _highest(process: ProcessColumns | None, rows: list[int], connections: int) -> float | None:
    growths = [growth for i in rows if (growth := _growth(process, i)) is not None]
    return round(max(growths) / connections, 1) if growths else None


def _growth(process: ProcessColumns | None, row: int) -> int | None:
    if process is None or not process.rss_bytes:
        return None
    first, now = process.rss_bytes[0], process.rss_bytes[row]
    return None if first is None or now is None else now - first


def _user_growth(samples: Samples, row: int) -> int:
    return (_growth(samples.server, row) or 0) + (_growth(samples.client, row) or 0)
