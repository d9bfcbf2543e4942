"""The kernel's errnos in words, with what to do: why a connect failed, why a connection was lost.

Those that are the sign of a limit are described there (`limit.py`); here are the others. Facts:
connect(2), tcp(7), ip(7); for EADDRNOTAVAIL, inet_hash_connect() in the Linux kernel.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from c1m.limits.catalogue import limits_of
from c1m.limits.queues import AcceptQueue
from c1m.results.record import Connections, Failure

PEER_EOF = 0  # not an errno: the peer closed in good order, but before the run was over

# As what a connect is counted that failed so (record.NOT_OPENED).
KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.ECONNABORTED: "reset",
    errno.ETIMEDOUT: "timed_out",
    errno.ENETUNREACH: "unreachable",
    errno.EHOSTUNREACH: "unreachable",
}

CONNECT = {
    "ENOENT": (
        "there is no socket at that path",
        "Start the server, and compare its --listen with the target's path.",
    ),
    "ECONNREFUSED": (
        "the peer answered with a reset: nothing listens on that port",
        "Start the server, and compare its --listen with the target's ports.",
    ),
    "ECONNRESET": (
        "the peer reset the connection while it was being opened",
        "Look at the server's own log and limits: it accepts and drops.",
    ),
    "ETIMEDOUT": (
        "no answer to the SYN, nor to its retransmissions",
        f"Either a firewall drops it, or the server's accept queue is full. {AcceptQueue.remedy}",
    ),
    "EADDRINUSE": (
        "the local address and port are in use already",
        "Leave the source port to the kernel, or wait until other clients have closed.",
    ),
    "EACCES": (
        "the kernel forbids this connection (firewall rule, security module or broadcast address)",
        "Look at the output rules (nft list ruleset) and at the target's address.",
    ),
    "EPERM": (
        "the kernel forbids this connection (a firewall rule of this machine)",
        "Look at the output rules: nft list ruleset. A full nf_conntrack table says this too.",
    ),
}

OPEN = {
    "EOF": (
        "closed by the peer before the run was over",
        "Look at the server's idle timeout and at its limit of connections.",
    ),
    "ECONNRESET": (
        "the peer reset the open connection",
        "Look at the server: it crashed, or dropped the connection with bytes still unread.",
    ),
    "EPIPE": (
        "sent to a connection that the peer had closed already",
        "Look at the server's idle timeout and at its log.",
    ),
    "ETIMEDOUT": (
        "the peer stopped answering and the kernel gave up retransmitting",
        "Look at the path between (conntrack tables, NAT timeouts) and at the server's load.",
    ),
    "ECONNABORTED": (
        "the connection was aborted by this machine's kernel",
        "Look for memory pressure: dmesg, and net.ipv4.tcp_mem.",
    ),
}

ANYWHERE = {
    "ENETUNREACH": (
        "this machine has no route to that network",
        "Look at `ip route get ADDRESS`, and at --source if one was given.",
    ),
    "EHOSTUNREACH": (
        "a router, or the last network's neighbour table, found no way to that host",
        "Look at `ip route get ADDRESS` and `ip neigh`, and whether the host is up.",
    ),
    "ECANCELED": (
        "the engine cancelled it: an earlier step of the same connect had failed",
        "Look at the other failures: the first of them is the cause.",
    ),
}


def explain(code: int, phase: str) -> tuple[str, str]:
    """(reason in words, remedy) of an errno (positive; 0: the peer closed).

    `phase` is "connect" (it never opened) or "open" (it was lost).
    """
    name = errno_name(code)
    for table in (CONNECT if phase == "connect" else OPEN, ANYWHERE):
        if name in table:
            return table[name]
    for limit in limits_of(name):
        return limit.errnos[name], limit.remedy
    return os.strerror(code).lower(), f"See `man 2 {'connect' if phase == 'connect' else 'recv'}`."


def errno_name(code: int) -> str:
    """111 -> "ECONNREFUSED"; 0 -> "EOF"; a number that is none -> "errno 4095"."""
    return "EOF" if code == PEER_EOF else errno.errorcode.get(code, f"errno {code}")


def failures_of(phase: str, counts: Mapping[int, int]) -> list[Failure]:
    """The rows of a record's failures from counts by errno, the most frequent first."""
    order = sorted((-count, code) for code, count in counts.items() if count)
    return [Failure(phase, errno_name(code), -less, *explain(code, phase)) for less, code in order]


def count_failures(connections: Connections, errnos: Mapping[int, int]) -> None:
    """Add failed connects, counts by errno, to the record's kinds of them."""
    for code, count in errnos.items():
        kind = KINDS.get(code, "failed_otherwise")
        setattr(connections, kind, getattr(connections, kind) + count)
