"""The sections of the HTML report, each from a record to HTML or "" where it has nothing to say.

The same rows as in the terminal's summary (`text_*`), and in its order.
"""

from __future__ import annotations

from html import escape

from c1m.report import html_parts, text, text_connections, text_latency, text_machine
from c1m.report import text_requests as text_r
from c1m.results.record import RunRecord
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration, format_rate

_STAGE_COLUMNS = 80  # of a stage's text: it is broken into lines here, not cut


def thresholds(record: RunRecord) -> str:
    """Each with its mark, in words and in colour."""
    rows = [
        f'<tr class="{"ok" if mark == "ok" else "fail"}"><td><b>{mark}</b></td>'
        f'<td class="left">{escape(given)}</td><td>{escape(value)}</td>'
        f'<td class="prose">{escape(why)}</td></tr>'
        for mark, given, value, why in text.threshold_rows(record)
    ]
    if not rows:
        return ""
    head = (
        '<tr><th></th><th class="left">required</th><th>measured</th><th class="prose"></th></tr>'
    )
    title = text.thresholds_headline(record).capitalize()
    return f'<h2>{escape(title)}</h2><div class="thresholds">{html_parts.scroll(head, rows)}</div>'


def verdict(record: RunRecord) -> str:
    """The headline, what was short, and whether the figures are a lower bound."""
    kind = "verdict complete" if record.verdict.complete else "verdict"
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in record.verdict.shortfalls)
    listed = f"<ul>{items}</ul>" if items else ""
    bound = f'<p class="bound">{text_r.LOWER_BOUND}</p>' if record.limit.is_lower_bound else ""
    headline = f"<strong>{escape(text.headline(record))}</strong>"
    return f'<div class="{kind}">{headline}{bound}{listed}</div>'


def tiles(record: RunRecord) -> str:
    """The run's figures at a glance."""
    memory, ramp = record.memory, record.ramp
    shown = [("open at the same time", format_count(record.connections.peak_open))]
    if elapsed := text_r.request_seconds(record):
        right = record.requests.right / elapsed
        shown.append(("right replies a second", format_rate(right)))
    if (spectra := text_latency.spectrum_of(record)) is not None:
        corrected = spectra[0]
        if "p99" in corrected.percentiles_ns:
            shown.append(("p99, corrected", format_duration(corrected.percentiles_ns["p99"])))
        shown.append(("slowest, corrected", format_duration(corrected.max_ns)))
    if ramp.seconds:
        shown.append(("to connect them all", format_duration(ramp.seconds * NS_PER_S)))
        shown.append(("connects", format_rate(ramp.connects_per_s)))
    for name, each in (
        ("server memory a connection", memory.server_user_bytes_per_connection),
        ("kernel memory a connection", memory.kernel_bytes_per_connection),
    ):
        if each is not None:
            shown.append((name, format_bytes(each)))
    if record.stampede.seconds:
        shown.append(
            ("for the stampede's echoes", format_duration(record.stampede.seconds * NS_PER_S))
        )
    made = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in shown
    )
    return f'<div class="tiles">{made}</div>'


def funnel(record: RunRecord) -> str:
    """The funnel with bars."""
    whole = text_connections.largest_step(record)
    rows = []
    for name, count, share, less in text.funnel(record):
        width = min(100.0, 100 * int(count.replace(",", "")) / whole)
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{count}</td><td>{escape(share)}</td>"
            f'<td class="short">{less}</td><td class="bar"><i style="width:{width:.2f}%"></i></td>'
            "</tr>"
        )
    head = '<tr><th></th><th>count</th><th>share</th><th>short</th><th class="bar"></th></tr>'
    return f"<h2>Connections</h2>{html_parts.scroll(head, rows)}"


def missing(record: RunRecord) -> str:
    """Why connections are missing."""
    rows = [
        (text_connections.explanation_text(one), one.remedy) for one in record.explanations
    ] + [
        (text_connections.failure_text(failure), failure.remedy)
        for failure in text_connections.unexplained(record)
    ]  # fmt: skip
    title = text_connections.missing_title(record).capitalize()
    return f"<h2>{title}</h2>{html_parts.items('failures', rows)}" if rows else ""


