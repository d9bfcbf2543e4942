"""The kernel's errnos in words, with what to do: why a connect failed, why a connection was lost.

Those that are the sign of a limit are described there (`limit.py`); here are the others. Facts:
connect(2), tcp(7), ip(7); for EADDRNOTAVAIL, inet_hash_connect() in the Linux kernel.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping

from c1m.limits import mqtt_reasons, tls_reasons
from c1m.limits.catalogue import limits_of
from c1m.limits.queues import AcceptQueue
from c1m.results.record import Connections, Failure
from c1m.tls.reasons import BASE as TLS

# What is no errno either: what ends a connection in a protocol's own words (`errno_name`).
HTTP_STATUS = 1 << 16  # + the status with which a handshake was answered
SAID_CLOSE = 1 << 17  # + the code of the server's close frame (RFC 6455, 7.4)
BROKE_OFF = 1 << 18  # + the code with which the server's mistake was answered
NOT_HTTP, BAD_HANDSHAKE, NOT_EVENTS, NOT_A_STREAM = range(1 << 19, (1 << 19) + 4)
NOT_REDIS, AUTH_REFUSED, SELECT_REFUSED = range((1 << 19) + 16, (1 << 19) + 19)
WORKER_LOST = (1 << 19) + 32  # of a load client that is one of several

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
        "Look at the server: it crashed, dropped the connection with bytes still unread, or speaks "
        "another protocol on that port.",
    ),
    "EPIPE": (
        "sent to a connection that the peer had closed already",
        "Look at the server's idle timeout and at its log.",
    ),
    "ETIMEDOUT": (
        "the peer stopped answering and the kernel gave up retransmitting",
        "Look at the path between (conntrack tables, NAT timeouts) and at the server's load.",
    ),
    "no stream": (
        "what came is no stream of events any more",
        "Look at the server: something broke its chunks, or an event is too large.",
    ),
    "not HTTP": (
        "what came is no response of HTTP/1.1",
        "Look at the server's log.",
    ),
    "worker lost": (
        "the load client that held it was lost",
        "Look at that worker's machine and log; what else was lost is said under 'degraded'.",
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

HANDSHAKE = {
    "EOF": (
        "the server ended the connection instead of answering the request",
        "Look at the server's log, and whether it speaks this protocol on this port.",
    ),
    "ECONNRESET": (
        "the server reset the connection instead of answering the request",
        "Look at the server's log, and whether it speaks this protocol on this port.",
    ),
    "ETIMEDOUT": (
        "the connection was there, and the request on it was not answered in time",
        "Look at the server's load, or give --timeout more.",
    ),
    "not HTTP": (
        "what came is no response of HTTP/1.1",
        "Compare the target's port with the server's: does it speak HTTP there, without TLS?",
    ),
    "bad handshake": (
        "the server's 101 does not accept the upgrade that was asked for (RFC 6455, 4.1)",
        "Look at the server, or at what stands before it and answers in its place.",
    ),
    "no events": (
        "the server answered with something else than text/event-stream",
        "Compare the target's path with the server's.",
    ),
    "not Redis": (
        "what came is no reply of Redis's protocol",
        "Compare the target's port with the server's: does it speak Redis's protocol there?",
    ),
    "AUTH refused": (
        "the server does not take that user and password",
        "Compare them with the server's requirepass and ACL LIST.",
    ),
    "SELECT refused": (
        "the server does not give that database",
        "Compare the target's path with the server's number of databases.",
    ),
    "HTTP 200": (
        "there is something else than a WebSocket at that path",
        "Compare the target's path with the server's.",
    ),
    "HTTP 401": (
        "the server wants to know who asks",
        "Give a token: --header 'Authorization: Bearer TOKEN'.",
    ),
    "HTTP 403": (
        "the server does not allow this client there",
        "Look at its rules for tokens and origins: --header 'Origin: http://HOST'.",
    ),
    "HTTP 404": ("the server has nothing at that path", "Compare the target's path with its own."),
    "HTTP 426": (
        "the server wants another protocol, or another version of it",
        "Look at the server's log: this client asks for version 13 of WebSocket.",
    ),
    "HTTP 429": ("the server takes no more from this client", "Look at its limits of rate."),
    "HTTP 503": ("the server takes no more connections", "Look at its own limit of connections."),
}

PHASES = {
    "connect": CONNECT, "tls": tls_reasons.SHAKING, "handshake": HANDSHAKE, "open": OPEN
}  # fmt: skip
OWN_NAMES = {
    NOT_HTTP: "not HTTP", BAD_HANDSHAKE: "bad handshake", NOT_EVENTS: "no events",
    NOT_A_STREAM: "no stream", NOT_REDIS: "not Redis",
    AUTH_REFUSED: "AUTH refused", WORKER_LOST: "worker lost", SELECT_REFUSED: "SELECT refused",
}  # fmt: skip
_STATUS = "Look at the server's log for the reason."
CLOSED = {
    1000: "the server closed it in good order, before the run was over",
    1001: "the server went away",
    1002: "the server found a mistake in the protocol",
    1003: "the server takes no message of that kind",
    1005: "the server closed it without a code",
    1007: "the server found a message that is no UTF-8",
    1008: "the server closed it by its policy: who does not read is dropped so",
    1009: "the message was too large for the server",
    1011: "the server met an error of its own",
    1012: "the server starts anew",
    1013: "the server has too much to do",
}


def explain(code: int, phase: str) -> tuple[str, str]:
    """(reason in words, remedy) of an errno (positive; 0: the peer closed).

    `phase` is "connect" (it never opened), "tls" (it did, and no TLS came of it), "handshake" (the
    server did not accept what was asked on it) or "open" (it was lost).
    """
    name = errno_name(code)
    for table in (PHASES[phase], ANYWHERE):
        if name in table:
            return table[name]
    if code >= HTTP_STATUS:
        return _in_words(code, name)
    for limit in limits_of(name):
        return limit.errnos[name], limit.remedy
    return os.strerror(code).lower(), f"See `man 2 {'connect' if phase == 'connect' else 'recv'}`."


def _in_words(code: int, name: str) -> tuple[str, str]:
    """Of what is no errno and has no row of its own."""
    if code >= TLS:
        return tls_reasons.words_of(code)
    if code >= mqtt_reasons.BASE:
        return mqtt_reasons.words_of(code)
    if code >= BROKE_OFF:
        said = f"the server broke the protocol, and was answered with {code & 0xFFFF}"
        return said, "Look at the server: which message or frame is it?"
    if code >= SAID_CLOSE:
        number = code - SAID_CLOSE
        said = CLOSED.get(number, f"the server closed it with {number}, a code of its own")
        return said, "Look at the server's log and its limits for the reason."
    return f"the server answered with {name}", _STATUS


def errno_name(code: int) -> str:
    """111 -> "ECONNREFUSED"; 0 -> "EOF"; a number that is none -> "errno 4095". What a protocol
    says: "HTTP 403", "close 1001", "wrong name"."""
    if code >= HTTP_STATUS:
        return _name_of_own(code)
    return "EOF" if code == PEER_EOF else errno.errorcode.get(code, f"errno {code}")


def _name_of_own(code: int) -> str:
    if code in OWN_NAMES:
        return OWN_NAMES[code]
    if code >= TLS:
        return tls_reasons.name_of(code)
    if code >= mqtt_reasons.BASE:
        return mqtt_reasons.name_of(code)
    kinds = ((BROKE_OFF, "broke off"), (SAID_CLOSE, "close"), (HTTP_STATUS, "HTTP"))
    base, word = next(kind for kind in kinds if code >= kind[0])
    return f"{word} {code - base}"


def failures_of(
    phase: str, counts: Mapping[int, int], said: Mapping[int, str] | None = None
) -> list[Failure]:
    """The rows of a record's failures from counts by errno, the most frequent first.

    `said`: what the server said to the first of them.
    """
    rows = []
    for less, code in sorted((-count, code) for code, count in counts.items() if count):
        text, remedy = explain(code, phase)
        if said and said.get(code):
            text = f"{text}: {said[code]!r}"
        rows.append(Failure(phase, errno_name(code), -less, text, remedy))
    return rows


def count_failures(connections: Connections, errnos: Mapping[int, int]) -> None:
    """Add failed connects, counts by errno, to the record's kinds of them."""
    for code, count in errnos.items():
        kind = KINDS.get(code, "failed_otherwise")
        setattr(connections, kind, getattr(connections, kind) + count)
