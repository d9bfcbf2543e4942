"""A run as one HTML file that opens offline: verdict and tables, plots, conditions.

plotly's JavaScript is inlined from the installed package (extra `report`); the figures lie beside
it as JSON. A content security policy in the page forbids it to load anything from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from c1m.errors import UsageError
from c1m.report import figures, files, text
from c1m.report.files import check_writable
from c1m.report.record import RunRecord
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration, format_rate

__all__ = ["check_available", "check_writable", "render", "write_html"]

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
)
_WIDE = ("connections", "ramp")  # figures over the whole width


def write_html(record: RunRecord, path: str | Path) -> None:
    """Write the report. Raises UsageError without plotly, or where `path` cannot be written."""
    files.write_text(path, render(record, plotly_javascript()))


def check_available() -> None:
    """Raise UsageError where plotly is not installed: to be asked before a run."""
    try:
        import plotly  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "An HTML report needs plotly, which is not installed.",
            "Install it with: pip install 'c1m[report]'",
        ) from error


def plotly_javascript() -> str:
    """plotly.js as the installed package has it (4.8 MB). Raises UsageError without plotly."""
    check_available()
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script


def render(record: RunRecord, javascript: str) -> str:
    """The page as text; `javascript` is plotly's."""
    made = figures.figures(record)
    title = f"c1m: {format_count(record.asked.connections)} connections to {record.target}"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{_asset("style.css")}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="dim">{escape(_subtitle(record))}</p>
{_verdict(record)}
{_tiles(record)}
{_funnel(record)}
{_failures(record)}
{_plots(made)}
{_tables(record)}
{_conditions(record)}
<script type="application/json" id="c1m-figures">{_json(made)}</script>
<script>
{javascript}
</script>
<script>
{_asset("plots.js")}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return (resources.files("c1m.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that cannot end the script tag it stands in: "<" only occurs within texts."""
    made = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return made.replace("<", "\\u003c")


def _subtitle(record: RunRecord) -> str:
    parts = [f"scenario {record.scenario}" if record.scenario else ""]
    parts.append(f"engine {record.metadata.engine.name}" if record.metadata.engine.name else "")
    parts.append(record.started)
    return ", ".join(part for part in parts if part)


def _verdict(record: RunRecord) -> str:
    kind = "verdict complete" if record.verdict.complete else "verdict"
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in record.verdict.shortfalls)
    listed = f"<ul>{items}</ul>" if items else ""
    return f'<div class="{kind}"><strong>{escape(text.headline(record))}</strong>{listed}</div>'


def _tiles(record: RunRecord) -> str:
    memory, ramp = record.memory, record.ramp
    tiles = [("open at the same time", format_count(record.connections.peak_open))]
    if ramp.seconds:
        tiles.append(("to connect them all", format_duration(ramp.seconds * NS_PER_S)))
        tiles.append(("connects", format_rate(ramp.connects_per_s)))
    for name, each in (
        ("server memory a connection", memory.server_user_bytes_per_connection),
        ("kernel memory a connection", memory.kernel_bytes_per_connection),
    ):
        if each is not None:
            tiles.append((name, format_bytes(each)))
    for one in record.rounds:
        if one.name == "stampede" and one.seconds:
            tiles.append(("for the stampede's echoes", format_duration(one.seconds * NS_PER_S)))
    made = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'
        for name, value in tiles
    )
    return f'<div class="tiles">{made}</div>'


def _funnel(record: RunRecord) -> str:
    asked = max(record.asked.connections, 1)
    rows = []
    for name, count, share, less in text.funnel(record):
        width = min(100.0, 100 * int(count.replace(",", "")) / asked)
        rows.append(
            f"<tr><td>{escape(name)}</td><td>{count}</td><td>{escape(share)}</td>"
            f'<td class="short">{less}</td><td class="bar"><i style="width:{width:.2f}%"></i></td>'
            "</tr>"
        )
    head = '<tr><th></th><th>count</th><th>share</th><th>short</th><th class="bar"></th></tr>'
    return f"<h2>Connections</h2>{_scroll(head, rows)}"


