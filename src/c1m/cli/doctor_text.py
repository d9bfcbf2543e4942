"""A diagnosis and planned changes as text for people; no computing, no printing."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from c1m.limits.fixes import Change, Reverted
from c1m.limits.forecast import Diagnosis
from c1m.limits.limit import OK, SHORT, Finding
from c1m.units import format_bytes, format_count

_COLOURS = {OK: "\x1b[32m", SHORT: "\x1b[31m"}
_UNKNOWN_COLOUR = "\x1b[33m"
_PLAIN = "\x1b[0m"
_INDENT = "    "
_WHO = {
    "server": "as a server",
    "client": "as a client",
    "both": "with server and client on this machine",
}


def render(diagnosis: Diagnosis, *, colour: bool = False, width: int = 100) -> str:
    """The table (check, verdict, needed, have; notes and remedies below), then the sentences."""
    request = diagnosis.request
    rows = [("check", "verdict", "needed", "have")]
    rows += [
        (f.name, f.verdict, _value(f.needed, f.unit), _value(f.have, f.unit))
        for f in diagnosis.findings
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    title = (
        f"What {format_count(request.connections)} connections need {_WHO[request.role]}, "
        f"engine {request.engine}"
    )
    lines = [title, "", _row(rows[0], widths)]
    for finding, row in zip(diagnosis.findings, rows[1:], strict=True):
        lines.append(_row(row, widths, colour=colour))
        lines += _below(finding, width)
    return "\n".join([*lines, "", *summary(diagnosis)])


def _row(row: tuple[str, str, str, str], widths: list[int], *, colour: bool = False) -> str:
    name, verdict, needed, have = row
    cell = f"{verdict:<{widths[1]}}"
    if colour:
        cell = f"{_COLOURS.get(verdict, _UNKNOWN_COLOUR)}{cell}{_PLAIN}"
    return f"{name:<{widths[0]}}  {cell}  {needed:>{widths[2]}}  {have:>{widths[3]}}".rstrip()


def _below(finding: Finding, width: int) -> list[str]:
    """Notes and what to do. Remedies are not cut within words: they are there to be copied."""
    lines = []
    if finding.text:
        lines += _wrap(finding.text, width, _INDENT)
    if finding.remedy:
        word = "To fix it: " if finding.verdict == SHORT else "Better: "
        lines += _wrap(word + finding.remedy, width, _INDENT)
    return lines


def _wrap(text: str, width: int, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _value(value: int | str | None, unit: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return format_bytes(value) if unit == "bytes" else f"{format_count(value)} {unit}".strip()


def summary(diagnosis: Diagnosis) -> list[str]:
    """How many connections fit and what stops them first, in a sentence or two."""
    asked, fits = diagnosis.request.connections, diagnosis.fits
    lines = []
    if fits is None:
        lines.append("How many connections fit cannot be said: nothing that bounds them is known.")
    elif diagnosis.is_short:
        count = f"only {format_count(fits)}" if fits else "none"
        lines.append(
            f"{diagnosis.first_limit} allows {count} of the {format_count(asked)} connections."
        )
    else:
        lines.append(
            f"{format_count(asked)} connections fit on this machine. The first limit above that "
            f"is {diagnosis.first_limit}, at {format_count(fits)}."
        )
    if diagnosis.unknown:
        names = ", ".join(finding.name for finding in diagnosis.unknown)
        lines.append(f"Not known, and so not counted: {names}.")
    return lines


def render_changes(changes: Sequence[Change], *, done: bool) -> str:
    """Each sysctl with its value before and after, and why."""
    if not changes:
        return "No sysctl needs to be changed."
    lines = ["Changed:" if done else "Would change (add --yes to do it):"]
    for change in changes:
        before = " ".join(change.before.split()) or "(empty)"
        kind = "needed" if change.is_needed else "advice"
        lines.append(f"{_INDENT}{change.sysctl}: {before} -> {change.after}")
        lines.append(f"{_INDENT}{_INDENT}{kind}: {change.why}")
    return "\n".join(lines)


def render_manual(findings: Sequence[Finding]) -> str:
    """What is short and no sysctl: steps to do by hand; empty when there is none."""
    manual = [f for f in findings if f.verdict == SHORT and not f.fixes]
    if not manual:
        return ""
    lines = ["By hand:"]
    for finding in manual:
        lines += _wrap(f"{finding.name}: {finding.remedy}", 100, _INDENT)
    return "\n".join(lines)


def render_reverted(reverted: Sequence[Reverted]) -> str:
    """What was put back and what was left, a line each."""
    if not reverted:
        return "There is nothing to put back."
    lines = []
    for item in reverted:
        entry = item.entry
        before = " ".join(entry.before.split()) or "(empty)"
        if item.outcome == "restored":
            lines.append(f"{entry.sysctl}: put back to {before}")
        elif item.outcome == "unchanged":
            lines.append(f"{entry.sysctl}: nothing to put back, it is not {entry.after} any more")
        else:
            present = "gone" if item.present is None else " ".join(item.present.split())
            lines.append(
                f"{entry.sysctl}: left as it is ({present}): it was changed by somebody else after "
                f"c1m set it to {entry.after}; before that it was {before}"
            )
    return "\n".join(lines)
