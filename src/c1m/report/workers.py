"""The sections and plots of a report about the workers of a cluster that did a run together.

Each has a row while they are few; of many there are the lost ones, and the lowest, the middle and
the highest of each figure with whose it is.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Sequence

from c1m.report import plot
from c1m.report.blocks import Note, Row, Section, Table
from c1m.report.plot import Plot, Trace, axis, figure, line
from c1m.results.record import RunRecord
from c1m.results.workers import WorkerPart
from c1m.units import NS_PER_S, format_count, format_duration, format_number_of, format_short_count

EACH_MAX = 16  # workers with a row each
LOST_MAX = 8  # rows of lost ones, where there are more workers
PLOTTED_MAX = 5  # of more, the lowest, the middle and the highest are drawn
_COLOURS = ("server", "client", "kernel", "other", "bad")  # of the page


def degraded(record: RunRecord) -> str:
    """'DEGRADED: 1 of 4 workers was lost, at 31.2 s.', or ""."""
    lost = record.degraded
    if not lost:
        return ""
    workers = _parts(record) or len(lost)
    count, first = len({one.part for one in lost}), min(one.t_s for one in lost)
    of = f"{format_count(count)} of {format_count(workers)} workers"
    when = f"at {_seconds(first)}" if len(lost) == 1 else f"the first at {_seconds(first)}"
    return f"DEGRADED: {of} {'was' if count == 1 else 'were'} lost, {when}."


def workers(record: RunRecord) -> Section:
    """What each worker had of the run, how its clock and its starts were, which were lost."""
    there = record.workers
    if not there:
        return Section("workers")
    blocks = [_each(there) if len(there) <= EACH_MAX else _together(there), Note(_starts(there))]
    return Section(f"workers: {format_count(_parts(record))}", blocks)


def _parts(record: RunRecord) -> int:
    """How many took part: an attempt that took the place of a lost one is no further worker."""
    return len({one.part for one in record.workers})


def _each(there: Sequence[WorkerPart]) -> Table:
    head = ("peak", "right", "bad", "p99", "CPU time", "start error", "")
    rows = [_row(one) for one in there]
    marks = [not one.lost for one in there]
    return Table(head, rows, has_words=True, marks=() if all(marks) else marks)


def _row(one: WorkerPart) -> Row:
    return (
        name_of(one),
        format_count(one.peak_open),
        format_count(one.right),
        format_count(one.wrong + one.missing),
        *(show(value) if (value := get(one)) is not None else "" for _, get, show in _SHOWN),
        "; ".join(_remarks(one)),
    )


def _remarks(one: WorkerPart) -> list[str]:
    said = []
    if one.lost:
        when = "before the start" if one.lost_s is None else f"at {_seconds(one.lost_s)}"
        why = one.lost.partition(" (")[0].rstrip(".")  # the verdict has all of it
        said.append(f"lost {when}: {why[:1].lower()}{why[1:]}")
    if one.attempt:
        said.append(f"attempt {one.attempt + 1}")
    if one.frames_missing:
        said.append(f"{one.frames_missing} of {one.frames + one.frames_missing} frames missing")
    if one.limit in ("generator", "both"):
        said.append("was the limit")
    return said


def name_of(one: WorkerPart) -> str:
    """As it is called in tables and plots."""
    return one.name or one.address or f"part {one.part}"


def _cpu_s(one: WorkerPart) -> float | None:
    return None if one.user_s is None else one.user_s + (one.system_s or 0.0)


def _start_error_s(one: WorkerPart) -> float | None:
    """By how much it missed the common start of a stage, at most: early is as wrong as late."""
    return max(map(abs, one.start_errors_s), default=None)


def _seconds(value: float) -> str:
    return format_duration(value * NS_PER_S)


_Get = Callable[[WorkerPart], "float | None"]
_Show = Callable[[float], str]
_SHOWN: tuple[tuple[str, _Get, _Show], ...] = (
    ("p99", lambda one: one.p99_ns, format_duration),
    ("CPU time", _cpu_s, _seconds),
    ("start error", _start_error_s, _seconds),
)
_FIGURES: tuple[tuple[str, _Get, _Show], ...] = (
    ("connections open", lambda one: one.peak_open, lambda value: format_count(round(value))),
    ("right replies", lambda one: one.right, lambda value: format_count(round(value))),
    ("wrong or missing", lambda one: one.wrong + one.missing, lambda v: format_count(round(v))),
    *_SHOWN,
    ("clock known within", lambda one: one.clock_uncertain_s, _seconds),
)


def _together(there: Sequence[WorkerPart]) -> Table:
    """Of each figure the lowest, the middle and the highest; before them the lost ones."""
    rows: list[Row] = []
    lost = [one for one in there if one.lost]
    rows += [(name_of(one), "", "", "", "; ".join(_remarks(one))) for one in lost[:LOST_MAX]]
    if len(lost) > LOST_MAX:
        rows.append((f"and {format_count(len(lost) - LOST_MAX)} more lost", "", "", "", ""))
    for name, get, show in _FIGURES:
        known = [(value, one) for one in there if (value := get(one)) is not None]
        if not known:
            continue
        low, high = (pick(known, key=lambda pair: pair[0]) for pick in (min, max))
        middle = statistics.median_low(value for value, _ in known)
        whose = f"{name_of(low[1])} to {name_of(high[1])}" if low[0] != high[0] else ""
        rows.append((name, show(low[0]), show(middle), show(high[0]), whose))
    return Table(("lowest", "middle", "highest", ""), rows, has_words=True)


def _starts(there: Sequence[WorkerPart]) -> str:
    """How well the workers began together, and how well their clocks are known."""
    late = [abs(error) for one in there for error in one.start_errors_s]
    known = [one.clock_uncertain_s for one in there if one.clock_uncertain_s is not None]
    said = []
    if late:
        said.append(f"Stages began within {_seconds(max(late))} of their common time")
    if known:
        said.append(f"clocks are known within {_seconds(max(known))}")
    missing = sum(one.frames_missing for one in there)
    if missing:
        said.append(f"{format_number_of(missing, 'frame')} did not come")
    text = "; ".join(said)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


# Plots


def plots(record: RunRecord) -> list[Plot]:
    """Connections, right replies and processor time of each worker over time."""
    there = [one for one in record.workers if len(one.series.t_s) >= 2]
    drawn = _drawn(there)
    note = ""
    if len(drawn) < len(there):
        note = f"Of {format_count(len(there))} workers those with the fewest, middle and most."
    made = (
        _over_time(record, "workers-open", "Connections open, by worker", note, drawn, _open,
                   plot.counts("connections")),
        _over_time(record, "workers-right", "Right replies a second, by worker", note, drawn,
                   _right, plot.counts("replies a second")),
        _over_time(record, "workers-cpu", "Processor time, by worker",
                   "A load client has one thread: at 100 % of a core it is the limit.", drawn,
                   _cpu, axis("% of one core", rangemode="tozero")),
    )  # fmt: skip
    return [one for one in made if one is not None]


def _drawn(there: Sequence[WorkerPart]) -> list[WorkerPart]:
    """All, or by their right replies (or connections) evenly from the fewest to the most."""
    if len(there) <= PLOTTED_MAX:
        return list(there)
    ordered = sorted(there, key=lambda one: (one.right, one.peak_open))
    return [ordered[n * (len(ordered) - 1) // (PLOTTED_MAX - 1)] for n in range(PLOTTED_MAX)]


def _open(one: WorkerPart) -> list[float]:
    return list(map(float, one.series.open))


def _right(one: WorkerPart) -> list[float]:
    times = [0.0, *one.series.t_s]
    widths = (max(b - a, 1e-3) for a, b in itertools.pairwise(times))
    return [count / width for count, width in zip(one.series.right, widths, strict=True)]


def _cpu(one: WorkerPart) -> list[float]:
    return [100 * cores for cores in one.series.cpu]


def _over_time(
    record: RunRecord,
    name: str,
    title: str,
    note: str,
    drawn: Sequence[WorkerPart],
    column: Callable[[WorkerPart], list[float]],
    y_axis: dict[str, object],
) -> Plot | None:
    traces: list[Trace] = []
    for number, one in enumerate(drawn):
        values = column(one)
        if any(values):
            label = name_of(one)
            texts = [format_short_count(value, 3) for value in values]
            colour = _COLOURS[number % len(_COLOURS)]
            hover = f"{label} %{{customdata}}"
            traces.append(line(label, one.series.t_s, values, colour, hover, texts))
    return figure(name, title, note, traces, y_axis, plot.over_time(record))
