"""A record as the sections of a report, each described once for the terminal and the page.

Here are their order and those about the outcome, connections, the machine and the conditions;
those about requests are in `request_sections.py`. Computes nothing but shares and sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from c1m.report import outcomes, request_sections, workers
from c1m.report.blocks import (
    PAGE,
    TEXT,
    Headline,
    Item,
    Items,
    Pairs,
    Plots,
    Row,
    Section,
    Statement,
    Tiles,
)
from c1m.report.request_sections import LOWER_BOUND, sentence
from c1m.results import catalogue
from c1m.results.options import LoadOptions
from c1m.results.record import Explanation, Failure, ProcessColumns, RunRecord, Threshold, TlsUsed
from c1m.units import (
    NS_PER_S,
    format_bytes,
    format_count,
    format_duration,
    format_rate,
    format_share,
    format_short_rate,
)


def outcome(record: RunRecord) -> list[Section]:
    """What a report begins with."""
    return [thresholds(record), verdict(record), tiles(record)]


def findings(record: RunRecord) -> list[Section]:
    """How the outcome came about."""
    is_plain = not record.requests.due
    return [
        funnel(record),
        missing(record),
        workers.workers(record),
        *([ramp(record)] if is_plain else []),
        request_sections.requests(record),
        outcomes.shares(record),
        outcomes.statuses(record),
        outcomes.checks(record),
        request_sections.stages(record),
        request_sections.publications(record),
        request_sections.request_latency(record),
        request_sections.latencies(record),
        Section("over the run", [Plots(only=PAGE)]),
        request_sections.faults(record),
        notes(record),
        request_sections.limit(record),
        *([] if is_plain else [ramp(record)]),
        memory(record),
        counters(record),
    ]


MORE = "ask otherwise with --connections, --hold, --rate, --think"

# The outcome


def thresholds(record: RunRecord) -> Section:
    """Each threshold as given, what was measured, and why it does not hold."""
    marks = [one.holds for one in record.thresholds]
    held = "all" if all(marks) else f"{sum(marks)} of"
    rows = [(one.text, _measured(one), sentence(one.why)) for one in record.thresholds]
    title = f"thresholds: {held} {len(marks)} hold"
    if marks == [True]:
        title = "thresholds: the one threshold holds"
    return Section.table(title, ("measured", ""), rows, has_words=True, marks=marks)


def _measured(one: Threshold) -> str:
    """Early records have no `shown`."""
    return one.shown or ("not measured" if one.value is None else f"{one.value:.6g}")


def verdict(record: RunRecord) -> Section:
    """The headline, whether the figures are a lower bound, and what fell short."""
    asked, c = format_count(record.asked.connections), record.connections
    opened = f"{format_count(c.peak_open)} of {asked} connections open at the same time"
    if record.verdict.complete:
        replies = " and every reply right" if record.all_requests.due else ""
        headline = f"COMPLETE: {opened}{replies}, none lost."
    else:
        headline = f"SHORT: {opened}, {format_count(c.lost)} lost."
    if lost := workers.degraded(record):
        headline = f"{lost} {headline}"
    warning = LOWER_BOUND if record.limit.is_lower_bound else ""
    judged = record.verdict
    return Section("", [Headline(judged.complete, headline, warning, judged.shortfalls)])


# The figures at a glance: those of the catalogue by name.
_TILES = {
    "peak": "open at the same time",
    "rate": "right replies a second",
    "request.p99": "p99, corrected",
    "request.max": "slowest, corrected",
    "connect_rate": "connects",
    "server_bytes": "server memory a connection",
    "kernel_bytes": "kernel memory a connection",
}


def tiles(record: RunRecord) -> Section:
    """The run's figures at a glance."""
    shown = []
    for name, label in _TILES.items():
        metric = catalogue.find(name)
        if (value := catalogue.measure(record, metric).value) is not None:
            shown.append((label, catalogue.KINDS[metric.kind].show(value)))
    if record.ramp.seconds:
        shown.append(("to connect them all", _seconds(record.ramp.seconds)))
    for stage in record.stages:
        if stage.is_stampede and stage.requests.seconds:
            shown.append(("for the stampede's replies", _seconds(stage.requests.seconds)))
    return Section("", [Tiles(shown, only=PAGE)])


