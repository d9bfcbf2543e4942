"""`c1m doctor`: what N connections need on this machine, what is short, and what helps.

The facts come from c1m.limits; here they are asked for and printed.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn

import click

from c1m import files
from c1m.addresses import parse_url
from c1m.cli import cluster_doctor
from c1m.cli.options import COUNT, ENGINE, option
from c1m.errors import UsageError
from c1m.limits import fixes
from c1m.limits.fixes import Change, Reverted
from c1m.limits.forecast import Forecast, forecast
from c1m.limits.limit import OK, SHORT, UNKNOWN
from c1m.limits.needs import LOOPBACK_SOURCES
from c1m.units import format_bytes, format_count

WIDTH_MAX = 110

_COLOURS = {OK: "green", SHORT: "red", UNKNOWN: "yellow"}
_INDENT = "    "
_WHO = {
    "server": "as a server",
    "client": "as a client",
    "both": "with server and client on this machine",
}


_OPTIONS = [
    option(["--connections"], type=COUNT, default="1M", help="How many, e.g. 50k or 1M."),
    option(["--role"], type=click.Choice(list(_WHO)),
           help="Which end is on this machine.  [default: both; with --cluster: client]"),
    ENGINE,
    option(["--listen"], multiple=True, metavar="tcp://HOST:PORT[-PORT]",
           default=["tcp://127.0.0.1:8001"],
           help="Where the server listens; may be given more than once."),
    option(["--sources"], type=COUNT.within(0, LOOPBACK_SOURCES),
           help="Addresses that the client connects from.  [default: 127.0.0.0/8 on loopback, else "
           "1]"),
    option(["--cluster"], metavar="SCHEDULER",
           help="Look at every worker of this Dask cluster, each with its part of the connections "
           "(needs c1m[cluster]; as for c1m load)."),
    option(["--fix"], is_flag=True, help="Show the sysctls that would be changed."),
    option(["--yes"], is_flag=True, help="With --fix: change them."),
    option(["--revert"], is_flag=True, help="Undo what --fix --yes changed."),
    option(["--sysctl"], is_flag=True, help="Print a file for /etc/sysctl.d."),
    option(["--json", "as_json"], is_flag=True, help="Print JSON."),
    option(["--state-dir"], metavar="DIRECTORY",
           help="Where --fix keeps what was there before.  [default: "
           f"${fixes.STATE_DIR_VARIABLE}, or {fixes.STATE_DIR}]"),
]  # fmt: skip


@click.command(name="doctor", params=_OPTIONS)
def doctor(
    connections: int,
    role: str | None,
    engine: str,
    listen: tuple[str, ...],
    sources: int | None,
    cluster: str | None,
    fix: bool,
    yes: bool,
    revert: bool,
    sysctl: bool,
    as_json: bool,
    state_dir: str | None,
) -> None:
    """Say what N connections need on this machine, and what is short.

    Exit status: 0 they fit, 1 something is short (or was left by --revert), 2 bad usage.
    """
    if sum((fix, revert, sysctl)) > 1:
        raise UsageError("--fix, --revert and --sysctl exclude each other.", "Use one of them.")
    if yes and not fix:
        raise UsageError("--yes means nothing without --fix.", "Use --fix --yes.")
    if revert:
        _revert(state_dir, as_json)
        return
    ports, is_loopback = _targets(listen)
    count = sources if sources is not None else LOOPBACK_SOURCES if is_loopback else 1
    if cluster is not None:
        if fix or sysctl:
            raise UsageError(
                f"{'--fix' if fix else '--sysctl'} is about this machine, --cluster about others.",
                "Run c1m doctor with it on each machine.",
            )
        asked = role or "client", engine, ports, count
        _look_at_all(cluster, connections, asked, as_json)
    found = forecast(connections, role or "both", engine, ports, sources=count)
    if fix:
        found = _fix(found, yes, state_dir, as_json)
    elif sysctl:
        title = f"c1m doctor: {found.request.connections:,} connections, role {found.request.role}"
        files.write_text(files.STANDARD, fixes.render_sysctl(fixes.plan(found.findings), title))
    elif as_json:
        _print_json(found.as_dict())
    else:
        click.echo(render(found, _width()), color=_has_colour())
    sys.exit(1 if found.is_short else 0)


def _look_at_all(
    cluster: str, connections: int, asked: tuple[str, str, list[int], int], as_json: bool
) -> NoReturn:
    from c1m.cluster.doctor import examine  # needs Dask

    examined = examine(cluster, connections, *asked)
    if as_json:
        _print_json(cluster_doctor.as_dict(examined, connections))
    else:
        click.echo(cluster_doctor.render(examined, connections, _width()), color=_has_colour())
    sys.exit(1 if cluster_doctor.is_short(examined) else 0)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, WIDTH_MAX)


def _has_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _targets(listen: tuple[str, ...]) -> tuple[list[int], bool]:
    """The ports of all endpoints, and whether the client has 127.0.0.0/8 to come from."""
    ports: list[int] = []
    hosts: list[str] = []
    for endpoint in listen:
        scheme, host, first, last = parse_url(endpoint)
        if scheme == "unix" or first == 0:
            raise UsageError(
                f"{endpoint!r} has no TCP port to look at.",
                "Write tcp://HOST:PORT or HOST:FIRST-LAST.",
            )
        ports += range(first, last + 1)
        hosts.append(host)
    is_loopback = all(h.startswith("127.") or h in ("localhost", "0.0.0.0") for h in hosts)
    return ports, is_loopback


def _fix(found: Forecast, yes: bool, state_dir: str | None, as_json: bool) -> Forecast:
    """Show the changes, or make them; the forecast that holds afterwards."""
    changes = fixes.plan(found.findings)
    by_hand = [f for f in found.findings if f.verdict == SHORT and not f.fixes]
    state = fixes.state_path(state_dir)
    is_applied = yes and bool(changes)
    if is_applied:
        fixes.apply(changes, state)
        found = forecast(**asdict(found.request))
    if as_json:
        shown = {"applied": yes, "changes": [asdict(change) for change in changes]}
        _print_json(shown | found.as_dict())
        return found
    click.echo(render_changes(changes, done=yes))
    if is_applied:
        click.echo(f"To undo this: c1m doctor --revert (kept in {state})")
    if by_hand:
        click.echo("By hand:")
    for finding in by_hand:
        click.echo("\n".join(_wrap(f"{finding.name}: {finding.remedy}", 100)))
    click.echo("\n".join(["", *summary(found)]))
    return found


def _revert(state_dir: str | None, as_json: bool) -> None:
    state = fixes.state_path(state_dir)
    reverted = fixes.revert(state)
    is_left = any(item.outcome == "foreign" for item in reverted)
    if as_json:
        _print_json([asdict(item) for item in reverted])
    else:
        click.echo(render_reverted(reverted))
        if is_left:
            click.echo(f"What was left stays in the record. To forget it, remove {state}.")
    sys.exit(1 if is_left else 0)


def _print_json(value: Any) -> None:
    files.write_text(files.STANDARD, json.dumps(value, indent=2) + "\n")


def render(found: Forecast, width: int) -> str:
    """The table (check, verdict, needed, have; notes and remedies below), then the sentences."""
    request = found.request
    title = (
        f"What {format_count(request.connections)} connections need {_WHO[request.role]}, "
        f"engine {request.engine}"
    )
    head = ("check", "verdict", "needed", "have")
    rows = [
        (f.name, f.verdict, _value(f.needed, f.unit), _value(f.have, f.unit))
        for f in found.findings
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [title, "", _row(head, widths)]
    for finding, row in zip(found.findings, rows, strict=True):
        lines.append(_row(row, widths))
        lines += _wrap(finding.text, width)
        if finding.remedy:
            word = "To fix it: " if finding.verdict == SHORT else "Better: "
            lines += _wrap(word + finding.remedy, width)
    return "\n".join([*lines, "", *summary(found)])


def _row(row: tuple[str, str, str, str], widths: list[int]) -> str:
    name, verdict, needed, have = row
    cell = f"{verdict:<{widths[1]}}"
    if verdict in _COLOURS:
        cell = click.style(cell, fg=_COLOURS[verdict])
    return f"{name:<{widths[0]}}  {cell}  {needed:>{widths[2]}}  {have:>{widths[3]}}".rstrip()


def _wrap(text: str, width: int) -> list[str]:
    """Indented lines. Words are not cut: commands are there to be copied."""
    return textwrap.wrap(
        text, max(width, 40), initial_indent=_INDENT, subsequent_indent=_INDENT,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _value(value: int | str | None, unit: str) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return format_bytes(value) if unit == "bytes" else f"{format_count(value)} {unit}".strip()


def summary(found: Forecast) -> list[str]:
    """How many connections fit and what stops them first, in a sentence or two."""
    asked, fits = found.request.connections, found.fits
    lines = []
    if fits is None:
        lines.append("How many connections fit cannot be said: nothing that bounds them is known.")
    elif found.is_short:
        count = f"only {format_count(fits)}" if fits else "none"
        lines.append(
            f"{found.first_limit} allows {count} of the {format_count(asked)} connections."
        )
    else:
        lines.append(
            f"{format_count(asked)} connections fit on this machine. The first limit above that "
            f"is {found.first_limit}, at {format_count(fits)}."
        )
    if found.unknown:
        names = ", ".join(finding.name for finding in found.unknown)
        lines.append(f"Not known, and so not counted: {names}.")
    return lines


def render_changes(changes: Sequence[Change], *, done: bool) -> str:
    """Each sysctl with its value before and after, and why."""
    if not changes:
        return "No sysctl needs to be changed."
    lines = ["Changed:" if done else "Would change (add --yes to do it):"]
    for change in changes:
        kind = "needed" if change.is_needed else "advice"
        lines.append(f"{_INDENT}{change.sysctl}: {_in_line(change.before)} -> {change.after}")
        lines.append(f"{_INDENT}{_INDENT}{kind}: {change.why}")
    return "\n".join(lines)


def _in_line(value: str) -> str:
    return " ".join(value.split()) or "(empty)"


def render_reverted(reverted: Sequence[Reverted]) -> str:
    """What was restored and what was left, a line each."""
    if not reverted:
        return "There is nothing to undo."
    lines = []
    for item in reverted:
        before, after = _in_line(item.entry.before), item.entry.after
        present = "gone" if item.present is None else _in_line(item.present)
        said = {
            "restored": f"restored to {before}",
            "unchanged": f"nothing to restore, it is no longer {after}",
            "foreign": f"left as it is ({present}): somebody else changed it after c1m set it to "
            f"{after}; before that it was {before}",
        }
        lines.append(f"{item.entry.sysctl}: {said[item.outcome]}")
    return "\n".join(lines)
