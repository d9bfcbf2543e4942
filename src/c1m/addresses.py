"""Endpoints as text and socket addresses as rows of bytes, without a system call.

`Endpoint` is one place to listen on or to connect to; `SockAddrs` is a column of struct sockaddr in
the kernel's layout, so that a million of them is one array (Linux: include/uapi/linux/in.h, in6.h,
un.h; ports and addresses are in network byte order).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from c1m.errors import UsageError

AF_UNIX = 1
AF_INET = 2
AF_INET6 = 10

SOCKADDR_IN = np.dtype([("family", "<u2"), ("port", ">u2"), ("addr", ">u4"), ("zero", "S8")])
SOCKADDR_IN6 = np.dtype(
    [("family", "<u2"), ("port", ">u2"), ("flow", ">u4"), ("addr", "V16"), ("scope", "<u4")]
)
SUN_PATH_MAX = 107  # sizeof(sun_path) less the closing zero
SOCKADDR_UN = np.dtype([("family", "<u2"), ("path", "S108")])
assert (SOCKADDR_IN.itemsize, SOCKADDR_IN6.itemsize, SOCKADDR_UN.itemsize) == (16, 28, 110)

PLAIN_SCHEMES = ("tcp", "http", "redis")
TLS_SCHEMES = ("tls", "https", "rediss")  # the same over TLS
PROXIED = "+proxy"  # behind the scheme of what is listened on: a PROXY header comes first

PORTS_MAX = 4096  # listeners one range may ask for

_TCP = re.compile(r"(\[[^\]]*\]|[^:/\[\]\s]*):([0-9]{1,9})(?:-([0-9]{1,9}))?/?")
# The last label is a number: decimal, octal or hexadecimal.
_NUMERIC = re.compile(r"(?:^|\.)(?:[0-9]+|0[xX][0-9a-fA-F]*)\.?$")
_FORMS = (
    "Write tcp://HOST:PORT (or HOST:PORT), tcp://HOST:FIRST-LAST, tcp://[IPV6]:PORT or "
    "unix:///path; over TLS tls://HOST:PORT."
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A place to listen on or connect to: `family` and either host and port, or path."""

    family: int
    host: str = ""
    port: int = 0
    path: str = ""
    scheme: str = field(default="tcp", compare=False)  # as it was written
    is_proxied: bool = field(default=False, compare=False)  # connections begin with a PROXY header
    keepalive_s: int = field(default=0, compare=False)  # silent so long, a peer is probed; 0: never
    untaken_ms: int = field(default=0, compare=False)  # TCP_USER_TIMEOUT of connections; 0: none
    mode: int | None = field(default=None, compare=False)  # of a unix socket's file; the umask's
    group: str = field(default="", compare=False)  # the same: its group; the process's

    @property
    def is_tls(self) -> bool:
        """Whether TLS is spoken there."""
        return self.scheme in TLS_SCHEMES

    def __str__(self) -> str:
        scheme = "unix" if self.family == AF_UNIX else self.scheme
        host = f"[{self.host}]" if self.family == AF_INET6 else self.host
        place = self.path if self.family == AF_UNIX else f"{host}:{self.port}"
        return f"{scheme}{PROXIED * self.is_proxied}://{place}"


@dataclass(frozen=True, slots=True)
class ListeningSocket:
    """A socket that listens already; whoever made it closes it."""

    fd: int
    endpoint: Endpoint

    @property
    def family(self) -> int:
        """Of its addresses."""
        return self.endpoint.family