# Connections


def funnel(record: RunRecord) -> Section:
    """Where the connections went: step, count, share, how many the step cost."""
    steps = list(_steps(record))
    rows = [(name, format_count(count), share, short) for name, count, share, short in steps]
    whole = max(1, record.asked.connections, record.connections.attempted)
    bars = [min(1.0, count / whole) for _, count, _, _ in steps]
    return Section.table("connections", ("count", "share", "short"), rows, bars=bars)


_Step = tuple[str, int, str, str]  # name, count, share, short


def _steps(record: RunRecord) -> Iterator[_Step]:
    """Each against the one before it: churn and storms open connections again."""
    asked, c = record.asked.connections, record.connections
    yield ("asked", asked, format_share(asked, asked), "")
    again = c.attempted - asked
    if again > 0:
        yield (f"attempted ({format_count(again)} again)", c.attempted, "", "")
    else:
        yield _step("attempted", c.attempted, asked)
    before = catalogue.connected(c)
    yield _step("connected", before, c.attempted)
    if record.tls is not None:
        yield _step("secured: TLS handshake done", c.secured, before)
        before = c.secured
    if c.opened < before or "handshake" in record.latencies:
        yield _step("opened: request accepted", c.opened, before)
    if c.ready or record.first.due or "first" in record.latencies:
        yield _step("ready: first reply right", c.ready, max(c.opened - c.renewed, c.ready))
    if c.closed:
        yield ("closed by the plan", c.closed, "", "")
    if c.ended:
        yield ("ended by the server", c.ended, format_share(c.ended, c.opened), "")
    if c.renewed:
        yield ("ended between requests", c.renewed, "", "")
    kept = c.opened - c.closed - c.ended - c.renewed
    name, _, share, short = _step("still open at the end", c.open_at_end, kept)
    is_drained = c.open_at_end == 0 and c.closed > 0  # the plan closed all: no share of anything
    yield (name, c.open_at_end, "" if is_drained else share, short)
    for stage in record.stages:
        if stage.is_stampede and stage.requests.sent and record.fan_out is None:
            yield _step("stampede reply right", stage.requests.right, stage.requests.sent)


def _step(name: str, count: int, whole: int) -> _Step:
    short = f"-{format_count(whole - count)}" if count < whole else ""
    return (name, count, format_share(count, whole), short)


def missing(record: RunRecord) -> Section:
    """Every missing connection with its cause and its remedy, and failures without a cause."""
    explained = {one.errno for one in record.explanations}
    items = [Item(_explanation(one), remedy=one.remedy) for one in record.explanations]
    items += [
        Item(_failure(one), remedy=one.remedy)
        for one in record.failures
        if one.errno not in explained
    ]
    if not items:
        attempted = record.connections.attempted
        return Section("failures", [Statement(["none"], only=TEXT)] if attempted else ())
    return Section(_missing_title(record), [Items(items)])


def _missing_title(record: RunRecord) -> str:
    """Of missing connections, or only of what the kernel counted."""
    c = record.connections
    if not record.explanations:
        return "failures"
    is_short = c.attempted > c.opened or c.lost or c.peak_open < record.asked.connections
    is_short = is_short or record.first.missing
    return "what is missing, and why" if is_short else "what the kernel noticed"


_WHEN = {
    "connect": "while connecting", "tls": "in the TLS handshake", "handshake": "in the handshake",
}  # fmt: skip


def _failure(failure: Failure) -> str:
    """'12 x ECONNREFUSED while connecting: ...'."""
    when = _WHEN.get(failure.phase, "while open")
    return f"{format_count(failure.count)} x {failure.errno} {when}: {sentence(failure.text)}"


def _explanation(one: Explanation) -> str:
    """'12 x ECONNREFUSED while connecting: ...', with the count once."""
    has_count = str(one.count) in one.what or format_count(one.count) in one.what
    count = "" if has_count or not one.count else f"{format_count(one.count)}: "
    return sentence(f"{count}{one.what}: {one.cause}" if one.cause else f"{count}{one.what}")


