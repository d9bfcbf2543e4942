"""Every system call that a server makes while it serves is refused, at each of its occurrences.

By seccomp (tests/seccomp_refusing.py), on the real kernel. A first play finds out which calls there
are and how often; then each is refused once in a play of its own, with its errnos in turn, all on
one server: so it must also be as it was before after each of them. Last, calls that may be short of
something are refused for as long as a while lasts, which the server must not spend in a loop.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from seccomp_refusing import NUMBERS, Supervised, is_there

from .refused_plays import PATIENCE_S, Lost, Wrong, command_of
from .verdict import Torture, Verdict

_MEMORY = (errno.ENOMEM, errno.ENOBUFS)
_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_DISK = (errno.ENOSPC, errno.EIO)
_AGAIN = (errno.EAGAIN, errno.EINTR)
ERRNOS: dict[str, tuple[int, ...]] = {
    "accept4": (*_FILES, errno.ENOBUFS, errno.EINTR, errno.ECONNABORTED, errno.EPROTO),
    "epoll_add": (errno.ENOMEM, errno.ENOSPC), "epoll_modify": (errno.ENOMEM,),
    "epoll_wait": (errno.EINTR,), "epoll_pwait": (errno.EINTR,), "epoll_pwait2": (errno.EINTR,),
    "poll": (errno.EINTR, errno.ENOMEM), "select": (errno.EINTR, errno.ENOMEM),
    "io_uring_enter": (errno.EAGAIN, errno.EINTR, errno.EBUSY),
    "io_uring_register": (errno.ENOMEM, errno.EMFILE),
    "io_uring_setup": _FILES,
    "read": _AGAIN, "readv": _AGAIN, "recvfrom": _AGAIN, "recvmsg": _AGAIN,
    "write": (*_AGAIN, *_MEMORY), "sendto": (*_AGAIN, *_MEMORY),
    "writev": (*_AGAIN, *_MEMORY), "sendmsg": (*_AGAIN, *_MEMORY),
    "pwrite64": _DISK, "fsync": _DISK, "fdatasync": _DISK, "ftruncate": _DISK,
    "rename": _DISK, "unlink": (errno.EIO,), "fallocate": _DISK,
    "mmap": (errno.ENOMEM,), "mremap": (errno.ENOMEM,), "munmap": (errno.ENOMEM,),
    "mprotect": (errno.ENOMEM,), "madvise": (errno.ENOMEM, errno.EAGAIN),
    "openat": _FILES, "dup": (errno.EMFILE,), "socket": (*_FILES, errno.ENOBUFS),
    "pipe2": _FILES, "eventfd2": _FILES, "epoll_create1": _FILES, "socketpair": _FILES,
    "ioctl": (errno.ENOMEM,),
    "getpeername": (errno.ENOBUFS, errno.ENOTCONN), "getsockname": (errno.ENOBUFS,),
    "getsockopt": (errno.ENOMEM,), "setsockopt": (errno.ENOMEM, errno.ENOBUFS),
    "shutdown": (errno.ENOTCONN, errno.ENOBUFS),
    "clone": (errno.EAGAIN, errno.ENOMEM), "clone3": (errno.EAGAIN, errno.ENOMEM),
    "clock_nanosleep": (errno.EINTR,), "getrandom": (errno.EINTR,),
}  # fmt: skip
"""What each may be refused with. Not here: close, which gives something back whatever it says;
epoll_delete, the same; futex, by which threads wait for each other; fcntl, by which SQLite locks
its file (one that is not unlocked it waits for, 10 s each time); what cannot fail."""
SERVERS = (
    "echo-epoll", "echo-uring", "echo-auto", "asyncio-epoll", "asyncio-uring", "kv-epoll",
    "kv-uring", "push-epoll", "push-uring", "logged-epoll", "logged-uring",
)  # fmt: skip
LASTING = ("accept4", "epoll_add", "epoll_modify", "io_uring_enter", "mmap")
SAID_MOST = 30  # lines, after hundreds of refusals of some kinds
WHILE_S = 0.3
ENDING_S = 0.5  # that a process which has lost its clients may take to be gone
CALLS_MOST = 300  # in that while, and in each second: a loop that spins makes 30,000
STARTS = ("echo-auto",)  # both engines
START_CALLS = (
    "io_uring_setup", "io_uring_register", "epoll_create1", "eventfd2", "socket", "bind", "listen",
    "setsockopt", "epoll_add",
)  # fmt: skip


class Stage:
    """A server under a supervisor, with its play."""

    def __init__(self, name: str, port: int, where: Path, watched: tuple[str, ...]) -> None:
        self.name, self.port, self.where = name, port, where
        command, self._play = command_of(name, port, where)
        self.server = Supervised(command, watched)
        assert self.server.stdout is not None
        if "listening" not in self.server.stdout.readline():
            assert self.server.stderr is not None
            raise Wrong(f"{name} does not listen: {self.server.stderr.read()}")
        self._files = 0

    def play(self) -> tuple[list[str], int]:
        """One play: what was wrong, and how many connections were lost."""
        lost = Lost()
        wrong = lost.why
        try:
            self._play(self.port, lost)
        except Wrong as otherwise:
            wrong.append(str(otherwise))
        except IndexError:
            wrong.append("nobody was even connected")
        if wrong and self._has_ended():
            assert self.server.stderr is not None
            return [f"it ended: {self.server.stderr.read()[-600:]}"], lost.count
        return wrong, lost.count

    def _has_ended(self) -> bool:
        try:
            self.server.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            return False
        return True

    def files(self) -> int:
        """Descriptors of the server."""
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    def keeps_files(self) -> None:
        """As many as now are there when nobody is connected."""
        self._files = self._at_rest()

    def _at_rest(self) -> int:
        there, since = self.files(), time.monotonic()
        while time.monotonic() - since < 0.05:  # as long as nothing changes
            time.sleep(0.01)
            now = self.files()
            if now != there:
                there, since = now, time.monotonic()
        return there

    def leak(self) -> int:
        """Descriptors that are there and should not be; waits for those that are being closed."""
        until = time.monotonic() + PATIENCE_S
        while (now := self.files()) > self._files and time.monotonic() < until:
            time.sleep(0.01)
        more, self._files = now - self._files, now
        return max(more, 0)

    def end(self) -> list[str]:
        """In good order; what was wrong with that."""
        wrong = []
        if self.server.poll() is None:
            self.server.send_signal(signal.SIGINT)
            assert self.server.stdout is not None and self.server.stderr is not None
            self.server.stdout.read()
            errors = self.server.stderr.read()
            if self.server.wait() != 0:
                wrong.append(f"it ended with status {self.server.returncode}: {errors[-600:]}")
            if "Traceback" in errors:
                wrong.append(errors[-600:])
            if errors.count("\n") > SAID_MOST:
                wrong.append(f"it says too much: {errors[:600]}")
        self.server.end()
        return wrong + self._unbalanced()

    def _unbalanced(self) -> list[str]:
        path = self.where / "figures.json"
        if not path.exists():
            return []
        said: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        if said["live"] or said["opened"] != sum(said["closed"].values()):
            return [f"opened {said['opened']}, closed {said['closed']}, live {said['live']}"]
        return []


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Refusing:
    """All of it for one server; `wrong` has a sentence for each fault."""

    def __init__(self, name: str, where: Path, calls: tuple[str, ...] = ()) -> None:
        self.name, self.where = name, where
        self.calls: Counter[str] = Counter()  # of one play
        self.wrong: list[str] = []
        self.runs = self.refused = self.lost = 0
        self._only = calls
        self._stage: Stage | None = None

    def _staged(self) -> Stage:
        """The server, a new one where the last has ended."""
        if self._stage is None or self._stage.server.poll() is not None:
            if self._stage is not None:
                self._stage.server.end()
            self._stage = Stage(self.name, free_port(), self.where, tuple(NUMBERS))
            self._stage.play()
            self._stage.keeps_files()
        return self._stage

    def count(self) -> None:
        """A play without refusals: which calls are made."""
        stage = self._staged()
        stage.server.begin()
        wrong, _ = stage.play()
        self.wrong += [f"{self.name} without refusals: {each}" for each in wrong]
        stage.leak()
        self.calls = Counter(stage.server.calls)

    def refuse_each(self, every: int = 1) -> None:
        """Each call at each `every`th occurrence, with the next of its errnos each time."""
        for call, codes in ERRNOS.items():
            if self._only and call not in self._only:
                continue
            count = self.calls[call]
            for at in range(max(count, len(codes)) if count else 0)[::every]:
                self._refuse(call, at % count + 1, codes[(at // every) % len(codes)])

    def _refuse(self, call: str, occurrence: int, code: int) -> None:
        stage = self._staged()
        stage.server.refuse(call, occurrence, 1 if occurrence % 2 else 3, code)
        wrong, lost = stage.play()
        refused = stage.server.refused
        stage.server.begin()
        self.runs += 1
        self.refused += refused
        self.lost += lost
        what = f"{self.name}: {call} number {occurrence} refused with {errno.errorcode[code]}"
        if stage.server.poll() is None and (leak := stage.leak()):
            wrong = [*wrong, f"{leak} descriptors are left"]
        self.wrong += [f"{what}: {each}" for each in wrong]

    def refuse_for_a_while(self) -> None:
        """Nothing spins, and afterwards all is as before."""
        for call in LASTING:
            if not self.calls[call] or (self._only and call not in self._only):
                continue
            stage = self._staged()
            stage.server.refuse(call, 1, 1 << 30, ERRNOS[call][0])
            since = time.monotonic()
            with socket.create_connection(("127.0.0.1", stage.port), PATIENCE_S):
                time.sleep(WHILE_S)
                calls = stage.server.calls.total()
            most = CALLS_MOST * max(time.monotonic() - since, 1)
            stage.server.begin()
            what = f"{self.name}: {call} refused for {WHILE_S} s"
            self.runs += 1
            if calls > most:
                self.wrong.append(f"{what}: it made {calls:,} calls")
            wrong, _ = stage.play()
            self.wrong += [f"{what}, and then: {each}" for each in wrong]

    def end(self) -> None:
        """Stop the server."""
        if self._stage is not None:
            self.wrong += [f"{self.name} at the end: {each}" for each in self._stage.end()]
            self._stage = None


def refuse_operations(every: int, verdict: Verdict) -> int:
    """All that an engine asks of the fake kernel, the operations of its rings as well.

    Returns the number of runs.
    """
    from contract.test_refused_operations import TUNINGS, Run, faults

    runs = 0
    for tuning in TUNINGS.values():
        done, wrong = faults(partial(Run, tuning), every)
        runs += done
        verdict.wrong += wrong
    return runs


def refuse_starts(name: str, where: Path, verdict: Verdict) -> int:
    """The same for what a server asks for before it listens: it says so in a sentence, or serves.

    Returns the number of runs.
    """
    runs = 0
    for call in START_CALLS:
        for occurrence in range(1, 100):
            port = free_port()
            command, play = command_of(name, port, where)
            process = Supervised(command, (call,))
            process.refuse(call, occurrence, 1, ERRNOS.get(call, _FILES)[0])
            assert process.stdout is not None and process.stderr is not None
            if "listening" in process.stdout.readline():
                lost = Lost()
                try:
                    play(port, lost)
                except (Wrong, IndexError) as wrong:
                    lost.why.append(repr(wrong))
                for why in lost.why:
                    verdict.wrong.append(f"{name}: {call} number {occurrence} at start: {why}")
                process.send_signal(signal.SIGINT)
            process.stdout.read()
            said, status = process.stderr.read(), process.wait()
            is_met = process.refused > 0
            process.end()
            if not is_met:
                break
            runs += 1
            if status not in (0, 2) or "Traceback" in said or said.count("\n") > 1:
                verdict.wrong.append(
                    f"{name}: {call} number {occurrence} at start: status {status}, {said[-400:]}"
                )
    return runs


def run(scale: float = 1.0) -> Verdict:
    """`scale`: below 1 only so many of the occurrences."""
    verdict = Verdict()
    if not is_there():
        verdict.wrong.append("seccomp's user notification is not to be had here.")
        return verdict
    runs = refused = starts = 0
    every = max(round(1 / scale), 1)
    calls: Counter[str] = Counter()
    for name in SERVERS:
        with tempfile.TemporaryDirectory() as where:
            refusing = Refusing(name, Path(where))
            refusing.count()
            refusing.refuse_each(every)
            refusing.refuse_for_a_while()
            refusing.end()
            if scale >= 1 and name in STARTS:
                starts += refuse_starts(name, Path(where), verdict)
        print(f"  {name}: {refusing.runs} runs, {len(refusing.wrong)} wrong", flush=True)
        verdict.wrong += refusing.wrong
        runs, refused = runs + refusing.runs, refused + refusing.refused
        calls += refusing.calls
    verdict.figures = {
        "servers": len(SERVERS), "calls": sum(call in ERRNOS for call in calls),
        "runs": runs, "refused": refused, "refused_at_start": starts,
        "runs_on_the_fake_kernel": refuse_operations(every, verdict),
        "not_refused": sorted(call for call in calls if call not in ERRNOS),
    }  # fmt: skip
    return verdict


TORTURE = Torture(
    "refused",
    "every system call of a server is refused at each occurrence: none ends it, none leaks, none"
    " loses a connection that it need not",
    run,
)

if __name__ == "__main__":
    sys.exit(bool(run().wrong))
