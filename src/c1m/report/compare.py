"""Two builds, two machines, two settings: what changed, by how much, and is it more than noise.

What can be said depends on how many records a side has:

- Three or more: whether a figure changed by more than runs of one build do is decided by dealing
  the runs to the sides in other ways (`noise.shares`), for all figures of the table together.
  Changes of less than 2 % are none.
- Fewer: how runs of one build differ is not known. What differs is told and not judged, but for
  figures with a series (`intervals.py`) that differ by more than a factor of three and whose
  intervals lie apart by more than they vary.

What must not happen at all (lost, wrong, missing, ...) is no estimate: it is worse as soon as it
happens on one side only.

Where the generator was the limit, a rate is a lower bound and a latency an upper one: verdicts that
do not follow from bounds are not given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from c1m.report import intervals, noise
from c1m.results import catalogue as metrics
from c1m.results import conditions
from c1m.results.catalogue import Metric
from c1m.results.conditions import Condition
from c1m.results.record import RunRecord

SCHEMA = "c1m-compare/1"
TOLERANCE = 0.02  # three records a side or more
TOLERANCE_FEW = 2.0  # fewer: a neighbour on the same core makes half the rate, twice the latency

BETTER, WORSE, SAME = "better", "worse", "same within noise"
NOT_JUDGED, NOT_COMPARABLE = "not judged", "not comparable"

_BOUNDED = ("rate", "request.", "uncorrected.")  # what a saturated generator bounds
_ITS_OWN = ("unsent", "complete")  # what it may be short of by itself
_ALWAYS_SHOWN = ("failed", "lost", "wrong", "missing", "complete")


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both sides. With several records a side its geometric mean (a count's mean).

    `change` is b / a - 1, None where that has no meaning; `probability`: in which share of all ways
    to deal the runs some figure stands out as this one does; None: it was not decided by that.
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
    """A row that is to be judged, with its values turned so that larger ones are worse."""

    row: Difference
    metric: Metric
    a: list[float]  # logarithms, one a record
    b: list[float]


def compare(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    only: Sequence[str] = (),
    tolerance: float | None = None,
) -> Comparison:
    """Compare two sides of at least one record each.

    `only`: names of figures, instead of the whole table (fewer figures are told apart better);
    `tolerance`: smaller changes are none, instead of those above. Raises UsageError for an unknown
    name.
    """
    assert a and b
    wanted = [("", metrics.find(name)) for name in only]
    is_whole = not wanted
    if is_whole:
        wanted = [(part, metrics.find(name)) for part, names in metrics.COMPARED for name in names]
    rows: list[Difference | _Candidate] = []
    for part, metric in wanted:
        one = _examine(part, metric, a, b, is_whole)
        if one is not None:
            rows.append(one)
    candidates = [one for one in rows if isinstance(one, _Candidate)]
    if has_few(len(a), len(b)):
        judged = iter([_by_intervals(one, a, b, tolerance) for one in candidates])
    else:
        judged = iter(_by_deals(candidates, tolerance))
    told = [next(judged) if isinstance(one, _Candidate) else one for one in rows]
    limits = [_is_limited(side) for side in (a, b)]
    return Comparison(
        conditions=conditions.differing(a, b),
        warnings=_warnings(a, b),
        method=_method(len(a), len(b), len(candidates), tolerance),
        rows=[_bounded(row, *limits) for row in told],
    )


def has_few(n: int, m: int) -> bool:
    """Whether n and m records are too few to tell how runs differ."""
    return not any(noise.levels(n, m))


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
    if metric.kind == "flag" or metric.ideal is not None:
        if not any(left) and not any(right) and is_whole and metric.name not in _ALWAYS_SHOWN:
            return None
        clear = _clear(metric, row, left, right)
        if clear is not None:
            return clear
    return _Candidate(row, metric, *([_badness(metric, v) for v in side] for side in (left, right)))


def _clear(
    metric: Metric, row: Difference, left: Sequence[float], right: Sequence[float]
) -> Difference | None:
    """Verdicts that take no statistics: what must not be is there, or is gone."""
    if metric.kind == "flag":
        good = float(metric.better == "higher")
        bad_a, bad_b = (any(value != good for value in side) for side in (left, right))
    elif metric.kind == "share":
        bad_a, bad_b = (any(value < 1 for value in side) for side in (left, right))
    else:
        bad_a, bad_b = any(left), any(right)
    if bad_a and bad_b and metric.kind != "flag":
        return None
    verdict = SAME if bad_a == bad_b else WORSE if bad_b else BETTER
    if not metric.better:  # says of what the figures are, not how good the server is
        return replace(row, change=None, verdict=SAME if bad_a == bad_b else NOT_COMPARABLE)
    return replace(row, change=None, verdict=verdict)


def _badness(metric: Metric, value: float) -> float:
    """The value's logarithm, turned so that more is worse."""
    if metric.kind == "share":
        return math.log(max(1 - value, 1e-9))  # 99 % to 98 % is twice as many that did not
    if metric.kind == "count":
        log = math.log1p(max(value, 0.0))  # less only where a record contradicts itself
    else:
        log = math.log(max(value, 1.0 if metric.kind == "bytes" else 1e-9))
    return -log if metric.better == "higher" else log


