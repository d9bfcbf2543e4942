"""Two builds, two machines, two settings: what changed, by how much, and is it more than noise.

Each side is one record or several of the same run. What can be said depends on that:

- One record a side. A run repeats itself only within: its seconds, its requests. The noise within
  is known by `noise.py`'s batch means and order statistics, that from run to run is not; so a
  change must pass both the statistics and a tolerance, 10 % where the run has a series for the
  figure, 50 % where it happens once (connects, first replies, a stampede). Runs of one build on one
  quiet machine were seen to differ by 20 % in the p99 of connects, by half in the p99.9.
- Several. A figure of a run is one observation, and the statistics are between runs: permutations
  where there are enough to reach the level, else Welch's t; the tolerance is 2 %.

In both cases all figures of the table together give a false alarm in at most one comparison of 20.
What must not happen at all (lost, wrong, missing, ...) is worse as soon as it happens.

Where the generator was the limit, a rate is a lower bound and a latency an upper one: verdicts that
do not follow from bounds are not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from c1m.report import conditions, metrics, noise
from c1m.report.conditions import Condition
from c1m.report.evidence import Evidence, single_run
from c1m.report.measured import EXTRA_KINDS, WRONG_KINDS
from c1m.report.metrics import Metric
from c1m.report.record import RunRecord

SCHEMA = "c1m-compare/1"
LEVEL = 0.05  # of a false alarm, for the whole table
TOLERANCE_RUNS = 0.02  # several records a side

BETTER, WORSE, SAME, NOT_COMPARABLE = "better", "worse", "same within noise", "not comparable"

_HIGHER_IS_BETTER = {
    "attempted", "opened", "ready", "open", "peak", "sent", "right", "rate", "connect_rate",
    "opened_share", "right_share", "reach", "complete",
}  # fmt: skip
_BOUNDED = ("rate", "request.", "uncorrected.")  # what a saturated generator bounds
_TAIL = ("p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "max")
# The table: (its part, the figures of it)
TABLE = (
    ("requests", ("rate", *(f"request.{p}" for p in _TAIL), "server_cpu")),
    ("uncorrected", tuple(f"uncorrected.{p}" for p in ("p50", "p99", "p99.9", "max"))),
    ("pushes", ("reach", *(f"push.{p}" for p in ("p50", "p99", "p99.9", "max")),
                "push_last.p50", "push_last.p99", "push_last.max")),
    ("connecting", ("connect_rate", *(f"connect.{p}" for p in ("p50", "p99", "p99.9", "max")),
                    *(f"first.{p}" for p in ("p50", "p99", "p99.9", "max")))),
    ("stampede", tuple(f"stampede.{p}" for p in ("p50", "p99", "max"))),
    ("memory a connection", ("server_bytes", "client_bytes", "kernel_bytes")),
    ("must not be", ("failed", "lost", "wrong", "missing", "unsent", *WRONG_KINDS, *EXTRA_KINDS,
                     "complete")),
)  # fmt: skip
_ALWAYS_SHOWN = ("failed", "lost", "wrong", "missing", "complete")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both sides. With several records a side its geometric mean (a count's mean).

    `change` is b / a - 1, None where that has no meaning; `probability` that of so large a
    difference by chance alone, raised for the number of figures judged; None: not by statistics.
    """

    part: str
    name: str
    kind: str
    a: float | None
    b: float | None
    change: float | None = None
    probability: float | None = None
    tolerance: float = 0.0
    verdict: str = SAME
    why: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The whole, as JSON and as text; `method` says what the verdicts rest on."""

    schema: str = SCHEMA
    a: list[str] = field(default_factory=list)  # the records' names
    b: list[str] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    method: str = ""
    rows: list[Difference] = field(default_factory=list)

    def having(self, verdict: str) -> list[Difference]:
        """The rows of a verdict."""
        return [row for row in self.rows if row.verdict == verdict]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row that statistics will judge."""

    row: Difference
    a: list[float]  # logarithms, one a record
    b: list[float]
    evidence: Evidence | None  # of single runs


