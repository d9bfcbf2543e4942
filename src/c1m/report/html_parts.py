"""Pieces of the HTML report: tables that scroll, pairs, escaped text. Knows nothing of records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from c1m.report.text_layout import Row


def table(
    title: str,
    head: Sequence[str],
    rows: Sequence[Row],
    left: Sequence[int] = (),
    prose: Sequence[int] = (),
    note: str = "",
) -> str:
    """A heading and a table; figures stand to the right, columns in `left` to the left, those in
    `prose` to the left and broken into lines. "" without rows.
    """
    if not rows:
        return ""
    kinds = ["left" if i in left else "prose" if i in prose else "" for i in range(len(head))]
    heads = "".join(_cell("th", kind, cell) for kind, cell in zip(kinds, head, strict=True))
    lines = [
        "<tr>"
        + "".join(_cell("td", kind, cell) for kind, cell in zip(kinds, row, strict=True))
        + "</tr>"
        for row in rows
    ]
    told = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<h2>{escape(title)}</h2>{scroll(f'<tr>{heads}</tr>', lines)}{told}"


def _cell(tag: str, kind: str, text: str) -> str:
    named = f' class="{kind}"' if kind else ""
    return f"<{tag}{named}>{escape(text)}</{tag}>"


def scroll(head: str, rows: Sequence[str]) -> str:
    """A table that scrolls sideways where the screen is narrower."""
    return f'<div class="scroll"><table>{head}{"".join(rows)}</table></div>'


def pairs(title: str, named: Mapping[str, str]) -> str:
    """A small table of names and values under a heading."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in named.items()
    )
    return f"<div><h3>{escape(title)}</h3><table>{rows}</table></div>"


def items(kind: str, texts: Sequence[tuple[str, str]]) -> str:
    """A list of sentences, each with a dimmer second one below it (a remedy, say) or none."""
    made = "".join(
        f"<li>{escape(text)}" + (f'<br><span class="dim">{escape(more)}</span>' if more else "")
        + "</li>"
        for text, more in texts
    )  # fmt: skip
    return f'<ul class="{kind}">{made}</ul>'


def code(text: str) -> str:
    """Bytes as their repr, "nothing" where there are none."""
    return f"<code>{escape(text)}</code>" if text else '<span class="dim">nothing</span>'
