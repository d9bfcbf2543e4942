"""How long threads were ready to run and waited for a CPU, sampled beside their processor time.

Facts. /proc/PID/schedstat is of the main thread alone (/proc/PID/stat adds all threads up), so a
process is the sum of /proc/PID/task/TID/schedstat: time on a CPU and time that it was runnable and
waited for one, both in ns, and how often it ran. A wait is added when it ends. The file needs
CONFIG_SCHED_INFO, not the sysctl kernel.sched_schedstats; up to Linux 5.13 it may be there and say
"0 0 0" for ever. Source: Documentation/scheduler/sched-stats.rst, proc_pid_schedstat in
fs/proc/base.c.

Files are opened once and read again, as the sampler's are. A process that has more threads than
THREADS_MAX is known by its oldest: what it waited is then at least so much.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from c1m.kernel import procfs
from c1m.units import NS_PER_S

THREADS_MAX = 16  # each a descriptor, and 3 us a sample
_LINE_BYTES_MAX = 128
_AUTOGROUP = "kernel.sched_autogroup_enabled"


class Waits:
    """Of threads, since they were first seen. Holds a descriptor for each until `close`."""

    def __init__(self, task: Path, only: str = "") -> None:
        """`task`: the directory of a process's threads; or of one thread's, `only` named there."""
        self._task = task
        self._only = only
        self._threads = 0  # as many as there were when they were looked for
        self._files: dict[str, int] = {}  # thread -> descriptor
        self._last_ns: dict[str, int] = {}  # thread -> what it had waited when it was last read
        self._waited_ns = 0
        self._is_known = False

    def seconds(self, threads: int) -> float | None:
        """Of all since the first call; None where the kernel does not say.

        `threads`: how many the process has now. They are looked for where that has changed.
        """
        if threads != self._threads:
            self._threads = threads
            self._find()
        for name, descriptor in list(self._files.items()):
            try:
                line = os.pread(descriptor, _LINE_BYTES_MAX, 0).split()
            except OSError:  # it has ended
                os.close(self._files.pop(name))
                continue
            if len(line) == 3 and int(line[2]):  # one that never ran is of a kernel without figures
                self._is_known = True
                now_ns = int(line[1])
                self._waited_ns += now_ns - self._last_ns.get(name, now_ns)
                self._last_ns[name] = now_ns
        return round(self._waited_ns / NS_PER_S, 6) if self._is_known else None

    def _find(self) -> None:
        names = [self._only] if self._only else []
        with suppress(OSError, ValueError):  # gone; or no descriptor is left to look with
            names = names or [str(n) for n in sorted(map(int, os.listdir(self._task)))]
        for name in names:
            if name not in self._files and len(self._files) < THREADS_MAX:
                with suppress(OSError):
                    path = self._task / name / "schedstat"
                    self._files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give the descriptors back."""
        while self._files:
            os.close(self._files.popitem()[1])


def own_waits(root: Path = procfs.ROOT) -> Waits:
    """Of the thread that calls: a load client has one that counts."""
    return Waits(root / "proc", only="thread-self")


def waits_of(pid: int, root: Path = procfs.ROOT) -> Waits:
    """Of a process, by its threads."""
    return Waits(root / f"proc/{pid}/task")


def is_autogrouped(pid: int | str, root: Path = procfs.ROOT) -> bool:
    """Whether the kernel divides CPU between this process's session and others first.

    It does so for processes in the root CPU cgroup (sched(7), "The autogroup feature"): any other
    has a weight of its own.
    """
    if procfs.read_sysctl(_AUTOGROUP, root) != "1":
        return False
    groups = procfs.cpu_groups(root, pid)
    below_v1 = sum(not is_v2 for _, is_v2 in groups) > 1
    return not below_v1 and not any((group / "cpu.weight").exists() for group, _ in groups)
