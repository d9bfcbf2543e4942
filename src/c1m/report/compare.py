"""Two builds, two machines, two settings: what changed, by how much, and is it more than chance.

- Three or more records a side: `chances` decides, for all figures of the table together. Changes of
  less than the tolerance are none.
- Fewer: how runs of one build differ is not known, so what differs is reported and not judged,
  unless the caller says what counts as a change, by a tolerance.

What must not happen at all (lost, wrong, missing, ...) is no estimate: it is worse as soon as it
happens on one side only.

Where the generator was the limit, a rate is a lower bound and a latency an upper one: verdicts that
do not follow from bounds are not given.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.results import catalogue
from c1m.results.catalogue import Metric
from c1m.results.record import RunRecord
from c1m.units import format_bytes, format_count, format_duration

SCHEMA = "c1m-compare/1"
TOLERANCE = 0.02

BETTER, WORSE, SAME = "better", "worse", "same within noise"
NOT_JUDGED, NOT_COMPARABLE = "not judged", "not comparable"

LEVEL = 0.05  # of a false alarm, over all figures
_FLOOR = 0.02  # a figure whose runs deviate by less than this rises by so much less
_SPLITS_MAX = 5_000  # all splits where there are no more, else so many at random
_SEED = 7
_ROUNDING = 1e-9

Floats = npt.NDArray[np.float64]

_BOUNDED = ("rate", "request.", "uncorrected.")  # what a saturated generator bounds
_ITS_OWN = ("unsent", "complete")  # what it may be short of by itself
_ALWAYS_SHOWN = ("failed", "lost", "wrong", "missing", "complete")

_LOCAL = re.compile(r"\w+://(?:127\.|localhost[:/]|\[::1\])")
_PLAIN = ("kernel", "cpu", "cores", "python", "numpy", "c1m", "nofile_soft", "nofile_hard")
_CALM = {"c1m", "asked.seed"}
# The engine that ran, the target, the scenario and how many workers there were are conditions of
# their own; who is measured as the server, what is required of the figures, where files and the
# cluster's scheduler are, and what would have followed a loss is none.
_NOT_TOLD = {
    "engine", "targets", "scenario", "server_pid", "require", "ca", "cert", "key", "cluster",
    "on_worker_loss", "cluster_dir", "ready_timeout_ns",
}  # fmt: skip
_MEMORY_STEP = 64 << 20  # MemTotal moves by some MiB between boots of the same machine


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that differs, with what it was on each side (" | " between several).

    Figures compare only where these agree. `is_alarming` is False where the difference may be the
    very purpose, as between two builds of c1m, or is without meaning, as of the seed.
    """

    name: str
    a: str
    b: str
    is_alarming: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure of both sides. With several records a side its geometric mean (a count's mean).

    `change` is b / a - 1, None where that has no meaning; `probability`: in which share of all
    splits of the runs some figure changes as much in this direction; None: it was not decided by
    that.
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


def compare(
    a: Sequence[RunRecord],
    b: Sequence[RunRecord],
    only: Sequence[str] = (),
    tolerance: float | None = None,
) -> Comparison:
    """Compare two sides of at least one record each.

    `only`: names of figures, instead of the whole table (smaller changes are found in fewer
    figures); `tolerance`: smaller changes are none; 2 % if it is None. Raises UsageError for an
    unknown name.
    """
    assert a and b
    wanted = [("", catalogue.find(name)) for name in only] or [
        (part, catalogue.find(name))
        for part, names in (*catalogue.COMPARED, ("checks", _checks([*a, *b])))
        for name in names
    ]
    examined = [_examine(part, metric, a, b) for part, metric in wanted]
    if not only:
        examined = [(row, runs) for row, runs in examined if _is_shown(row)]
    undecided = [runs for _, runs in examined if runs]
    judged = _judge(np.array(undecided).T, len(a), tolerance) if undecided else iter(())
    rows = [replace(row, **next(judged)) if runs else row for row, runs in examined]
    is_limited = [any(one.limit.is_lower_bound for one in side) for side in (a, b)]
    return Comparison(
        conditions=differing_conditions(a, b),
        warnings=[*_warnings("A", a), *_warnings("B", b)],
        method=_method(len(a), len(b), len(undecided), tolerance),
        rows=[_bounded(row, *is_limited) for row in rows],
    )


def _checks(records: Sequence[RunRecord]) -> tuple[str, ...]:
    """What any of them checked, as metrics."""
    return tuple(dict.fromkeys(f"check:{one.name}" for r in records for one in r.checks))


def _examine(
    part: str, metric: Metric, a: Sequence[RunRecord], b: Sequence[RunRecord]
) -> tuple[Difference, list[float]]:
    """The figure's row and, where its verdict is open, how bad it was in each run of A and B."""
    found = [[catalogue.measure(one, metric) for one in side] for side in (a, b)]
    left, right = ([f.value for f in side if f.value is not None] for side in found)
    name = found[0][0].name
    row = Difference(part, name, metric.kind, _middle(metric, left), _middle(metric, right))
    if any(f.name != name for side in found for f in side):
        why = "The sides have different distributions."
        return replace(row, verdict=NOT_COMPARABLE, why=why), []
    short = [s for s, side in zip("AB", found, strict=True) if any(f.value is None for f in side)]
    if short:
        why = next(f.why for side in found for f in side if f.value is None)
        why = f"In {' and '.join(short)}: {why}"
        return replace(row, verdict=NOT_COMPARABLE, why=why), []
    if metric.kind == "flag" or metric.ideal is not None:
        is_bad = [any(_is_bad(metric, value) for value in side) for side in (left, right)]
        if metric.kind == "flag" or not all(is_bad):
            return replace(row, verdict=_clear(metric, *is_bad)), []
    assert row.a is not None and row.b is not None
    row = replace(row, change=row.b / row.a - 1 if row.a else None)
    return row, [_badness(metric, value) for value in (*left, *right)]


def _is_shown(row: Difference) -> bool:
    """Of the whole table: what some run has; of what is counted, what some run has any of."""
    if row.a is None and row.b is None:
        return False
    return bool(row.kind != "count" or row.name in _ALWAYS_SHOWN or row.a or row.b)


def _is_bad(metric: Metric, value: float) -> bool:
    return value < 1 if metric.kind == "share" else value != (metric.ideal or 0)


def _clear(metric: Metric, a_is_bad: bool, b_is_bad: bool) -> str:
    """The verdict on what must not be, where that takes no statistics."""
    if a_is_bad == b_is_bad:
        return SAME
    if not metric.better:  # says of what the figures are, not how good the server is
        return NOT_COMPARABLE
    return WORSE if b_is_bad else BETTER


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
        return statistics.fmean(values)
    return statistics.geometric_mean(values)


def _judge(runs: Floats, n: int, tolerance: float | None) -> Iterator[dict[str, Any]]:
    """The verdict on each column of runs, of which the first n are A's, as fields of its row."""
    within = TOLERANCE if tolerance is None else tolerance
    rises = runs[n:].mean(axis=0) - runs[:n].mean(axis=0)
    found = [None] * len(rises)
    if can_tell(n, len(runs) - n):
        found = np.where(rises > 0, chances(runs, n), chances(-runs, n)).tolist()
    for rise, chance in zip(rises.tolist(), found, strict=True):
        verdict = WORSE if rise > 0 else BETTER
        if abs(rise) <= math.log1p(within) or (chance is not None and chance > LEVEL):
            verdict = SAME
        elif chance is None and tolerance is None:
            verdict = NOT_JUDGED
        yield {"verdict": verdict, "probability": chance, "tolerance": within}


def can_tell(n: int, m: int) -> bool:
    """Whether n and m runs can be split in enough ways for one to be as rare as LEVEL."""
    return math.comb(n + m, n) * LEVEL >= 1


def chances(runs: Floats, n: int) -> Floats:
    """For each figure: in which share of all splits some figure rises as far as this one did.

    runs float[runs, figures]; the first n are A, the others B. How far: the difference of the
    sides' means, in standard deviations of all the runs.

    If two builds do not differ, it is chance which of the runs are A's and which B's: any other
    split of the same runs was as likely. So all splits are tried, and in each the figure that rises
    most from A to B is found. A figure rises by more than chance if, in the actual split, it rose
    further than any figure does in 19 of 20 splits. At most one split in twenty can be like that,
    for any of the figures. So at most one in twenty comparisons of a build with itself finds a
    rise, however much runs vary, however the figures are correlated, and however many there are.

    (A permutation test on the largest standardised difference: Westfall and Young, "Resampling-
    based multiple testing", 1993.) It takes twenty splits: three runs a side.
    """
    spread = runs.std(axis=0) + _FLOOR
    rises = _splits(len(runs), n) @ ((runs - runs.mean(axis=0)) / spread)
    largest = rises.max(axis=1)
    found: Floats = (largest[:, None] >= rises[0] - _ROUNDING).mean(axis=0)
    return found


def _splits(total: int, n: int) -> Floats:
    """float[splits, total]: weights that give the difference of means; the actual split first."""
    if math.comb(total, n) <= _SPLITS_MAX:
        in_a = list(itertools.combinations(range(total), n))
    else:
        random = np.random.default_rng(_SEED)
        drawn = (random.permutation(total)[:n] for _ in range(_SPLITS_MAX - 1))
        in_a = [tuple(range(n)), *map(tuple, drawn)]
    weights = np.full((len(in_a), total), 1 / (total - n))
    np.put_along_axis(weights, np.array(in_a), -1 / n, axis=1)
    return weights


def _bounded(row: Difference, a_is_limited: bool, b_is_limited: bool) -> Difference:
    """The server of a limited side may do better than its figures: drop what does not follow."""
    is_its_own = row.name in _ITS_OWN
    if not (is_its_own or row.name.startswith(_BOUNDED)):
        return row
    follows = {
        WORSE: not b_is_limited,
        BETTER: not a_is_limited,
        SAME: is_its_own or not (a_is_limited or b_is_limited),
    }
    if follows.get(row.verdict, True):
        return row
    why = "The generator was the limit: the server may do better than this."
    return replace(row, verdict=NOT_COMPARABLE, why=why)


def _warnings(name: str, side: Sequence[RunRecord]) -> list[str]:
    said = []
    limited = sum(one.limit.is_lower_bound for one in side)
    if limited:
        of = "" if len(side) == 1 else f" in {limited} of its {len(side)} runs"
        said.append(
            f"In {name} the generator was the limit{of}: its rate is a lower bound, its request "
            "latencies are upper bounds."
        )
    incomplete = [one for one in side if one.verdict.shortfalls]
    if incomplete:
        said.append(f"In {name} not all was as asked: {incomplete[0].verdict.shortfalls[0]}")
    return said


def _method(n: int, m: int, figures: int, tolerance: float | None) -> str:
    """What the verdicts rest on, in words."""
    within = f"{100 * (TOLERANCE if tolerance is None else tolerance):g} %"
    if can_tell(n, m):
        return (
            f"Worse or better: a change of more than {within} that is more than chance. Of all "
            f"ways to split these runs into {n} and {m}, at most 1 in 20 has any of the {figures} "
            "figures change as much in that direction. A build compared with itself is called "
            "worse in at most 1 of 20 comparisons, and better in at most 1 of 20."
        )
    few = (
        f"{n} and {m} records can never show a change beyond chance, because they do not show how "
        "much runs of one build differ. Give three or more a side, made in turns (A B A B ...)."
    )
    if tolerance is None:
        return f"{few} What must not happen at all is judged all the same."
    return f"{few} Worse or better here: a change of more than {within}, whatever its cause."


# Conditions


def differing_conditions(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> list[Condition]:
    """All conditions that are not the same in all records of both sides, the alarming first."""
    all_a, all_b = [_conditions(one) for one in a], [_conditions(one) for one in b]
    names = dict.fromkeys(name for one in (*all_a, *all_b) for name in one)
    found = []
    for name in names:
        left, right = _texts(all_a, name), _texts(all_b, name)
        if left != right or len(left) > 1:
            found.append(Condition(name, " | ".join(left), " | ".join(right), name not in _CALM))
    return sorted(found, key=lambda one: not one.is_alarming)


def _texts(records: Sequence[dict[str, str]], name: str) -> list[str]:
    return sorted({one.get(name, "-") for one in records})


def _conditions(record: RunRecord) -> dict[str, str]:
    meta = record.metadata
    named = {name: _text(getattr(meta, name)) for name in _PLAIN}
    named["memory"] = format_bytes(round(meta.memory_bytes / _MEMORY_STEP) * _MEMORY_STEP)
    named["engine"] = meta.engine.name
    named |= {name: " ".join(text.split()) for name, text in meta.sysctls.items()}
    named["target"] = _target_kind(record.target)
    named["scenario"] = record.scenario
    named["Redis nodes"] = _text(meta.redis_nodes or None)
    named["workers"] = _text(len({one.part for one in record.workers}) or None)
    named["TLS"] = f"{record.tls.version} {record.tls.cipher}".strip() if record.tls else "-"
    for one in fields(record.asked):
        if one.name not in _NOT_TOLD:
            value = getattr(record.asked, one.name)
            is_time = one.name.endswith("_ns") and value is not None
            name = one.name.removesuffix("_ns")
            named[f"asked.{name}"] = format_duration(value) if is_time else _text(value)
    return named


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(value) or "-"
    if isinstance(value, int | float):
        return format_count(value) if float(value).is_integer() else f"{value:g}"
    if value is None or value == "":
        return "-"
    return str(value) if str(value).isprintable() else repr(value)


def _target_kind(target: str) -> str:
    if not target:
        return "-"
    if target.startswith("unix:"):
        return "a Unix socket"
    return "on this machine" if _LOCAL.match(target) else "on the network"
