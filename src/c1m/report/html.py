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

from c1m.errors import UsageError
from c1m.report import blocks, sections
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
        body="\n".join(_section(one, made) for one in shown if one.shown(blocks.PAGE)),
        # It cannot end the script tag that it stands in: "<" only occurs within texts.
        plots=json.dumps(made, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
        plotly=javascript,
        drawing=_asset("plots.js"),
    )


def _asset(name: str) -> str:
    return (resources.files("c1m.report") / "page" / name).read_text(encoding="utf-8")


def _tag(name: str, content: str, kind: str = "") -> str:
    return f'<{name} class="{kind}">{content}</{name}>' if kind else f"<{name}>{content}</{name}>"


def _section(section: blocks.Section, made: Sequence[Plot]) -> str:
    shown = section.shown(blocks.PAGE)
    if any(isinstance(block, blocks.Plots) for block in shown) and not made:
        return ""
    title = _tag("h2", _title(section.title)) if section.title else ""
    body = "".join(_block(block, made) for block in shown)
    return title + (_tag("div", body, "columns") if isinstance(shown[0], blocks.Pairs) else body)


def _title(text: str) -> str:
    return escape(text[:1].upper() + text[1:])


def _block(block: blocks.Block, made: Sequence[Plot]) -> str:
    match block:
        case blocks.Headline():
            shown = _tag("strong", escape(block.headline))
            if block.warning:
                shown += _tag("p", escape(block.warning), "bound")
            if block.shortfalls:
                shown += _tag("ul", "".join(_tag("li", escape(one)) for one in block.shortfalls))
            return _tag("div", shown, "verdict complete" if block.is_good else "verdict")
        case blocks.Tiles():
            figures = (
                _tag("div", _tag("b", escape(value)) + _tag("span", escape(name)), "tile")
                for name, value in block.figures
            )
            return _tag("div", "".join(figures), "tiles")
        case blocks.Pairs():
            rows = "".join(
                _tag("tr", _cells("td", pair)) for pair in block.values.items() if pair[1]
            )
            title = _tag("h3", _title(block.title))
            return _tag("div", title + _tag("table", rows)) if rows else ""
        case blocks.Table():
            return _table(block)
        case blocks.Statement():
            first, *rest = map(escape, block.sentences)
            return _tag("p", _tag("b", first)) + "".join(_tag("p", text) for text in rest)
        case blocks.Note():
            return _tag("p", escape(block.text), "note")
        case blocks.Items():
            title = _tag("h3", escape(block.title)) if block.title else ""
            return title + _tag("ul", "".join(map(_item, block.items)), "failures")
        case blocks.Plots():
            return _tag("div", "".join(map(_plot, made)), "plots")
    raise AssertionError(block)


def _item(item: blocks.Item) -> str:
    shown = escape(item.text)
    if item.shown:
        pairs = (_tag("span", n) + _tag("code", escape(data)) for n, data in item.shown.items())
        shown += _tag("div", "".join(pairs), "bytes")
    if item.remedy:
        shown += _tag("p", escape(item.remedy), "dim")
    return _tag("li", shown)


def _table(table: blocks.Table) -> str:
    """Names and words to the left, figures to the right; it scrolls where the screen is narrow."""
    kinds = ["name" if table.marks else "", *("" for _ in table.head)]
    if table.has_words:
        kinds[-1] = "words"
    head = _cells("th", ("", *table.head), kinds)
    if table.marks:
        head = _tag("th", "") + head
    if table.bars:
        head += _tag("th", "", "bar")
    lines = [_tag("tr", head)]
    for number, row in enumerate(table.rows):
        cells, state = _cells("td", row, kinds), ""
        if table.marks:
            mark = "ok" if table.marks[number] else "FAIL"
            cells, state = _tag("td", _tag("b", mark)) + cells, mark.lower()
        if table.bars:
            bar = f'<i style="width:{100 * table.bars[number]:.2f}%"></i>'
            cells += _tag("td", bar, "bar")
        lines.append(_tag("tr", cells, state))
    kind = "scroll marked" if table.marks else "scroll barred" if table.bars else "scroll"
    return _tag("div", _tag("table", "".join(lines)), kind)


def _cells(tag: str, texts: Sequence[str], kinds: Iterable[str] = ("", "")) -> str:
    return "".join(_tag(tag, escape(t), kind) for t, kind in zip(texts, kinds, strict=True))


def _plot(plot: Plot) -> str:
    title, size = escape(plot["title"]), "plot many" if len(plot["traces"]) > 3 else "plot"
    shown = _tag("h3", title)
    if plot["note"]:
        shown += _tag("p", escape(plot["note"]), "note")
    shown += f'<div class="{size}" id="plot-{plot["id"]}" role="img" aria-label="{title}"></div>'
    return _tag("figure", shown, "wide" if plot["wide"] else "")
