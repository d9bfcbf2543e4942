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

from c1m import files
from c1m.errors import UsageError
from c1m.files import check_writable
from c1m.report import figures, html_sections
from c1m.results.record import RunRecord
from c1m.units import format_count

__all__ = ["check_available", "check_writable", "render", "write_html"]

_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; form-action 'none'; base-uri 'none'"
)
_WIDE = ("connections", "ramp", "requests", "latency-time")  # figures over the whole width


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
{_body(record, made)}
<script type="application/json" id="c1m-figures">{_json(made)}</script>
<script>
{javascript}
</script>
<script>
{_asset("plots.js")}</script>
</body>
</html>
"""


def _body(record: RunRecord, made: Sequence[figures.Figure]) -> str:
    """The sections in the order of the summary, the plots after what they explain."""
    parts = (
        html_sections.thresholds(record),
        html_sections.verdict(record),
        html_sections.tiles(record),
        html_sections.funnel(record),
        html_sections.missing(record),
        html_sections.requests(record),
        _plots(made),
        html_sections.faults(record),
        html_sections.notes(record),
        html_sections.limit(record),
        html_sections.tables(record),
        html_sections.conditions(record),
    )
    return "\n".join(part for part in parts if part)


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


def _plots(made: Sequence[figures.Figure]) -> str:
    if not made:
        return ""
    blocks = []
    for figure in made:
        kind = ' class="wide"' if figure["id"] in _WIDE else ""
        size = "plot many" if len(figure["traces"]) > 3 else "plot"
        note = f'<p class="note">{escape(figure["note"])}</p>' if figure["note"] else ""
        blocks.append(
            f"<figure{kind}><h3>{escape(figure['title'])}</h3>{note}"
            f'<div class="{size}" id="plot-{figure["id"]}" role="img" '
            f'aria-label="{escape(figure["title"])}"></div></figure>'
        )
    return f'<h2>Over the run</h2><div class="plots">{"".join(blocks)}</div>'
