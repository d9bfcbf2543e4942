"""Processor time of a process, and of the machine, over a window of samples. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from c1m.results.record import KernelColumns, ProcessColumns

_SPAN_LEAST_S = 0.1  # ten ticks of CPU time: over less, a share is mostly rounding


def cpu_share(
    columns: ProcessColumns, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """CPU, in cores, that a process used from `from_s` to `to_s` (times as in `t_s`, rising).

    Between two samples CPU time is taken to grow evenly; the window is cut to the time in which
    the process was sampled. None where that leaves less than 0.1 s, for CPU time comes in ticks of
    10 ms.
    """
    used = [
        None if user is None or system is None else user + system
        for user, system in zip(columns.user_s, columns.system_s, strict=True)
    ]
    return _growth(used, t_s, from_s, to_s)


def idle_cores(
    kernel: KernelColumns, t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """How many of this machine's cores were idle from `from_s` to `to_s`; None as in cpu_share."""
    return _growth(kernel.idle_s, t_s, from_s, to_s)


def _growth(
    values: Sequence[float | None], t_s: Sequence[float], from_s: float, to_s: float
) -> float | None:
    """Growth a second within a window of what never falls."""
    known = [(t, value) for t, value in zip(t_s, values, strict=False) if value is not None]
    if len(known) < 2:
        return None
    times, totals = [t for t, _ in known], [total for _, total in known]
    start, end = max(from_s, times[0]), min(to_s, times[-1])
    if end - start < _SPAN_LEAST_S:
        return None
    grown = _at(times, totals, end) - _at(times, totals, start)
    return round(max(0.0, grown) / (end - start), 4)


def _at(times: Sequence[float], values: Sequence[float], t: float) -> float:
    """The value at `t`, within the times, on the straight line between its neighbours."""
    after = min(max(1, bisect_left(times, t)), len(times) - 1)
    before = after - 1
    span = times[after] - times[before]
    part = (t - times[before]) / span if span > 0 else 1.0
    return values[before] + part * (values[after] - values[before])