def compare(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    only: Sequence[str] = (),
    tolerance: float | None = None,
) -> Comparison:
    """Compare two sides of at least one record each.

    `only`: names of figures, instead of the whole table (fewer figures are told apart better);
    `tolerance`: instead of those above. Raises UsageError for an unknown name.
    """
    assert a and b
    wanted = [("", metrics.find(name)) for name in only]
    is_whole = not wanted
    if is_whole:
        wanted = [(part, metrics.find(name)) for part, names in TABLE for name in names]
    rows: list[Difference | _Candidate] = []
    for part, metric in wanted:
        one = _examine(part, metric, a, b, is_whole)
        if one is not None:
            rows.append(one)
    candidates = [one for one in rows if isinstance(one, _Candidate)]
    is_single = len(a) == len(b) == 1
    judged = iter(_judge(candidates, len(a), len(b), tolerance, is_single))
    told = [next(judged) if isinstance(one, _Candidate) else one for one in rows]
    limits = [_is_limited(side) for side in (a, b)]
    return Comparison(
        conditions=conditions.differing(a, b),
        warnings=_warnings(a, b),
        method=_method(len(a), len(b), len(candidates), tolerance),
        rows=[_bounded(row, *limits) for row in told],
    )


def _examine(
    part: str, metric: Metric, a: Sequence[RunRecord], b: Sequence[RunRecord], is_whole: bool
) -> Difference | _Candidate | None:
    """A row that is clear already, one for statistics to judge, or None: nothing to say."""
    found = [[metrics.measure(one, metric) for one in side] for side in (a, b)]
    left, right = ([f.value for f in side if f.value is not None] for side in found)
    if not left and not right and is_whole:
        return None
    name = next(f.name for side in found for f in side)
    row = Difference(part, name, metric.kind, _middle(metric, left), _middle(metric, right))
    if any(f.name != name for side in found for f in side):
        return replace(row, verdict=NOT_COMPARABLE, why="The sides have different distributions.")
    short = [s for s, side in zip("AB", found, strict=True) if any(f.value is None for f in side)]
    if short:
        why = next(f.why for side in found for f in side if f.value is None)
        return replace(row, verdict=NOT_COMPARABLE, why=f"In {' and '.join(short)}: {why}")
    assert row.a is not None and row.b is not None
    row = replace(row, change=row.b / row.a - 1 if row.a else None)
    if metric.kind == "flag" or _is_bad(metric):
        if not any(left) and not any(right) and is_whole and metric.name not in _ALWAYS_SHOWN:
            return None
        clear = _clear(metric, row, left, right)
        if clear is not None:
            return clear
    logs_a, logs_b = ([_log(metric, value) for value in side] for side in (left, right))
    is_single = len(a) == len(b) == 1
    evidence = single_run(metric, a[0], b[0], name) if is_single else None
    if is_single and evidence is None:
        why = "A single run does not tell how much this varies: give several a side."
        return replace(row, verdict=NOT_COMPARABLE, why=why)
    return _Candidate(row, logs_a, logs_b, evidence)


def _is_bad(metric: Metric) -> bool:
    """A figure whose best value is 0 (a share's best is 1)."""
    return metric.kind == "share" or (
        metric.kind == "count" and metric.name not in _HIGHER_IS_BETTER
    )


def _clear(
    metric: Metric, row: Difference, left: Sequence[float], right: Sequence[float]
) -> Difference | None:
    """Verdicts that take no statistics: what must not be is there, or is gone."""
    if metric.kind == "flag":
        good = float(metric.name in _HIGHER_IS_BETTER)
        bad_a, bad_b = (any(value != good for value in side) for side in (left, right))
    elif metric.kind == "share":
        bad_a, bad_b = (any(value < 1 for value in side) for side in (left, right))
    else:
        bad_a, bad_b = any(left), any(right)
    if bad_a and bad_b and metric.kind != "flag":
        return None
    verdict = SAME if bad_a == bad_b else WORSE if bad_b else BETTER
    if metric.name == "saturated":  # says of what the figures are, not how good the server is
        return replace(row, change=None, verdict=SAME if bad_a == bad_b else NOT_COMPARABLE)
    return replace(row, change=None, verdict=verdict)


