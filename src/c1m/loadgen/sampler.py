"""Memory and CPU of both ends and of the kernel over time, one row whenever the caller asks.

No thread and no timer: the caller's tick asks, a few times a second. Rows are bounded: past
ROWS_MAX every second one is dropped and from then on every second request is answered, so a long
run loses resolution, not memory.

Facts. A process at its limit of descriptors can open nothing, /proc included, and that is just when
the figures matter: the files are opened once and read again with pread, which makes the kernel
write them anew. A row then costs about 35 us, a tenth of opening them each time; and an open
/proc/PID/stat fails once its process is gone, even when the number is used again.

Source of the formats: Documentation/filesystems/proc.rst of the Linux kernel.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from c1m.clock import Clock
from c1m.kernel import procfs
from c1m.kernel.procfs import ProcessSample
from c1m.limits import catalogue
from c1m.loadgen.waits import Waits, is_autogrouped, own_waits, waits_of
from c1m.results.record import ProcessColumns, Samples, Throttling
from c1m.units import NS_PER_S

ROWS_MAX = 2_000

COUNTERS = tuple(counter.name for counter in catalogue.COUNTERS)

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FILE_BYTES_MAX = 16_384  # meminfo, the longest of them, has about 1,600

_MEMINFO = re.compile(rb"^(MemTotal|MemAvailable|Slab): +(\d+) kB$", re.MULTILINE)
_CONNTRACK = "Conntrack.count"


class Sampler:
    """Rows of figures since it was made.

    `server_pid` is None where the server is not a process of this machine, or not known. Holds at
    most 7 + THREADS_MAX descriptors until `close`.
    """

    def __init__(
        self,
        server_pid: int | None,
        clock: Clock,
        *,
        rows_max: int = ROWS_MAX,
        root: Path = procfs.ROOT,
    ) -> None:
        assert rows_max >= 4, rows_max
        self._clock = clock
        self._start_ns = clock.now_ns()
        self._rows_max = rows_max
        self._root = root
        self._samples = Samples(server=None if server_pid is None else ProcessColumns())
        self._stride = 1  # one request in so many is answered
        self._requests = 0
        paths = {
            "client": "proc/self/stat",
            "meminfo": "proc/meminfo",
            "sockstat": "proc/net/sockstat",
            "stat": "proc/stat",
            "conntrack": procfs.sysctl_path("net.netfilter.nf_conntrack_count"),
        }
        if server_pid is not None:
            paths["server"] = f"proc/{server_pid}/stat"
        self._files: dict[str, int] = {}  # descriptors
        for name, path in paths.items():
            with suppress(OSError):  # it is not there, or may not be read
                self._files[name] = os.open(root / path, os.O_RDONLY | os.O_CLOEXEC)
        self._highest: dict[str, int] = {}
        self._own_waits = own_waits(root)
        self._server_waits = None if server_pid is None else waits_of(server_pid, root)
        both = ("self", server_pid)
        self.is_autogrouped = any(is_autogrouped(pid, root) for pid in both if pid is not None)
        self._counters = _kernel_counters(root)
        self.client_quota = QuotaWatch("self", root)
        self.server_quota = QuotaWatch(server_pid, root)

    def sample(self, open_connections: int, *, keep: bool = False) -> None:
        """Append a row. `keep`: also where this one would be passed over (a phase's end)."""
        self._requests += 1
        if not keep and (self._requests - 1) % self._stride:
            return
        samples, kernel = self._samples, self._samples.kernel
        memory = {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(self._read("meminfo"))}
        gauges = self._look_at_gauges()
        samples.t_s.append(round((self._clock.now_ns() - self._start_ns) / NS_PER_S, 4))
        samples.open.append(open_connections)
        _append(samples.client, procfs.parse_stat(self._read("client")), self._own_waits)
        if samples.server is not None:
            _append(samples.server, procfs.parse_stat(self._read("server")), self._server_waits)
        kernel.slab_bytes.append(memory.get(b"Slab", 0))
        kernel.tcp_mem_bytes.append(gauges.get("TCP.mem", 0) * _PAGE_BYTES)
        kernel.used_bytes.append(memory.get(b"MemTotal", 0) - memory.get(b"MemAvailable", 0))
        kernel.idle_s.append(_idle(self._read("stat")))
        if len(samples.t_s) > self._rows_max:
            self._halve()

    def latest(self) -> dict[str, Any]:
        """The memory of both ends and of the kernel when it was last sampled: of a Snapshot."""
        samples, kernel = self._samples, self._samples.kernel
        if not samples.t_s:
            return {}
        return {
            "server_rss_bytes": samples.server and samples.server.rss_bytes[-1],
            "client_rss_bytes": samples.client.rss_bytes[-1],
            "slab_bytes": kernel.slab_bytes[-1],
            "used_bytes": kernel.used_bytes[-1],
        }

    def _look_at_gauges(self) -> dict[str, int]:
        """Those of catalogue.GAUGES that are there, as they are now; keeps the highest."""
        now = procfs.parse_sockstat(self._read("sockstat"))
        tracked = self._read("conntrack").strip()
        if tracked.isdigit():
            now[_CONNTRACK] = int(tracked)
        for name, value in now.items():
            self._highest[name] = max(value, self._highest.get(name, 0))
        return now

    def _halve(self) -> None:
        """Drop every second row, but never the first, the last or the first at the peak."""
        samples = self._samples
        last, peak = len(samples.open) - 1, samples.open.index(max(samples.open))
        kept = sorted({*range(0, last + 1, 2), peak, last})
        for table in (samples, samples.client, samples.kernel, samples.server):
            for column in [] if table is None else [getattr(table, f.name) for f in fields(table)]:
                if isinstance(column, list):
                    column[:] = [column[i] for i in kept]
        self._stride *= 2

    def samples(self) -> Samples:
        """All rows so far, as columns."""
        return self._samples

    def kernel_counters(self) -> dict[str, int]:
        """By how much the kernel's counters of COUNTERS rose since the sampler was made.

        They count the whole network namespace, other programs' connections included. This opens
        files: call it when the run's descriptors are closed.
        """
        now = _kernel_counters(self._root)
        return {name: now[name] - self._counters.get(name, 0) for name in COUNTERS if name in now}

    def gauges(self) -> dict[str, int]:
        """The highest value that a sample found of each gauge of catalogue.GAUGES, where known."""
        return dict(self._highest)

    def close(self) -> None:
        """Give the descriptors back; the rows stay. May be called twice."""
        while self._files:
            os.close(self._files.popitem()[1])
        for waits in (self._own_waits, self._server_waits):
            if waits is not None:
                waits.close()

    def _read(self, name: str) -> bytes:
        """The file as it is now; empty where it was not opened or its process is gone (ESRCH)."""
        try:
            return os.pread(self._files[name], _FILE_BYTES_MAX, 0)
        except (KeyError, OSError):
            return b""


def _kernel_counters(root: Path) -> dict[str, int]:
    return procfs.network_counters(root) | procfs.softnet(root) | procfs.conntrack(root)


def _idle(stat: bytes) -> float | None:
    """The idle time of all cores added up: seconds, from the first line of /proc/stat.

    idle and iowait together (fields 4 and 5): a core whose task waits in io_uring counts as iowait,
    and is as free as any. /proc/uptime has idle alone.
    """
    fields = stat[: stat.find(b"\n")].split()
    if len(fields) < 6 or fields[0] != b"cpu":
        return None
    return (int(fields[4]) + int(fields[5])) / _TICKS_PER_S


def _append(columns: ProcessColumns, process: ProcessSample | None, waits: Waits | None) -> None:
    """`process` None: it has ended."""
    columns.rss_bytes.append(process and process.rss_bytes)
    columns.user_s.append(process and process.user_s)
    columns.system_s.append(process and process.system_s)
    columns.waited_s.append(waits.seconds(process.threads) if waits and process else None)


class QuotaWatch:
    """The CPU quota of a process (its cgroups'), read now and when the run is over.

    `pid` None: there is no process, and nothing is found. It may be gone when `found` is asked.
    """

    def __init__(self, pid: int | str | None, root: Path = procfs.ROOT) -> None:
        groups = [] if pid is None else procfs.cpu_groups(root, pid)
        self._before = {group: procfs.cpu_quota(*group) for group in groups}

    def found(self) -> Throttling | None:
        """The quota that stopped it in most periods since; None where none did."""
        worst: Throttling | None = None
        for (directory, is_v2), before in self._before.items():
            now = procfs.cpu_quota(directory, is_v2)
            if now is None or before is None:
                continue
            found = Throttling(
                str(directory), round(now.cores, 4), now.period_s, now.periods - before.periods,
                now.throttled - before.throttled, round(now.stopped_s - before.stopped_s, 3),
            )  # fmt: skip
            if found.throttled > (worst.throttled if worst else 0):
                worst = found
        return worst
