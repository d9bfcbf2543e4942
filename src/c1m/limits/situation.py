"""Everything that the checks look at, read once; None or an empty collection: not told."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from c1m.kernel import procfs

# Numbers of linux/capability.h.
CAP_IPC_LOCK = 14
CAP_SYS_ADMIN = 21
CAP_SYS_RESOURCE = 24

PortRanges = tuple[tuple[int, int], ...]
Triple = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A machine as one process sees it. Counts, or bytes where a name says so."""

    kernel: tuple[int, int] = (0, 0)
    nofile: tuple[int, int] | None = None  # soft, hard
    nr_open: int | None = None
    file_max: int | None = None
    files_open: int | None = None
    port_range: tuple[int, int] | None = None  # first and last ephemeral port
    reserved_ports: PortRanges = ()
    somaxconn: int | None = None
    max_syn_backlog: int | None = None
    has_syncookies: bool = True
    netdev_max_backlog: int | None = None
    softnet_dropped: int = 0  # packets, since the machine started
    tcp_mem_pages: Triple | None = None  # low, pressure, high
    tcp_rmem_bytes: Triple | None = None  # least, at first, most
    tcp_wmem_bytes: Triple | None = None
    has_conntrack: bool = False
    established_chains: int | None = None  # of the table of established connections
    conntrack_max: int | None = None
    conntrack_count: int | None = None
    conntrack_established_s: int | None = None
    tcp_sockets: int = 0  # in this network namespace
    epoll_watches_max: int | None = None
    memory_available_bytes: int | None = None
    cgroup_limit_bytes: int | None = None  # None: no group limits it
    cgroup_used_bytes: int | None = None
    slab_bytes: Mapping[str, int] = field(default_factory=dict)  # bytes one object takes
    uring_errno: int | None = None  # 0: works; None: not tried
    uring_disabled: int | None = None  # kernel.io_uring_disabled (Linux 6.6 and later)
    memlock_bytes: int | None = None  # the soft RLIMIT_MEMLOCK
    has_ipc_lock: bool = False
    has_sys_admin: bool = False
    has_sys_resource: bool = False

    @property
    def hard_nofile(self) -> int:
        """The limit that c1m works with: it raises the soft one to the hard one by itself."""
        return self.nofile[1] if self.nofile else 1024

    @property
    def uring_works(self) -> bool:
        """As tried; where it was not tried, by version and sysctl."""
        if self.uring_errno is not None:
            return self.uring_errno == 0
        return self.kernel >= (6, 1) and not self.uring_disabled


def read_situation(root: Path = procfs.ROOT, *, try_io_uring: bool | None = None) -> Situation:
    """The situation under `root`; io_uring is tried on the real machine only, unless told."""

    def numbers(name: str) -> tuple[int, ...]:
        words = (procfs.read_sysctl(name, root) or "").split()
        return tuple(map(int, words)) if all(w.lstrip("-").isdigit() for w in words) else ()

    def number(name: str) -> int | None:
        values = numbers(name)
        return values[0] if values else None

    def triple(name: str) -> Triple | None:
        values = numbers(name)
        return (values[0], values[1], values[2]) if len(values) == 3 else None

    port_range = numbers("net.ipv4.ip_local_port_range")
    nofile = procfs.nofile(root)
    memlock = procfs.process_limit("Max locked memory", root)
    cgroup_limit, cgroup_used = procfs.cgroup_memory(root)
    conntrack_max = number("net.netfilter.nf_conntrack_max")
    sockets = procfs.sockstat(root)
    chains = number("net.ipv4.tcp_ehash_entries")
    return Situation(
        kernel=procfs.kernel_version(root),
        nofile=nofile if nofile != (0, 0) else None,
        nr_open=number("fs.nr_open"),
        file_max=number("fs.file-max"),
        files_open=number("fs.file-nr"),
        port_range=(port_range[0], port_range[1]) if len(port_range) == 2 else None,
        reserved_ports=parse_ports(
            procfs.read_sysctl("net.ipv4.ip_local_reserved_ports", root) or ""
        ),
        somaxconn=number("net.core.somaxconn"),
        max_syn_backlog=number("net.ipv4.tcp_max_syn_backlog"),
        has_syncookies=number("net.ipv4.tcp_syncookies") != 0,
        netdev_max_backlog=number("net.core.netdev_max_backlog"),
        softnet_dropped=procfs.softnet(root).get("Softnet.dropped", 0),
        tcp_mem_pages=triple("net.ipv4.tcp_mem"),
        tcp_rmem_bytes=triple("net.ipv4.tcp_rmem"),
        tcp_wmem_bytes=triple("net.ipv4.tcp_wmem"),
        has_conntrack=conntrack_max is not None,
        established_chains=abs(chains) if chains else None,  # negative: the machine's, shared
        conntrack_max=conntrack_max,
        conntrack_count=number("net.netfilter.nf_conntrack_count"),
        conntrack_established_s=number("net.netfilter.nf_conntrack_tcp_timeout_established"),
        tcp_sockets=sockets.get("TCP.inuse", 0) + sockets.get("TCP6.inuse", 0),
        epoll_watches_max=number("fs.epoll.max_user_watches"),
        memory_available_bytes=procfs.meminfo(root).get("MemAvailable"),
        cgroup_limit_bytes=cgroup_limit,
        cgroup_used_bytes=cgroup_used,
        slab_bytes={name: slab.footprint_bytes for name, slab in procfs.slabs(root).items()},
        uring_errno=_uring_errno(root, try_io_uring),
        uring_disabled=number("kernel.io_uring_disabled"),
        memlock_bytes=memlock[0] if memlock else None,
        has_ipc_lock=procfs.has_capability(CAP_IPC_LOCK, root),
        has_sys_admin=procfs.has_capability(CAP_SYS_ADMIN, root),
        has_sys_resource=procfs.has_capability(CAP_SYS_RESOURCE, root),
    )


def _uring_errno(root: Path, wanted: bool | None) -> int | None:
    if wanted is False or (wanted is None and root != procfs.ROOT):
        return None
    from c1m.kernel import limits  # only here: everything else works without ctypes

    try:
        return limits.try_io_uring()
    except AttributeError:  # a C library without syscall()
        return errno.ENOSYS


def parse_ports(text: str) -> PortRanges:
    """The kernel's list form, `8001,9000-9010`, as sorted pairs of first and last port."""
    pairs = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            pairs.append((int(first), int(last or first)))
    return tuple(sorted(pairs))


def format_ports(ranges: PortRanges) -> str:
    """Pairs of first and last port as the kernel writes them: sorted, joined where they touch."""
    joined: list[list[int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in joined)
