"""Queues that a burst of connects or packets overflows, and the tables that both go through.

None of them bounds a number of connections. What does not fit is dropped and sent again later.
"""

from __future__ import annotations

from typing import ClassVar

from c1m.bounds import BACKLOG
from c1m.limits import needs
from c1m.limits.limit import NO_ANSWER, Advice, Counter, Finding, Limit, Situation, set_sysctl
from c1m.limits.needs import Request


class ListenerQueue(Limit):
    """A queue of each listener. Never short, because connects can be paced: advice only."""

    end = "server"
    burst: ClassVar[str]  # what then finds room
    then: ClassVar[str] = ""  # after raising it
    others: ClassVar[str] = ""  # said where clients that do not pace themselves may come
    least: ClassVar[int] = 0  # below it even a client that paces itself is held up

    def overflow(self, situation: Situation, have: int) -> str:
        """What becomes of connects that find it full."""
        raise NotImplementedError

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        if have >= needs.accept_queue(request):
            return self.finding(have)
        text = self.overflow(situation, have)
        if request.role != "server" and have >= self.least:
            return self.finding(have, text)
        why = f"a burst of {self.burst} finds room"
        advice = set_sysctl(self.name, BACKLOG, why, self.then)
        return self.finding(have, f"{text} {self.others}".strip(), advice)


class AcceptQueue(ListenerQueue):
    """net.core.somaxconn: how long the accept queue of a listener can be.

    listen(2) silently cuts its backlog to it. What does not fit is dropped, and the client tries
    again after 1, 2, 4 s. c1m's client keeps fewer connects in flight than the queue holds, so a
    short queue costs it nothing; other clients do not know the queue.
    """

    name = "net.core.somaxconn"
    sysctls = (name,)
    unit = "waiting"
    burst = "connects"
    then = ", then start the server again."
    others = "Other clients do not: what overflows is tried again after 1, 2, 4 s."
    least = 128  # the default up to Linux 5.3
    remedy = (
        "Raise net.core.somaxconn and the server's backlog and start the server again, let it "
        "accept faster, or lower --connect-rate."
    )
    errnos = {
        "EAGAIN": "the accept queue of the Unix socket is full, or no local port was free at that "
        "moment"
    }
    counters = (
        Counter(
            "TcpExt.ListenOverflows",
            "the server's accept queue was full: the SYN, or the handshake's last ACK, was "
            "dropped. A client whose ACK was dropped holds a connection that the server does not "
            "know",
            explains=(*NO_ANSWER, "connect ECONNRESET", "open ECONNRESET", "open ETIMEDOUT"),
            is_alarm=True,
            of_server=True,
        ),
        Counter(
            "TcpExt.ListenDrops",
            "a listener dropped a SYN or an ACK, for a full accept queue (then ListenOverflows "
            "too), memory, or anything else",
            explains=NO_ANSWER,
            is_alarm=True,
            of_server=True,
            includes="TcpExt.ListenOverflows",
        ),
    )

    def overflow(self, situation: Situation, have: int) -> str:
        return (
            f"Each listener has room for {have:,} connects in flight; c1m's client paces itself to "
            "that."
        )


class SynBacklog(ListenerQueue):
    """net.ipv4.tcp_max_syn_backlog: handshakes that a listener remembers half done.

    It only counts with SYN cookies off; with them on, what does not fit is answered by a cookie. On
    loopback a handshake is done within connect() and none is ever half done.
    """

    name = "net.ipv4.tcp_max_syn_backlog"
    sysctls = (name, "net.ipv4.tcp_syncookies")
    unit = "handshakes"
    burst = "SYNs"
    remedy = "sysctl -w net.ipv4.tcp_max_syn_backlog=65535 and net.ipv4.tcp_syncookies=1."
    counters = (
        Counter(
            "TcpExt.TCPReqQFullDrop",
            "a SYN was dropped: as many handshakes were half done as the listener remembers, and "
            "SYN cookies are off",
            explains=NO_ANSWER,
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
    )

    def overflow(self, situation: Situation, have: int) -> str:
        if situation.number("net.ipv4.tcp_syncookies") == 0:
            return "SYN cookies are off: what does not fit is dropped and tried again after 1 s."
        return "SYN cookies are on: what does not fit is answered by a cookie."


class PacketQueue(Limit):
    """net.core.netdev_max_backlog: packets that wait for a CPU to take them in.

    Loopback, veth (containers) and packet steering (RPS) put packets into a queue of each CPU; a
    NIC's own driver mostly does not. What does not fit is silently dropped and comes back 200 ms or
    more later, a SYN after 1 s. A sender on loopback empties the queue itself as it goes, so 1,000
    is enough there: 20,000 connections at once dropped nothing. With lo steered to another core a
    million connections overflowed it (docs/explanation/kernel-facts.md). Only drops are evidence.

    The sysctl is the whole machine's, and containers do not see it: then nothing is said.
    """

    name = "net.core.netdev_max_backlog"
    sysctls = (name,)
    unit = "packets"
    is_optional = True
    enough = 100_000  # a queue takes memory only for what waits in it
    remedy = f"sysctl -w net.core.netdev_max_backlog={enough}, or lower the rate."
    counters = (
        Counter(
            "Softnet.dropped",
            "a packet was dropped before TCP saw it: a CPU's input queue was full (loopback and "
            "packet steering use it)",
            explains=(*NO_ANSWER, "open ETIMEDOUT"),
            is_alarm=True,
        ),
        Counter(
            "Softnet.time_squeeze",
            "a CPU left packets for its next round: net.core.netdev_budget was used up",
            "Nothing was dropped by it; if Softnet.dropped moves too, raise that queue first.",
        ),
    )

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        if not situation.softnet_dropped:
            return self.finding(have)
        text = (
            f"{situation.softnet_dropped:,} packets have found it full since the machine started, "
            "and were dropped."
        )
        if have >= self.enough:
            return self.finding(have, text)
        advice = set_sysctl(self.name, self.enough, "a burst of packets finds room")
        return self.finding(have, text, advice)


class EstablishedTable(Limit):
    """net.ipv4.tcp_ehash_entries: the kernel's table of established connections (read-only).

    Every packet and every connect looks its connection up there, along a chain of those with the
    same hash. The table is made at boot for the memory (262,144 chains at 24 GB), so with two
    million sockets a look-up walks eight deep and misses the cache at each step. Measured with both
    ends of a million connections on one machine: opening them takes 1.6 times as long as with
    4,194,304 chains.

    A namespace may have a table of its own (Linux 6.1): those that are made while
    tcp_child_ehash_entries is set in the one that they are made in. Older kernels do not say.
    """

    name = "net.ipv4.tcp_ehash_entries"
    sysctls = (name,)
    is_recorded = False
    unit = "chains"
    deep = 2  # sockets a chain, from which on it is worth a word

    def applies(self, request: Request, situation: Situation) -> bool:
        return bool(situation.number(self.name))

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        chains = abs(have)  # negative: the machine's, shared
        sockets = request.connections * request.ends
        depth = sockets / chains
        if depth <= self.deep:
            return self.finding(chains, needed=chains)
        wanted = 1 << (sockets - 1).bit_length()
        text = (
            f"{sockets:,} sockets are {depth:.0f} deep in it: look-ups get slower, nothing stops."
        )
        remedy = (
            f"Boot with thash_entries={wanted}, or set net.ipv4.tcp_child_ehash_entries={wanted} "
            "and make a network namespace: it gets a table of that size."
        )
        return self.finding(chains, text, Advice(remedy), needed=wanted)


LIMITS = (AcceptQueue(), SynBacklog(), PacketQueue(), EstablishedTable())
