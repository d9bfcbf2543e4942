"""From the generator's figures to what the tables say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Run = Mapping[str, Any]  # one run of the generator, as it printed it
Pair = tuple[Run, Run]  # the reference and then the peer, one right after the other

# Caches that grow with what other processes do, and not with connections.
NOT_OURS = ("tw_sock", "proc_inode", "anon_vma", "vm_area", "ext4", "buffer_head", "radix_tree")

DISTURBED = 0.05  # of the time others had a core that was wanted: such figures are rough


@dataclass(frozen=True, slots=True)
class Ratio:
    """Peer / reference: the median over the pairs, the least and the most."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}..{self.most:.2f})"


def cpu_us(run: Run) -> float:
    """The server's processor time, in microseconds an operation."""
    return float(run["server_cpu_ns"] / 1e3 / max(run["requests"], 1))


def user_share(runs: Sequence[Run]) -> float:
    """The part of the server's processor time in user mode, 0 to 1, over all runs.

    The kernel samples it, 100 times a second: too rough for one run, hence summed.
    """
    user = sum(run["server_user_ticks"] for run in runs)
    ticks = user + sum(run["server_system_ticks"] for run in runs)
    return float(user / ticks) if ticks else 0.0


def disturbed(run: Run) -> float:
    """How long server or generator were ready to run and had to wait, as a part of the window."""
    waited = max(run.get("server_waited_ns", 0), run.get("own_waited_ns", 0))
    return float(waited / 1e9 / run["seconds"]) if run["seconds"] else 0.0


def busy(run: Run, side: str = "server") -> float:
    """The part of the window in which the server (or "own": the generator) ran, 0 to 1."""
    return float(run[f"{side}_cpu_ns"] / 1e9 / run["seconds"]) if run["seconds"] else 0.0


def failed(run: Run) -> int:
    """What went wrong: lost connections, wrong bytes, requests without a reply."""
    return int(run["errors"] + run.get("mismatches", 0) + run.get("unanswered", 0))


def ratio(pairs: Sequence[Pair], figure: Callable[[Run], float]) -> Ratio | None:
    """Of a figure over the pairs; None where the reference has none (0)."""
    ratios = [figure(peer) / figure(reference) for reference, peer in pairs if figure(reference)]
    if not ratios:
        return None
    return Ratio(float(median(ratios)), min(ratios), max(ratios))


def key(name: str) -> Callable[[Run], float]:
    """The figure of that name."""
    return lambda run: float(run[name])


def middle(runs: Sequence[Run], figure: Callable[[Run], float]) -> float:
    """The median of a figure."""
    return float(median(figure(run) for run in runs))


def step_figures(runs: Sequence[Run], step: int = 1_000) -> tuple[float, float] | None:
    """Connections/s over the first and over the last full `step` of a ramp; None if none is."""
    steps = [run["step_seconds"] for run in runs if run["step_seconds"]]
    if not steps:
        return None
    return (
        float(median(step / seconds[0] for seconds in steps)),
        float(median(step / seconds[-1] for seconds in steps)),
    )


def foreign_sockets(run: Run) -> int:
    """TCP sockets that came or went meanwhile and are not this run's two a connection."""
    grown = run["held"]["tcp_sockets"] - run["empty"]["tcp_sockets"]
    return int(grown - 2 * run["connections"])


def kernel_bytes(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Growth of the slab caches, {name: bytes}; files, memory maps and TIME_WAIT are not counted.

    Sockets in TIME_WAIT are what earlier runs left, and go away by themselves meanwhile.
    """
    names = {name for name in {*before, *after} if not name.startswith(NOT_OURS)}
    return sum(after.get(name, 0) - before.get(name, 0) for name in names)
