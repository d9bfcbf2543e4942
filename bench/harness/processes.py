"""Starts and stops processes: each by its own id, each ends with the benchmark."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.accounts import account

PR_SET_PDEATHSIG = 1
START_S_MAX = 20.0
AUTOGROUP = Path("/proc/self/autogroup")  # a session's share of a core, where the kernel has it
NICE = 0  # of what is started from now on; set by the command
RUN_S_MAX = 180.0  # on top of what the run is meant to last

_libc = ctypes.CDLL(None, use_errno=True)


class RunFailed(Exception):
    """A server or a generator did not do what it was started for."""


class Server:
    """A process that listens on a port of 127.0.0.1, pinned to one core (None: to none)."""

    def __init__(
        self,
        command: Sequence[str],
        port: int,
        cpu: int | None = None,
        stdout: int = subprocess.DEVNULL,
    ) -> None:
        self.port = port
        begin = time.monotonic()
        self.process = start(command, cpu, stdout=stdout)
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - begin

    @property
    def pid(self) -> int:
        return self.process.pid

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RunFailed(f"the server ended with {self.process.returncode}: {self.errors()}")
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.002)
        raise RunFailed(f"nothing listens on port {self.port} after {START_S_MAX:.0f} s")

    def errors(self) -> str:
        """The end of what it wrote to stderr; only once it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read().decode(errors="replace").strip()[-500:]

    def wait_until_idle(self, seconds_max: float = 10.0) -> None:
        """Until it has closed what the last generator left: no processor time in 0.1 s."""
        deadline, before = time.monotonic() + seconds_max, account(self.pid)["cpu_ns"]
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = account(self.pid)["cpu_ns"]
            if now - before < 3_000_000:
                return
            before = now

    def stop(self) -> None:
        stop(self.process)


def start(command: Sequence[str], cpu: int | None, **options: Any) -> subprocess.Popen[bytes]:
    """Start pinned to `cpu` (None: to none); the kernel kills it should this process die."""

    def prepare() -> None:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        if NICE:
            _be_nice(NICE)
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(
        command, preexec_fn=prepare, stderr=subprocess.PIPE, start_new_session=True, **options
    )


def _be_nice(nice: int) -> None:
    """Facts: with autogroups the kernel divides a core between sessions first, by a niceness that
    the session has, and only then between the processes of each.
    """
    if AUTOGROUP.exists():
        AUTOGROUP.write_text(str(nice))
    os.setpriority(os.PRIO_PROCESS, 0, nice)


def stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then SIGKILL. Nothing happens to one that has ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdout, process.stderr, process.stdin):
        if stream is not None:
            stream.close()


def below(pid: int) -> list[int]:
    """A process's children, and theirs."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                found += [child, *below(child)]
    return found


def generate(command: Sequence[str], cpu: int | None, seconds: float) -> dict[str, Any]:
    """Run the generator to its end; its JSON object. Raises RunFailed."""
    result: dict[str, Any] = json.loads(run_to_its_end(command, cpu, seconds))
    return result


def run_to_its_end(command: Sequence[str], cpu: int | None, seconds: float) -> bytes:
    """Run a generator of load that lasts `seconds`; what it wrote. Raises RunFailed."""
    process = start(command, cpu, stdout=subprocess.PIPE)
    try:
        output, errors = process.communicate(timeout=seconds + RUN_S_MAX)
    except subprocess.TimeoutExpired:
        raise RunFailed(f"the generator did not end within {seconds + RUN_S_MAX:.0f} s") from None
    finally:
        stop(process)
    if process.returncode:
        raise RunFailed(errors.decode(errors="replace").strip() or f"status {process.returncode}")
    return output
