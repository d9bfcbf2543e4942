"""The sections of a report about what scenarios count: checks by name, statuses of HTTP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus

from c1m.report.blocks import Row, Section
from c1m.results.record import Check, RunRecord
from c1m.units import format_count, format_share


def checks(record: RunRecord) -> Section:
    """How often each check held, and what was there instead where one failed first."""
    marks = [not one.failed for one in record.checks]
    title = f"checks: {'all' if all(marks) else f'{sum(marks)} of'} {len(marks)} held"
    if marks == [True]:
        title = "checks: the one check held"
    rows = [_check_row(one) for one in record.checks]
    return Section.table(title, ("held", "failed", ""), rows, has_words=True, marks=marks)


def _check_row(one: Check) -> Row:
    first = f"the first: {one.first}" if one.failed and one.first else ""
    return (one.name, format_count(one.passed), format_count(one.failed), first)


def shares(record: RunRecord) -> Section:
    """What each of several scenarios had of the run."""
    rows = [
        (
            one.name,
            *map(format_count, (one.connections, one.sent, one.right, one.wrong, one.missing)),
        )
        for one in record.shares
    ]
    columns = ("connections", "sent", "right", "wrong", "missing")
    return Section.table("scenarios", columns, rows)


def statuses(record: RunRecord) -> Section:
    """How many responses had which status; where several of a class came, how many of that."""
    rows = list(_status_rows(record.statuses))
    return Section.table("responses", ("count", "share"), rows)


def _status_rows(statuses: dict[str, int]) -> Iterator[Row]:
    whole = sum(statuses.values())
    classes: Counter[str] = Counter()
    for code, count in statuses.items():
        classes[code[0]] += count
    for first, of_class in sorted(classes.items()):
        members = sorted(code for code in statuses if code[0] == first)
        if len(members) > 1:
            yield (f"{first}xx, together", format_count(of_class), format_share(of_class, whole))
        for code in members:
            name = f"{'  ' if len(members) > 1 else ''}{code} {_phrase(code)}".rstrip()
            yield (name, format_count(statuses[code]), format_share(statuses[code], whole))


def _phrase(code: str) -> str:
    """What a status is called; "" where it has no name."""
    try:
        return HTTPStatus(int(code)).phrase
    except ValueError:
        return ""
