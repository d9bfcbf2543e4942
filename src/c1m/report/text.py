"""The summary of a run for a terminal: thresholds and verdict first, then how it came about.

At most 100 columns, no colour. Renders a record; what is about connections, requests, latencies and
the machine is in the `text_*` beside it, whose row makers are shared with the HTML report.
"""

from __future__ import annotations

from collections.abc import Iterator

from c1m.report.text_connections import (
    FUNNEL_HEAD,
    RAMP_HEAD,
    funnel,
    missing_lines,
    ramp_rows,
)
from c1m.report.text_latency import (
    SPECTRUM_HEAD,
    difference_lines,
    latency_head,
    latency_rows,
    percentile_names,
    spectrum_rows,
)
from c1m.report.text_layout import WIDTH, Row, named, sentence, share, short_rate, table, wrapped
from c1m.report.text_machine import MEMORY_HEAD, counter_lines, cpu_text, memory_rows, memory_text
from c1m.report.text_requests import (
    FAN_OUT_HEAD,
    LOWER_BOUND,
    REQUESTS_HEAD,
    STAGES_HEAD,
    fan_out_rows,
    fault_lines,
    has_requests,
    limit_lines,
    request_rows,
    stage_rows,
)
from c1m.results.record import Asked, RunRecord, Threshold
from c1m.units import format_count, format_duration, format_rate

__all__ = [
    "WIDTH", "Row", "cpu_text", "funnel", "headline", "latency_rows", "memory_rows",
    "percentile_names", "plan_rows", "ramp_rows", "share", "summary", "threshold_rows",
]  # fmt: skip


def summary(record: RunRecord) -> str:
    """The whole summary, lines joined by newlines, without one at the end."""
    return "\n\n".join("\n".join(section) for section in _sections(record) if section)


def _sections(record: RunRecord) -> Iterator[list[str]]:
    ramp = table(RAMP_HEAD, ramp_rows(record), left=(3,))
    is_plain = not has_requests(record)
    yield _thresholds(record)
    yield _verdict(record)
    yield _conditions(record)
    yield table(FUNNEL_HEAD, funnel(record))
    yield missing_lines(record)
    yield ramp if is_plain else []
    yield table(REQUESTS_HEAD, request_rows(record), left=(3,))
    yield table(STAGES_HEAD, stage_rows(record))
    yield table(FAN_OUT_HEAD, fan_out_rows(record), left=(3,))
    yield [*table(SPECTRUM_HEAD, spectrum_rows(record)), *difference_lines(record)]
    yield table(latency_head(record), latency_rows(record))
    yield fault_lines(record)
    yield _notes(record)
    yield limit_lines(record)
    yield [] if is_plain else ramp
    yield table(MEMORY_HEAD, memory_rows(record), left=(4,))
    yield counter_lines(record)


def headline(record: RunRecord) -> str:
    """The verdict in one line."""
    asked, c = record.asked.connections, record.connections
    if record.verdict.complete:
        due = record.requests.due + record.first.due + record.stampede.due
        replies = " and every reply right" if due else ""
        return (
            f"COMPLETE: {format_count(c.peak_open)} of {format_count(asked)} connections open at "
            f"the same time{replies}, none lost."
        )
    return (
        f"SHORT: {format_count(c.peak_open)} of {format_count(asked)} connections open at the same "
        f"time, {format_count(c.lost)} lost."
    )


def threshold_rows(record: RunRecord) -> list[Row]:
    """(ok or FAIL, the threshold as given, what was measured, why it does not hold)."""
    return [
        ("ok" if one.holds else "FAIL", one.text, _measured(one), sentence(one.why))
        for one in record.thresholds
    ]


def _measured(one: Threshold) -> str:
    if one.shown:
        return one.shown
    return "not measured" if one.value is None else f"{one.value:.6g}"


def thresholds_headline(record: RunRecord) -> str:
    """'thresholds: 2 of 3 hold'; "" without any."""
    held = sum(one.holds for one in record.thresholds)
    if not record.thresholds:
        return ""
    verdict = "all" if held == len(record.thresholds) else f"{held} of"
    return f"thresholds: {verdict} {len(record.thresholds)} hold"


def _thresholds(record: RunRecord) -> list[str]:
    rows = threshold_rows(record)
    if not rows:
        return []
    columns = [max(len(row[i]) for row in rows) for i in (1, 2)]
    lines = [thresholds_headline(record)]
    for mark, text, value, why in rows:
        line = f"  {mark:4}  {text:<{columns[0]}}  {value:>{columns[1]}}  {why}"
        lines += wrapped(line, "", " " * 8) if len(line) > WIDTH else [line.rstrip()]
    return lines


def _verdict(record: RunRecord) -> list[str]:
    lines = wrapped(headline(record))
    if record.limit.is_lower_bound:
        lines += wrapped(LOWER_BOUND)
    for shortfall in record.verdict.shortfalls:
        lines += wrapped(shortfall, "  - ", "    ")
    return lines


def _conditions(record: RunRecord) -> list[str]:
    m = record.metadata
    rate = record.asked.connect_rate_per_s
    pace = "as fast as it can" if rate is None else format_rate(rate)
    rows = [
        ("target", f"{record.target}, scenario {record.scenario}, connects {pace}"),
        *plan_rows(record),
        ("engine", f"{m.engine.name}: {m.engine.reason}" if m.engine.reason else m.engine.name),
        (
            "machine",
            f"{m.kernel}, {m.cores} x {m.cpu}, {memory_text(m.memory_bytes)}, "
            f"nofile {format_count(m.nofile_soft)}",
        ),
        ("versions", f"c1m {m.c1m}, Python {m.python}, NumPy {m.numpy}; {record.started}"),
    ]
    return [line for name, text in rows for line in named(name, text)]


def plan_rows(record: RunRecord) -> list[tuple[str, str]]:
    """(name, text) of the stages and of how requests were made; [] of a plain ramp."""
    asked = record.asked
    rows = []
    if asked.stages and (has_requests(record) or len(asked.stages) > 3):
        rows.append(("stages", "; ".join(asked.stages)))
    if made := _requests_asked(asked):
        rows.append(("requests", ", ".join(made)))
    return rows


def _requests_asked(asked: Asked) -> list[str]:
    """How requests were to be made, part by part; what is as always is left out."""
    parts = []
    if asked.rate_per_s is not None:
        parts.append(f"open loop of {format_rate(asked.rate_per_s)}")
        parts += [f"arrivals {asked.arrivals}"] if asked.arrivals else []
        parts += [f"spread {asked.spread}"] if asked.spread else []
    if asked.think_s is not None:
        parts.append(f"closed loop, think time {format_duration(1e9 * asked.think_s)}")
    if asked.churn_per_s:
        parts.append(f"churn {short_rate(asked.churn_per_s)}")
    if asked.pipeline > 1:
        parts.append(f"{asked.pipeline} in flight on a connection")
    if parts and asked.timeout_s:
        parts.append(f"time-out {format_duration(1e9 * asked.timeout_s)}")
    if parts and asked.seed:
        parts.append(f"seed {asked.seed}")
    return parts


def _notes(record: RunRecord) -> list[str]:
    if not record.notes:
        return []
    lines = ["notes"]
    for note in record.notes:
        lines += wrapped(sentence(note), "  - ", "    ")
    return lines
