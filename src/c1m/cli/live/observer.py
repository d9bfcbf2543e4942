"""Shows a running load at little cost to the run: another process draws and serves metrics.

The run's process sends each snapshot as JSON over a socket that never blocks; when the observer's
process (`viewer.py`) is slow, the snapshot is dropped. Off a terminal, the run's process writes
lines itself (`plain.py`).

Facts. A unix socket of type SOCK_SEQPACKET takes a message whole or refuses it (EAGAIN), and holds
some dozens of snapshots. Python ignores SIGPIPE: a socket whose reader has died answers EPIPE.
Ctrl-C and the end of a terminal reach the observer too; SIGINT and SIGHUP are blocked while it
starts, until it ignores them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import operator
import signal
import socket
import subprocess
import sys
from typing import Any, Literal, TextIO

from c1m.cli.live import prometheus
from c1m.cli.live.plain import PlainLines, can_draw
from c1m.cli.streams import say, takes_a_line
from c1m.errors import C1mError, UsageError
from c1m.results import codec
from c1m.results.snapshot import Snapshot

Mode = Literal["dashboard", "plain", "quiet"]

CLOSE_S = 3.0  # how long the last picture may take
LAST_S = 1.0  # of these: how long to wait until there is room for the last snapshot
# -P: import nothing from the working directory.
_COMMAND = (sys.executable, "-P", "-m", "c1m.cli.live.viewer")
_NAMES = tuple(field.name for field in dataclasses.fields(Snapshot))
_values = operator.attrgetter(*_NAMES)
_encode = json.JSONEncoder(separators=(",", ":"), default=codec.encode).encode
_GIVE_BACK = "\x1b[?1049l\x1b[?25h"  # leave the alternate screen, show the cursor


def best_mode(stream: TextIO | None = None, quiet: bool = False) -> Mode:
    """The dashboard for a terminal that can draw it, else plain lines."""
    if quiet:
        return "quiet"
    is_drawn = can_draw(stream or sys.stdout) and importlib.util.find_spec("rich") is not None
    return "dashboard" if is_drawn else "plain"


class Observer:
    """Shows snapshots: `start`, then `show` each, then `close` (or a `with` block).

    `mode` is the one in force: a dashboard that cannot be drawn, or whose process has died, becomes
    plain lines. `dropped` counts the snapshots that the observer's process was too slow for.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self.mode: Mode = "quiet"
        self.metrics_url = ""
        self.dropped = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._last = b""  # the run's last snapshot, if it was dropped
        self._plain: PlainLines | None = None

    def start(self, mode: Mode, metrics: str | None = None) -> None:
        """`metrics`: where to serve them (":9100", "HOST:PORT"), or None.

        Raises UsageError, with nothing left running, where metrics cannot be served there.
        """
        if metrics is not None:
            prometheus.parse_address(metrics)
            prometheus.check_available()
        self.mode = best_mode(self._stream) if mode == "dashboard" else mode
        if self.mode == "dashboard" or metrics is not None:
            self._start_process(metrics)
        if self.mode == "plain":
            self._plain = PlainLines(self._stream)

    def _start_process(self, metrics: str | None) -> None:
        command = [*_COMMAND]
        command += ["--draw"] if self.mode == "dashboard" else []
        command += ["--metrics", metrics] if metrics is not None else []
        drawn_on = None if self._stream is sys.stdout else self._stream
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=drawn_on if self.mode == "dashboard" else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        if metrics is not None:
            self._await_answer()

    def _await_answer(self) -> None:
        """Read the line that says whether metrics are served. Raises UsageError if not."""
        assert self._process is not None and self._process.stderr is not None
        line = self._process.stderr.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            answer = {}
        if answer.get("ready"):
            self.metrics_url = answer["metrics"]
            return
        said = line + self._process.stderr.read()
        self._end_process(kill=True)
        if "error" in answer:
            raise UsageError(answer["error"], answer["remedy"])
        raise C1mError(f"The process that serves metrics did not start: {_why(said)}")

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot; never waits."""
        if self._process is not None:
            self._send(snapshot)
        if self._plain is not None:
            self._plain.show(snapshot)

    def _send(self, snapshot: Snapshot) -> None:
        assert self._socket is not None
        message = as_json(snapshot)
        try:
            self._socket.send(message)
        except BlockingIOError:
            self.dropped += 1
            self._last = message if snapshot.is_last else b""
        except OSError:  # EPIPE: it has died
            self._fall_back()

    def _fall_back(self) -> None:
        """The observer's process has died: say so once, and go on with plain lines."""
        status, said = self._end_process(kill=True)
        lost = "the dashboard" if self.mode == "dashboard" else "metrics"
        say(f"c1m: {lost} ended ({_ending(status)}{_why(said, ': ')}).", sys.stderr)
        if self.mode == "dashboard":
            self.mode, self._plain = "plain", PlainLines(self._stream)

    def close(self) -> None:
        """Leave the last picture, or line, on the terminal; waits for it, but not for long."""
        if self._process is not None:
            if self._last and self._socket is not None:  # now waiting costs the run nothing
                self._socket.settimeout(LAST_S)
                with contextlib.suppress(OSError):
                    self._socket.send(self._last)
            status, said = self._end_process(kill=False)
            if status:
                why = f"{_ending(status)}{_why(said, ': ')}"
                say(f"c1m: what showed the run ended badly ({why}).", sys.stderr)
        if self._plain is not None:
            self._plain.close()
            self._plain = None

    def _end_process(self, kill: bool) -> tuple[int, bytes]:
        """End the input and wait for the process; its status, and what it wrote to stderr."""
        process, self._process = self._process, None
        assert process is not None and process.stderr is not None and self._socket is not None
        self._socket.close()
        try:
            process.wait(0.2 if kill else CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with process.stderr as stderr:
            said = stderr.read()
        if process.returncode < 0 and self.mode == "dashboard" and takes_a_line(self._stream):
            # Killed: it could not give the terminal back.
            self._stream.write(_GIVE_BACK)
            self._stream.flush()
        return process.returncode, said

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_json(snapshot: Snapshot) -> bytes:
    """A snapshot as JSON, as codec.encode would have it, in a tenth of the time.

    A snapshot is flat, so only the NumPy scalars in it need the codec.
    """
    return _encode(dict(zip(_NAMES, _values(snapshot), strict=True))).encode()


def _ending(status: int) -> str:
    return f"status {status}" if status >= 0 else f"signal {-status}"


def _why(said: bytes, before: str = "") -> str:
    """The last line that a process wrote to stderr."""
    lines = [line for line in said.decode(errors="replace").split("\n") if line.strip()]
    return f"{before}{lines[-1].strip()}" if lines and not lines[-1].startswith('{"ready"') else ""
