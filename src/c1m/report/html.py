"""A run as one HTML file that opens offline: outcome and findings, plots, conditions.

plotly's JavaScript is inlined from the installed package (extra `report`); the plots lie beside it
as JSON. A content security policy in the page forbids it to load anything from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

from c1m.errors import UsageError
from c1m.report import sections
from c1m.report.blocks import (
    PAGE,
    Block,
    Item,
    Items,
    Note,
    Pairs,
    Plots,
    Section,
    Statement,
    Table,
    Tiles,
    Verdict,
)
from c1m.report.plots import Plot, plots
from c1m.results.record import RunRecord
from c1m.units import format_count


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
    made = plots(record)
    engine = record.metadata.engine.name
    subtitle = (
        record.scenario and f"scenario {record.scenario}",
        engine and f"engine {engine}",
        record.started,
    )
    shown = [*sections.outcome(record), *sections.findings(record), sections.conditions(record)]
    parts = {
        "title": f"c1m: {format_count(record.asked.connections)} connections to {record.target}",
        "subtitle": ", ".join(filter(None, subtitle)),
    }
    return Template(_asset("page.html")).substitute(
        {name: escape(text) for name, text in parts.items()},
        style=_asset("style.css"),
        body="\n".join(_section(one, made) for one in shown if one.shown(PAGE)),
        plots=_json(made),
        plotly=javascript,
        drawing=_asset("plots.js"),
    )


def _asset(name: str) -> str:
    return (resources.files("c1m.report") / "page" / name).read_text(encoding="utf-8")


def _json(value: Any) -> str:
    """JSON that cannot end the script tag it stands in: "<" only occurs within texts."""
    made = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return made.replace("<", "\\u003c")


def _section(section: Section, made: Sequence[Plot]) -> str:
    blocks = section.shown(PAGE)
    if blocks == [Plots()] and not made:
        return ""
    title = f"<h2>{_title(section.title)}</h2>" if section.title else ""
    if isinstance(blocks[0], Pairs):
        return title + _div("columns", map(_block, blocks))
    return title + "".join(_plots(made) if block == Plots() else _block(block) for block in blocks)


def _title(text: str) -> str:
    return escape(text[:1].upper() + text[1:])


def _block(block: Block) -> str:
    match block:
        case Verdict():
            kind = "verdict complete" if block.is_good else "verdict"
            warning = f'<p class="bound">{escape(block.warning)}</p>' if block.warning else ""
            listed = "".join(f"<li>{escape(shortfall)}</li>" for shortfall in block.shortfalls)
            listed = f"<ul>{listed}</ul>" if listed else ""
            headline = f"<strong>{escape(block.headline)}</strong>"
            return f'<div class="{kind}">{headline}{warning}{listed}</div>'
        case Tiles():
            return _div("tiles", (_tile(*figure) for figure in block.figures))
        case Pairs():
            return _pairs(block)
        case Table():
            return _table(block)
        case Statement():
            first, *rest = map(escape, block.sentences)
            return f"<p><b>{first}</b></p>{''.join(f'<p>{text}</p>' for text in rest)}"
        case Note():
            return f'<p class="note">{escape(block.text)}</p>'
        case Items():
            title = f"<h3>{escape(block.title)}</h3>" if block.title else ""
            return f'{title}<ul class="failures">{"".join(map(_item, block.items))}</ul>'
    return ""


def _div(kind: str, parts: Iterable[str]) -> str:
    return f'<div class="{kind}">{"".join(parts)}</div>'


def _tile(name: str, value: str) -> str:
    return f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span></div>'


def _item(item: Item) -> str:
    grid = (f"<span>{name}</span><code>{escape(data)}</code>" for name, data in item.shown.items())
    shown = _div("bytes", grid) if item.shown else ""
    remedy = f'<p class="dim">{escape(item.remedy)}</p>' if item.remedy else ""
    return f"<li>{escape(item.text)}{shown}{remedy}</li>"


def _pairs(block: Pairs) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in block.values.items()
        if value
    )
    return f"<div><h3>{_title(block.title)}</h3><table>{rows}</table></div>" if rows else ""


def _table(table: Table) -> str:
    """Names and words to the left, figures to the right; it scrolls where the screen is narrow."""
    kinds = ["name" if table.marks else "", *("" for _ in table.head)]
    if table.has_words:
        kinds[-1] = "words"
    kind = "scroll marked" if table.marks else "scroll barred" if table.bars else "scroll"
    mark_head, bar_head = (
        "<th></th>" * bool(table.marks),
        '<th class="bar"></th>' * bool(table.bars),
    )
    lines = [f"<tr>{mark_head}{_cells('th', ('', *table.head), kinds)}{bar_head}</tr>"]
    for number, row in enumerate(table.rows):
        cells, state = _cells("td", row, kinds), ""
        if table.marks:
            mark = "ok" if table.marks[number] else "FAIL"
            state = f' class="{mark.lower()}"'
            cells = f"<td><b>{mark}</b></td>{cells}"
        if table.bars:
            cells += f'<td class="bar"><i style="width:{100 * table.bars[number]:.2f}%"></i></td>'
        lines.append(f"<tr{state}>{cells}</tr>")
    return f'<div class="{kind}"><table>{"".join(lines)}</table></div>'


def _cells(tag: str, texts: Sequence[str], kinds: Sequence[str]) -> str:
    return "".join(
        f'<{tag} class="{kind}">{escape(text)}</{tag}>'
        if kind
        else f"<{tag}>{escape(text)}</{tag}>"
        for text, kind in zip(texts, kinds, strict=True)
    )


def _plots(made: Sequence[Plot]) -> str:
    blocks = []
    for plot in made:
        kind = ' class="wide"' if plot["wide"] else ""
        size = "plot many" if len(plot["traces"]) > 3 else "plot"
        note = f'<p class="note">{escape(plot["note"])}</p>' if plot["note"] else ""
        blocks.append(
            f"<figure{kind}><h3>{escape(plot['title'])}</h3>{note}"
            f'<div class="{size}" id="plot-{plot["id"]}" role="img" '
            f'aria-label="{escape(plot["title"])}"></div></figure>'
        )
    return _div("plots", blocks)
