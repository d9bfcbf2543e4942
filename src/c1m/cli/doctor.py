"""`c1m doctor`: what N connections need on this machine, what is short, and what helps."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import asdict

import click

from c1m import files
from c1m.addresses import parse_url
from c1m.cli import doctor_text as text
from c1m.cli.options import COUNT, engine_option
from c1m.errors import UsageError
from c1m.limits import fixes
from c1m.limits.forecast import Diagnosis, diagnose
from c1m.limits.needs import LOOPBACK_SOURCES

WIDTH_MAX = 110


@click.command(name="doctor")
@click.option(
    "--connections",
    type=COUNT,
    metavar="COUNT",
    default="1M",
    show_default=True,
    help="How many, e.g. 50k or 1M.",
)
@click.option(
    "--role",
    type=click.Choice(["server", "client", "both"]),
    default="both",
    show_default=True,
    help="Which end is on this machine.",
)
@engine_option
@click.option(
    "--listen",
    multiple=True,
    metavar="tcp://HOST:PORT[-PORT]",
    help="Where the server listens; may be given more than once.  [default: tcp://127.0.0.1:8001]",
)
@click.option(
    "--sources",
    type=COUNT.within(0, LOOPBACK_SOURCES),
    metavar="COUNT",
    help="Addresses that the client connects from.  [default: 127.0.0.0/8 on loopback, else 1]",
)
@click.option("--fix", is_flag=True, help="Show the sysctls that would be changed.")
@click.option("--yes", is_flag=True, help="With --fix: change them.")
@click.option("--revert", is_flag=True, help="Put back what --fix --yes changed.")
@click.option("--sysctl", is_flag=True, help="Print a file for /etc/sysctl.d.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--state-dir",
    metavar="DIRECTORY",
    help=f"Where --fix keeps what was there before.  [default: ${fixes.STATE_DIR_VARIABLE}, "
    f"or {fixes.STATE_DIR}]",
)
def doctor(
    connections: int,
    role: str,
    engine: str,
    listen: tuple[str, ...],
    sources: int | None,
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
    ports, is_loopback = _targets(listen or ("tcp://127.0.0.1:8001",))
    count = sources if sources is not None else LOOPBACK_SOURCES if is_loopback else 1
    diagnosis = diagnose(connections, role, engine, ports, sources=count)
    if fix:
        diagnosis = _fix(diagnosis, yes, state_dir, as_json)
    elif sysctl:
        title = f"c1m doctor: {diagnosis.request.connections:,} connections, role {role}"
        _print_data(fixes.render_sysctl(fixes.plan(diagnosis.findings), title))
    elif as_json:
        _print_data(json.dumps(diagnosis.as_dict(), indent=2) + "\n")
    else:
        width = min(shutil.get_terminal_size().columns, WIDTH_MAX)
        click.echo(text.render(diagnosis, colour=_has_colour(), width=width), color=True)
    sys.exit(1 if diagnosis.is_short else 0)


def _targets(listen: tuple[str, ...]) -> tuple[list[int], bool]:
    """The ports of all endpoints, and whether the client has 127.0.0.0/8 to come from."""
    ports: list[int] = []
    hosts: list[str] = []
    for endpoint in listen:
        scheme, host, first, last = parse_url(endpoint)
        if scheme != "tcp" or first == 0:
            raise UsageError(
                f"{endpoint!r} has no TCP port to look at.",
                "Write tcp://HOST:PORT or HOST:FIRST-LAST.",
            )
        ports += range(first, last + 1)
        hosts.append(host)
    is_loopback = all(h.startswith("127.") or h in ("localhost", "0.0.0.0") for h in hosts)
    return ports, is_loopback


def _fix(diagnosis: Diagnosis, yes: bool, state_dir: str | None, as_json: bool) -> Diagnosis:
    """Show the changes, or make them; the diagnosis that holds afterwards."""
    changes = fixes.plan(diagnosis.findings)
    manual = text.render_manual(diagnosis.findings)
    if yes and changes:
        state = fixes.state_path(state_dir)
        fixes.apply(changes, state)
        request = diagnosis.request
        diagnosis = diagnose(
            request.connections,
            request.role,
            request.engine,
            request.listen_ports,
            sources=request.sources,
        )
    if as_json:
        content = {
            "applied": yes,
            "changes": [asdict(change) for change in changes],
            **diagnosis.as_dict(),
        }
        _print_data(json.dumps(content, indent=2) + "\n")
        return diagnosis
    click.echo(text.render_changes(changes, done=yes))
    if yes and changes:
        click.echo(f"Put back with: c1m doctor --revert (kept in {state})")
    if manual:
        click.echo(manual)
    click.echo("\n".join(["", *text.summary(diagnosis)]))
    return diagnosis


def _revert(state_dir: str | None, as_json: bool) -> None:
    state = fixes.state_path(state_dir)
    reverted = fixes.revert(state)
    is_left = any(item.outcome == "foreign" for item in reverted)
    if as_json:
        _print_data(json.dumps([asdict(item) for item in reverted], indent=2) + "\n")
    else:
        click.echo(text.render_reverted(reverted))
        if is_left:
            click.echo(f"What was left stays in the record; to forget it, remove {state}.")
    sys.exit(1 if is_left else 0)


def _print_data(text: str) -> None:
    """What was asked for as data is whole on standard output, or an error."""
    files.write_text(files.STANDARD, text)


def _has_colour() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")
