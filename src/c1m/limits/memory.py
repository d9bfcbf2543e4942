"""Memory: of the machine, of the control group, and of what all TCP sockets may hold.

The forecast goes by the kernel's own object sizes. MemAvailable counts the kernel's reclaimable
caches as free, and the inodes and directory entries of open sockets are in such caches though they
cannot be reclaimed. Watching it fall therefore shows about 1 KiB a socket too little; the forecast
counts them.
"""

from __future__ import annotations

from typing import ClassVar

from c1m.limits import needs
from c1m.limits.limit import (
    OK,
    Advice,
    Bound,
    Counter,
    Evidence,
    Finding,
    Gauge,
    Limit,
    Situation,
    set_sysctl,
    with_room,
)
from c1m.limits.needs import PAGE_BYTES, Request
from c1m.units import format_bytes

MEMORY, CGROUP = "memory", "cgroup memory"

FULL_SHARE = 0.97
# tcp_mem is asked to hold unread data for one connection in eight at the same moment. All of them
# at once may pass it: the first segment of an empty queue is always taken (sk_forced_mem_schedule).
BUSY_SHARE = 8
# Above this as the size at first, a few thousand busy connections hold gigabytes.
FIRST_BUFFER_MAX = 1 << 20

_NO_MEMORY = {
    "ENOMEM": "the kernel has no memory left for it",
    "ENOBUFS": "the kernel has no buffer left for it",
}


class _Held(Bound):
    """What the sockets and processes of the connections take, together."""

    unit = "bytes"
    remedy = (
        "Ask for fewer connections, lower --connect-rate, or add memory; a cgroup's memory.max and "
        "net.ipv4.tcp_mem bound it too."
    )
    errnos = _NO_MEMORY

    def needed(self, request: Request, situation: Situation) -> int:
        return self._forecast(request, situation).total

    def _forecast(self, request: Request, situation: Situation) -> needs.Memory:
        return needs.memory(request, situation.slab_bytes, situation.hard_nofile)

    def missing(self, request: Request, situation: Situation) -> str:
        """How much more there would have to be."""
        have = self.have(request, situation) or 0
        return format_bytes(max(0, self.needed(request, situation) - have))


class MachineMemory(_Held):
    """The memory of the whole machine."""

    name = MEMORY
    source = "MemAvailable in /proc/meminfo"

    def have(self, request: Request, situation: Situation) -> int | None:
        available = situation.memory_available_bytes
        return None if available is None else max(0, available - needs.MEMORY_RESERVE_BYTES)

    def note(self, request: Request, situation: Situation) -> str:
        forecast = self._forecast(request, situation)
        text = (
            f"sockets {format_bytes(forecast.sockets)}, waiting for input "
            f"{format_bytes(forecast.waiting)}, a message under way on each "
            f"{format_bytes(forecast.messages)}, processes {format_bytes(forecast.processes)}."
        )
        if not situation.slab_bytes:
            text += " By usual object sizes: only root can read this kernel's in /proc/slabinfo."
        return text

    def advice(self, request: Request, situation: Situation) -> Advice:
        remedy = f"Free or add {self.missing(request, situation)}, or hold fewer."
        if request.role == "both":
            remedy += " With client and server on two machines each needs about half."
        return Advice(remedy)

    def seen(self, evidence: Evidence) -> list[str]:
        have = evidence.metadata.memory_bytes
        used = max(evidence.samples.kernel.used_bytes, default=0)
        if not have or used < FULL_SHARE * have:
            return []
        return [f"The machine's memory was full: {format_bytes(used)} of {format_bytes(have)}."]


class CgroupMemory(_Held):
    """The tightest memory limit of this process' control groups, a container's for example."""

    name = CGROUP
    source = "The memory cgroup's usage"

    def find(self, request: Request, situation: Situation) -> Finding | None:
        if situation.cgroup_limit_bytes is None:
            return Finding(self.name, OK, None, "no limit")
        return super().find(request, situation)

    def have(self, request: Request, situation: Situation) -> int | None:
        limit, used = situation.cgroup_limit_bytes, situation.cgroup_used_bytes
        return None if limit is None or used is None else max(0, limit - used)

    def note(self, request: Request, situation: Situation) -> str:
        used, limit = situation.cgroup_used_bytes or 0, situation.cgroup_limit_bytes or 0
        return f"{format_bytes(used)} of {format_bytes(limit)} are used; sockets count too."

    def advice(self, request: Request, situation: Situation) -> Advice:
        return Advice(
            "Raise this container's or service's memory limit by "
            f"{self.missing(request, situation)} (docker run --memory, MemoryMax= in systemd)."
        )


