"""What belongs to machines, of load clients of which several may be on one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from c1m.cluster.found import Found
from c1m.results.record import KernelColumns, ProcessColumns, Samples

ROWS_MAX = 2_000
STEP_S = 0.5  # the sampler's interval

Floats = npt.NDArray[np.float64]


def samples_of(parts: Sequence[Found]) -> Samples:
    """The load clients' processes added up; machines, and the servers on them, once each."""
    everybody = [one.record.samples for one in parts if one.record.samples.t_s]
    if not everybody:
        return Samples()
    end_s = max(one.t_s[-1] for one in everybody)
    step_s = max(STEP_S, end_s / ROWS_MAX)
    t_s = np.append(np.arange(0.0, end_s, step_s), end_s)
    here = [one.record.samples for one in _first_of(parts, lambda one: one.head.machine)]
    servers = [one for one in here if one.server is not None]

    def total(several: Sequence[Samples], table: str, name: str) -> Floats:
        """0 where nobody has the column."""
        summed = np.zeros(len(t_s))
        for one in several:
            summed += _at(one, table, name, t_s)
        return summed

    def process(several: Sequence[Samples], table: str) -> ProcessColumns:
        return ProcessColumns(
            rss_bytes=[*_integers(total(several, table, "rss_bytes"))],
            user_s=total(several, table, "user_s").round(4).tolist(),
            system_s=total(several, table, "system_s").round(4).tolist(),
            waited_s=total(several, table, "waited_s").round(4).tolist(),
        )

    return Samples(
        t_s=t_s.round(4).tolist(),
        open=_integers(total(everybody, "", "open")),
        server=process(servers, "server") if servers else None,
        client=process(everybody, "client"),
        kernel=KernelColumns(
            slab_bytes=_integers(total(here, "kernel", "slab_bytes")),
            tcp_mem_bytes=_integers(total(here, "kernel", "tcp_mem_bytes")),
            used_bytes=_integers(total(here, "kernel", "used_bytes")),
            idle_s=total(here, "kernel", "idle_s").round(4).tolist(),
        ),
    )


def counters_of(parts: Sequence[Found]) -> dict[str, int]:
    """The kernel's counters are a network namespace's: of those in one, the largest rise."""
    total: dict[str, int] = {}
    for network in _grouped(parts, lambda one: one.head.network).values():
        names = dict.fromkeys(name for one in network for name in one.record.kernel_counters)
        for name in names:
            most = max(one.record.kernel_counters.get(name, 0) for one in network)
            total[name] = total.get(name, 0) + most
    return total


def _at(samples: Samples, table: str, name: str, t_s: Floats) -> Floats:
    """A column at these times: what was sampled last. Nothing is open before and behind; of what
    else was not sampled yet, or is not any more, the nearest sample is taken."""
    holder = getattr(samples, table) if table else samples
    column = np.nan_to_num(np.array(getattr(holder, name), np.float64))
    if not len(column):
        return np.zeros(len(t_s))
    rows = np.searchsorted(samples.t_s, t_s, side="right") - 1
    values: Floats = column[rows.clip(0)]
    if name == "open":
        values[(rows < 0) | (t_s > samples.t_s[-1])] = 0.0
    return values


def _integers(column: Floats) -> list[int]:
    rounded: list[int] = np.rint(column).astype(np.int64).tolist()
    return rounded


def _grouped(parts: Sequence[Found], key: Callable[[Found], str]) -> dict[str, list[Found]]:
    """By what they share; where that is not known, nothing is shared."""
    groups: dict[str, list[Found]] = {}
    for number, one in enumerate(parts):
        groups.setdefault(key(one) or f"{one.head.host} {number}", []).append(one)
    return groups


def _first_of(parts: Sequence[Found], key: Callable[[Found], str]) -> list[Found]:
    """One of each group: that which was there longest."""
    groups = _grouped([one for one in parts if one.record.samples.kernel.used_bytes], key)
    return [max(group, key=lambda one: one.record.samples.t_s[-1]) for group in groups.values()]
