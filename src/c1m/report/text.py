"""The summary of a run for a terminal: the verdict first, then how it came about.

At most 100 columns, no colour. Renders a record and computes nothing but shares and sums; `funnel`
and the other row makers are shared with the HTML report.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from c1m.report.record import ProcessColumns, RunRecord
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration, format_rate

WIDTH = 96
_LABEL = 26  # columns of the first column

Row = tuple[str, ...]

_MEMORY_HEAD = ("memory and CPU", "at start", "highest", "/connection", "CPU time")
_ROUNDS = ("first", "stampede")


def summary(record: RunRecord) -> str:
    """The whole summary, lines joined by newlines, without one at the end."""
    sections = [
        _verdict(record),
        _conditions(record),
        _table(("connections", "count", "share", "short"), funnel(record)),
        _failures(record),
        _table(("ramp", "time", "rate", ""), ramp_rows(record), left=(3,)),
        _table(_latency_head(record), latency_rows(record)),
        _table(_MEMORY_HEAD, memory_rows(record), left=(4,)),
        _counters(record),
    ]
    return "\n\n".join("\n".join(section) for section in sections if section)


def headline(record: RunRecord) -> str:
    """The verdict in one line."""
    asked, c = record.asked.connections, record.connections
    if record.verdict.complete:
        replies = " and every reply right" if record.rounds else ""
        return (
            f"COMPLETE: {format_count(c.peak_open)} of {format_count(asked)} connections open at "
            f"the same time{replies}, none lost."
        )
    return (
        f"SHORT: {format_count(c.peak_open)} of {format_count(asked)} connections open at the same "
        f"time, {format_count(c.lost)} lost."
    )


def share(part: int, whole: int) -> str:
    """A percentage that says 100 % only for all of it and 0 % only for nothing."""
    if whole == 0:
        return "-"
    if part == whole:
        return "100 %"
    percent = 100 * part / whole
    if percent > 99.9:  # show the digits that matter, cut off rather than rounded up
        return f"{min(int(percent * 10_000), 999_999) / 10_000:.4f} %"
    return f"{percent:.2f} %" if percent >= 0.01 or part == 0 else "< 0.01 %"


def funnel(record: RunRecord) -> list[Row]:
    """(step, count, share of what was asked, how many the step cost), from asked to the end."""
    asked, c = record.asked.connections, record.connections
    rounds = {one.name: one for one in record.rounds}
    hold = f" ({format_duration(record.asked.hold_s * NS_PER_S)})" if record.asked.hold_s else ""
    steps = [("asked", asked), ("opened", c.opened)]
    if "first" in rounds:
        steps.append(("first reply right", rounds["first"].right))
    steps.append((f"still open after hold{hold}", c.open_at_end))
    if "stampede" in rounds:
        steps.append(("stampede reply right", rounds["stampede"].right))
    steps += [(f"round {n!r} right", r.right) for n, r in rounds.items() if n not in _ROUNDS]
    return [
        (name, format_count(count), share(count, asked), _less(asked - count))
        for name, count in steps
    ]


def _less(count: int) -> str:
    return f"-{format_count(count)}" if count > 0 else ""


def ramp_rows(record: RunRecord) -> list[Row]:
    """(part of the ramp, its time, connects a second, a remark)."""
    ramp = record.ramp
    if not ramp.seconds:
        return []
    blocks = ramp.per_50000_s
    rows: list[Row] = [("all", _seconds(ramp.seconds), format_rate(ramp.connects_per_s), "")]
    named = [("first 50,000", 0), ("second 50,000", 1), ("last 50,000", len(blocks) - 1)]
    for name, index in named[: len(blocks)]:
        remark = ""
        if name.startswith("last") and len(blocks) > 2 and blocks[1] > 0:
            remark = f"{blocks[index] / blocks[1]:.2f} x the second"
        rows.append((name, _seconds(blocks[index]), _rate(50_000, blocks[index]), remark))
    thousands = ramp.per_1000_s
    if len(thousands) > 2:
        ordered = sorted(thousands)
        rows.append(("each 1,000: median", _seconds(ordered[len(ordered) // 2]), "", ""))
        slowest = thousands.index(ordered[-1])
        where = (
            f"connections {format_count(slowest * 1000)} to {format_count(slowest * 1000 + 999)}"
        )
        rows.append(("each 1,000: slowest", _seconds(ordered[-1]), "", where))
    return rows


def _seconds(value: float) -> str:
    return format_duration(value * NS_PER_S)


def _rate(count: int, seconds: float) -> str:
    return format_rate(count / seconds) if seconds > 0 else ""


def percentile_names(record: RunRecord) -> list[str]:
    """The percentiles that at least one distribution carries, in their order."""
    names: dict[str, None] = {}
    for latency in sorted(record.latencies.values(), key=lambda one: -len(one.percentiles_ns)):
        names |= dict.fromkeys(latency.percentiles_ns)
    return list(names)


def _latency_head(record: RunRecord) -> Row:
    return ("latency", "count", *percentile_names(record), "max")


def latency_rows(record: RunRecord) -> list[Row]:
    """(name, count, one column a percentile, max) for each distribution."""
    names = percentile_names(record)
    return [
        (
            name,
            format_count(one.count),
            *(
                format_duration(one.percentiles_ns[p]) if p in one.percentiles_ns else "-"
                for p in names
            ),
            format_duration(one.max_ns),
        )
        for name, one in record.latencies.items()
    ]


def memory_rows(record: RunRecord) -> list[Row]:
    """(who, memory at start, highest, bytes a connection, CPU seconds)."""
    samples, memory = record.samples, record.memory
    rows: list[Row] = []
    for name, process, each in (
        ("server", samples.server, memory.server_user_bytes_per_connection),
        ("client", samples.client, memory.client_user_bytes_per_connection),
    ):
        if process is not None and (rss := [b for b in process.rss_bytes if b is not None]):
            row = (format_bytes(rss[0]), format_bytes(max(rss)), _bytes_each(each))
            rows.append((f"{name} (resident)", *row, cpu_text(process)))
    kernel = samples.kernel
    if kernel.used_bytes:
        rows.append(("machine (used)", *_from_to(kernel.used_bytes), "", ""))
    if memory.kernel_bytes_per_connection is not None:
        ends = "sockets, both ends" if samples.server is not None else "sockets"
        rows.append(
            (f"kernel ({ends})", "", "", _bytes_each(memory.kernel_bytes_per_connection), "")
        )
    if kernel.slab_bytes:
        each_slab = _bytes_each(memory.slab_bytes_per_connection)
        rows.append(("kernel slab", *_from_to(kernel.slab_bytes), each_slab, ""))
    if kernel.tcp_mem_bytes:
        rows.append(("TCP buffers", *_from_to(kernel.tcp_mem_bytes), "", ""))
    return rows


def _from_to(column: Sequence[int]) -> tuple[str, str]:
    return format_bytes(column[0]), format_bytes(max(column))


def _bytes_each(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} B"


def cpu_text(process: ProcessColumns) -> str:
    """'user 12.3 s, system 20.1 s': used between the first and the last sample."""
    parts = []
    for name, column in (("user", process.user_s), ("system", process.system_s)):
        known = [value for value in column if value is not None]
        if known:
            parts.append(f"{name} {known[-1] - known[0]:.1f} s")
    return ", ".join(parts)


def _verdict(record: RunRecord) -> list[str]:
    lines = textwrap.wrap(headline(record), WIDTH)
    for sentence in record.verdict.shortfalls:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")
    return lines


def _conditions(record: RunRecord) -> list[str]:
    m = record.metadata
    rate = record.asked.connect_rate_per_s
    pace = "as fast as it can" if rate is None else format_rate(rate)
    rows = [
        ("target", f"{record.target}, scenario {record.scenario}, connects {pace}"),
        ("engine", f"{m.engine.name}: {m.engine.reason}" if m.engine.reason else m.engine.name),
        (
            "machine",
            f"{m.kernel}, {m.cores} x {m.cpu}, {format_bytes(m.memory_bytes)}, "
            f"nofile {format_count(m.nofile_soft)}",
        ),
        ("versions", f"c1m {m.c1m}, Python {m.python}, NumPy {m.numpy}; {record.started}"),
    ]
    lines: list[str] = []
    for name, text in rows:
        indent = f"{name:10}"
        lines += textwrap.wrap(text, WIDTH, initial_indent=indent, subsequent_indent=" " * 10)
    return lines


def _failures(record: RunRecord) -> list[str]:
    c = record.connections
    if not record.failures and not any(one.first_failures for one in record.rounds):
        return ["failures  none"] if c.attempted else []
    lines = ["failures"]
    for failure in record.failures:
        when = "while connecting" if failure.phase == "connect" else "while open"
        text = f"{format_count(failure.count)} x {failure.errno} {when}: {failure.text}."
        lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
        if failure.remedy:
            lines += textwrap.wrap(
                f"-> {failure.remedy}", WIDTH, initial_indent="    ", subsequent_indent="       "
            )
    for one in record.rounds:
        for reply in one.first_failures[:3]:
            text = (
                f"Round {one.name!r}, connection {format_count(reply.connection)}: expected "
                f"{reply.expected}, received {reply.received or 'nothing'}."
            )
            lines += textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return lines


def _counters(record: RunRecord) -> list[str]:
    if not record.kernel_counters:
        return []
    moved = {k: v for k, v in record.kernel_counters.items() if v and not k.endswith("Opens")}
    text = ", ".join(f"{name} {format_count(value)}" for name, value in moved.items())
    quiet = "no retransmission, overflow or drop"
    return textwrap.wrap(
        f"kernel    {text or quiet}", WIDTH, subsequent_indent=" " * 10, break_on_hyphens=False
    )


def _table(head: Row, rows: Iterable[Row], left: Sequence[int] = ()) -> list[str]:
    """Columns under their heads; figures to the right, the first column and `left` to the left."""
    rows = list(rows)
    if not rows:
        return []
    cells = [head, *((f"  {row[0]}", *row[1:]) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    widths[0] = max(widths[0], _LABEL)
    lines = []
    for row in cells:
        columns = (
            f"{cell:<{width}}" if i == 0 or i in left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(columns).rstrip())
    return lines