@dataclass(frozen=True, slots=True)
class SockAddrs:
    """n socket addresses of one family: `rows` uint8[n, size], `size` as the kernel is told."""

    family: int
    rows: npt.NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Bytes of one address."""
        return int(self.rows.shape[1])

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: npt.NDArray[np.integer] | slice) -> SockAddrs:
        """Some of the rows, in the order of `indices`."""
        return SockAddrs(self.family, self.rows[indices])


def parse_url(text: str) -> tuple[str, str, int, int]:
    """An endpoint's text -> (scheme, host or path, first port, last port); ports 0 for unix.

    A scheme may be written in capitals; without one it is tcp. The host may be a name: who resolves
    it is the caller. Raises UsageError in one sentence.
    """
    if not text.isprintable():  # a zero byte, a line break, bytes that are no text
        raise UsageError(f"{text!r} is not an endpoint.", _FORMS)
    scheme, separator, place = text.partition("://")
    scheme, place = (scheme.lower(), place) if separator else ("tcp", text)
    if scheme == "unix":
        path, size = place, len(place.encode())
        if not path.startswith("/"):
            raise UsageError(f"{text!r} has no absolute path.", "Write unix:///run/c1m.sock.")
        if size > SUN_PATH_MAX:
            raise UsageError(
                f"The path of {text!r} has {size} bytes; the kernel takes {SUN_PATH_MAX}.",
                "Use a shorter path.",
            )
        return "unix", path, 0, 0
    if scheme in ("ws", "wss"):
        raise UsageError(
            f"The scheme of {text!r} is none of an endpoint.",
            f"Write http{scheme[2:]}://HOST:PORT; WebSockets come there, too.",
        )
    if scheme not in PLAIN_SCHEMES + TLS_SCHEMES:  # what is spoken there is the server's affair
        raise UsageError(f"The scheme of {text!r} is unknown.", _FORMS)
    match = _TCP.fullmatch(place)
    if match is None:
        raise UsageError(f"{text!r} is not an endpoint.", _FORMS)
    host = match[1].strip("[]")
    first = int(match[2])
    last = int(match[3]) if match[3] is not None else first
    if not host:
        raise UsageError(
            f"{text!r} names no host.", "Use tcp://0.0.0.0:PORT for all addresses of this host."
        )
    _check_host(host)
    if max(first, last) > 65535:
        raise UsageError(f"Port {max(first, last)} in {text!r} is above 65535.", _FORMS)
    if last < first:
        raise UsageError(
            f"The port range of {text!r} goes backwards.", f"Write {last}-{first} instead."
        )
    if match[3] is not None and first == 0:
        raise UsageError(f"The port range of {text!r} starts at 0.", "Start it at 1 or above.")
    if last - first >= PORTS_MAX:
        raise UsageError(
            f"The port range of {text!r} has {last - first + 1} ports; at most {PORTS_MAX} can be "
            "listened on.",
            "Use fewer ports: one is enough for a million connections.",
        )
    return scheme, host, first, last


def family_of(host: str) -> int | None:
    """AF_INET or AF_INET6 for a literal address; None for a name."""
    try:
        return AF_INET if ipaddress.ip_address(host.partition("%")[0]).version == 4 else AF_INET6
    except ValueError:
        return None


def _check_host(host: str) -> None:
    """Raise UsageError for a host of numbers that is no address as everybody writes it.

    No name ends in a number (RFC 1123, 2.1), and the C library reads 010.0.0.1 as 8.0.0.1 (octal),
    127.1 as 127.0.0.1 and 1 as 0.0.0.1.
    """
    if _NUMERIC.search(host) and family_of(host) is None:
        raise UsageError(
            f"{host!r} is not an address.",
            "Write four numbers of 0 to 255, without zeros before them: 127.0.0.1.",
        )


def pack(endpoint: Endpoint) -> bytes:
    """One endpoint as struct sockaddr, as long as the kernel wants it."""
    if endpoint.family == AF_UNIX:
        path = endpoint.path.encode()
        return np.array((AF_UNIX, path), SOCKADDR_UN).tobytes()[: 2 + len(path) + 1]
    return bytes(pack_many(endpoint.family, [endpoint.host], [endpoint.port]).rows[0])


def pack_many(family: int, hosts: list[str], ports: list[int]) -> SockAddrs:
    """Literal addresses and ports, pairwise, as rows. Raises ValueError for a bad literal."""
    if family == AF_INET:
        numbers = np.array([int(ipaddress.IPv4Address(h)) for h in hosts], np.uint32)
        return pack_ipv4(numbers, np.asarray(ports, np.uint16))
    rows = np.zeros(len(hosts), SOCKADDR_IN6)
    rows["family"] = AF_INET6
    rows["port"] = ports
    packed = b"".join(ipaddress.IPv6Address(h.partition("%")[0]).packed for h in hosts)
    rows["addr"] = np.frombuffer(packed, "V16")
    return SockAddrs(AF_INET6, rows.view(np.uint8).reshape(len(rows), SOCKADDR_IN6.itemsize))


def pack_ipv4(addresses: npt.NDArray[np.uint32], ports: npt.NDArray[np.uint16]) -> SockAddrs:
    """IPv4 addresses as numbers (127.0.0.1 is 0x7F000001) and ports, pairwise, as rows."""
    rows = np.zeros(len(addresses), SOCKADDR_IN)
    rows["family"] = AF_INET
    rows["port"] = ports
    rows["addr"] = addresses
    return SockAddrs(AF_INET, rows.view(np.uint8).reshape(len(rows), SOCKADDR_IN.itemsize))


def unpack(family: int, row: bytes) -> Endpoint:
    """The endpoint that a struct sockaddr says."""
    if family == AF_UNIX:
        return Endpoint(AF_UNIX, path=row[2:].split(b"\0", 1)[0].decode())
    port = int.from_bytes(row[2:4], "big")
    if family == AF_INET:
        return Endpoint(AF_INET, str(ipaddress.IPv4Address(row[4:8])), port)
    return Endpoint(AF_INET6, str(ipaddress.IPv6Address(row[8:24])), port)
