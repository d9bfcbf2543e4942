"""A comparison for a terminal: where the conditions differ, what came of it, the table, the method.

At most 100 columns, no colour.
"""

from __future__ import annotations

from itertools import groupby

from c1m.report.blocks import Table
from c1m.report.compare import (
    BETTER,
    NOT_COMPARABLE,
    NOT_JUDGED,
    SAME,
    WORSE,
    Comparison,
    Difference,
)
from c1m.report.text import Terminal
from c1m.results.catalogue import KINDS

_TERMINAL = Terminal()
_HEAD = ("A", "B", "change", "verdict")


def comparison_text(result: Comparison) -> str:
    """The whole, lines joined by newlines, without one at the end."""
    sections = [
        [*_side("A", result.a), *_side("B", result.b)],
        _conditions(result),
        [line for warning in result.warnings for line in _TERMINAL.wrapped(warning, "- ")],
        _TERMINAL.wrapped(headline(result)),
        _table(result),
        _reasons(result),
        _TERMINAL.wrapped(result.method),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def headline(result: Comparison) -> str:
    """What came of it in one sentence."""
    worse, better = (
        ", ".join(row.name for row in result.having(verdict)) for verdict in (WORSE, BETTER)
    )
    counts = {
        verdict: len(result.having(verdict)) for verdict in (SAME, NOT_JUDGED, NOT_COMPARABLE)
    }
    parts = []
    if worse:
        parts.append(f"WORSE: {worse}.")
    if better:
        parts.append(f"{'Better' if worse else 'BETTER'}: {better}.")
    if not parts and counts[NOT_JUDGED]:
        parts.append("NOT JUDGED: so few runs cannot tell a change from noise.")
    elif not parts:
        parts.append("NO DIFFERENCE beyond noise." if counts[SAME] else "NOT COMPARABLE.")
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return " ".join([*parts, f"{counted}."] if counted else parts)


def change_text(row: Difference) -> str:
    """ "+12.3 %", "x 3.4", "+5" (of counts)."""
    if row.a is None or row.b is None or row.kind == "flag":
        return ""
    if row.kind == "count":
        less = row.b - row.a
        return f"{'+' if less > 0 else '-'}{KINDS['count'].show(abs(less))}" if less else ""
    if row.kind == "share":
        return "" if row.a == row.b else f"{100 * (row.b - row.a):+.3g} points"
    if row.change is None:
        return ""
    ratio = 1 + row.change
    return f"x {ratio:.3g}" if ratio >= 3 or ratio <= 1 / 3 else f"{100 * row.change:+.1f} %"


def _side(name: str, records: list[str]) -> list[str]:
    """The records of a side; nothing where they were compared from Python, without files."""
    lead = f"{name}  " if len(records) == 1 else f"{name}  {len(records)} records: "
    return _TERMINAL.wrapped(lead + ", ".join(records), indent=3) if records else []


def _conditions(result: Comparison) -> list[str]:
    alarming = [one for one in result.conditions if one.is_alarming]
    calm = [one for one in result.conditions if not one.is_alarming]
    lines = []
    if alarming:
        lines.append("CONDITIONS DIFFER; figures compare only where these agree:")
        width = max(len(one.name) for one in alarming)
        for one in alarming:
            lines += _TERMINAL.wrapped(f"A: {one.a}  B: {one.b}", f"  {one.name:{width}}  ")
    if calm:
        texts = "; ".join(f"{one.name} A: {one.a} B: {one.b}" for one in calm)
        lines += _TERMINAL.wrapped(f"Less important, but different: {texts}.")
    return lines or ["Same conditions on both sides."]


def _table(result: Comparison) -> list[str]:
    rows: list[tuple[str, ...]] = []
    for part, group in groupby(result.rows, key=lambda row: row.part):
        if part:
            rows.append((part, "", "", "", ""))
        rows += [_cells(row, "  " if part else "") for row in group]
    if not rows:
        return ["The records have no figure in common."]
    return _TERMINAL.table("figure", Table(_HEAD, rows, has_words=True))


def _cells(row: Difference, indent: str) -> tuple[str, ...]:
    values = ["-" if value is None else KINDS[row.kind].show(value) for value in (row.a, row.b)]
    verdict = row.verdict.upper() if row.verdict == WORSE else row.verdict
    return (f"{indent}{row.name}", *values, change_text(row), verdict)


def _reasons(result: Comparison) -> list[str]:
    """Why rows are not comparable: each reason once, with its rows."""
    reasons: dict[str, list[str]] = {}
    for row in result.having(NOT_COMPARABLE):
        reasons.setdefault(row.why, []).append(row.name)
    lines = []
    for why, names in reasons.items():
        lines += _TERMINAL.wrapped(f"Not comparable: {', '.join(names)}. {why}".strip(), "- ")
    return lines
