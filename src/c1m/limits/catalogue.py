"""All limits, and what is looked up in them. A new one is a class in the file it belongs to.

Facts about the counters. Tcp, TcpExt, Ip and IpExt count one network namespace, Softnet and the
gauges TCP.orphan, TCP.mem and TCP.alloc all of them. None tells one program's connections from
another's, and those of a server on another machine are there, not here. Which there are depends on
the kernel: those that are absent are left out. Sources: net/ipv4/proc.c, include/uapi/linux/snmp.h,
net/core/net-procfs.c and nf_conntrack_standalone.c of Linux 6.18.
"""

from __future__ import annotations

from dataclasses import replace

from c1m.limits import conntrack, descriptors, memory, ports, queues, scheduling, uring
from c1m.limits.limit import NO_ANSWER, Counter, Gauge, Limit

# In the order in which the doctor shows them.
LIMITS: tuple[Limit, ...] = (
    *uring.LIMITS, *descriptors.LIMITS, *ports.LIMITS, *queues.LIMITS, *conntrack.LIMITS,
    *memory.LIMITS, *scheduling.LIMITS,
)  # fmt: skip

# What the kernel counts that no limit stands behind.
_OTHER_COUNTERS = (
    Counter("Tcp.ActiveOpens", "connects begun by this machine"),
    Counter("Tcp.PassiveOpens", "connections accepted by this machine's kernel"),
    Counter(
        "Tcp.AttemptFails",
        "a handshake of this machine ended without a connection",
        "Look at the other counters and at the server: it refuses or resets.",
        ("connect ECONNREFUSED", "connect ECONNRESET"),
    ),
    Counter(
        "Tcp.EstabResets",
        "an open connection of this machine ended by a reset, sent or received",
        "Look at who resets: the server's log, its limits, its idle timeout.",
        ("open ECONNRESET", "open EPIPE"),
    ),
    Counter(
        "Tcp.OutRsts",
        "this machine sent a reset (those of the run itself, in a storm, included)",
        "If the server is here: nobody listens on that port, or it closes with input unread.",
        ("connect ECONNREFUSED", "connect ECONNRESET", "open ECONNRESET"),
    ),
    Counter(
        "Tcp.RetransSegs",
        "a segment was sent again",
        "Look for drops on the way: here Softnet.dropped, else `ip -s link` at both ends.",
        ("open ETIMEDOUT",),
    ),
    Counter(
        "Ip.OutNoRoutes",
        "a packet had no route out of this machine",
        "Look at `ip route get ADDRESS`, and at --source if one was given.",
        ("connect ENETUNREACH", "connect EHOSTUNREACH", "open ENETUNREACH", "open EHOSTUNREACH"),
    ),
    Counter(
        "Ip.OutDiscards",
        "a packet was thrown away on its way out for want of room or by a rule",
        "Look at `tc -s qdisc` and at the output rules: nft list ruleset.",
        (*NO_ANSWER, "connect EPERM", "connect ENOBUFS"),
    ),
    Counter(
        "IpExt.InNoRoutes",
        "a packet came in for which there was no route",
        "Look at `ip route get ADDRESS from SOURCE iif DEVICE` and at rp_filter.",
        NO_ANSWER,
    ),
    Counter(
        "TcpExt.IPReversePathFilter",
        "a packet came in by a device that its source is not routed to",
        "Set net.ipv4.conf.*.rp_filter to 2 (loose) or 0, or route the sources that way.",
        NO_ANSWER,
        is_alarm=True,
    ),
    Counter(
        "TcpExt.TCPSynRetrans",
        "a SYN, or the answer to one, was sent again: after 1, 2, 4 s, which a connect then took "
        "longer",
        "Look at ListenOverflows and Softnet.dropped; if both stand still, packets are lost on the "
        "way or at the server.",
        NO_ANSWER,
        is_alarm=True,
    ),
    Counter(
        "TcpExt.TCPTimeouts",
        "a retransmission timer ran out",
        "Look for drops on the way, or for a machine too busy to acknowledge in 200 ms.",
        ("open ETIMEDOUT",),
    ),
    Counter(
        "TcpExt.TCPAbortOnTimeout",
        "the kernel gave a connection up after its last retransmission or keep-alive",
        "Look at the path between (conntrack tables, NAT timeouts) and whether the peer is up.",
        ("open ETIMEDOUT",),
    ),
    Counter(
        "TcpExt.TCPAbortOnData",
        "a connection was closed with input unread, or input came after it: the peer got a reset",
        "The closing side should read to the end first, or the other stop sending.",
        ("open ECONNRESET", "open EPIPE"),
    ),
    Counter(
        "TcpExt.TCPAbortOnClose",
        "a connection was closed with input unread: the peer got a reset",
        "If the server is here: it closes without reading what it was sent.",
        ("open ECONNRESET", "open EPIPE"),
    ),
    Counter(
        "TcpExt.TWRecycled",
        "a connect took over a port that was in TIME_WAIT",
        "Harmless: net.ipv4.tcp_tw_reuse at work. More sources (--source) need it less.",
    ),
)
_OTHER_GAUGES = (
    Gauge("TCP.inuse", "sockets of this network namespace that are not in TIME_WAIT"),
    Gauge("TCP.alloc", "sockets of TCP, of all namespaces, whatever their state"),
)

# A limit's own have its remedy where they have none of their own.
COUNTERS = (
    *(
        replace(counter, remedy=counter.remedy or limit.remedy)
        for limit in LIMITS
        for counter in limit.counters
    ),
    *_OTHER_COUNTERS,
)
GAUGES = (
    *_OTHER_GAUGES,
    *(
        replace(limit.gauge, limit=limit.name, position=limit.position, remedy=limit.remedy)
        for limit in LIMITS
        if limit.gauge
    ),
)
WALLS = sorted(
    (limit.wall(at, cause, is_here=False) for limit in LIMITS for at, cause in limit.usual.items()),
    key=lambda wall: wall.at,
)

# What the doctor reads, and what of it a record keeps as a run's conditions.
SYSCTLS = tuple(
    dict.fromkeys(name for limit in LIMITS for name in (*limit.sysctls, limit.usage) if name)
)
RECORDED_SYSCTLS = tuple(
    dict.fromkeys(name for limit in LIMITS if limit.is_recorded for name in limit.sysctls)
)


def limits_of(sign: str) -> list[Limit]:
    """The limits that an errno's name, or a counter's, is a sign of; [] for those of none.

    A counter with a remedy of its own says something else than that its limit is to be raised.
    """
    return [
        limit
        for limit in LIMITS
        if sign in limit.errnos
        or any(counter.name == sign and not counter.remedy for counter in limit.counters)
    ]
