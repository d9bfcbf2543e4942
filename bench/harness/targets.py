"""The targets that this benchmark can judge, and the verdict from its results. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from million import figures
from million.figures import MILLION, ORDERS, Measurement

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
        number = f"{self.bound:,.0f}" if self.bound >= 1_000 else f"{self.bound:g}"
        bound = f"{'>=' if self.is_least else '<='} {number}{self.unit}"
        if found is None:
            return [self.what, bound, "-", "not measured"]
        value = found.median if isinstance(found, Ratio) else found
        reached = value >= self.bound if self.is_least else value <= self.bound
        verdict = "reached" if reached else "NOT reached"
        if isinstance(found, Ratio) and found.least < self.bound < found.most:
            verdict += ", not in every pair" if reached else ", but in some pairs"
        if isinstance(found, Ratio):
            shown = str(found) if found.most < 1_000 else f"{value:,.0f}{_range(found)}"
            return [self.what, bound, shown + self.unit, verdict]
        return [self.what, bound, f"{value:,.0f}{self.unit}", verdict]


def compared(
    workload: Workload, peer: str, against: str, figure: Callable[[Run], float]
) -> Callable[[Results], Ratio | None]:
    """A figure's ratio in the comparison of the two with that workload."""

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


def _range(found: Ratio) -> str:
    return f" ({found.least:,.0f}..{found.most:,.0f})" if found.least < found.most else ""


def _at_a_million(
    kind: str, figure: Callable[[Measurement], float | None], **wanted: Any
) -> Callable[[Results], Ratio | None]:
    """Of all measurements of a kind with 1,000,000 connections."""

    def find(results: Results) -> Ratio | None:
        found = figures.of_kind(results.million, kind, connections=MILLION, **wanted)
        return figures.spread([figure(each) for each in found])

    return find


def _quiet(order: str) -> Callable[[Results], Ratio | None]:
    return lambda results: ratio(
        figures.quiet_pairs(results.million, MILLION, 10_000, 1_000, order), key("rps")
    )


def _with_deaf(results: Results) -> Ratio | None:
    found = [each for each in results.million if each.get("connections") == MILLION]
    return ratio(figures.deaf_pairs(found), figures.last_seconds)


def _largest(results: Results) -> float | None:
    found = figures.of_kind(results.million, "largest")
    return max((each["total_echoed"] for each in found if not figures.failures(each)), default=None)


def _rates(peer: str, against: str, bounds: dict[int, float]) -> list[Target]:
    return [
        Target(
            f"echo/s at {n:,} connections, {peer} / {against}",
            bound,
            True,
            compared(Workload("echo", n), peer, against, key("rps")),
        )
        for n, bound in bounds.items()
    ]


MILLIONS = (
    *(
        Target(f"echo/s, 1,000,000 open / 10,000 open, 1,000 in flight {words}", 0.9, True,
               _quiet(order))
        for order, words in ORDERS.items()
    ),
    *(
        Target(f"echo/s with 1,000,000 open, 20,000 in flight {words}", 100_000, True,
               _at_a_million("turns", key("rps"), in_flight=20_000, order=order))
        for order, words in ORDERS.items()
    ),
    Target("1,000,000 connections opened", 30, False,
           _at_a_million("ramp", figures.ramp_seconds), " s"),
    Target("their last 50,000 / their second 50,000", 1.15, False,
           _at_a_million("ramp", figures.flatness)),
    Target("user memory an idle connection at 1,000,000", 40, False,
           _at_a_million("ramp", figures.user_bytes), " B"),
    Target("kernel memory an idle connection over the bare socket, at 1,000,000", 260, False,
           _at_a_million("ramp", figures.over_bare), " B"),
    Target("server's memory after all 1,000,000 have closed / empty server's", 1.1, False,
           _at_a_million("ramp", figures.given_back)),
    Target("broadcast of 64 B to 1,000,000: deliveries/s", 300_000, True,
           _at_a_million("broadcast", figures.deliveries)),
    Target("PUBLISH to 1,000,000 until the last has it, 1 % do not read / all read", 1.1, False,
           _with_deaf),
    Target("the largest run: connections open at once, each echoed once", 2_500_000, True,
           _largest),
)  # fmt: skip

TARGETS: Sequence[Target] = (
    *_rates("c1m-uring", "c", dict.fromkeys(ECHO_MANY, 1.0)),
    Target(
        "echo p50 at 1 connection, c1m-uring / c",
        1.15,
        False,
        compared(Workload("echo", 1), "c1m-uring", "c", key("p50_us")),
    ),
    *_rates("c1m-uring", "uvloop", {64: 1.15, 1_000: 1.3, 15_000: 1.3}),
    *_rates("c1m-epoll", "uvloop", dict.fromkeys(ECHO_MANY, 1.0)),
    Target(
        "server CPU per echo at 1,000 connections, c1m-uring / c",
        1.05,
        False,
        compared(Workload("echo", 1_000), "c1m-uring", "c", cpu_us),
    ),
    *(
        Target(
            f"requests/s driven at {n:,} connections, c1m's generator / the C generator",
            0.95,
            True,
            compared(Workload("driven", n), "c1m-uring", "c", key("rps")),
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
    *MILLIONS,
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


def table(results: Results, targets: Sequence[Target] = TARGETS) -> Table:
    """Targets with figure and verdict."""
    rows = [target.row(results) for target in targets]
    return Table("Targets", ("what", "target", "figure", "verdict"), rows)


def is_wanted(workload: Workload, peer: str, against: str) -> bool:
    """Whether a target needs this comparison: the others are left out of a run for targets."""
    if workload.kind != "echo" or peer == "c1m-uring":
        return workload.kind != "idle" or peer in ("bare", "c1m-uring")
    return peer == "c1m-epoll" and against == "uvloop"