def _middle(metric: Metric, values: Sequence[float]) -> float | None:
    if not values:
        return None
    if metric.kind in ("count", "share", "flag") or min(values) <= 0:
        return sum(values) / len(values)
    return math.exp(sum(math.log(value) for value in values) / len(values))


def _by_deals(candidates: Sequence[_Candidate], tolerance: float | None) -> list[Difference]:
    """Verdicts by dealing the runs in other ways, in the candidates' order."""
    if not candidates:
        return []
    within = TOLERANCE if tolerance is None else tolerance
    a, b = (np.array([getattr(one, side) for one in candidates]).T for side in "ab")
    rises = b.mean(axis=0) - a.mean(axis=0)
    worse, better = noise.shares(a, b, TOLERANCE / 2), noise.shares(-a, -b, TOLERANCE / 2)
    levels = noise.levels(len(a), len(b))
    told = []
    for i, (one, rise) in enumerate(zip(candidates, rises.tolist(), strict=True)):
        share, level = (worse[i], levels[0]) if rise > 0 else (better[i], levels[1])
        row = replace(one.row, probability=round(float(share), 6), tolerance=within)
        if share <= (level or noise.LEVEL) and abs(rise) > math.log1p(within):
            row = replace(row, verdict=WORSE if rise > 0 else BETTER)
        if row.verdict == BETTER and not level:
            row = replace(row, verdict=NOT_JUDGED, why="So few runs tell what is worse only.")
        told.append(row)
    return told


def _by_intervals(
    one: _Candidate, a: Sequence[RunRecord], b: Sequence[RunRecord], tolerance: float | None
) -> Difference:
    """The verdict on too few runs by what they have inside."""
    within = TOLERANCE_FEW if tolerance is None else tolerance
    row = replace(one.row, tolerance=within)
    rise = float(np.mean(one.b) - np.mean(one.a))
    if abs(rise) <= math.log1p(TOLERANCE):
        return row
    sides = [intervals.of_side(one.metric, side, row.name) for side in (a, b)]
    if sides[0] is None or sides[1] is None:
        why = f"No series of {intervals.INTERVALS_MIN} intervals tells how much it varies."
        return replace(row, verdict=NOT_JUDGED, why=why)
    apart = noise.apart(np.log(sides[0]), np.log(sides[1]))
    if not apart:
        return row
    if apart > 1 and abs(rise) > math.log1p(within):
        return replace(row, verdict=WORSE if rise > 0 else BETTER)
    why = "More than they vary within the runs, and not enough to say so from so few runs."
    return replace(row, verdict=NOT_JUDGED, why=why)


def _is_limited(side: Sequence[RunRecord]) -> bool:
    return any(one.limit.is_lower_bound for one in side)


def _bounded(row: Difference, a_is_limited: bool, b_is_limited: bool) -> Difference:
    """The server of a limited side may do better than its figures: drop what does not follow."""
    is_its_own = row.name in _ITS_OWN
    if not (is_its_own or row.name.startswith(_BOUNDED)):
        return row
    if row.verdict in (NOT_JUDGED, NOT_COMPARABLE):
        return row
    follows = {
        WORSE: not b_is_limited,
        BETTER: not a_is_limited,
        SAME: is_its_own or not (a_is_limited or b_is_limited),
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
    within = tolerance if tolerance is not None else TOLERANCE_FEW if has_few(n, m) else TOLERANCE
    if has_few(n, m):
        return (
            f"{n} and {m} records do not tell how runs of one build differ: give three or more a "
            "side, made in turns (A B A B ...). Worse or better are told here only figures with a "
            "series whose intervals lie apart by more than they vary within either side, and that "
            f"changed by more than a factor of {1 + within:g}; and what must not happen at all."
        )
    method = (
        f"More than noise: dealing the {n} and {m} runs to the sides in other ways makes some of "
        f"the {figures} figures stand out nearly as much in at most 1 of 20 deals; and a change of "
        f"more than {100 * within:g} %. A build compared with itself differs in at most 1 "
        "comparison of 20."
    )
    if not noise.levels(n, m)[1]:
        method += " So few runs tell what is worse only; four a side tell what is better, too."
    return method
