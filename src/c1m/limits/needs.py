"""What N connections require of a machine: pure arithmetic over a Request.

Every function grows with `connections` and with nothing else that the caller cannot see, so the
most connections that fit a limit can be found by bisection (`largest`), from the same formula that
says what is needed. Sizes are bytes unless a name says otherwise.

Where the constants come from: struct sizes and slab sizes of Linux 6.18 on x86-64, and
measurements with a thousand and with a million loopback connections; docs: the kernel's
Documentation/admin-guide/sysctl/{fs,net}.rst and networking/ip-sysctl.rst.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from c1m.bounds import BACKLOG
from c1m.engine.choose import ENGINES

# The kernel refuses a larger table of direct descriptors for one ring (IORING_MAX_FIXED_FILES).
RING_SLOTS_MAX = 1 << 20
# Python, its modules, an eventfd, an epoll, a report: descriptors that a process has anyway.
PROCESS_DESCRIPTORS = 64
# Queues and buffer ring of one io_uring: 512 x 64 B, 2,048 x 16 B and a page, 1,024 x 16 B.
RING_BYTES = 21 * 4096
# The first ring of a process has a buffer ring of 8,192 x 16 B.
FIRST_RING_BYTES = 49 * 4096
# The uring engine's own bounds: 65,536 provided buffers in all, busy rings take up to half;
# a further ring gets up to 256 of them, but no more than a 64th of the rest; slots over all rings.
RINGS_MAX = 430
RING_SLOTS_TOTAL_MAX = 1 << 23
# 127.0.0.0/8 without 127.255.255.255 and the network's own address.
LOOPBACK_SOURCES = (1 << 24) - 2

PAGE_BYTES = 4096
# One short message on its way: sk_buff 256 + small head 576, rounded up to what was measured.
MESSAGE_BYTES = 1024

USER_BYTES_PER_CONNECTION = 40
USER_BYTES_PER_PROCESS = 96 << 20  # Python and NumPy 30 MB, and 64 MB of buffers in a stampede
# Left to the rest of the machine: a forecast that fills memory to the last page is no forecast.
MEMORY_RESERVE_BYTES = 256 << 20

# One socket end, by slab; used where /proc/slabinfo cannot be read or has no cache of that name.
SLAB_BYTES: Mapping[str, int] = {
    "TCP": 2521,  # struct tcp_sock 2,368 and its share of the slab's pages
    "sock_inode_cache": 863,  # struct socket_alloc 832
    "filp": 196,  # struct file 192
    "dentry": 196,
}
URING_WAIT_BYTES = 256  # a multishot poll: quiet connections are parked on one
URING_SLOT_BYTES = 40  # a direct descriptor: node 32, table entry 8
EPOLL_WAIT_BYTES = 208  # epitem 128, eppoll_entry 64, epitems_head 16
EPOLL_SLOT_BYTES = 8  # entry of the process' descriptor table
LOCAL_PORT_BYTES = 256  # the client's tcp_bind_bucket 128 and inet_bind2_bucket 128


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for: so many connections, in this role, by this engine, at these ports."""

    connections: int
    role: str = "both"  # server, client or both ends on this machine (two processes)
    engine: str = next(iter(ENGINES))
    listen_ports: tuple[int, ...] = (8001,)
    sources: int = LOOPBACK_SOURCES  # addresses that the client connects from

    @property
    def uses_descriptors(self) -> bool:
        """Whether each connection is a descriptor of its process; else they are in rings."""
        return ENGINES[self.engine].uses_descriptors

    def of(self, connections: int) -> Request:
        """The same for another number of connections."""
        return replace(self, connections=connections)

    @property
    def has_server(self) -> bool:
        """Whether the listening end is here."""
        return self.role != "client"

    @property
    def has_client(self) -> bool:
        """Whether the connecting end is here."""
        return self.role != "server"

    @property
    def ends(self) -> int:
        """Sockets here for one connection, and processes: 1, or 2 with role both."""
        return 2 if self.role == "both" else 1


@dataclass(frozen=True, slots=True)
class Memory:
    """A forecast in bytes, by what it is for."""

    sockets: int  # the kernel's objects for each end
    waiting: int  # io_uring requests or epoll items, and descriptor slots
    messages: int  # one short message on its way on every connection
    processes: int  # user memory of the processes, and the rings

    @property
    def total(self) -> int:
        """All of it."""
        return self.sockets + self.waiting + self.messages + self.processes


def largest(fits: Callable[[int], bool], ceiling: int = 1 << 40) -> int:
    """The greatest n in 0..ceiling that fits, for a `fits` that stays False once it is False."""
    return bisect.bisect_left(range(1, ceiling + 1), True, key=lambda n: not fits(n))


def ring_slots(nofile: int) -> int:
    """Direct descriptors that one ring may have: not above RLIMIT_NOFILE, nor above 2**20."""
    return max(1, min(nofile, RING_SLOTS_MAX))


def rings(request: Request, nofile: int) -> int:
    """Rings that one process needs; 0 for epoll."""
    if request.uses_descriptors:
        return 0
    return -(-request.connections // ring_slots(nofile))


def rings_max(nofile: int) -> int:
    """Rings that the uring engine can have with tables of that size."""
    return min(RINGS_MAX, RING_SLOTS_TOTAL_MAX // ring_slots(nofile))


def descriptors(request: Request, nofile: int) -> int:
    """Descriptors of one process that count against RLIMIT_NOFILE.

    epoll: one a connection. uring: connections are direct descriptors, which do not count; a ring
    does.
    """
    fixed = PROCESS_DESCRIPTORS + (len(request.listen_ports) if request.has_server else 0)
    return fixed + (request.connections if request.uses_descriptors else rings(request, nofile))


def accept_queue(request: Request) -> int:
    """Backlog of each listener with which no connect has to be held back."""
    return min(BACKLOG, -(-request.connections // max(1, len(request.listen_ports))))


def locked_bytes(request: Request, nofile: int) -> int:
    """Ring memory that RLIMIT_MEMLOCK counts per user (Linux 6.14 and later, no CAP_IPC_LOCK)."""
    further = max(rings(request, nofile) - 1, 0)
    first = 0 if request.uses_descriptors else FIRST_RING_BYTES
    return request.ends * (first + further * RING_BYTES)


def memory(request: Request, slabs: Mapping[str, int], nofile: int) -> Memory:
    """Forecast for all connections open and one short message on its way on each.

    `slabs`: bytes one object takes, by the kernel's cache name (may lack any of them).
    """
    end = sum(slabs.get(name, size) for name, size in SLAB_BYTES.items())
    if request.uses_descriptors:
        waiting = EPOLL_WAIT_BYTES + EPOLL_SLOT_BYTES
    else:
        waiting = URING_WAIT_BYTES + URING_SLOT_BYTES
    n = request.connections
    return Memory(
        sockets=n * (request.ends * end + (LOCAL_PORT_BYTES if request.has_client else 0)),
        waiting=n * request.ends * waiting,
        messages=n * MESSAGE_BYTES,
        processes=request.ends * (USER_BYTES_PER_PROCESS + n * USER_BYTES_PER_CONNECTION)
        + locked_bytes(request, nofile),
    )
