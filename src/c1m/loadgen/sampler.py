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
from pathlib import Path
from typing import NamedTuple

from c1m.clock import Clock
from c1m.kernel import procfs
from c1m.kernel.procfs import ProcessSample
from c1m.limits import catalogue
from c1m.loadgen.quota import QuotaWatch
from c1m.results.record import KernelColumns, ProcessColumns, Samples
from c1m.units import NS_PER_S

ROWS_MAX = 2_000

COUNTERS = tuple(counter.name for counter in catalogue.COUNTERS)

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FILE_BYTES_MAX = 16_384  # meminfo, the longest of them, has about 1,600

_MEMINFO = re.compile(rb"^(MemTotal|MemAvailable|Slab): +(\d+) kB$", re.MULTILINE)
_SOCKETS = re.compile(
    rb"^TCP: inuse (\d+) orphan (\d+) tw (\d+) alloc (\d+) mem (\d+)", re.MULTILINE
)
_GAUGES = ("TCP.inuse", "TCP.orphan", "TCP.tw", "TCP.alloc", "TCP.mem")  # as _SOCKETS has them
_CONNTRACK = "Conntrack.count"


class _Row(NamedTuple):
    t_s: float
    open: int
    server: ProcessSample | None
    client: ProcessSample | None
    slab_bytes: int
    tcp_mem_bytes: int
    used_bytes: int
    idle_s: float | None


class Latest(NamedTuple):
    """Memory in bytes; None where it is not known."""

    server_rss_bytes: int | None
    client_rss_bytes: int | None
    slab_bytes: int | None
    used_bytes: int | None


class Sampler:
    """Rows of figures since `start_ns` (default: now, on `clock`).

    `server_pid` is None where the server is not a process of this machine, or not known. Holds at
    most six descriptors until `close`.
    """

    def __init__(
        self,
        server_pid: int | None,
        clock: Clock,
        *,
        start_ns: int | None = None,
        rows_max: int = ROWS_MAX,
        root: Path = procfs.ROOT,
    ) -> None:
        assert rows_max >= 4, rows_max
        self._clock = clock
        self._start_ns = clock.now_ns() if start_ns is None else start_ns
        self._rows_max = rows_max
        self._root = root
        self._rows: list[_Row] = []
        self._stride = 1  # one request in so many is answered
        self._requests = 0
        self._has_server = server_pid is not None
        self._server = _open(root / f"proc/{server_pid}/stat") if self._has_server else -1
        self._client = _open(root / "proc/self/stat")
        self._meminfo = _open(root / "proc/meminfo")
        self._sockstat = _open(root / "proc/net/sockstat")
        self._stat = _open(root / "proc/stat")
        self._conntrack = _open(root / procfs.sysctl_path("net.netfilter.nf_conntrack_count"))
        self._highest: dict[str, int] = {}
        self._counters = _kernel_counters(root)
        self.client_quota = QuotaWatch("self", root)
        self.server_quota = QuotaWatch(server_pid, root)

    def sample(self, open_connections: int, *, keep: bool = False) -> None:
        """Append a row. `keep`: also where this one would be passed over (a phase's end)."""
        self._requests += 1
        if not keep and (self._requests - 1) % self._stride:
            return
        self._rows.append(self._row(open_connections))
        if len(self._rows) > self._rows_max:
            self._halve()

    def latest(self) -> Latest:
        """The memory of both ends and of the kernel when it was last sampled."""
        row = self._rows[-1] if self._rows else None
        if row is None:
            return Latest(None, None, None, None)
        server = row.server.rss_bytes if row.server else None
        client = row.client.rss_bytes if row.client else None
        return Latest(server, client, row.slab_bytes, row.used_bytes)

    def _row(self, open_connections: int) -> _Row:
        memory = {name: int(kib) * 1024 for name, kib in _MEMINFO.findall(_read(self._meminfo))}
        gauges = self._look_at_gauges()
        return _Row(
            t_s=round((self._clock.now_ns() - self._start_ns) / NS_PER_S, 4),
            open=open_connections,
            server=procfs.parse_stat(_read(self._server)),
            client=procfs.parse_stat(_read(self._client)),
            slab_bytes=memory.get(b"Slab", 0),
            tcp_mem_bytes=gauges.get("TCP.mem", 0) * _PAGE_BYTES,
            used_bytes=memory.get(b"MemTotal", 0) - memory.get(b"MemAvailable", 0),
            idle_s=_idle(_read(self._stat)),
        )

    def _look_at_gauges(self) -> dict[str, int]:
        """Those of catalogue.GAUGES that are there, as they are now; keeps the highest."""
        sockets = _SOCKETS.search(_read(self._sockstat))
        now = dict(zip(_GAUGES, map(int, sockets.groups()), strict=True)) if sockets else {}
        tracked = _read(self._conntrack).strip()
        if tracked.isdigit():
            now[_CONNTRACK] = int(tracked)
        for name, value in now.items():
            self._highest[name] = max(value, self._highest.get(name, 0))
        return now

    def _halve(self) -> None:
        """Drop every second row, but never the first, the last or the first at the peak."""
        last = len(self._rows) - 1
        peak = max(range(last + 1), key=lambda i: self._rows[i].open)
        self._rows = [row for i, row in enumerate(self._rows) if i % 2 == 0 or i in (peak, last)]
        self._stride *= 2

    def samples(self) -> Samples:
        """All rows so far as columns."""
        rows = self._rows
        return Samples(
            t_s=[row.t_s for row in rows],
            open=[row.open for row in rows],
            server=_columns([row.server for row in rows]) if self._has_server else None,
            client=_columns([row.client for row in rows]),
            kernel=KernelColumns(
                slab_bytes=[row.slab_bytes for row in rows],
                tcp_mem_bytes=[row.tcp_mem_bytes for row in rows],
                used_bytes=[row.used_bytes for row in rows],
                idle_s=[row.idle_s for row in rows],
            ),
        )

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
        for name in ("_server", "_client", "_meminfo", "_sockstat", "_stat", "_conntrack"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
            setattr(self, name, -1)


def _kernel_counters(root: Path) -> dict[str, int]:
    counts = procfs.network_counters(root)
    counts.update(procfs.softnet(root))
    counts.update(procfs.conntrack(root))
    return counts


def _open(path: Path) -> int:
    """A descriptor, or -1 where the file is not there or may not be read."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1


def _read(descriptor: int) -> bytes:
    """The file as it is now; empty where it was not opened or its process is gone (ESRCH)."""
    if descriptor < 0:
        return b""
    try:
        return os.pread(descriptor, _FILE_BYTES_MAX, 0)
    except OSError:
        return b""


def _idle(stat: bytes) -> float | None:
    """The idle time of all cores added up: seconds, from the first line of /proc/stat.

    idle and iowait together (fields 4 and 5): a core whose task waits in io_uring counts as iowait,
    and is as free as any. /proc/uptime has idle alone.
    """
    fields = stat[: stat.find(b"\n")].split()
    if len(fields) < 6 or fields[0] != b"cpu":
        return None
    return (int(fields[4]) + int(fields[5])) / _TICKS_PER_S


def _columns(rows: list[ProcessSample | None]) -> ProcessColumns:
    return ProcessColumns(
        rss_bytes=[None if row is None else row.rss_bytes for row in rows],
        user_s=[None if row is None else row.user_s for row in rows],
        system_s=[None if row is None else row.system_s for row in rows],
    )
