"""What several load clients say of the same run, said once. Pure.

Sentences that differ only in their numbers are one: that of the first is said, and of how many.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from c1m.cluster.found import Found
from c1m.results.record import Explanation
from c1m.results.verdict import judge
from c1m.units import format_count, format_number_of

SAID_MAX = 20
_NUMBER = re.compile(r"\d[\d,.]*")


def _form(text: str) -> str:
    return _NUMBER.sub("#", text)


def said_by(parts: Sequence[Found], of: Callable[[Found], Iterable[str]]) -> list[str]:
    """The sentences of each, with whose they are where not all say exactly that."""
    rows: dict[str, list[tuple[str, str]]] = {}
    for one in parts:
        for text in dict.fromkeys(of(one)):
            rows.setdefault(_form(text), []).append((one.head.worker, text))
    said = []
    for row in list(rows.values())[:SAID_MAX]:
        worker, text = row[0]
        others = len({name for name, _ in row} - {worker})
        if len(row) == len(parts) and len({text for _, text in row}) == 1:
            said.append(text)
        else:
            more = f" and {format_number_of(others, 'other')}" if others else ""
            if others and len({text for _, text in row}) > 1:
                more = f" (and {format_number_of(others, 'other')}, with other numbers)"
            said.append(f"Worker {worker}{more}: {text}")
    if len(rows) > SAID_MAX:
        said.append(f"{format_count(len(rows) - SAID_MAX)} further kinds of notes were left out.")
    return said


def shortfalls_of(parts: Sequence[Found]) -> list[str]:
    """What was short beside what the counts say, which is said of the whole."""

    def own(one: Found) -> list[str]:
        counted = {*judge(one.record).shortfalls, *one.record.notes}
        return [text for text in one.record.verdict.shortfalls if text not in counted]

    return said_by(parts, own)


def explained(parts: Sequence[Found]) -> list[Explanation]:
    """The rows of all, added up where they are the same but for their numbers; of a counter or a
    level of the kernel the highest."""
    rows: dict[tuple[str, str, str], Explanation] = {}
    for row in (row for one in parts for row in one.record.explanations):
        key = row.errno, _form(row.what), _form(row.cause)
        before = rows.get(key)
        rows[key] = row if before is None else _together(before, row)
    return list(rows.values())


def _together(one: Explanation, other: Explanation) -> Explanation:
    """The words of the larger; a count that stands first in them is that of both."""
    larger, count = max(one, other, key=lambda row: row.count), one.count + other.count
    own = format_count(abs(larger.count))
    what = larger.what
    if what.startswith(f"{own} "):
        what = format_count(abs(count)) + what.removeprefix(own)
    elif own in what:  # "TCP.tw at 9 of 10": the kernel's own, which others on the machine see too
        return larger
    return replace(larger, count=count, what=what)
