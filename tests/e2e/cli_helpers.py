"""Running `python -m c1m` as a user does: a command to its end, a server beside it."""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from c1m.results.record import RunRecord
from laws import broken_laws
from one_each import right_of_each

COMMAND = [sys.executable, "-m", "c1m"]
PATIENCE_S = 120  # for a command to end: a stuck one is a failure, not a measure
# Below Linux's ephemeral range; each test run has a block of them for itself.
FIRST_PORT, LAST_PORT, BLOCK = 20_000, 29_999, 500


def run(
    *arguments: object, cwd: Path | None = None, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """A command to its end. `before`: what starts it (unshare, say)."""
    return subprocess.run(
        [*before, *COMMAND, *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def start(
    *arguments: object, cwd: Path | None = None, before: Sequence[str] = ()
) -> subprocess.Popen[str]:
    """A command in the background, its output in pipes. `before`: what starts it."""
    return subprocess.Popen(
        [*before, *COMMAND, *map(str, arguments)],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still says on both streams, to its end.

    Not communicate(): that reads below the buffer in which readline() has left lines.
    """
    assert process.stdout is not None and process.stderr is not None
    with process.stdout, process.stderr:
        said = process.stdout.read(), process.stderr.read()
    process.wait(PATIENCE_S)
    return said


def load(tmp_path: Path, *arguments: object) -> tuple[int, RunRecord, str]:
    """`c1m load` with --json: exit status, record, output. The record's laws hold."""
    path = tmp_path / "run.json"
    done = run("load", *arguments, "--json", path, "--quiet")
    assert done.stderr == "", done.stderr
    record = RunRecord.read(path)
    assert broken_laws(record) == []
    return done.returncode, record, done.stdout


def assert_complete(record: RunRecord, count: int) -> None:
    """All were open at once, each first and stampede reply was right, none was lost."""
    c = record.connections
    assert (c.attempted, c.opened, c.peak_open, c.open_at_end, c.lost) == (count,) * 4 + (0,)
    assert right_of_each(record) == [
        ("first", count, count), ("stampede", count, count),
    ]  # fmt: skip
    assert record.failures == [] and record.verdict.shortfalls == []
    assert record.verdict.complete


def assert_as_asked(status: int, record: RunRecord, said: str) -> None:
    """All was as asked, and what was sent was answered.

    A machine that others use, too, may not have had the time to send all that an open loop's rate
    asks for: that the run says so is right, and no fault.
    """
    unsent = "requests that were due were not sent."
    others = [short for short in record.verdict.shortfalls if not short.endswith(unsent)]
    assert others == [], said
    # Where there are thresholds, these alone decide.
    is_short = bool(record.verdict.shortfalls) and not record.thresholds
    assert status == is_short, said
    assert record.requests.right == record.requests.sent > 0, said


def threads_of(pid: int) -> int:
    """As /proc/PID/status says."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"^Threads:\s*(\d+)$", status, re.MULTILINE)
    assert match is not None
    return int(match[1])


@functools.cache
def _block() -> tuple[socket.socket, Iterator[int]]:
    """Ports that no other test run on this machine takes, and the lock on them: a name."""
    for first in range(FIRST_PORT, LAST_PORT, BLOCK):
        lock = socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0c1m-tests-{first}")
        except OSError:
            lock.close()
            continue
        return lock, itertools.cycle(range(first, first + BLOCK))
    raise AssertionError("too many test runs at once")


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free, and that nobody else is given soon."""
    found: list[int] = []
    for port in itertools.islice(_block()[1], 2 * BLOCK):
        if found and port != found[-1] + 1:
            found.clear()
        found.append(port)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                found.clear()
        if len(found) == count:
            return found[0]
    raise AssertionError(f"no {count} free ports in a row")


class Server:
    """`c1m serve APP` as a context manager: listening when entered, ended when left.

    `urls`: where it says it listens; `pid`; `figures()`: what --json wrote, after its end.
    """

    def __init__(
        self,
        tmp_path: Path,
        *arguments: object,
        listen: Sequence[str] = (),
        before: Sequence[str] = (),
        app: str = "echo",
        cwd: Path | None = None,
    ) -> None:
        self.figures_path = tmp_path / "server.json"
        listens = listen or ["tcp://127.0.0.1:0"]
        flags = [word for url in listens for word in ("--listen", url)]
        self.process = start(
            "serve", app, *flags, "--json", self.figures_path, *arguments, before=before, cwd=cwd
        )  # fmt: skip
        self.pid = self.process.pid
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()
        self.urls = re.findall(
            r"(?:tcp|unix|tls|https?|rediss?)(?:\+proxy)?://[^\s,]+", self.first_line
        )
        if not self.urls:
            self.process.kill()  # it may be there and say something else
            _, said = finish(self.process)
            raise AssertionError(f"the server did not start: {self.first_line}{said}")
        self.url = self.urls[0]
        self.output = ""

    def stop(self, number: int = signal.SIGINT) -> int:
        """End it; its exit status."""
        if self.process.poll() is None:
            os.kill(self.pid, number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status when it has ended."""
        output, errors = finish(self.process)
        self.output = self.first_line + output
        assert errors == "", errors
        return self.process.returncode

    def figures(self) -> dict[str, Any]:
        """The final figures, whose sums hold."""
        figures: dict[str, Any] = json.loads(self.figures_path.read_text())
        assert figures["opened"] == figures["live"] + sum(figures["closed"].values())
        assert figures["live"] == 0 and figures["threads"] == 1
        return figures

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        self.process.wait(PATIENCE_S)