def _log(metric: Metric, value: float) -> float:
    if metric.kind == "count":
        return math.log1p(value)
    if metric.kind == "share":
        value = 1 - value  # 99 % to 98 % is twice as many that did not
    return math.log(max(value, 1.0 if metric.kind == "bytes" else 1e-9))


def _middle(metric: Metric, values: Sequence[float]) -> float | None:
    if not values:
        return None
    if metric.kind in ("count", "share", "flag") or min(values) <= 0:
        return sum(values) / len(values)
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _judge(
    candidates: Sequence[_Candidate], n: int, m: int, tolerance: float | None, is_single: bool
) -> list[Difference]:
    """Verdicts by probability and tolerance, in the candidates' order."""
    if not candidates:
        return []
    a, b = (np.array([getattr(one, side) for one in candidates]).T for side in "ab")
    if is_single:
        ps = noise.holm([one.evidence.probability for one in candidates if one.evidence])
    elif noise.least_permuted(n, m) <= LEVEL:
        ps = noise.permuted(a, b, TOLERANCE_RUNS / 2).tolist()
    else:
        ps = noise.holm(noise.between_runs(a, b).tolist())
    told = []
    for one, p, change in zip(candidates, ps, (b.mean(axis=0) - a.mean(axis=0)), strict=True):
        within = one.evidence.tolerance if one.evidence is not None else TOLERANCE_RUNS
        within = within if tolerance is None else tolerance
        verdict = SAME
        if p < LEVEL and abs(change) > math.log1p(within):
            metric = metrics.find(one.row.name)
            is_better = (change > 0) == (metric.name in _HIGHER_IS_BETTER)
            if metric.kind == "share":
                is_better = change < 0  # of what is short of all
            verdict = BETTER if is_better else WORSE
        why = one.evidence.why if one.evidence is not None else ""
        told.append(
            replace(one.row, probability=round(p, 6), tolerance=within, verdict=verdict, why=why)
        )
    return told


def _is_limited(side: Sequence[RunRecord]) -> bool:
    return any(one.limit.is_lower_bound for one in side)


def _bounded(row: Difference, a_is_limited: bool, b_is_limited: bool) -> Difference:
    """The server of a limited side may do better than its figures: drop what does not follow."""
    if not row.name.startswith(_BOUNDED) or row.verdict == NOT_COMPARABLE:
        return row
    follows = {
        WORSE: not b_is_limited,
        BETTER: not a_is_limited,
        SAME: not (a_is_limited or b_is_limited),
    }
    if follows[row.verdict]:
        return row
    why = "The generator was the limit: the server may do better than this."
    return replace(row, verdict=NOT_COMPARABLE, why=why)


def _warnings(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> list[str]:
    said = []
    for name, side in (("A", a), ("B", b)):
        limited = sum(one.limit.is_lower_bound for one in side)
        if limited:
            of = "" if len(side) == 1 else f" in {limited} of its {len(side)} runs"
            said.append(
                f"In {name} the generator was the limit{of}: its rate is a lower bound, its "
                "request latencies are upper bounds."
            )
        incomplete = [one for one in side if one.verdict.shortfalls]
        if incomplete:
            said.append(f"In {name} not all was as asked: {incomplete[0].verdict.shortfalls[0]}")
    return said


def _method(n: int, m: int, figures: int, tolerance: float | None) -> str:
    """What the verdicts rest on, in words."""
    if n == m == 1:
        within = "10 % (figures with a series) or 50 % (the others)"
        how = (
            "one record a side: batch means of its intervals and order statistics of its "
            "histograms, Holm's correction. How runs differ from each other is not known; four "
            "records a side would tell."
        )
    else:
        within = f"{100 * TOLERANCE_RUNS:g} %"
        how = f"{n} and {m} records: "
        if noise.least_permuted(n, m) <= LEVEL:
            how += "permutations of the runs, with the largest t of all figures."
        else:
            how += (
                "Welch's t on the runs' figures, Holm's correction. So few runs tell only large "
                "changes; from four a side on permutations are used."
            )
    if tolerance is not None:
        within = f"{100 * tolerance:g} %"
    return (
        f"More than noise: a chance below {LEVEL:g} for all {figures} figures together, and a "
        f"change of more than {within}. By {how}"
    )
