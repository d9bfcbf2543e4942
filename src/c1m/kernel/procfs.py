"""What the kernel says about itself, its sockets and its processes: text files, read only.

Every function takes `root`, the directory that /proc and /sys are in, so that tests can point it
at a made-up tree. A file that is absent, unreadable or of an unknown form gives None, {} or 0,
never an exception: containers hide files, and what is not known is reported as unknown.

Source of the formats: Documentation/filesystems/proc.rst, admin-guide/cgroup-v1/memory.rst,
admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst of the Linux kernel; for softnet_stat,
softnet_seq_show() in net/core/net-procfs.c.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
UNLIMITED = (1 << 63) - 1  # what "unlimited" in /proc/PID/limits becomes
_OWN_LIMITS = {
    "Max open files": resource.RLIMIT_NOFILE,
    "Max locked memory": resource.RLIMIT_MEMLOCK,
}

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_TCP_LISTEN = "0A"  # enum in include/net/tcp_states.h, as /proc/net/tcp prints it
_COMMAND_CHARS_MAX = 80
_HEXADECIMAL = re.compile(r"[0-9a-fA-F ]+")
_SOCKSTAT = re.compile(
    rb"^TCP: inuse (?P<inuse>\d+) orphan (?P<orphan>\d+) tw (?P<tw>\d+) alloc (?P<alloc>\d+) "
    rb"mem (?P<mem>\d+)",
    re.MULTILINE,
)
_SOFTNET = ("processed", "dropped", "time_squeeze")  # the first columns, the same since Linux 2.6
# A memory cgroup's limit and usage ("max": no limit), and what of the usage can be dropped.
_MEMORY_V2 = ("memory.max", "memory.current", "inactive_file")
_MEMORY_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
# cgroup v1 has no word for "no limit": it shows the largest page-aligned int64.
_CGROUP_V1_NO_LIMIT = 1 << 62


class ProcessSample(NamedTuple):
    """Memory and threads of one process at one moment, and its CPU seconds since it started."""

    rss_bytes: int
    threads: int
    user_s: float
    system_s: float
    peak_rss_bytes: int = 0  # 0: not known


@dataclass(frozen=True, slots=True)
class Slab:
    """One of the kernel's object caches, a line of /proc/slabinfo."""

    object_bytes: int
    active_objects: int
    objects_per_slab: int = 0  # 0: not known
    pages_per_slab: int = 0

    @property
    def footprint_bytes(self) -> int:
        """Memory that one object takes, with its share of what is left over in the slab's pages.

        13 objects of 2,368 bytes in 8 pages take 2,521 bytes each.
        """
        if not self.objects_per_slab:
            return self.object_bytes
        return -(-self.pages_per_slab * _PAGE_BYTES // self.objects_per_slab)


def read_text(path: str, root: Path = ROOT) -> str | None:
    """The text of `root`/`path`, or None where it is absent or may not be read."""
    try:
        return (root / path).read_text(errors="replace")
    except OSError:  # a /proc file may also fail with ESRCH, EINVAL or EIO when read
        return None


def _lines(path: str, root: Path) -> list[str]:
    return (read_text(path, root) or "").splitlines()


def _fields(text: str | None, separator: str = ":") -> dict[str, str]:
    """Lines of a name, the separator and a value: the values by their names."""
    pairs = (line.partition(separator) for line in (text or "").splitlines())
    return {name.strip(): value.strip() for name, found, value in pairs if found}


def _number(text: str) -> int | None:
    """A number, in bytes where kB follow it; None for other text."""
    words = text.split()
    if not words or not words[0].isdigit():
        return None
    return int(words[0]) * (1024 if words[1:] == ["kB"] else 1)


def _numbers(text: str | None, separator: str = ":") -> dict[str, int]:
    """Of `_fields` those whose values are numbers."""
    numbers = ((name, _number(value)) for name, value in _fields(text, separator).items())
    return {name: number for name, number in numbers if number is not None}


def _named(group: str, names: list[str], values: list[str]) -> dict[str, int]:
    """Counters as "GROUP.NAME", where the values are numbers."""
    pairs = zip(names, values, strict=False)
    return {f"{group}.{name}": int(word) for name, word in pairs if word.lstrip("-").isdigit()}


def sysctl_path(name: str) -> str:
    """`net.ipv4.tcp_mem` -> `proc/sys/net/ipv4/tcp_mem`.

    As in sysctl(8), a name with a slash in it has slashes as separators and may have dots within.
    """
    return "proc/sys/" + (name if "/" in name else name.replace(".", "/"))


def read_sysctl(name: str, root: Path = ROOT) -> str | None:
    """The value of a sysctl as text without the ending newline; None where there is none such.

    A value of several numbers has tabs or blanks between them: use `.split()`.
    """
    text = read_text(sysctl_path(name), root)
    return None if text is None else text.strip()


def meminfo(root: Path = ROOT) -> dict[str, int]:
    """/proc/meminfo: bytes by field name, e.g. "MemAvailable" (HugePages_*: numbers of pages)."""
    return _numbers(read_text("proc/meminfo", root))


def parse_sockstat(sockstat: bytes) -> dict[str, int]:
    """The text of /proc/net/sockstat: "TCP.inuse", "TCP.orphan", "TCP.tw", "TCP.alloc", "TCP.mem".

    orphan, alloc and mem (pages of socket data) count IPv4 and IPv6 together and all network
    namespaces; inuse and tw count this namespace.
    """
    found = _SOCKSTAT.search(sockstat)
    return {f"TCP.{name}": int(n) for name, n in found.groupdict().items()} if found else {}


def sockstat(root: Path = ROOT) -> dict[str, int]:
    """As `parse_sockstat`, now."""
    return parse_sockstat((read_text("proc/net/sockstat", root) or "").encode())


def network_counters(root: Path = ROOT) -> dict[str, int]:
    """/proc/net/snmp and netstat: "Tcp.RetransSegs", "TcpExt.ListenOverflows", ...

    Counters of this network namespace since it began (a few are gauges, e.g. Tcp.CurrEstab).
    """
    values: dict[str, int] = {}
    for file in ("proc/net/snmp", "proc/net/netstat"):
        # Lines come in pairs of one prefix: "Tcp: name name ..." and "Tcp: number number ...".
        lines = _lines(file, root)
        for names, numbers in zip(lines[::2], lines[1::2], strict=False):
            group, _, rest = names.partition(":")
            values |= _named(group, rest.split(), numbers.split()[1:])
    return values


def softnet(root: Path = ROOT) -> dict[str, int]:
    """/proc/net/softnet_stat, all CPUs together: "Softnet.processed", ".dropped", ".time_squeeze".

    One line a CPU that is online, hexadecimal columns without names. All network namespaces.
    """
    lines = _lines("proc/net/softnet_stat", root)
    rows = [
        [int(word, 16) for word in line.split()]
        for line in lines
        if _HEXADECIMAL.fullmatch(line) and len(line.split()) >= len(_SOFTNET)
    ]
    if not rows:
        return {}
    return {f"Softnet.{name}": sum(row[i] for row in rows) for i, name in enumerate(_SOFTNET)}


def conntrack(root: Path = ROOT) -> dict[str, int]:
    """/proc/net/stat/nf_conntrack, all CPUs together: "Conntrack.drop", ".insert_failed", ...

    A line of names, then one of hexadecimal numbers for each CPU; {} where the module is not
    loaded. "Conntrack.entries" is a gauge of this network namespace and on every line the same.
    """
    lines = _lines("proc/net/stat/nf_conntrack", root)
    values: dict[str, int] = {}
    for line in lines[1:]:
        for name, word in zip(lines[0].split(), line.split(), strict=False):
            if _HEXADECIMAL.fullmatch(word):
                known = 0 if name == "entries" else values.get(f"Conntrack.{name}", 0)
                values[f"Conntrack.{name}"] = known + int(word, 16)
    return values


def parse_stat(stat: bytes) -> ProcessSample | None:
    """The text of /proc/PID/stat, which has no peak; None for a process that has ended.

    The second field is the command in parentheses and may itself hold blanks and parentheses:
    count from the last one. Fields 3, 14, 15, 20 and 24 (state, utime, stime, threads, rss) follow.
    """
    fields = stat[stat.rfind(b")") + 1 :].split()
    if len(fields) < 22 or fields[0] in (b"Z", b"X"):
        return None
    return ProcessSample(
        rss_bytes=int(fields[21]) * _PAGE_BYTES,
        threads=int(fields[17]),
        user_s=int(fields[11]) / _TICKS_PER_S,
        system_s=int(fields[12]) / _TICKS_PER_S,
    )


def process_sample(pid: int | str = "self", root: Path = ROOT) -> ProcessSample | None:
    """Memory, threads and CPU time of a process; None where it has ended."""
    sample = parse_stat((read_text(f"proc/{pid}/stat", root) or "").encode())
    status = _numbers(read_text(f"proc/{pid}/status", root))
    return sample and sample._replace(peak_rss_bytes=status.get("VmHWM", 0))


def process_limit(name: str, root: Path = ROOT, pid: int | str = "self") -> tuple[int, int] | None:
    """(soft, hard) of a line of /proc/PID/limits such as "Max locked memory".

    One's own limits are asked of getrlimit(2): a chroot or a container may have no /proc.
    """
    if pid == "self" and root == ROOT:
        limits = resource.getrlimit(_OWN_LIMITS[name])
        soft, hard = (UNLIMITED if n == resource.RLIM_INFINITY else n for n in limits)
        return soft, hard
    for line in _lines(f"proc/{pid}/limits", root):
        if line.startswith(name):
            words = line[len(name) :].split()
            soft, hard = (UNLIMITED if word == "unlimited" else int(word) for word in words[:2])
            return soft, hard
    return None


def nofile(root: Path = ROOT, pid: int | str = "self") -> tuple[int, int]:
    """RLIMIT_NOFILE of a process: (soft, hard) number of descriptors; (0, 0) if not known."""
    return process_limit("Max open files", root, pid) or (0, 0)


def has_capability(bit: int, root: Path = ROOT) -> bool:
    """Whether this process has an effective capability (numbers: linux/capability.h)."""
    effective = _fields(read_text("proc/self/status", root)).get("CapEff", "0")
    return bool(int(effective, 16) >> bit & 1)


def slabs(root: Path = ROOT) -> dict[str, Slab]:
    """/proc/slabinfo (root may read it): object caches by name; {} when unreadable.

    The kernel merges caches of equal size: a name that is absent is not a size of zero.
    """
    values: dict[str, Slab] = {}
    for line in _lines("proc/slabinfo", root):
        words = line.split()
        if len(words) >= 6 and all(word.isdigit() for word in words[1:6]):
            active, _, object_bytes, objects_per_slab, pages_per_slab = map(int, words[1:6])
            values[words[0]] = Slab(object_bytes, active, objects_per_slab, pages_per_slab)
    return values


def cgroup_memory(root: Path = ROOT) -> tuple[int | None, int | None]:
    """(limit, used) in bytes of the memory cgroup that stops this process first.

    Of this process' group and all above it, the one with the least room left; (None, None) where
    none has a limit. `used` leaves out page cache that the kernel can drop at once
    (inactive_file). Version 1 and 2.
    """
    tightest: tuple[int, int] | None = None
    for directory, is_v2 in _groups("memory", root):
        names = _MEMORY_V2 if is_v2 else _MEMORY_V1
        limit, used = (_number(read_text(name, directory) or "") for name in names[:2])
        if limit is None or used is None or limit >= _CGROUP_V1_NO_LIMIT:
            continue
        droppable = _numbers(read_text("memory.stat", directory), " ").get(names[2], 0)
        used = max(0, used - droppable)
        if tightest is None or limit - used < tightest[0] - tightest[1]:
            tightest = limit, used
    return tightest or (None, None)


@dataclass(frozen=True, slots=True)
class CpuQuota:
    """A cgroup's CPU quota, and how often the kernel has stopped the group for it so far."""

    cores: float  # CPU time a period, over the period
    period_s: float
    periods: int  # in which the group ran
    throttled: int  # in which it was stopped
    stopped_s: float  # of all its cores together


def cpu_groups(root: Path = ROOT, pid: int | str = "self") -> list[tuple[Path, bool]]:
    """The directories of a process' CPU cgroups, from its own upwards; True: version 2."""
    return list(_groups("cpu", root, pid))


def cpu_quota(directory: Path, is_v2: bool) -> CpuQuota | None:
    """The quota of one of `cpu_groups`; None where it has none, or is not there any more."""
    if is_v2:
        quota, period = [*(read_text("cpu.max", directory) or "").split(), "", ""][:2]
    else:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quota, period = ((read_text(name, directory) or "").strip() for name in names)
    if not (quota.isdigit() and period.isdigit() and int(period)):  # "max", or -1: no quota
        return None
    stat = _numbers(read_text("cpu.stat", directory), " ")
    stopped_us = stat.get("throttled_usec", stat.get("throttled_time", 0) / 1000)
    return CpuQuota(
        int(quota) / int(period), int(period) / 1e6, stat.get("nr_periods", 0),
        stat.get("nr_throttled", 0), stopped_us / 1e6,
    )  # fmt: skip


def _groups(controller: str, root: Path, pid: int | str = "self") -> Iterator[tuple[Path, bool]]:
    """Directories of a process' cgroups of a controller, from its own upwards; True: version 2."""
    own: dict[bool, str] = {}  # is_v2 -> path within the hierarchy
    for line in _lines(f"proc/{pid}/cgroup", root):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            own[True] = path
        elif controller in controllers.split(","):
            own[False] = path
    for line in _lines("proc/self/mountinfo", root):
        head, _, tail = line.partition(" - ")
        mount, kind = head.split(), tail.split()
        is_v2 = kind[:1] == ["cgroup2"]
        is_v1 = kind[:1] == ["cgroup"] and controller in kind[-1].split(",")
        if not (is_v1 or is_v2) or is_v2 not in own or len(mount) < 5:
            continue
        # A container may see its own group as the mount's top; then mount[3] is that group.
        below = own[is_v2]
        if mount[3] != "/":
            below = below.removeprefix(mount[3]) if below.startswith(mount[3]) else ""
        top = root / mount[4].lstrip("/")
        directory = top / below.strip("/")
        while True:
            yield directory, is_v2
            if directory == top or top not in directory.parents:
                break
            directory = directory.parent


def kernel_version(root: Path = ROOT) -> tuple[int, int]:
    """(major, minor) of the running kernel, e.g. (6, 18); (0, 0) when not known."""
    found = re.match(r"(\d+)[.-](\d+)", read_sysctl("kernel.osrelease", root) or "")
    return (int(found[1]), int(found[2])) if found else (0, 0)


def cpu_model(root: Path = ROOT) -> str:
    """The processor's name from /proc/cpuinfo; elsewhere (arm64) the architecture; or "unknown"."""
    for name, value in _fields(read_text("proc/cpuinfo", root)).items():
        if name.lower() in ("model name", "model", "cpu model") and not value.isdigit():
            return value
    return read_sysctl("kernel.arch", root) or "unknown"


def listener_holders(port: int, root: Path = ROOT) -> list[tuple[int, str]]:
    """(pid, command) of the processes that listen on a TCP port, as far as may be seen.

    Only this network namespace, and without CAP_SYS_PTRACE only this user's processes. A listener
    that is an io_uring direct descriptor has no entry in /proc/PID/fd and is not found.
    """
    wanted = {f"socket:[{inode}]" for inode in _listener_inodes(port, root)}
    holders: list[tuple[int, str]] = []
    if not wanted:
        return holders
    for directory in (root / "proc").iterdir():
        if directory.name.isdigit() and _has_descriptor(directory / "fd", wanted):
            holders.append((int(directory.name), _command(directory)))
    return sorted(holders)


def _listener_inodes(port: int, root: Path) -> set[str]:
    """Fact: sockets that listen come first; the millions of others behind them are left unread."""
    inodes: set[str] = set()
    for file in ("proc/net/tcp", "proc/net/tcp6"):
        with contextlib.suppress(OSError), open(root / file, encoding="ascii") as lines:
            next(lines, None)
            for line in lines:
                words = line.split()
                if len(words) < 10 or words[3] != _TCP_LISTEN:
                    break
                local_port = int(words[1].rpartition(":")[2], 16)
                if local_port == port and words[9] != "0":
                    inodes.add(words[9])
    return inodes


def _has_descriptor(directory: Path, wanted: set[str]) -> bool:
    try:
        names = os.listdir(directory)
    except OSError:  # another user's process, or gone meanwhile
        return False
    for name in names:
        try:
            if os.readlink(directory / name) in wanted:
                return True
        except OSError:
            continue
    return False


def _command(directory: Path) -> str:
    words = (read_text("cmdline", directory) or "").replace("\0", " ").strip()
    command = words or (read_text("comm", directory) or "").strip() or "?"
    is_long = len(command) > _COMMAND_CHARS_MAX
    return command[: _COMMAND_CHARS_MAX - 3] + "..." if is_long else command
