"""How long the accept queue of a local listening socket really is, asked of the kernel.

listen(2) silently cuts its backlog to net.core.somaxconn, and a socket inherited from elsewhere may
have been given any. NETLINK_SOCK_DIAG reports what is in force, without privileges: for a socket in
state LISTEN `idiag_wqueue` is the greatest length of the accept queue and `idiag_rqueue` its
present one (net/ipv4/tcp_diag.c, net/unix/diag.c; layouts: include/uapi/linux/inet_diag.h,
unix_diag.h, netlink.h). Ports are in network byte order, all else in the host's.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX

NETLINK_SOCK_DIAG = 4
SOCK_DIAG_BY_FAMILY = 20
NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_DUMP = 0x300
TCP_LISTEN = 10
UDIAG_SHOW_NAME = 0x1
UDIAG_SHOW_RQLEN = 0x10
UNIX_DIAG_NAME = 0
UNIX_DIAG_RQLEN = 4

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port id
_ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
_INET_QUEUES = 56  # offset of idiag_rqueue in inet_diag_msg
_UNIX_ATTRIBUTES = 16  # sizeof(unix_diag_msg)
_REPLY_SIZE = 65536


def accept_queue_of(where: int | str) -> int | None:
    """The backlog in force on the TCP port (int) or unix path (str) of this host.

    The smallest where several sockets listen (one an address, or SO_REUSEPORT). None where nobody
    listens or the kernel does not say (no CONFIG_INET_DIAG, no netlink in the sandbox).
    """
    try:
        found = _unix_queues(where) if isinstance(where, str) else _tcp_queues(where)
    except OSError:
        return None
    return min(found, default=None)


def _tcp_queues(port: int) -> list[int]:
    found = []
    for family in (AF_INET, AF_INET6):
        request = struct.pack(
            "=BBBxI2s46x", family, socket.IPPROTO_TCP, 0, 1 << TCP_LISTEN, port.to_bytes(2, "big")
        )
        for message in _dump(request):
            if message[4:6] == port.to_bytes(2, "big"):
                found.append(struct.unpack_from("=II", message, _INET_QUEUES)[1])
    return found


def _unix_queues(path: str) -> list[int]:
    shown = UDIAG_SHOW_NAME | UDIAG_SHOW_RQLEN
    request = struct.pack("=BBHIIIII", AF_UNIX, 0, 0, 1 << TCP_LISTEN, 0, shown, 0, 0)
    found = []
    for message in _dump(request):
        attributes = dict(_parts(message[_UNIX_ATTRIBUTES:], _ATTRIBUTE))
        name = attributes.get(UNIX_DIAG_NAME, b"").rstrip(b"\0")
        if name == path.encode() and UNIX_DIAG_RQLEN in attributes:
            found.append(struct.unpack_from("=II", attributes[UNIX_DIAG_RQLEN])[1])
    return found


def _dump(request: bytes) -> Iterator[bytes]:
    """The payload of each message that answers a dump request. Raises OSError."""
    size = _HEADER.size + len(request)
    header = _HEADER.pack(size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as link:
        link.settimeout(2.0)
        link.send(header + request)
        while True:
            block = link.recv(_REPLY_SIZE)
            if not block:
                return
            for kind, payload in _parts(block, _HEADER):
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", payload)[0], "netlink refused")
                yield payload


def _parts(block: bytes, header: struct.Struct) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of each message or attribute: its header begins with its length and type."""
    at = 0
    while at + header.size <= len(block):
        length, kind = header.unpack_from(block, at)[:2]
        if length < header.size:
            return
        yield kind, block[at + header.size : at + length]
        at += (length + 3) & ~3
