"""Addresses of peers, whatever family each is of."""

from __future__ import annotations

import ipaddress

import numpy as np

from c1m.addresses import AF_INET, AF_INET6, SOCKADDR_IN6
from c1m.engine.contract import Engine, Slots


def sockaddrs(engine: Engine, slots: Slots) -> list[bytes]:
    """As struct sockaddr; b"" where the kernel says none.

    Facts. Asked for more bytes than an address has, the kernel refuses; asked for fewer, it gives
    that much of it: its family at least.
    """
    names = engine.peers(slots, AF_INET)
    short = [
        at for at, name in enumerate(names)
        if int.from_bytes(name[:2], "little") == AF_INET6 and len(name) < SOCKADDR_IN6.itemsize
    ]  # fmt: skip
    if short:
        for at, name in zip(short, engine.peers(slots[np.array(short)], AF_INET6), strict=True):
            names[at] = name
    return names


def address_of(sockaddr: bytes) -> tuple[str, int]:
    """Host and port of a struct sockaddr; ("", 0) of one without."""
    family, port = int.from_bytes(sockaddr[:2], "little"), int.from_bytes(sockaddr[2:4], "big")
    if family == AF_INET:
        return str(ipaddress.IPv4Address(sockaddr[4:8])), port
    if family == AF_INET6:
        address = ipaddress.IPv6Address(sockaddr[8:24])
        mapped = address.ipv4_mapped
        return str(address) if mapped is None else f"::ffff:{mapped}", port
    return "", 0