def requests(record: RunRecord) -> str:
    """What became of requests, the stages, the fan-out, both spectra, the other latencies."""
    spectrum_head = ("", *text_latency.SPECTRUM_HEAD[1:])
    return "".join(
        (
            html_parts.table(
                "Requests",
                ("", *text_r.REQUESTS_HEAD[1:]),
                text_r.request_rows(record),
                prose=(3,),
            ),
            html_parts.table(
                "Stages",
                ("", *text_r.STAGES_HEAD[1:]),
                text_r.stage_rows(record, _STAGE_COLUMNS),
                note="Latencies are corrected: from the moment that a request was due.",
            ),
            html_parts.table(
                "Publications",
                ("", *text_r.FAN_OUT_HEAD[1:]),
                text_r.fan_out_rows(record),
                prose=(3,),
            ),
            html_parts.table(
                "Latency of requests",
                spectrum_head,
                text_latency.spectrum_rows(record),
                note=text_latency.why_they_differ(record),
            ),
        )
    )


def faults(record: RunRecord) -> str:
    """The first faults of each kind with their bytes."""
    made = []
    code, nothing = html_parts.code, text_r.bytes_text
    for title, seen in text_r.fault_texts(record):
        shown = "".join(
            f'<li><span class="dim">{escape(text_r.fault_place(one))}</span>'
            f'<div class="bytes"><span>expected</span>{code(nothing(one.expected))}'
            f"<span>received</span>{code(nothing(one.received))}</div>"
            f"{escape(one.note)}</li>"
            for one in seen
        )
        made.append(f'<h3>{escape(title)}</h3><ul class="failures">{shown}</ul>')
    doubts = "".join(f"<p>{escape(doubt)}</p>" for doubt in record.doubts)
    return f"<h2>First faults</h2>{doubts}{''.join(made)}" if made else ""


def notes(record: RunRecord) -> str:
    """What a scenario found at the end."""
    shown = [(note, "") for note in record.notes]
    return f"<h2>Notes</h2>{html_parts.items('failures', shown)}" if shown else ""


def limit(record: RunRecord) -> str:
    """Who the limit was, and by which figures."""
    sentences = text_r.limit_sentences(record.limit)
    if not sentences:
        return ""
    first, *rest = (escape(sentence) for sentence in sentences)
    more = "".join(f"<p>{sentence}</p>" for sentence in rest)
    return f"<h2>What the limit was</h2><p><b>{first}</b></p>{more}"


def tables(record: RunRecord) -> str:
    """Ramp, latencies of connections, memory and CPU."""
    latency_head = ("", *text_latency.latency_head(record)[1:])
    is_apart = text_latency.spectrum_of(record) is not None
    memory_head = ("", "at start", "highest", "a connection", "CPU time")
    return "".join(
        (
            html_parts.table("Ramp", ("", "time", "rate", ""), text.ramp_rows(record), prose=(3,)),
            html_parts.table(
                "Latency: connections" if is_apart else "Latency",
                latency_head,
                text.latency_rows(record),
            ),
            html_parts.table(
                "Memory and CPU", memory_head, text_machine.memory_rows(record), prose=(4,)
            ),
        )
    )


def conditions(record: RunRecord) -> str:
    """The command, what was asked, the machine, its settings, its counters."""
    m, asked = record.metadata, record.asked
    rate = asked.connect_rate_per_s
    has_hold = asked.hold_s > 0 or not asked.stages
    run = {
        "command": " ".join(record.command),
        "asked": f"{format_count(asked.connections)} connections",
        "connects": "as fast as it can" if rate is None else format_rate(rate),
        "hold": format_duration(asked.hold_s * NS_PER_S) if has_hold else "",
        **dict(text.plan_rows(record)),
        "message": repr(asked.message),
        "expects": repr(asked.expect) if asked.expect else "",
        "engine": f"{m.engine.name}: {m.engine.reason}" if m.engine.reason else m.engine.name,
        **{name: str(value) for name, value in m.engine.extra.items()},
    }
    machine = {
        "kernel": m.kernel,
        "processor": f"{m.cores} x {m.cpu}",
        "memory": text_machine.memory_text(m.memory_bytes),
        "nofile soft, hard": f"{format_count(m.nofile_soft)}, {format_count(m.nofile_hard)}",
        "versions": f"c1m {m.c1m}, Python {m.python}, NumPy {m.numpy}",
    }
    counters = {name: format_count(value) for name, value in record.kernel_counters.items()}
    blocks = (
        ("Run", {name: value for name, value in run.items() if value}),
        ("Machine", machine),
        ("Kernel settings", m.sysctls),
        ("Kernel counters over the run", counters),
    )
    made = "".join(html_parts.pairs(title, named) for title, named in blocks if named)
    return f'<h2>Conditions</h2><div class="columns">{made}</div>'
