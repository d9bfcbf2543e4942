"""`c1m demo`: doctor, a server process and a client: a million connections on this machine.

With --push they are subscribers of a push server, to whom messages are published: `demo_push.py`.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from c1m.cli.demo_plans import Echoing, Plan, Pushing, command_of
from c1m.cli.options import COUNT, DURATION, ENGINE, option
from c1m.errors import C1mError, UsageError
from c1m.files import check_writable
from c1m.kernel.procfs import process_sample
from c1m.units import format_count

if TYPE_CHECKING:
    from c1m.results.snapshot import Snapshot

PORT_FIRST = 8001
PORT_LAST = 8999  # below the ephemeral range, where no client of this machine takes it
START_S = 15.0
STOP_S = 120.0


_OPTIONS = [
    option(["--connections"], type=COUNT,
           help="How many.  [default: 1,000,000, or the most that fits here]"),
    option(["--hold"], type=DURATION,
           help="How long to hold them.  [default: 10s; with --push 3s, idle]"),
    option(["--push"], is_flag=True,
           help="WebSocket subscribers of a push server, who are published ten messages."),
    ENGINE,
    option(["--out"], type=click.Path(file_okay=False), default="c1m-demo", metavar="DIRECTORY",
           help="Where the record, the report and the server's log go."),
]  # fmt: skip


@click.command(params=_OPTIONS)
def demo(connections: int | None, hold: int | None, push: bool, engine: str, out: str) -> None:
    """Hold a million connections on this machine and prove it.

    Asks the doctor, starts a server (one thread) and a client (one thread), opens 1,000,000
    connections or the most that fits, has each of them echoed, holds them, has all of them send at
    the same moment, and writes a report. With --push they are WebSocket subscribers of a channel,
    to which ten messages are published.

    Exit status: 0 all as asked, 1 something was short, 2 bad usage.
    """
    from c1m.cli.live.observer import Observer
    from c1m.cli.outputs import Outputs, summary
    from c1m.loading import load
    from c1m.report import html

    html.check_available()
    plan: Plan = Pushing(hold) if push else Echoing(hold)
    count = _how_many(connections, engine)
    directory = _directory(out)
    outputs = Outputs({"report": f"{directory}/report.html", "json": f"{directory}/run.json"})
    server = _Server(directory, plan.server, engine)
    try:
        asked = plan.asked(server.url, count)
        plan.began(server.pid)
        shown = f"process {server.pid}{_threads(server.threads(), ', ')}"
        click.echo(f"client: {command_of(asked)}   (server: {shown})")
        with Observer(sys.stdout) as observer:

            def on_progress(snapshot: Snapshot) -> None:
                plan.look(snapshot)
                observer.show(snapshot)

            record = load(
                **asked,
                engine=engine,
                server_pid=server.pid,
                on_progress=on_progress,
                on_signals=True,
                on_end=outputs.write_record,
            )
    finally:
        figures = server.stop()
    click.echo(summary(record))
    _say_server(figures, server)
    for line in plan.said(record):
        click.echo(line)
    click.echo("   ".join(f"{what}: {path}" for path, what in outputs.written.items()))
    outputs.end()
    sys.exit(0 if record.verdict.complete and figures is not None else 1)


def _directory(out: str) -> Path:
    directory = Path(out)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The directory {out} cannot be made: {(error.strerror or str(error)).lower()}.",
            "Give another one with --out.",
        ) from None
    check_writable(directory / "server.json")
    return directory


def _how_many(asked: int | None, engine: str) -> int:
    """Print what the doctor says of this machine, in three lines; returns the number to open."""
    from c1m.limits.forecast import forecast

    wanted = asked if asked is not None else 1_000_000
    found = forecast(wanted, "both", engine)
    fits = found.fits
    if fits is None:
        click.echo("doctor: it is not known how many connections fit here")
        return wanted
    click.echo(
        f"doctor: {format_count(fits)} connections fit here (both ends on this machine, engine "
        f"{found.request.engine}); what stops more is {found.first_limit}"
    )
    if fits >= wanted:
        return wanted
    first = next(f for f in found.findings if f.name == found.first_limit)
    if asked is not None or fits < 1:
        raise UsageError(
            f"{wanted:,} connections were asked for; {fits:,} fit here ({first.name}).",
            first.remedy,
        )
    click.echo(f"so {format_count(fits)} instead of {format_count(wanted)}. {first.remedy}")
    return fits


class _Server:
    """The server's process, from its start to its final figures."""

    def __init__(self, directory: Path, app: Sequence[str], engine: str) -> None:
        self.figures_path = directory / "server.json"
        self.figures_path.unlink(missing_ok=True)
        self.log_path = directory / "server.log"
        self.url = f"tcp://127.0.0.1:{_free_port()}"
        command = [
            sys.executable, "-m", "c1m", "serve", *app, "--listen", self.url,
            "--engine", engine, "--drain", f"{STOP_S / 2:g}s", "--json", str(self.figures_path),
        ]  # fmt: skip
        click.echo(f"server: c1m {' '.join(command[3:])}")
        with open(self.log_path, "w") as log:
            # A group of its own: Ctrl-C is for the client, which then stops the server.
            self._process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.pid = self._process.pid
        try:
            self._wait_until_it_listens()
        except BaseException:  # Ctrl-C too
            self._process.kill()
            self._process.wait()
            raise

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_S
        while "listening on" not in self.log_path.read_text():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self.log_path.read_text().strip() or "It said nothing."
                raise C1mError(f"The server did not start. {said}", f"See {self.log_path}.")
            time.sleep(0.01)

    def threads(self) -> int | None:
        """How many threads it has, from the kernel."""
        sample = process_sample(self.pid)
        return sample.threads if sample else None

    def stop(self) -> dict[str, Any] | None:
        """Stop it in good order; its final figures, or None if it wrote none."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        try:
            figures: dict[str, Any] = json.loads(self.figures_path.read_text())
            return figures
        except (OSError, ValueError):
            return None


def _free_port() -> int:
    for port in range(PORT_FIRST, PORT_LAST + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UsageError(f"All ports from {PORT_FIRST} to {PORT_LAST} are in use.")


def _say_server(figures: dict[str, Any] | None, server: _Server) -> None:
    if figures is None:
        click.echo(f"The server ended without its final figures; see {server.log_path}.")
        return
    closed = sum(figures["closed"].values())
    click.echo(
        f"server's own count: {format_count(figures['opened'])} opened, at most "
        f"{format_count(figures['peak'])} at once, {format_count(closed)} closed, "
        f"{format_count(figures['messages'])} messages{_threads(figures['threads'], '; ')}"
    )


def _threads(count: int | None, before: str) -> str:
    """', 1 thread'; empty if it is not known."""
    return "" if count is None else f"{before}{count} thread{'s' if count != 1 else ''}"
