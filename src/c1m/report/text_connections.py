"""Rows and lines about connections: the funnel, why some are missing, the ramp.

Renders a record and computes nothing but shares and sums; the row makers serve the terminal and the
HTML report.
"""

from __future__ import annotations

from collections.abc import Iterator

from c1m.report.text_layout import Row, less, rate, seconds, sentence, share, wrapped
from c1m.results.record import Explanation, Failure, RunRecord
from c1m.units import NS_PER_S, format_count, format_duration, format_rate

FUNNEL_HEAD: Row = ("connections", "count", "share", "short")
RAMP_HEAD: Row = ("ramp", "time", "rate", "")


def funnel(record: RunRecord) -> list[Row]:
    """(step, count, share, how many the step cost), from asked to the end.

    Of a run by stages each step is compared with the one before it, for churn and storms open
    connections again; of other runs (and older records) with what was asked.
    """
    return list(_by_stages(record) if record.stages else _without_stages(record))


def _by_stages(record: RunRecord) -> Iterator[Row]:
    asked, c = record.asked.connections, record.connections
    yield ("asked", format_count(asked), share(asked, asked), "")
    again = c.attempted - asked
    name = f"attempted ({format_count(again)} again)" if again > 0 else "attempted"
    attempted = "" if again > 0 else share(c.attempted, asked)
    yield (name, format_count(c.attempted), attempted, less(-again))
    short = c.attempted - c.opened
    yield ("connected", format_count(c.opened), share(c.opened, c.attempted), less(short))
    if c.ready or _expects_replies(record):
        unready = c.opened - c.ready
        ready = share(c.ready, c.opened)
        yield ("ready: first reply right", format_count(c.ready), ready, less(unready))
    if c.closed:
        yield ("closed by the plan", format_count(c.closed), "", "")
    if c.ended:
        yield ("ended by the server", format_count(c.ended), share(c.ended, c.opened), "")
    kept = c.opened - c.closed - c.ended
    is_drained = c.open_at_end == 0 and c.closed > 0  # the plan closed all: no share of anything
    still = "" if is_drained else share(c.open_at_end, kept)
    short = kept - c.open_at_end
    yield ("still open at the end", format_count(c.open_at_end), still, less(short))
    for stage in record.stages:
        one = stage.requests
        if stage.is_stampede and one.sent:
            right = format_count(one.right), share(one.right, one.sent)
            yield ("stampede reply right", *right, less(one.sent - one.right))


def _expects_replies(record: RunRecord) -> bool:
    return record.first.sent > 0 or "first" in record.latencies


def _without_stages(record: RunRecord) -> Iterator[Row]:
    asked, c = record.asked.connections, record.connections
    hold = f" ({format_duration(record.asked.hold_s * NS_PER_S)})" if record.asked.hold_s else ""
    steps = [("asked", asked), ("opened", c.opened)]
    if record.first.sent:
        steps.append(("first reply right", record.first.right))
    steps.append((f"still open after hold{hold}", c.open_at_end))
    if record.stampede.sent:
        steps.append(("stampede reply right", record.stampede.right))
    for name, count in steps:
        yield (name, format_count(count), share(count, asked), less(asked - count))


def largest_step(record: RunRecord) -> int:
    """The funnel's largest count, the whole length of a bar; at least 1."""
    return max(1, record.asked.connections, record.connections.attempted if record.stages else 0)


def failure_text(failure: Failure) -> str:
    """'12 x ECONNREFUSED while connecting: ...'."""
    when = "while connecting" if failure.phase == "connect" else "while open"
    return f"{format_count(failure.count)} x {failure.errno} {when}: {sentence(failure.text)}"


def explanation_text(one: Explanation) -> str:
    """'12 x ECONNREFUSED while connecting: ...', the count said once."""
    says_count = str(one.count) in one.what or format_count(one.count) in one.what
    count = "" if says_count or not one.count else f"{format_count(one.count)}: "
    return sentence(f"{count}{one.what}: {one.cause}" if one.cause else f"{count}{one.what}")


def unexplained(record: RunRecord) -> list[Failure]:
    """Failures whose errno no explanation names."""
    told = " ".join(one.what for one in record.explanations)
    return [failure for failure in record.failures if failure.errno not in told]


def missing_title(record: RunRecord) -> str:
    """What the explanations are of: missing connections, or only what the kernel counted."""
    c = record.connections
    if not record.explanations:
        return "failures"
    is_short = c.attempted > c.opened or c.lost or c.peak_open < record.asked.connections
    is_short = is_short or any("never had a first reply" in one.what for one in record.explanations)
    return "what is missing, and why" if is_short else "what the kernel noticed"


def missing_lines(record: RunRecord) -> list[str]:
    """Every missing connection with its cause and its remedy."""
    rows = [(explanation_text(one), one.remedy) for one in record.explanations]
    rows += [(failure_text(failure), failure.remedy) for failure in unexplained(record)]
    if not rows:
        return ["failures  none"] if record.connections.attempted else []
    lines = [missing_title(record)]
    for text, remedy in rows:
        lines += wrapped(text, "  ", "    ")
        lines += wrapped(f"-> {remedy}", "    ", "       ") if remedy else []
    return lines


def ramp_rows(record: RunRecord) -> list[Row]:
    """(part of the ramp, its time, connects a second, a remark)."""
    ramp = record.ramp
    if not ramp.seconds:
        return []
    blocks = ramp.per_50000_s
    rows: list[Row] = [("all", seconds(ramp.seconds), format_rate(ramp.connects_per_s), "")]
    parts = [("first 50,000", 0), ("second 50,000", 1), ("last 50,000", len(blocks) - 1)]
    for name, index in parts[: len(blocks)]:
        remark = ""
        if name.startswith("last") and len(blocks) > 2 and blocks[1] > 0:
            remark = f"{blocks[index] / blocks[1]:.2f} x the second"
        rows.append((name, seconds(blocks[index]), rate(50_000, blocks[index]), remark))
    thousands = ramp.per_1000_s
    if len(thousands) > 2:
        ordered = sorted(thousands)
        rows.append(("each 1,000: median", seconds(ordered[len(ordered) // 2]), "", ""))
        slowest = thousands.index(ordered[-1])
        where = (
            f"connections {format_count(slowest * 1000)} to {format_count(slowest * 1000 + 999)}"
        )
        rows.append(("each 1,000: slowest", seconds(ordered[-1]), "", where))
    return rows
