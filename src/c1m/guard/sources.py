"""How many connections each source has: an address of IPv4, a /64 of IPv6. Pure."""

from __future__ import annotations

from c1m.addresses import AF_INET6

V4_BYTES, V6_BYTES = 4, 8  # that say whose an address is: all of it, and the network of a site


def source_of(sockaddr: bytes) -> bytes:
    """The key of a struct sockaddr's source; b"" for a unix socket's, which is nobody's."""
    if not sockaddr:
        return b""
    if sockaddr[0] != AF_INET6:
        return sockaddr[4:8]
    mapped = sockaddr[8:20] == bytes(10) + b"\xff\xff"  # ::ffff:a.b.c.d (RFC 4291, 2.5.5.2)
    return sockaddr[20:24] if mapped else sockaddr[8 : 8 + V6_BYTES]


class Sources:
    """Counts by source. `most` of each may be open at once."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[bytes, int] = {}
        self._of: dict[int, bytes] = {}  # slot -> source

    def __len__(self) -> int:
        return len(self._counts)

    def take(self, slot: int, sockaddr: bytes) -> bool:
        """Whether this connection may stay; it counts from now on."""
        source = source_of(sockaddr)
        if not source:
            return True
        count = self._counts.get(source, 0)
        if count >= self._most:
            return False
        self._counts[source] = count + 1
        self._of[slot] = source
        return True

    def give_back(self, slot: int) -> None:
        """It has ended."""
        source = self._of.pop(slot, None)
        if source is None:
            return
        count = self._counts[source] - 1
        if count:
            self._counts[source] = count
        else:
            del self._counts[source]