class TcpMemory(Bound):
    """net.ipv4.tcp_mem: pages of data that all TCP sockets may hold together.

    A silent connection holds none. A socket with a message unread is accounted one page, however
    short the message. Past the third number the kernel takes only the first segment of an empty
    queue and resets closing connections that still have output: things get slow, then they fail.
    """

    name = "net.ipv4.tcp_mem"
    sysctls = (name,)
    position = 2
    unit = "pages"
    remedy = "Raise net.ipv4.tcp_mem (c1m doctor says to what), or have less data under way."
    errnos = _NO_MEMORY
    counters = (
        Counter(
            "TcpExt.TCPMemoryPressures",
            "all TCP sockets together passed the second number of net.ipv4.tcp_mem: windows shrink",
            explains=("connect ENOMEM", "connect ENOBUFS", "open ETIMEDOUT"),
            is_alarm=True,
        ),
        Counter(
            "TcpExt.TCPRcvQDrop",
            "a segment was dropped: the receiver's memory was used up",
            explains=("open ETIMEDOUT",),
            is_alarm=True,
        ),
    )
    gauge = Gauge("TCP.mem", "pages of data in all TCP sockets")

    def needed(self, request: Request, situation: Situation) -> int:
        return -(-request.connections // BUSY_SHARE)

    def note(self, request: Request, situation: Situation) -> str:
        if situation.numbers(self.name)[2] >= request.connections:
            return ""
        return (
            f"Silent connections need none. Should all {request.connections:,} have a message "
            "unread at the same moment, the kernel takes one segment of each; more has to wait."
        )

    def advice(self, request: Request, situation: Situation) -> Advice:
        low, pressure, have = situation.numbers(self.name)
        value = with_room(max(request.connections, have))
        triple = f"{max(low, value // 2)} {max(pressure, value * 3 // 4)} {value}"
        why = "room for unread data of all connections at once"
        return set_sysctl(self.name, triple, why)


class TcpBuffers(Limit):
    """net.ipv4.tcp_rmem and tcp_wmem: least, first and greatest size of one socket's two buffers.

    They are bounds, not allocations: an empty buffer takes no memory. So they stop no connection,
    but they say how much a peer that does not read can make the kernel keep.
    """

    position = 2
    holds: ClassVar[str]
    first_usual: ClassVar[int]

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        least, first, most = situation.numbers(self.name)
        present = f"{least} {first} {most}"
        if least >= PAGE_BYTES and PAGE_BYTES <= first <= FIRST_BUFFER_MAX:
            return self.finding(present)
        too_small = min(least, first) < PAGE_BYTES
        why = "smaller than a page" if too_small else "large for many connections"
        value = f"{max(least, PAGE_BYTES)} {self.first_usual} {max(most, self.first_usual)}"
        text = (
            f"The first or least size is {why}. One connection may come to hold "
            f"{format_bytes(most)} {self.holds}; a silent one holds none."
        )
        advice = set_sysctl(self.name, value, f"the present one is {why}")
        return self.finding(present, text, advice)


class ReceiveBuffers(TcpBuffers):
    """Sizes of a socket's receive buffer: bounds, not allocations."""

    name = "net.ipv4.tcp_rmem"
    sysctls = (name,)
    holds = "received and not read"
    first_usual = 131072
    counters = (
        Counter(
            "TcpExt.PruneCalled",
            "a receive buffer was full and had to be tidied",
            "Somebody does not read, or tcp_rmem and tcp_mem are small for what is under way.",
        ),
        Counter(
            "TcpExt.TCPBacklogDrop",
            "a segment was dropped: its socket was busy and had too many waiting",
            "Raise net.ipv4.tcp_rmem, or have the server's process get more CPU.",
            explains=("open ETIMEDOUT",),
            is_alarm=True,
        ),
    )


class SendBuffers(TcpBuffers):
    """Sizes of a socket's send buffer: bounds, not allocations."""

    name = "net.ipv4.tcp_wmem"
    sysctls = (name,)
    holds = "sent and not acknowledged"
    first_usual = 16384


class Orphans(Limit):
    """net.ipv4.tcp_max_orphans: closed connections that still have output to send."""

    name = "net.ipv4.tcp_max_orphans"
    sysctls = (name,)
    is_optional = True
    remedy = "Raise net.ipv4.tcp_max_orphans, and net.ipv4.tcp_mem (c1m doctor says to what)."
    counters = (
        Counter(
            "TcpExt.TCPAbortOnMemory",
            "the kernel reset a closing connection: too many orphans (net.ipv4.tcp_max_orphans) or "
            "tcp_mem exceeded",
            explains=(
                "open ECONNRESET", "open ECONNABORTED", "connect ENOMEM", "connect ENOBUFS",
            ),
            is_alarm=True,
        ),
    )  # fmt: skip
    gauge = Gauge(
        "TCP.orphan", "connections that no process holds any more and that still have output"
    )


class TimeWait(Limit):
    """net.ipv4.tcp_max_tw_buckets: connections in TIME_WAIT."""

    name = "net.ipv4.tcp_max_tw_buckets"
    sysctls = (name,)
    is_optional = True
    remedy = "Have the client close by reset, or use more sources (--source)."
    counters = (
        Counter(
            "TcpExt.TCPTimeWaitOverflow",
            "a connection closed without TIME_WAIT: there were net.ipv4.tcp_max_tw_buckets already",
            "Harmless on loopback; else raise net.ipv4.tcp_max_tw_buckets, or have the client "
            "close.",
        ),
    )
    gauge = Gauge("TCP.tw", "connections in TIME_WAIT: each keeps its port for 60 s")


LIMITS = (
    MachineMemory(), CgroupMemory(), TcpMemory(), ReceiveBuffers(), SendBuffers(), Orphans(),
    TimeWait(),
)  # fmt: skip
