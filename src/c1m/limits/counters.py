"""The kernel's counters that a run is held against: what each means, and what to do if it moved.

Pure data, and the one place for it: the sampler reads what is named here, `explain.py` joins it to
what went wrong, docs/reference/walls.md is checked against it.

Facts. Tcp, TcpExt, Ip and IpExt count one network namespace, Softnet and the gauges TCP.orphan,
TCP.mem and TCP.alloc all of them. None tells one program's connections from another's, and those of
a server on another machine are there, not here. Which there are depends on the kernel: those that
are absent are left out. Sources: net/ipv4/proc.c, include/uapi/linux/snmp.h, net/core/net-procfs.c
and nf_conntrack_standalone.c of Linux 6.18.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter, and the symptoms that it explains when it moves.

    `explains` are "PHASE ERRNO" as in a record's failures, "connect unfinished" for connects that
    never ended. `is_alarm`: told also where nothing of that kind is missing, since it delays or
    loses what the run measured. `of_server`: counted on the machine that accepts.
    """

    name: str
    meaning: str  # continues "12 x": "a handshake ended while ..."
    remedy: str = ""
    explains: tuple[str, ...] = ()
    is_alarm: bool = False
    of_server: bool = False


_NO_ANSWER = ("connect ETIMEDOUT", "connect unfinished")
_LONGER_ACCEPT_QUEUE = (
    "Raise net.core.somaxconn and the server's backlog and start the server again, let it accept "
    "faster, or lower --connect-rate."
)
_LONGER_PACKET_QUEUE = "sysctl -w net.core.netdev_max_backlog=100000, or lower the rate."
_MORE_TCP_MEMORY = "Raise net.ipv4.tcp_mem (c1m doctor says to what), or have less data under way."
_LARGER_CONNTRACK = (
    "Raise net.netfilter.nf_conntrack_max, or add a 'notrack' rule for the server's port."
)

