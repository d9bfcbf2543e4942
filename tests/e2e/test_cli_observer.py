"""The dashboard on a real (pseudo) terminal: drawn, resized, stalled, interrupted, killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytest.importorskip("rich")

SAMPLES = Path(__file__).parents[1] / "snapshot_samples.py"
PATIENCE_S = 60
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"


class Run:
    """The made-up run of snapshot_samples.py with a terminal of its own as standard output."""

    def __init__(self, *arguments: str, size: tuple[int, int] = (80, 24), **env: str) -> None:
        self.master, terminal = os.openpty()
        self.resize(*size)
        names = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
        inherited = {k: v for k, v in os.environ.items() if k not in names}
        self.process = subprocess.Popen(
            [sys.executable, str(SAMPLES), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
            env={**inherited, "TERM": "xterm-256color", "LANG": "C.UTF-8", **env},
            start_new_session=True,
            # As from a terminal: what a shell starts in the background inherits it ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(terminal)
        self.shown = b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def read_until(self, text: bytes) -> None:
        """Read what is shown until `text` has been."""
        while text not in self.shown:
            assert select.select([self.master], [], [], PATIENCE_S)[0], self.shown[-500:]
            self.shown += os.read(self.master, 1 << 16)

    def finish(self) -> tuple[str, str]:
        """Everything to the end: what is left on the normal screen, and standard error."""
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            while piece := os.read(self.master, 1 << 16):
                self.shown += piece
        os.close(self.master)
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            said = stderr.read().decode()
        self.process.wait(PATIENCE_S)
        assert self.shown.count(ENTER) <= 1
        left = self.shown.rpartition(LEAVE)[2].decode().replace("\r\n", "\n")
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", left), said

    def viewer(self) -> int:
        """The pid of the observer's process."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = path.read_text().split()
        return int(pid)


def test_the_last_picture_stays() -> None:
    run = Run("--pace", "0.005")
    left, said = run.finish()
    lines = left.strip("\n").split("\n")
    assert "tcp://127.0.0.1:8001-8008" in lines[0] and "95.0 s" in lines[0]
    assert "done" in lines[1] and len(lines) == 22
    assert re.fullmatch(r"shown, \d+ dropped\n", said)
    assert b"\x1b[36m" in run.shown  # colour
    assert ENTER in run.shown and LEAVE in run.shown


def test_no_color() -> None:
    run = Run("--pace", "0.005", NO_COLOR="1")
    left, _ = run.finish()
    assert "done" in left
    codes = re.findall(rb"\x1b\[([0-9;]*)m", run.shown)
    numbers = {int(n) for code in codes for n in code.split(b";") if n}
    assert numbers <= {0, 1, 2, 7}  # bold, dim, reverse


def test_a_terminal_that_changes_its_size() -> None:
    run = Run("--pace", "0.02", size=(120, 40))
    run.read_until(b"stage 1 of 4")
    run.resize(60, 20)
    left, _ = run.finish()
    lines = left.strip("\n").split("\n")
    assert {len(line) for line in lines} == {60} and len(lines) <= 18


def test_a_dumb_terminal_gets_lines() -> None:
    run = Run("--pace", "0", TERM="dumb")
    run.read_until(b"  95.0 s  drain in 10s (4 of 4)  0 open")
    run.finish()
    assert b"\x1b" not in run.shown


def test_a_stalled_terminal_stalls_nobody() -> None:
    run = Run("--pace", "0.01", size=(200, 60))
    assert run.process.stderr is not None
    with run.process.stderr as stderr:
        said = stderr.read().decode()  # to its end, while nobody reads the terminal
    run.process.wait(PATIENCE_S)
    os.close(run.master)
    assert "shown," in said
    assert "what showed the run ended badly (signal 9)" in said  # it was stalled indeed


def test_ctrl_c_ends_the_run_and_leaves_its_last_picture() -> None:
    run = Run("--pace", "0.1")
    run.read_until(b"stage 1 of 4")
    os.killpg(run.process.pid, signal.SIGINT)
    left, said = run.finish()
    assert "interrupted" in left and "33.3 s" in left
    assert said == "shown, 0 dropped\n"


def test_ctrl_c_at_once_finds_nobody_unprepared() -> None:
    run = Run("--pace", "0.1")
    assert run.process.stderr is not None
    children = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children")
    while not children.read_text():
        assert run.process.poll() is None
    os.kill(run.viewer(), signal.SIGINT)
    run.read_until(b"stage 1 of 4")
    os.killpg(run.process.pid, signal.SIGINT)
    left, said = run.finish()
    assert "interrupted" in left and said == "shown, 0 dropped\n"


def test_when_the_observer_is_killed_the_run_goes_on() -> None:
    run = Run("--pace", "0.01")
    run.read_until(b"stage 1 of 4")
    os.kill(run.viewer(), signal.SIGKILL)
    left, said = run.finish()
    assert run.process.returncode == 0
    assert "c1m: the dashboard ended (signal 9)." in said and "shown," in said
    assert "  95.0 s  drain in 10s (4 of 4)  0 open" in left


def test_when_the_run_is_killed_the_observer_ends() -> None:
    run = Run("--pace", "0.1")
    run.read_until(b"stage 1 of 4")
    run.process.kill()
    left, _ = run.finish()  # ends only when nobody has the terminal open
    assert "stage 1 of 4" in left
