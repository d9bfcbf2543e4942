"""What the samples of a run say: CPU of a process and idle cores over a time, memory a connection.

Pure arithmetic. Between two samples a total (CPU seconds) is taken to grow evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from c1m.results.record import KernelColumns, MemoryPerConnection, ProcessColumns, Samples

Floats = npt.NDArray[np.float64]

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
    if process is None or len(process.user_s) != len(process.system_s):
        return None
    return _grown(_column(process.user_s) + _column(process.system_s), t_s, from_s, to_s)


def _column(values: Sequence[float | None]) -> Floats:
    """None is NaN."""
    return np.array(values, np.float64)


def cpu_share(
    process: ProcessColumns | None, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """CPU, in cores, that a process used in that time, as far as it was sampled.

    None where that is less than 0.1 s, for CPU time comes in ticks of 10 ms.
    """
    return _share(cpu_used(process, t_s, from_s, to_s))


def waited_share(
    process: ProcessColumns | None, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """How long its threads waited for a CPU, added up, of that time; None as in cpu_share."""
    return _share(_grown(_column(process.waited_s), t_s, from_s, to_s)) if process else None


def idle_cores(
    kernel: KernelColumns, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """How many of this machine's cores were idle from `from_s` to `to_s`; None as in cpu_share."""
    return _share(_grown(_column(kernel.idle_s), t_s, from_s, to_s))


def _share(grown: tuple[float, float] | None) -> float | None:
    if grown is None or grown[1] < _SPAN_LEAST_S:
        return None
    return round(grown[0] / grown[1], 4)


def _grown(
    totals: Floats, t_s: Sequence[float], from_s: float, to_s: float
) -> tuple[float, float] | None:
    """How much a total that never falls grew, and in how many seconds of that time."""
    known = ~np.isnan(totals)
    if np.count_nonzero(known) < 2 or len(known) != len(t_s):  # early records lack some columns
        return None
    times, values = _column(t_s)[known], totals[known]
    start, end = max(from_s, times[0]), min(to_s, times[-1])
    before, after = np.interp([start, end], times, values).tolist()
    return max(0.0, after - before), max(0.0, float(end - start))


def memory_of(samples: Samples) -> MemoryPerConnection:
    """Growth a connection from the first sample to those with (almost) all connections open.

    User memory takes the highest of those samples; the kernel's, which echoes in flight inflate
    and other processes disturb, their median. None where nothing was open, nothing is known, or
    other processes moved more than the connections.
    """
    opened = _column(samples.open or [0])
    grown_by = float(opened.max() - opened[0])
    if grown_by <= 0:
        return MemoryPerConnection()
    full = opened >= opened.max() * _ALMOST_ALL

    def growth(column: Sequence[float | None]) -> Floats:
        values = _column(column or [None] * len(full))
        grown: Floats = values[full] - values[0]
        return grown

    def each(size: float) -> float | None:
        return None if math.isnan(size) else round(size / grown_by, 1)

    server = growth(samples.server.rss_bytes if samples.server else [])
    client = growth(samples.client.rss_bytes)
    used = growth(samples.kernel.used_bytes) - np.nan_to_num(server) - np.nan_to_num(client)
    kernel, slab = np.median(used), np.median(growth(samples.kernel.slab_bytes))
    # Less than its own slab: another process gave memory back meanwhile.
    is_resolved = grown_by >= _RESOLVED_FROM and kernel >= slab > 0
    return MemoryPerConnection(
        server_user_bytes_per_connection=each(np.fmax.reduce(server)),
        client_user_bytes_per_connection=each(np.fmax.reduce(client)),
        kernel_bytes_per_connection=each(kernel) if is_resolved else None,
        slab_bytes_per_connection=each(slab) if slab > 0 else None,
    )