COUNTERS = (
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
        "Look at who resets: the server's log, its limits, its idle time-out.",
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
        (*_NO_ANSWER, "connect EPERM", "connect ENOBUFS"),
    ),
    Counter(
        "IpExt.InNoRoutes",
        "a packet came in for which there was no route",
        "Look at `ip route get ADDRESS from SOURCE iif DEVICE` and at rp_filter.",
        _NO_ANSWER,
    ),
    Counter(
        "TcpExt.IPReversePathFilter",
        "a packet came in by a device that its source is not routed to",
        "Set net.ipv4.conf.*.rp_filter to 2 (loose) or 0, or route the sources that way.",
        _NO_ANSWER,
        is_alarm=True,
    ),
    Counter(
        "TcpExt.ListenOverflows",
        "the server's accept queue was full: the SYN, or the handshake's last ACK, was dropped. A "
        "client whose ACK was dropped holds a connection that the server does not know",
        _LONGER_ACCEPT_QUEUE,
        (*_NO_ANSWER, "connect ECONNRESET", "open ECONNRESET", "open ETIMEDOUT"),
        is_alarm=True,
        of_server=True,
    ),
    Counter(
        "TcpExt.ListenDrops",
        "a listener dropped a SYN or an ACK, for a full accept queue (then ListenOverflows too), "
        "memory, or anything else",
        _LONGER_ACCEPT_QUEUE,
        _NO_ANSWER,
        is_alarm=True,
        of_server=True,
    ),
    Counter(
        "TcpExt.TCPReqQFullDrop",
        "a SYN was dropped: as many handshakes were half done as the listener remembers, and SYN "
        "cookies are off",
        "sysctl -w net.ipv4.tcp_max_syn_backlog=65535 and net.ipv4.tcp_syncookies=1.",
        _NO_ANSWER,
        is_alarm=True,
        of_server=True,
    ),
    Counter(
        "TcpExt.TCPReqQFullDoCookies",
        "a SYN was answered by a cookie: as many handshakes were half done as the listener "
        "remembers. No connection is lost by it",
        "sysctl -w net.ipv4.tcp_max_syn_backlog=65535, if window scaling matters.",
        of_server=True,
    ),
    Counter(
        "TcpExt.TCPSynRetrans",
        "a SYN, or the answer to one, was sent again: after 1, 2, 4 s, which a connect then took "
        "longer",
        "Look at ListenOverflows and Softnet.dropped; if both stand still, packets are lost on the "
        "way or at the server.",
        _NO_ANSWER,
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
        "Look at the path between (conntrack tables, NAT time-outs) and whether the peer is up.",
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
        "TcpExt.TCPAbortOnMemory",
        "the kernel reset a closing connection: too many orphans (net.ipv4.tcp_max_orphans) or "
        "tcp_mem exceeded",
        "Raise net.ipv4.tcp_max_orphans, and net.ipv4.tcp_mem (c1m doctor says to what).",
        ("open ECONNRESET", "open ECONNABORTED", "connect ENOMEM", "connect ENOBUFS"),
        is_alarm=True,
    ),
    Counter(
        "TcpExt.TCPMemoryPressures",
        "all TCP sockets together passed the second number of net.ipv4.tcp_mem: windows shrink",
        _MORE_TCP_MEMORY,
        ("connect ENOMEM", "connect ENOBUFS", "open ETIMEDOUT"),
        is_alarm=True,
    ),
    Counter(
        "TcpExt.PruneCalled",
        "a receive buffer was full and had to be tidied",
        "Somebody does not read, or tcp_rmem and tcp_mem are small for what is under way.",
    ),
    Counter(
        "TcpExt.TCPRcvQDrop",
        "a segment was dropped: the receiver's memory was used up",
        _MORE_TCP_MEMORY,
        ("open ETIMEDOUT",),
        is_alarm=True,
    ),
    Counter(
        "TcpExt.TCPBacklogDrop",
        "a segment was dropped: its socket was busy and had too many waiting",
        "Raise net.ipv4.tcp_rmem, or have the server's process get more CPU.",
        ("open ETIMEDOUT",),
        is_alarm=True,
    ),
    Counter(
        "TcpExt.TCPTimeWaitOverflow",
        "a connection closed without TIME_WAIT: there were net.ipv4.tcp_max_tw_buckets already",
        "Harmless on loopback; else raise net.ipv4.tcp_max_tw_buckets, or have the client close.",
    ),
    Counter(
        "TcpExt.TWRecycled",
        "a connect took over a port that was in TIME_WAIT",
        "Harmless: net.ipv4.tcp_tw_reuse at work. More sources (--source) need it less.",
    ),
    Counter(
        "Softnet.dropped",
        "a packet was dropped before TCP saw it: a CPU's input queue was full (loopback and "
        "packet steering use it)",
        _LONGER_PACKET_QUEUE,
        (*_NO_ANSWER, "open ETIMEDOUT"),
        is_alarm=True,
    ),
    Counter(
        "Softnet.time_squeeze",
        "a CPU left packets for its next round: net.core.netdev_budget was used up",
        "Nothing was dropped by it; if Softnet.dropped moves too, raise that queue first.",
    ),
    Counter(
        "Conntrack.drop",
        "connection tracking dropped a packet: its table was full",
        _LARGER_CONNTRACK,
        (*_NO_ANSWER, "connect EPERM", "open ETIMEDOUT"),
        is_alarm=True,
    ),
    Counter(
        "Conntrack.early_drop",
        "connection tracking threw out an unconfirmed connection to make room: its table was full",
        _LARGER_CONNTRACK,
        (*_NO_ANSWER, "open ETIMEDOUT"),
        is_alarm=True,
    ),
    Counter(
        "Conntrack.insert_failed",
        "connection tracking could not enter a connection: another had the same addresses and "
        "ports",
        "With NAT: more addresses to translate to, or `--random-fully`.",
        _NO_ANSWER,
        is_alarm=True,
    ),
)

BY_NAME = {counter.name: counter for counter in COUNTERS}
assert len(BY_NAME) == len(COUNTERS)


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that rises and falls; a run keeps its highest. `limit` is the sysctl that bounds it.

    `position` is which of the sysctl's numbers it is.
    """

    name: str
    meaning: str
    limit: str = ""
    position: int = 0
    remedy: str = ""


GAUGES = (
    Gauge("TCP.inuse", "sockets of this network namespace that are not in TIME_WAIT"),
    Gauge("TCP.alloc", "sockets of TCP, of all namespaces, whatever their state"),
    Gauge(
        "TCP.orphan",
        "connections that no process holds any more and that still have output",
        "net.ipv4.tcp_max_orphans",
        remedy="Past that, the kernel resets them: raise net.ipv4.tcp_max_orphans.",
    ),
    Gauge(
        "TCP.tw",
        "connections in TIME_WAIT: each keeps its port for 60 s",
        "net.ipv4.tcp_max_tw_buckets",
        remedy="Have the client close by reset, or use more sources (--source).",
    ),
    Gauge(
        "TCP.mem",
        "pages of data in all TCP sockets",
        "net.ipv4.tcp_mem",
        2,
        "Raise net.ipv4.tcp_mem (c1m doctor says to what), or have less data under way.",
    ),
    Gauge(
        "Conntrack.count",
        "connections that connection tracking knows; 0: no rule uses it",
        "net.netfilter.nf_conntrack_max",
        remedy=_LARGER_CONNTRACK,
    ),
)
GAUGE_BY_NAME = {gauge.name: gauge for gauge in GAUGES}
