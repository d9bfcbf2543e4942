"""Networks of addresses, and who is in one of them. Pure.

Facts. On a socket of IPv6 a client of IPv4 has a mapped address, ::ffff:a.b.c.d (RFC 4291,
2.5.5.2). Here that is the address a.b.c.d, in networks and of clients. So ::/0 is all of IPv6, and
nobody of IPv4.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable

from c1m.addresses import AF_INET, AF_INET6
from c1m.errors import UsageError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NO_ADDRESS = -1
_V4 = 1 << 128  # addresses of IPv4 as numbers are from here on
_MAPPED = bytes(10) + b"\xff\xff"
_MAPPED_BITS = 96


def network_of(text: str, option: str) -> Network:
    """An address or a network, as it was written. Raises UsageError, which names the option."""
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise UsageError(
            f"{text!r} in {option} is no address and no network.",
            "Write 10.0.0.7, 10.0.0.0/8 or 2001:db8::/32.",
        ) from None


def number_of(sockaddr: bytes) -> int:
    """The address in a struct sockaddr as a number: of IPv6 itself, of IPv4 from 1 << 128 on."""
    family = int.from_bytes(sockaddr[:2], "little")
    if family == AF_INET:
        return _V4 | int.from_bytes(sockaddr[4:8], "big")
    if family != AF_INET6:
        return NO_ADDRESS
    address = sockaddr[8:24]
    if address.startswith(_MAPPED):
        return _V4 | int.from_bytes(address[12:], "big")
    return int.from_bytes(address, "big")


class Networks:
    """Some networks. Asking takes the same time whether there is one or ten thousand."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(_span(network) for network in networks):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def have(self, number: int) -> bool:
        """Whether one of them has this address (`number_of`)."""
        at = bisect_right(self._starts, number) - 1
        return at >= 0 and number < self._ends[at]


def _span(network: Network) -> tuple[int, int]:
    """Its first address as a number, and the one behind its last."""
    start, size = int(network.network_address), network.num_addresses
    if isinstance(network, ipaddress.IPv4Network):
        return _V4 | start, (_V4 | start) + size
    mapped = network.network_address.ipv4_mapped
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return _V4 | int(mapped), (_V4 | int(mapped)) + size
    return start, start + size
