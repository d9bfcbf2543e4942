"""Thresholds: `--require 'p99 < 50ms'`, parsed before a run and judged by its record.

METRIC OP VALUE, with a metric of the catalogue (which may be a check of any name: the last OP is
meant), OP one of < <= > >= == != and a value in the
metric's unit: a time always with its unit (50 of what?), a share as 99.9% or 0.999.

Judged strictly: a figure that the run does not carry (too few samples for that percentile) does not
hold, and an upper bound on a percentile does not hold where so many replies are missing that the
percentile of all requests is one of those.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from c1m.errors import UsageError
from c1m.results import catalogue
from c1m.results.catalogue import Metric
from c1m.results.record import RunRecord, Threshold

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_FORM = re.compile(r"\s*((?i:check:.*)|[^<>=!]*[^\s<>=!])\s*(<=|>=|==|!=|<|>)\s*([^<>=!]+?)\s*")


@dataclass(frozen=True, slots=True)
class Required:
    """One threshold as asked; `bound` in the metric's own unit: ns, count, per second, share."""

    text: str
    metric: Metric
    op: str
    bound: float


def parse(text: str) -> Required:
    """'p99 < 50ms' understood. Raises UsageError for an unknown metric, operator or unit."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is no threshold.",
            "Write METRIC OP VALUE, OP one of < <= > >= == !=, as in 'p99 < 50ms' or 'lost == 0'; "
            "give --require once for each.",
        )
    name, op, value = match.groups()
    metric = catalogue.find(name)
    if metric.kind == "flag" and op not in ("==", "!="):
        raise UsageError(
            f"{text!r}: {metric.name} is yes or no, it has no order.",
            f"Write '{metric.name} == no'.",
        )
    kind = catalogue.KINDS[metric.kind]
    try:
        return Required(text.strip(), metric, op, kind.parse(value))
    except UsageError as error:
        raise UsageError(
            f"{text.strip()!r}: {error.message}", f"{metric.name} is measured as {kind.written}."
        ) from error


def evaluate(record: RunRecord, thresholds: Iterable[Required]) -> list[Threshold]:
    """What became of each threshold, in their order."""
    return [_judge(record, one) for one in thresholds]


def _judge(record: RunRecord, one: Required) -> Threshold:
    figure = catalogue.measure(record, one.metric)
    if figure.value is None:
        return Threshold(one.text, figure.name, why=figure.why)
    holds, why = OPERATORS[one.op](figure.value, one.bound), figure.why
    if holds and one.op in ("<", "<=") and (never := catalogue.beyond(record, one.metric)):
        holds, why = False, f"{why} {never}".strip()
    shown = _shown(one, figure.value)
    return Threshold(one.text, figure.name, float(figure.value), shown, holds, why)


def _shown(one: Required, value: float) -> str:
    """With so many digits that a value beside its bound does not look like it."""
    shown, bound = map(catalogue.KINDS[one.metric.kind].show, (value, one.bound))
    if shown != bound or value == one.bound:
        return shown
    return f"{value / 1e6:,.6f} ms" if one.metric.kind == "time" else f"{value:.9g}"
