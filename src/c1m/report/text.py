"""The summary of a run for a terminal, without colour."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from c1m.report import blocks, sections
from c1m.results.record import RunRecord

COLUMNS_MAX = 96  # wider lines are hard to read
_MARGIN = 10  # columns for the names of pairs and statements
_FIRST_COLUMN = 26  # of a table, at least: tables below each other then line up
_NAME = 32  # characters of a name in a table, at most
_WORDS = 30  # columns for the words of a table, at least: below their row where there are less
_SHOWN = 3  # of a list with a title


def summary(record: RunRecord, columns: int = COLUMNS_MAX) -> str:
    """The whole summary, lines joined by newlines, without one at the end.

    Lines are of at most so many columns; only tables of many figures may be wider.
    """
    shown = [
        *sections.outcome(record),
        sections.conditions(record),
        *sections.findings(record),
    ]
    rendered = map(Terminal(columns).section, shown)
    return "\n\n".join("\n".join(lines) for lines in rendered if lines)


class Terminal:
    """Blocks as lines of at most so many columns."""

    def __init__(self, columns: int = COLUMNS_MAX) -> None:
        self._columns = columns

    def section(self, section: blocks.Section) -> list[str]:
        """The lines of a section; [] where it has none to show."""
        shown = section.shown(blocks.TEXT)
        # Other blocks begin with it.
        has_line = bool(shown) and isinstance(shown[0], blocks.Note | blocks.Items)
        lines = [section.title] if has_line else []
        for block in shown:
            lines += self._block(section.title, block)
        return lines

    def _block(self, title: str, block: blocks.Block) -> list[str]:
        lines: list[str] = []
        match block:
            case blocks.Headline():
                lines += [*self.wrapped(block.headline), *self.wrapped(block.warning)]
                for shortfall in block.shortfalls:
                    lines += self.wrapped(shortfall, "  - ")
            case blocks.Table():
                lines += self.table(title, block)
            case blocks.Pairs():
                for name, value in block.values.items():
                    lines += self._beside(name, [value]) if value else []
            case blocks.Statement():
                lines += self._beside(title, block.sentences)
            case blocks.Note():
                lines += self.wrapped(block.text, "  ")
            case blocks.Items():
                lines += self.wrapped(block.title, "  ", 4)
                for item in block.items[: _SHOWN if block.title else None]:
                    lines += self._item(item, "    " if block.title else "  ")
        return lines

    def _item(self, item: blocks.Item, indent: str) -> list[str]:
        lines = self.wrapped(item.text, indent, len(indent) + 2)
        for name, data in item.shown.items():
            lines += self.wrapped(data, f"{indent}  {name} ")
        return lines + self.wrapped(item.remedy, f"{indent}  -> ")

    def _beside(self, name: str, texts: Sequence[str]) -> list[str]:
        """A name in the margin, beside it texts that begin a line each."""
        lines: list[str] = []
        for text in texts:
            lines += self.wrapped(text, " " * _MARGIN if lines else f"{name:{_MARGIN - 1}} ")
        return lines

    def table(self, title: str, table: blocks.Table) -> list[str]:
        """Columns under their heads: names to the left, figures to the right, then words."""
        marks = [f"{'ok' if one else 'FAIL':4}  " for one in table.marks] or [""] * len(table.rows)
        rows = [(title, *table.head)]
        for mark, (name, *cells) in zip(marks, table.rows, strict=True):
            rows.append((f"  {mark}{_cut(name)}", *cells))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        widths[0] = max(widths[0], _FIRST_COLUMN)
        lines: list[str] = []
        for name, *cells in rows:
            words = cells.pop() if table.has_words else ""
            figures = (f"  {cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=False))
            line = f"{name:<{widths[0]}}{''.join(figures)}"
            start = len(line) + 2
            indent = start if start <= self._columns - _WORDS else 8
            lines += self.wrapped(words, f"{line}  ", indent) if words else [line.rstrip()]
        return lines

    def wrapped(self, text: str, first: str = "", indent: int | None = None) -> list[str]:
        """Lines, the first behind `first`, the others indented (None: as wide)."""
        if not text:
            return []
        if len(first) + len(text) <= self._columns:
            return [(first + text).rstrip()]
        other = " " * (len(first) if indent is None else indent)
        return textwrap.wrap(
            text, self._columns, initial_indent=first, subsequent_indent=other,
            break_on_hyphens=False,
        )  # fmt: skip


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else name[: _NAME - 3].rstrip() + "..."
