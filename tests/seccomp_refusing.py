"""Runs a command whose system calls can be counted, and refused with an errno (Linux 5.6, x86-64).

seccomp's user notification: the command's calls of certain numbers stop until a supervisor, here a
thread, has said what becomes of each: it goes on, or it returns an errno without having been made.
The launcher (this file, as a program) puts the filter around itself and becomes the command. It
says beforehand which descriptor its end will be, which the supervisor then fetches out of it.

It knows nothing of what it runs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

NUMBERS = {
    "read": 0, "write": 1, "close": 3, "poll": 7, "mmap": 9, "mprotect": 10, "munmap": 11,
    "ioctl": 16, "pread64": 17, "pwrite64": 18, "readv": 19, "writev": 20, "select": 23,
    "mremap": 25, "madvise": 28, "dup": 32, "socket": 41, "connect": 42, "accept": 43,
    "sendto": 44, "recvfrom": 45, "sendmsg": 46, "recvmsg": 47, "shutdown": 48, "bind": 49,
    "listen": 50, "getsockname": 51, "getpeername": 52, "socketpair": 53, "setsockopt": 54,
    "getsockopt": 55, "clone": 56, "fcntl": 72, "flock": 73, "fsync": 74, "fdatasync": 75,
    "ftruncate": 77, "rename": 82, "unlink": 87, "futex": 202, "getdents64": 217,
    "clock_nanosleep": 230, "epoll_wait": 232, "epoll_ctl": 233, "openat": 257,
    "newfstatat": 262, "epoll_pwait": 281, "fallocate": 285, "accept4": 288, "eventfd2": 290,
    "epoll_create1": 291, "pipe2": 293, "prlimit64": 302, "getrandom": 318, "pidfd_open": 434,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435,
    "epoll_pwait2": 441,
}  # fmt: skip
NAMES = {number: name for name, number in NUMBERS.items()}
BY_ARGUMENT = {233: (1, {1: "epoll_add", 2: "epoll_delete", 3: "epoll_modify"})}
"""Calls that are several in one: which argument says which."""

_NR_SECCOMP, _NR_PIDFD_GETFD, _EXECVE = 317, 438, 59
_SET_NO_NEW_PRIVS, _MODE_FILTER, _NEW_LISTENER = 38, 1, 1 << 3
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF: a word of the call's data, a jump, the verdict
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _ANSWER = 0xC0502100, 0xC0182101  # ioctls of the listener
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags; number, machine, where, arguments
_RESPONSE = struct.Struct("=QqiI")  # id, value, -errno, flags
_CONTINUE = 1
_WAITS = struct.Struct("=ii")

_libc = ctypes.CDLL(None, use_errno=True)


def is_there() -> bool:
    """Whether this machine has it."""
    return platform.machine() == "x86_64" and hasattr(os, "pidfd_open")


class Supervised(subprocess.Popen[str]):
    """A command in the background. `calls`: how often each was made, since `begin`."""

    def __init__(self, command: Sequence[str], watched: Iterable[str], **options: Any) -> None:
        numbers = ",".join(str(number) for number in {_number(name) for name in watched})
        theirs, ours = os.pipe()
        super().__init__(
            [sys.executable, __file__, str(ours), numbers, *command], pass_fds=[ours], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )  # fmt: skip
        os.close(ours)
        self.calls: Counter[str] = Counter()
        self.refused = 0  # since `refuse`
        self._planned: tuple[str, int, int, int] = ("", 0, 0, 0)
        self._lock = threading.Lock()
        self._listener = _fetched(self.pid, theirs)
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count from here; nothing is refused."""
        with self._lock:
            self.calls.clear()
            self.refused, self._planned = 0, ("", 0, 0, 0)

    def refuse(self, call: str, first: int, times: int, code: int) -> None:
        """From here, the `first`th (from 1) call of this name and so many; `begin` ends it."""
        with self._lock:
            self.calls.clear()
            self.refused, self._planned = 0, (call, first, first + times, code)

    def end(self) -> None:
        """It has ended, or is killed: the supervisor goes."""
        if self.poll() is None:
            self.kill()
            self.wait()
        self._thread.join()
        for stream in (self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def _supervise(self) -> None:
        poller = select.poll()
        poller.register(self._listener, select.POLLIN)
        message = bytearray(_NOTIFICATION.size)
        while not any(mask & select.POLLHUP for _, mask in poller.poll()):
            message[:] = bytes(len(message))
            try:
                fcntl.ioctl(self._listener, _RECEIVE, message, True)
                which, _, _, number, _, _, *arguments = _NOTIFICATION.unpack(message)
                code = self._code(_name(number, arguments))
                answer = _RESPONSE.pack(which, 0, -code, 0 if code else _CONTINUE)
                fcntl.ioctl(self._listener, _ANSWER, answer)
            except OSError as error:  # a signal has ended the call, or its process
                if error.errno not in (errno.ENOENT, errno.EINTR):
                    raise
        os.close(self._listener)

    def _code(self, name: str) -> int:
        with self._lock:
            self.calls[name] += 1
            call, first, end, code = self._planned
            if name != call or not first <= self.calls[name] < end:
                return 0
            self.refused += 1
            return code


def _number(name: str) -> int:
    several = (number for number, (_, names) in BY_ARGUMENT.items() if name in names.values())
    return NUMBERS.get(name) or next(several, 0)


def _name(number: int, arguments: Sequence[int]) -> str:
    at, names = BY_ARGUMENT.get(number, (0, {}))
    return names.get(arguments[at]) or NAMES.get(number, str(number))


def _fetched(pid: int, theirs: int) -> int:
    """The listener, out of a process that says on this pipe who it is and where it will be."""
    with os.fdopen(theirs, "rb") as pipe:
        said = pipe.read(_WAITS.size)
    there, number = _WAITS.unpack(said)
    process = os.pidfd_open(there)
    assert there == pid
    try:
        while True:
            fd = int(_libc.syscall(_NR_PIDFD_GETFD, process, number, 0))
            if fd >= 0:
                return fd
            time.sleep(0.001)  # the filter is not there yet
            os.kill(there, 0)
    finally:
        os.close(process)


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    )  # fmt: skip


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("rows", ctypes.POINTER(_Instruction)))


