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
from typing import Any, TextIO

from c1m.cli.live.plain import PlainLines, can_draw
from c1m.cli.streams import say, takes_a_line
from c1m.errors import C1mError, UsageError
from c1m.results import codec
from c1m.results.snapshot import Snapshot

DEAD_S = 0.2  # how long a process that has closed its socket may take to end
CLOSE_S = 3.0  # how long the last picture may take
LIVE_CLOSE_S = 6.0  # and the last news of a page that is read slowly, or on a busy machine
LAST_S = 1.0  # of these: how long to wait until there is room for the last snapshot
# -P: import nothing from the working directory.
_COMMAND = (sys.executable, "-P", "-m", "c1m.cli.live.viewer")
_NAMES = tuple(field.name for field in dataclasses.fields(Snapshot))
_values = operator.attrgetter(*_NAMES)
_encode = json.JSONEncoder(separators=(",", ":"), default=codec.encode).encode
_GIVE_BACK = "\x1b[?1049l\x1b[?25h"  # leave the alternate screen, show the cursor


class Observer:
    """Shows snapshots: `show` each, then `close` (or the end of a `with` block).

    `metrics`: where to serve them (":9100", "HOST:PORT"), or None; `live`: the same of the
    dashboard as a web page. `is_drawn`: by the dashboard,
    until its process has died; else, unless `is_quiet`, in plain lines. `dropped` counts the
    snapshots that the observer's process was too slow for. Raises UsageError, with nothing left
    running, where one of them cannot be served there.
    """

    def __init__(
        self,
        stream: TextIO,
        is_quiet: bool = False,
        metrics: str | None = None,
        live: str | None = None,
    ) -> None:
        has_rich = importlib.util.find_spec("rich") is not None
        self._stream = stream
        self.is_drawn = not is_quiet and can_draw(stream) and has_rich
        self._served = {"metrics": metrics, "live": live}
        self.urls: dict[str, str] = {}  # where what is wanted is served
        self._are_urls_new = not is_quiet
        self.dropped = 0
        self._last = b""  # the run's last snapshot, if it was dropped
        self._plain = None if is_quiet or self.is_drawn else PlainLines(stream)
        self._process: subprocess.Popen[str] | None = None
        self._socket: socket.socket  # to the process
        self._is_serving = any(address is not None for address in self._served.values())
        if self.is_drawn or self._is_serving:
            self._start_process()

    def _start_process(self) -> None:
        command = [*_COMMAND]
        command += ["--draw"] if self.is_drawn else []
        for name, address in self._served.items():
            command += [f"--{name}", address] if address is not None else []
        drawn_on = None if self._stream is sys.stdout else self._stream
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
        try:
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=drawn_on if self.is_drawn else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        if self._is_serving:
            self._await_answer()

    def _await_answer(self) -> None:
        """Read the line that says what is served. Raises UsageError for what is not."""
        assert self._process is not None and self._process.stderr is not None
        line = self._process.stderr.readline()
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            answer = {}
        if answer.get("ready"):
            self.urls = {name: answer[name] for name in self._served if answer[name]}
            return
        _, why = self._end_process(CLOSE_S, line)
        if "error" in answer:
            raise UsageError(answer["error"], answer["remedy"])
        raise C1mError(f"The process that serves {self._what()} did not start: {why}")

    def _what(self) -> str:
        names = {"metrics": "metrics", "live": "the page"}
        return " and ".join(names[name] for name, at in self._served.items() if at is not None)

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot, and before the first one what is served where; never waits."""
        if self._are_urls_new:  # not before: now the plan was found to be good
            for name, url in self.urls.items():
                say(f"{name}: {url}", sys.stderr)
            self._are_urls_new = False
        if self._process is not None:
            self._send(snapshot)
        if self._plain is not None:
            self._plain.add(snapshot)

    def _send(self, snapshot: Snapshot) -> None:
        message = as_json(snapshot)
        try:
            self._socket.send(message)
        except BlockingIOError:
            self.dropped += 1
            self._last = message if snapshot.is_last else b""
        except OSError:  # EPIPE: it has died, so go on with plain lines
            ending = _ending(*self._end_process(DEAD_S))
            lost = "the dashboard" if self.is_drawn else self._what()
            say(f"c1m: {lost} ended ({ending}).", sys.stderr)
            if self.is_drawn:
                self.is_drawn, self._plain = False, PlainLines(self._stream)

    def conclude(self, verdict: dict[str, Any]) -> None:
        """What came of the run, for the page; the run is over."""
        if self._process is not None and "live" in self.urls:
            self._wait_and_send(_encode({"verdict": verdict}).encode())

    def _wait_and_send(self, *messages: bytes) -> None:
        """The last snapshot, if it was dropped, and these: now waiting costs the run nothing."""
        messages = (self._last, *messages) if self._last else messages
        self._last = b""
        self._socket.settimeout(LAST_S)
        with contextlib.suppress(OSError):
            for message in messages:
                self._socket.send(message)

    def close(self) -> None:
        """Leave the last picture, or line, on the terminal; waits for it, but not for long."""
        if self._process is not None:
            self._wait_and_send()
            status, why = self._end_process(LIVE_CLOSE_S if "live" in self.urls else CLOSE_S)
            if status:
                ending = _ending(status, why)
                say(f"c1m: what showed the run ended badly ({ending}).", sys.stderr)
        if self._plain is not None:
            self._plain.done()
            self._plain = None

    def _end_process(self, patience_s: float, said: str = "") -> tuple[int, str]:
        """End the input and wait for the process; its status, and the last line that it `said`."""
        process, self._process = self._process, None
        assert process is not None and process.stderr is not None
        self._socket.close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with process.stderr as stderr:
            lines = [line.strip() for line in (said + stderr.read()).split("\n") if line.strip()]
        if process.returncode < 0 and self.is_drawn and takes_a_line(self._stream):
            # Killed: it could not give the terminal back.
            self._stream.write(_GIVE_BACK)
            self._stream.flush()
        is_reason = lines and not lines[-1].startswith('{"ready"')
        return process.returncode, lines[-1] if is_reason else ""

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def as_json(snapshot: Snapshot) -> bytes:
    """A snapshot as JSON, as codec.encode would have it, in a tenth of the time.

    A snapshot is flat, so only the NumPy scalars in it need the codec.
    """
    return _encode(dict(zip(_NAMES, _values(snapshot), strict=True))).encode()


def _ending(status: int, why: str) -> str:
    how = f"status {status}" if status >= 0 else f"signal {-status}"
    return f"{how}: {why}" if why else how
