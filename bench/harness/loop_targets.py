"""The targets of asyncio's event loop on the engine, and which comparisons they need. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.counting import Run, cpu_us, key
from harness.targets import Target, compared
from harness.workloads import Workload

APP, LOOP = "c1m", "c1m-loop"
FIGURES: dict[str, Callable[[Run], float]] = {
    "requests/s": key("rps"), "server CPU": cpu_us, "p50": key("p50_us"),
}  # fmt: skip
Line = tuple[Workload, str, str, str, float]  # peer, reference, figure, its bound

LIGHT = (Workload("echo", 8), Workload("open", 1_000, rate=20_000))
ECHO_AT = (1, 8, 64, 1_000, 15_000)
HTTP_AT = {8: 1.0, 64: 1.1, 1_000: 1.25, 10_000: 1.3}

LINES: Sequence[Line] = (
    *((Workload("http", n), LOOP, "uvloop", "requests/s", bound) for n, bound in HTTP_AT.items()),
    *(
        (Workload("echo", n), LOOP, "uvloop", figure, 1.0)
        for n in ECHO_AT
        for figure in ("requests/s", "server CPU")
    ),
    *((Workload("streams", n), LOOP, "uvloop", "requests/s", 1.0) for n in (64, 1_000)),
    (Workload("churn", 64), LOOP, "uvloop", "requests/s", 1.0),
    *((each, peer, "c", "p50", 1.2) for each in LIGHT for peer in (APP, LOOP)),
    *((each, APP, "uvloop", "server CPU", 1.1) for each in LIGHT),
    (LIGHT[1], LOOP, "uvloop", "server CPU", 1.1),  # with 8 connections it has a stricter one
)

TARGETS = tuple(
    Target(
        f"{workload.title}: {figure}, {peer} / {against}",
        bound,
        figure == "requests/s",
        compared(workload, peer, against, FIGURES[figure]),
    )
    for workload, peer, against, figure, bound in LINES
)

# Each once, and all of a workload one after the other.
COMPARISONS = sorted(
    dict.fromkeys((workload, peer, against) for workload, peer, against, *_ in LINES),
    key=lambda each: [line[0] for line in LINES].index(each[0]),
)
