"""The targets that this benchmark can judge, and the verdict from its results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from harness.counting import Ratio, Run, cpu_us, key, ratio
from harness.results import Results
from harness.tables import Table, idle_runs, slab_bytes
from harness.workloads import Workload

ECHO_MANY = (64, 1_000, 15_000)


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what, at least or at most how much, and the figure of a run."""

    what: str
    bound: float
    is_least: bool  # the figure has to be at least the bound; else at most
    figure: Callable[[Results], float | Ratio | None]
    unit: str = ""

    def row(self, results: Results) -> list[str]:
        """what, target, figure, verdict."""
        found = self.figure(results)
        bound = f"{'>=' if self.is_least else '<='} {self.bound:g}{self.unit}"
        if found is None:
            return [self.what, bound, "-", "not measured"]
        value = found.median if isinstance(found, Ratio) else found
        reached = value >= self.bound if self.is_least else value <= self.bound
        verdict = "reached" if reached else "NOT reached"
        if isinstance(found, Ratio) and found.least < self.bound < found.most:
            verdict += ", not in every pair" if reached else ", but in some pairs"
        shown = str(found) if isinstance(found, Ratio) else f"{found:,.0f}{self.unit}"
        return [self.what, bound, shown, verdict]


def _compared(
    kind: str, connections: int, peer: str, against: str, figure: Callable[[Run], float]
) -> Callable[[Results], Ratio | None]:
    workload = Workload(kind, connections)

    def find(results: Results) -> Ratio | None:
        for c in results.comparisons:
            if (c.workload, c.peer, c.against) == (workload, peer, against):
                return ratio(c.pairs, figure)
        return None

    return find


def _start_up(command: str) -> Callable[[Results], float | None]:
    def find(results: Results) -> float | None:
        seconds = results.start_up.get(command)
        return median(seconds) * 1e3 if seconds else None

    return find


def _over_bare(peer: str) -> Callable[[Results], float | None]:
    def find(results: Results) -> float | None:
        runs = idle_runs([c for c in results.comparisons if c.workload.kind == "idle"])
        if peer not in runs or "bare" not in runs:
            return None
        return median(map(slab_bytes, runs[peer])) - median(map(slab_bytes, runs["bare"]))

    return find


def _rates(peer: str, against: str, bounds: dict[int, float]) -> list[Target]:
    return [
        Target(
            f"echo/s at {n:,} connections, {peer} / {against}",
            bound,
            True,
            _compared("echo", n, peer, against, key("rps")),
        )
        for n, bound in bounds.items()
    ]


TARGETS: Sequence[Target] = (
    *_rates("c1m-uring", "c", dict.fromkeys(ECHO_MANY, 1.0)),
    Target(
        "echo p50 at 1 connection, c1m-uring / c",
        1.15,
        False,
        _compared("echo", 1, "c1m-uring", "c", key("p50_us")),
    ),
    *_rates("c1m-uring", "uvloop", {64: 1.15, 1_000: 1.3, 15_000: 1.3}),
    *_rates("c1m-epoll", "uvloop", dict.fromkeys(ECHO_MANY, 1.0)),
    Target(
        "server CPU per echo at 1,000 connections, c1m-uring / c",
        1.05,
        False,
        _compared("echo", 1_000, "c1m-uring", "c", cpu_us),
    ),
    *(
        Target(
            f"requests/s driven at {n:,} connections, c1m's generator / the C generator",
            0.95,
            True,
            _compared("driven", n, "c1m-uring", "c", key("rps")),
        )
        for n in (64, 1_000)
    ),
    Target(
        "kernel memory an idle connection over the bare socket, at 15,000",
        260,
        False,
        _over_bare("c1m-uring"),
        " B",
    ),
    Target("start-up of c1m --help", 150, False, _start_up("c1m --help"), " ms"),
    Target("start-up of c1m serve to listening", 400, False, _start_up("c1m serve"), " ms"),
)

WORKLOADS: Sequence[Workload] = (
    Workload("echo", 1),
    *(Workload("echo", n) for n in ECHO_MANY),
    Workload("driven", 64),
    Workload("driven", 1_000),
    Workload("idle", 15_000),
)
PEERS = ("c", "bare", "uvloop", "c1m-uring", "c1m-epoll")


def table(results: Results) -> Table:
    """Targets with figure and verdict."""
    rows = [target.row(results) for target in TARGETS]
    return Table("Targets", ("what", "target", "figure", "verdict"), rows)


def is_wanted(workload: Workload, peer: str, against: str) -> bool:
    """Whether a target needs this comparison: the others are left out of a run for targets."""
    if workload.kind != "echo" or peer == "c1m-uring":
        return workload.kind != "idle" or peer in ("bare", "c1m-uring")
    return peer == "c1m-epoll" and against == "uvloop"
