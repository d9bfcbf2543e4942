"""Commands as an ordinary user with limits of its own: what root and a test's shell do not show.

Locked memory is counted for each user over all processes and given back a little after they have
ended, so each test takes a user id of its own. The one capability that is kept lets the child read
the interpreter and the source wherever they are.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from e2e.cli_helpers import COMMAND, PATIENCE_S, finish

KIB = 1024
_FIRST_UID = 61_000 + os.getpid() % 2_000 * 2  # so that two test runs rarely meet
_uids = itertools.count(_FIRST_UID)

Limits = dict[str, Any]  # soft and hard: the same, or each


def new_user() -> int:
    """A user id that nobody has used; skips the test where nobody else can be become."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root, with setpriv, can become another user")
    return next(_uids)


def _as(uid: int) -> list[str]:
    kept = "-all,+dac_read_search"
    return [
        "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
    ]  # fmt: skip


def _lower(limits: Limits) -> Callable[[], None]:
    def lower() -> None:
        for name, value in limits.items():
            both = value if isinstance(value, tuple) else (value, value)
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), both)

    return lower


def run_as(
    uid: int, *arguments: object, before: Sequence[str] = (), **limits: int | tuple[int, int]
) -> subprocess.CompletedProcess[str]:
    """A command of c1m to its end. `limits`: by name (nofile, memlock, as); `before`: what starts
    it."""
    return subprocess.run(
        [*before, *_as(uid), *COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        preexec_fn=_lower(limits),
    )


def start_as(
    uid: int, *command: str, before: Sequence[str] = (), **limits: int | tuple[int, int]
) -> subprocess.Popen[str]:
    """Any command in the background, its output in pipes."""
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*before, *_as(uid), *command], preexec_fn=_lower(limits), **options)


class Refused:
    """`c1m serve echo` of an ordinary user: what it said, where it listens."""

    def __init__(
        self,
        uid: int,
        tmp_path: Path,
        *arguments: str,
        before: Sequence[str] = (),
        **limits: int | tuple[int, int],
    ) -> None:
        self.figures_path = tmp_path / "figures.json"
        tmp_path.chmod(0o777)
        command = [*COMMAND, "serve", "echo", "--listen", "tcp://127.0.0.1:0", *arguments]
        self.process = start_as(
            uid, *command, "--json", str(self.figures_path), before=before, **limits
        )
        assert self.process.stdout is not None and self.process.stderr is not None
        said = [self.process.stdout.readline() for _ in range(2)]
        assert all(said), self.process.stderr.read()
        match = re.search(r"127\.0\.0\.1:(\d+)", said[0])
        assert match is not None
        self.port, self.engine, self.said = int(match[1]), said[1], "".join(said)
        self.output = self.errors = ""

    def room(self) -> int:
        match = re.search(r"room for ([\d,]+) connections", self.engine)
        assert match is not None
        return int(match[1].replace(",", ""))

    def stop(self) -> dict[str, object]:
        """End it in good order; its final figures."""
        self.process.send_signal(signal.SIGINT)
        self.output, self.errors = finish(self.process)
        assert self.process.returncode == 0, self.errors
        figures: dict[str, object] = json.loads(self.figures_path.read_text())
        return figures


def is_served(sock: socket.socket, patience_s: float = PATIENCE_S) -> bool:
    """Whether its echo comes."""
    sock.send(b"?")
    return bool(readable([sock], patience_s)) and sock.recv(1) == b"?"


def readable(socks: Sequence[socket.socket], patience_s: float) -> list[socket.socket]:
    """Those that something has come to; select(2) takes no descriptor beyond 1,023."""
    poll, by_fd = select.poll(), {sock.fileno(): sock for sock in socks}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    return [by_fd[fd] for fd, _ in poll.poll(patience_s * 1000)]