def _filter(numbers: Sequence[int]) -> _Program:
    """Stop at these numbers (none: at all) and at execve, which closes this end of the listener
    and so must wait until it was fetched; let all others pass."""
    if not numbers:
        return _Program(1, (_Instruction * 1)(_Instruction(_RETURN, 0, 0, _NOTIFY)))
    numbers = [*numbers, _EXECVE]
    count = len(numbers)
    rows = [_Instruction(_LOAD, 0, 0, 0)]
    rows += [_Instruction(_EQUAL, count - i, 0, number) for i, number in enumerate(numbers)]
    rows += [_Instruction(_RETURN, 0, 0, _ALLOW), _Instruction(_RETURN, 0, 0, _NOTIFY)]
    return _Program(len(rows), (_Instruction * len(rows))(*rows))


def _become(pipe: int, numbers: Sequence[int], command: Sequence[str]) -> None:
    """Take the filter on, and be the command from now on."""
    program = _filter(numbers)
    _libc.prctl(_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    next_fd = os.dup(0)
    os.close(next_fd)  # the lowest that is free is the one that the listener will have
    os.write(pipe, _WAITS.pack(os.getpid(), next_fd))
    fd = _libc.syscall(_NR_SECCOMP, _MODE_FILTER, _NEW_LISTENER, ctypes.byref(program))
    if fd < 0:
        sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
    os.close(pipe)
    os.execvp(command[0], list(command))


if __name__ == "__main__":
    _become(int(sys.argv[1]), [int(each) for each in sys.argv[2].split(",") if each], sys.argv[3:])
