"""Addresses of peers, whatever family each is of."""

from __future__ import annotations

import ipaddress

import numpy as np

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, SOCKADDR_IN6
from c1m.engine.contract import Engine, Slots

ROW = 19  # bytes of an address that is kept: family, port, address


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


def packed(sockaddr: bytes) -> bytes:
    """A struct sockaddr as it is kept, in ROW bytes; of one without an address its family only."""
    if not sockaddr:
        return AF_UNIX.to_bytes(1, "big") + bytes(ROW - 1)
    family = sockaddr[:1]
    address = sockaddr[8:24] if family[0] == AF_INET6 else sockaddr[4:8]
    return (family + sockaddr[2:4] + address).ljust(ROW, b"\0")


def unpacked(row: bytes) -> bytes:
    """The struct sockaddr of what `packed` has made; b"" of one without an address."""
    family, port, address = row[:1] + b"\0", row[1:3], row[3:]
    if row[0] == AF_INET:
        return family + port + address[:4] + bytes(8)
    return family + port + bytes(4) + address + bytes(4) if row[0] == AF_INET6 else b""


def shown(sockaddr: bytes) -> str:
    """ "10.0.0.7:50123", "[2001:db8::7]:50123"; "unix" where there is no address."""
    host, port = address_of(sockaddr)
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}") if host else "unix"