def _failures(record: RunRecord) -> str:
    items = [
        f"<li><b>{format_count(one.count)} x {escape(one.errno)}</b> "
        f"{'while connecting' if one.phase == 'connect' else 'while open'}: {escape(one.text)}."
        f'<br><span class="dim">{escape(one.remedy)}</span></li>'
        for one in record.failures
    ]
    made = f'<h2>Failures</h2><ul class="failures">{"".join(items)}</ul>' if items else ""
    replies = [
        f"<tr><td>{escape(one.name)}</td><td>{format_count(reply.connection)}</td>"
        f'<td class="prose"><code>{escape(reply.expected)}</code></td>'
        f'<td class="prose"><code>{escape(reply.received or "nothing")}</code></td></tr>'
        for one in record.rounds
        for reply in one.first_failures
    ]
    if replies:
        head = '<tr><th>round</th><th>connection</th><th class="left">expected</th>'
        head += '<th class="left">received</th></tr>'
        made += f"<h2>First wrong and missing replies</h2>{_scroll(head, replies)}"
    return made


def _plots(made: Sequence[figures.Figure]) -> str:
    if not made:
        return ""
    blocks = []
    for figure in made:
        kind = ' class="wide"' if figure["id"] in _WIDE else ""
        note = f'<p class="note">{escape(figure["note"])}</p>' if figure["note"] else ""
        blocks.append(
            f"<figure{kind}><h3>{escape(figure['title'])}</h3>{note}"
            f'<div class="plot" id="plot-{figure["id"]}" role="img" '
            f'aria-label="{escape(figure["title"])}"></div></figure>'
        )
    return f'<h2>Over the run</h2><div class="plots">{"".join(blocks)}</div>'


def _tables(record: RunRecord) -> str:
    latency_head = ("latency", "count", *text.percentile_names(record), "max")
    return "".join(
        (
            _table("Ramp", ("", "time", "rate", ""), text.ramp_rows(record), left=(3,)),
            _table("Latency", ("", *latency_head[1:]), text.latency_rows(record)),
            _table(
                "Memory and CPU",
                ("", "at start", "highest", "a connection", "CPU time"),
                text.memory_rows(record),
                left=(4,),
            ),
        )
    )


def _table(
    title: str, head: Sequence[str], rows: Sequence[text.Row], left: Sequence[int] = ()
) -> str:
    """A heading and a table; figures stand to the right, columns in `left` to the left."""
    if not rows:
        return ""
    kinds = [' class="left"' if i in left else "" for i in range(len(head))]
    heads = "".join(
        f"<th{kind}>{escape(cell)}</th>" for kind, cell in zip(kinds, head, strict=True)
    )
    lines = [
        "<tr>"
        + "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    ]
    return f"<h2>{escape(title)}</h2>{_scroll(f'<tr>{heads}</tr>', lines)}"


def _scroll(head: str, rows: Sequence[str]) -> str:
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def _conditions(record: RunRecord) -> str:
    m, asked = record.metadata, record.asked
    rate = asked.connect_rate_per_s
    run = {
        "command": " ".join(record.command),
        "asked": f"{format_count(asked.connections)} connections",
        "connects": "as fast as it can" if rate is None else format_rate(rate),
        "hold": format_duration(asked.hold_s * NS_PER_S),
        "message": repr(asked.message),
        "engine": f"{m.engine.name}: {m.engine.reason}" if m.engine.reason else m.engine.name,
        **{name: str(value) for name, value in m.engine.extra.items()},
    }
    machine = {
        "kernel": m.kernel,
        "processor": f"{m.cores} x {m.cpu}",
        "memory": format_bytes(m.memory_bytes),
        "nofile soft, hard": f"{format_count(m.nofile_soft)}, {format_count(m.nofile_hard)}",
        "versions": f"c1m {m.c1m}, Python {m.python}, NumPy {m.numpy}",
    }
    counters = {name: format_count(value) for name, value in record.kernel_counters.items()}
    blocks = (
        ("Run", run),
        ("Machine", machine),
        ("Kernel settings", m.sysctls),
        ("Kernel counters over the run", counters),
    )
    made = "".join(_pairs(title, pairs) for title, pairs in blocks if pairs)
    return f'<h2>Conditions</h2><div class="columns">{made}</div>'


def _pairs(title: str, pairs: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in pairs.items()
    )
    return f"<div><h3>{escape(title)}</h3><table>{rows}</table></div>"