def ramp(record: RunRecord) -> Section:
    """How long connecting took, in all and by blocks of connections."""
    blocks, thousands = record.ramp.per_50000_s, record.ramp.per_1000_s
    rows: list[Row] = []
    if record.ramp.seconds:
        per_s = format_rate(record.ramp.connects_per_s)
        rows.append(("all", _seconds(record.ramp.seconds), per_s, ""))
        parts = [("first 50,000", 0), ("second 50,000", 1), ("last 50,000", len(blocks) - 1)]
        for name, index in parts[: len(blocks)]:
            took, remark = blocks[index], ""
            if name.startswith("last") and len(blocks) > 2 and blocks[1] > 0:
                remark = f"{took / blocks[1]:.2f} x the second"
            rows.append((name, _seconds(took), format_rate(50_000 / took) if took else "", remark))
        if len(thousands) > 2:
            ordered = sorted(thousands)
            rows.append(("each 1,000: median", _seconds(ordered[len(ordered) // 2]), "", ""))
            first = 1000 * thousands.index(ordered[-1])
            where = f"connections {format_count(first)} to {format_count(first + 999)}"
            rows.append(("each 1,000: slowest", _seconds(ordered[-1]), "", where))
    rows += _handshakes(record)
    return Section.table("ramp", ("time", "rate", ""), rows, has_words=True)


def _handshakes(record: RunRecord) -> list[Row]:
    """How long those of TLS took, and what processor time one took of each end in the first stage,
    with all else that it did."""
    tls, count = record.tls, record.connections.secured
    if tls is None or not count:
        return []
    first = record.stages[0].open_at_end if record.stages else 0
    ends = (("server", tls.server_cpu_s), ("client", tls.client_cpu_s))
    each = [f"{name} {_seconds(used / first)}" for name, used in ends if used and first]
    said = f"processor time for each: {', '.join(each)}" if each else ""
    rate = format_rate(count / tls.seconds) if tls.seconds else ""
    return [("TLS handshakes", _seconds(tls.seconds), rate, said)]


def notes(record: RunRecord) -> Section:
    """What a scenario found at the end."""
    items = [Item(sentence(note)) for note in record.notes]
    return Section("notes", [Items(items)] if items else ())


# The machine


def memory(record: RunRecord) -> Section:
    """Memory and CPU of both processes, memory of the machine and what a connection takes of it."""
    samples, each = record.samples, record.memory
    rows: list[Row] = []
    for name, process, bytes_each in (
        ("server (resident)", samples.server, each.server_user_bytes_per_connection),
        ("client (resident)", samples.client, each.client_user_bytes_per_connection),
    ):
        if process is not None and (rss := [b for b in process.rss_bytes if b is not None]):
            rows.append((name, *_first_and_highest(rss), _bytes_each(bytes_each), _cpu(process)))
    kernel = samples.kernel
    is_known = any(kernel.used_bytes)  # without /proc they are 0
    if is_known:
        rows.append(("machine (used)", *_first_and_highest(kernel.used_bytes), "", ""))
    if each.kernel_bytes_per_connection is not None:
        ends = "sockets, both ends" if samples.server is not None else "sockets"
        sockets = _bytes_each(each.kernel_bytes_per_connection)
        rows.append((f"kernel ({ends})", "", "", sockets, ""))
    if any(kernel.slab_bytes):
        slab = _bytes_each(each.slab_bytes_per_connection)
        rows.append(("kernel slab", *_first_and_highest(kernel.slab_bytes), slab, ""))
    if kernel.tcp_mem_bytes and is_known:
        rows.append(("TCP buffers", *_first_and_highest(kernel.tcp_mem_bytes), "", ""))
    head = ("at start", "highest", "/connection", "CPU time")
    return Section.table("memory and CPU", head, rows, has_words=True)


def _first_and_highest(column: Sequence[int]) -> tuple[str, str]:
    return format_bytes(column[0]), format_bytes(max(column))


def _bytes_each(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} B"


def _cpu(process: ProcessColumns) -> str:
    """'user 12.3 s, system 20.1 s': used between the first and the last sample."""
    columns = {"user": process.user_s, "system": process.system_s}
    known = {name: [v for v in column if v is not None] for name, column in columns.items()}
    return ", ".join(f"{name} {v[-1] - v[0]:.1f} s" for name, v in known.items() if v)


def counters(record: RunRecord) -> Section:
    """The kernel counters that moved over the run; the page has them all in its conditions."""
    moved = [
        f"{name} {format_count(value)}"
        for name, value in record.kernel_counters.items()
        if value and not name.endswith("Opens")
    ]
    said = ", ".join(moved) or "no retransmission, overflow or drop"
    return Section("kernel", [Statement([said], only=TEXT)] if record.kernel_counters else ())


# The conditions


def conditions(record: RunRecord) -> Section:
    """What was asked, of what, with what, and on what machine."""
    m, asked = record.metadata, record.asked
    rate = asked.connect_rate_per_s
    plain = ("ramp", "stampede")  # what a run has that only connects
    is_plan = len(asked.stages) > 3 or any(not s.lower().startswith(plain) for s in asked.stages)
    pace = "as fast as possible" if rate is None else format_rate(rate)
    memory_there = format_bytes(m.memory_bytes) if m.memory_bytes else "memory not known"
    nodes = f" (a Redis Cluster of {m.redis_nodes} nodes)" if m.redis_nodes else ""
    run = {
        "target": f"{record.target}{nodes}, scenario {record.scenario}, connects {pace}",
        "assumed": f"{record.assumed}; {MORE}" if record.assumed else "",
        "stages": "; ".join(asked.stages) if is_plan else "",
        "requests": ", ".join(_requests_asked(asked)),
        "TLS": _tls(record.tls),
        "engine": f"{m.engine.name}: {m.engine.reason}" if m.engine.reason else m.engine.name,
        "machine": f"{m.kernel}, {m.cores} x {m.cpu}, {memory_there}, "
        f"nofile {format_count(m.nofile_soft)}",
        "versions": f"c1m {m.c1m}, Python {m.python}, NumPy {m.numpy}; {record.started}",
    }
    details = {
        "command": " ".join(record.command),
        "connections": format_count(asked.connections),
        "hold": format_duration(asked.hold_ns) if asked.hold_ns > 0 or not asked.stages else "",
        "message": repr(asked.message) if asked.message else "",
        "expects": repr(asked.expect) if asked.expect else "",
        "nofile, hard limit": format_count(m.nofile_hard),
        **{name: str(value) for name, value in m.engine.extra.items()},
    }
    moved = {name: format_count(value) for name, value in record.kernel_counters.items()}
    return Section(
        "conditions",
        [
            Pairs("run", run),
            Pairs("in detail", details, only=PAGE),
            Pairs("kernel settings", m.sysctls, only=PAGE),
            Pairs("kernel counters over the run", moved, only=PAGE),
        ],
    )


def _tls(tls: TlsUsed | None) -> str:
    """What the connections came to; "" where not one was secured."""
    if tls is None or not tls.version:
        return ""
    said = [f"{tls.version}, {tls.cipher}"]
    said += [f"protocol {tls.protocol}"] if tls.protocol else []
    said += [f"certificate of {tls.subject}, to {tls.expires[:10]}"] if tls.subject else []
    said += [f"{format_count(tls.resumed)} handshakes resumed"] if tls.resumed else []
    said += [f"{format_count(tls.handed_off)} connections handed off"] if tls.handed_off else []
    return "; ".join(said)


def _requests_asked(asked: LoadOptions) -> list[str]:
    """How requests were to be made, part by part; what is as always is left out."""
    parts = []
    if asked.rate_per_s is not None:
        parts.append(f"open loop of {format_rate(asked.rate_per_s)}")
        parts += [f"arrivals {asked.arrivals}"] if asked.arrivals else []
        parts += [f"spread {asked.spread}"] if asked.spread else []
    if asked.think_ns is not None:
        think = (
            f"think time {format_duration(asked.think_ns)}" if asked.think_ns else "at once again"
        )
        parts.append(f"closed loop, {think}")
    if asked.churn_per_s:
        parts.append(f"churn {format_short_rate(asked.churn_per_s)}")
    if asked.pipeline > 1:
        parts.append(f"{asked.pipeline} in flight on a connection")
    if parts and asked.timeout_ns:
        parts.append(f"timeout {format_duration(asked.timeout_ns)}")
    if parts and asked.seed:
        parts.append(f"seed {asked.seed}")
    return parts


def _seconds(value: float) -> str:
    return format_duration(value * NS_PER_S)
