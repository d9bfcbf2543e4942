"""Which source address goes to which target, so that connect() never has to search. Pure.

The kernel picks the port of an outgoing connection for its triple (source address, destination
address, destination port). It looks first at the ports of the parity of the range's lower end and
only then at the others; once that first half of the range is used up for a triple, every further
connect walks over all of it (Linux: net/ipv4/inet_hashtables.c, __inet_hash_connect). So a plan
gives each triple at most half of the ephemeral range, and takes as many sources as that needs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint, SockAddrs, pack_ipv4, pack_many
from c1m.errors import LimitError, UsageError
from c1m.results.share import ALL, Share, Stretch
from c1m.units import format_number_of

SOURCES_MAX = 1 << 16
LOOPBACK_SPREAD = 4  # loopback sources cost nothing: use only this part of a triple's ports, since
# the nearer a triple comes to its end the longer the kernel's linear search for a free port
LOOPBACK_FIRST = int(ipaddress.IPv4Address("127.1.0.1"))
LOOPBACK_LAST = int(ipaddress.IPv4Address("127.254.255.254"))

Turns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AddressPlan:
    """Connection i goes from sources[(i // targets) % sources] to targets[i % targets].

    `sources` None: the kernel chooses. Connections below `apart_below` go to `apart`, a single one.
    `first`: what i is for this plan's first connection, where it has a part of a run's.
    `turns`: it goes to targets[turns[i % len(turns)]] instead.
    """

    targets: SockAddrs
    sources: SockAddrs | None = None
    apart: SockAddrs | None = None
    apart_below: int = 0
    first: int = 0
    turns: Turns | None = None

    @property
    def triples(self) -> int:
        """Pairs of a source and a target that are used."""
        return len(self.targets) * (1 if self.sources is None else len(self.sources))

    def rows(self, numbers: npt.NDArray[np.integer]) -> tuple[SockAddrs | None, SockAddrs]:
        """Sources and destinations of these connections (int[n], from 0)."""
        count = len(self.targets)
        places = self.first + numbers
        turns = self.turns
        which = places % count if turns is None else turns[places % len(turns)]
        destinations = self.targets.take(which)
        if self.apart is not None:
            rows = destinations.rows
            rows[numbers < self.apart_below] = self.apart.rows[0]
        if self.sources is None:
            return None, destinations
        return self.sources.take((places // count) % len(self.sources)), destinations


def parse_sources(text: str) -> list[str]:
    """`10.0.0.1`, `10.0.0.1,10.0.0.2`, `10.0.0.1-10.0.0.9`, `10.0.0.0/24` -> literal addresses.

    Of an IPv4 network the first and last address (network and broadcast) are left out. An address
    named twice is there once. Raises UsageError in one sentence.
    """
    found: list[str] = []
    for part in text.split(","):
        found.extend(_one_source(part.strip()))
        if len(found) > SOURCES_MAX:
            raise UsageError(f"{text!r} has more than {SOURCES_MAX:,} addresses.", "Use fewer.")
    if len({ipaddress.ip_address(a).version for a in found}) > 1:
        raise UsageError(f"{text!r} mixes IPv4 and IPv6.", "Use sources of the target's family.")
    return list(dict.fromkeys(found))


def _one_source(part: str) -> list[str]:
    try:
        if "/" in part:
            network = ipaddress.ip_network(part, strict=False)
            if network.num_addresses > SOURCES_MAX:
                raise UsageError(
                    f"The network {part} has more than {SOURCES_MAX:,} addresses.", "Use a part."
                )
            return [str(a) for a in network.hosts()]
        first, dash, last = part.partition("-")
        low = ipaddress.ip_address(first.strip())
        high = ipaddress.ip_address(last.strip()) if dash else low
    except ValueError:
        raise UsageError(
            f"{part!r} is not a source address.",
            "Write an address, FIRST-LAST or a network such as 10.0.0.0/24, separated by commas.",
        ) from None
    if low.version != high.version:
        raise UsageError(f"The range {part!r} mixes IPv4 and IPv6.")
    if int(high) < int(low):
        raise UsageError(f"The range {part!r} goes backwards.", f"Write {high}-{low} instead.")
    if int(high) - int(low) >= SOURCES_MAX:
        raise UsageError(f"The range {part!r} has more than {SOURCES_MAX:,} addresses.")
    return [str(ipaddress.ip_address(type(low)(n))) for n in range(int(low), int(high) + 1)]


def plan_addresses(
    connections: int,
    targets: Sequence[Endpoint],
    sources: Sequence[str],
    ports: int,
    stretch: Stretch = ALL,
    turns: Turns | None = None,
) -> AddressPlan:
    """Sources for `connections` to `targets`, `ports` usable ports a triple. With `turns` (see
    AddressPlan) there are as many as the target with the most turns needs.

    `sources` are literal addresses ([]: none given; on IPv4 loopback they come from 127.0.0.0/8).
    What is named twice counts once: it is the same triple. Of several load clients on one machine
    each has sources of its own, or where there are fewer than clients its share of the ports.
    Raises LimitError, saying how many do fit, when there are too few.
    """
    here = stretch.share.on_machine
    targets, sources = list(dict.fromkeys(targets)), list(dict.fromkeys(sources))
    family = targets[0].family
    if any(t.family != family for t in targets):
        raise UsageError("The targets mix address families.", "Load one family at a time.")
    if family == AF_UNIX:
        if sources:
            raise UsageError("A unix socket has no source addresses.", "Leave --source out.")
        return AddressPlan(_pack_unix(targets), first=stretch.first)
    packed = pack_many(family, [t.host for t in targets], [t.port for t in targets])
    ways = len(targets) if turns is None else max(round(len(turns) / np.bincount(turns).max()), 1)
    if ports < 1:
        raise LimitError(
            "The ephemeral port range is empty.", "Widen net.ipv4.ip_local_port_range."
        )
    needed = -(-connections // (max(ports // LOOPBACK_SPREAD, 1) * ways))
    rows = None
    if sources:
        sources, ports = _of_ours(sources, ports, here)
        source_family = AF_INET if ":" not in sources[0] else AF_INET6
        if source_family != family:
            raise UsageError(
                "The sources are not of the target's address family.",
                "Use IPv4 sources for an IPv4 target and IPv6 ones for an IPv6 target.",
            )
        rows = pack_many(family, sources, [0] * len(sources))
    elif (needed > 1 or here.of > 1) and _is_loopback4(targets):
        there = LOOPBACK_LAST - LOOPBACK_FIRST + 1
        needed, first = min(needed, here.count(there)), LOOPBACK_FIRST + here.first(there)
        numbers = np.arange(first, first + needed, dtype=np.uint32)
        rows = pack_ipv4(numbers, np.zeros(needed, np.uint16))
    else:
        ports = max(ports // here.of, 1)
    _check_enough(connections, 1 if rows is None else len(rows), targets, ports, ways)
    return AddressPlan(packed, rows, first=stretch.first, turns=turns)


def _of_ours(sources: list[str], ports: int, here: Share) -> tuple[list[str], int]:
    """Which sources a client of a machine takes, and how many ports of each."""
    if len(sources) >= here.of:
        return sources[here.index :: here.of], ports
    sharing = len(range(here.index % len(sources), here.of, len(sources)))
    return [sources[here.index % len(sources)]], max(ports // sharing, 1)


def _check_enough(
    connections: int, sources: int, targets: Sequence[Endpoint], ports: int, ways: int
) -> None:
    """Raise LimitError, with a remedy that is there: lo has one IPv6 address, ::1."""
    fits = sources * ways * ports
    if connections <= fits:
        return
    more_sources = -(-connections // (ports * ways))
    more_ports = -(-connections // (ports * sources))
    remedies = [
        f"Give {more_sources:,} source addresses with --source",
        f"let the server listen on {more_ports:,} ports",
        "widen net.ipv4.ip_local_port_range",
    ]
    if targets[0].family == AF_INET6 and all(t.host == "::1" for t in targets):
        remedies[0] = "Use 127.0.0.1, which has sources enough (::1 is lo's only IPv6 address)"
    raise LimitError(
        f"{connections:,} connections were asked for; "
        f"{format_number_of(sources, 'source address', 'source addresses')} and "
        f"{format_number_of(len(targets), 'target port')} carry {fits:,} "
        f"({ports:,} ports each, half of net.ipv4.ip_local_port_range, beyond which connect() "
        "becomes slow).",
        f"{', '.join(remedies[:-1])}, or {remedies[-1]}.",
    )


def _is_loopback4(targets: Sequence[Endpoint]) -> bool:
    return all(t.family == AF_INET and t.host.startswith("127.") for t in targets)


def _pack_unix(targets: Sequence[Endpoint]) -> SockAddrs:
    """Unix paths as rows of one length: the kernel stops at the first zero byte."""
    size = max(len(t.path.encode()) for t in targets) + 3
    rows = np.zeros((len(targets), size), np.uint8)
    for row, target in zip(rows, targets, strict=True):
        data = b"\x01\x00" + target.path.encode()
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return SockAddrs(AF_UNIX, rows)
