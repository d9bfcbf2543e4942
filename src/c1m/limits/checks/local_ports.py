"""net.ipv4.ip_local_port_range: the ports that a client's connections leave from.

A connection is told from others by source, destination and both ports. connect() finds a local port
quickly until half of the range is used for one (source, destination, port) triple, and then scans
that half for each further connect: 47,000/s become 340/s. So only half is counted.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, SHORT, Finding, Fix, bounded, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import PortRanges, Situation, format_ports

NAME = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
WIDEST = (1024, 65535)


def check(request: Request, situation: Situation) -> Finding | None:
    """For the connecting end only."""
    if not request.has_client:
        return None
    if situation.port_range is None:
        return unknown(NAME, NAME)
    low, high = situation.port_range
    quick = needs.ports_before_scan(low, high, situation.reserved_ports)
    have = request.sources * len(request.listen_ports)
    remedy, fixes = _remedy(request, situation, have)
    text = f"{low}-{high}: {quick:,} connections for each pair of source address and target port"
    if quick == 0:
        remedy = remedy or f"Take ports out of {RESERVED}."
        verdict = SHORT if request.connections else OK
        return Finding(NAME, verdict, None, 0, "ports", text + ".", remedy, 0, fixes)
    if request.sources == needs.LOOPBACK_SOURCES:
        text += "; on loopback 127.0.0.0/8 gives the sources by itself."
    else:
        text += f"; {request.sources:,} source(s), {len(request.listen_ports):,} port(s)."
    return bounded(
        NAME,
        request,
        lambda r: needs.triples(r, quick),
        have,
        unit="pairs",
        text=text,
        remedy=remedy,
        fixes=fixes,
    )


def _remedy(request: Request, situation: Situation, have: int) -> tuple[str, tuple[Fix, ...]]:
    """Widen the range where that gives more; what it cannot give, further addresses must."""
    widest = needs.ports_before_scan(*WIDEST, situation.reserved_ports)
    low, high = situation.port_range or WIDEST
    words, fixes = [], []
    if low > WIDEST[0] or high < WIDEST[1]:
        value = f"{WIDEST[0]} {WIDEST[1]}"
        words.append(f"sysctl -w {NAME}='{value}'.")
        quick = needs.ports_before_scan(low, high, situation.reserved_ports)
        why = f"{widest:,} instead of {quick:,} connections for each source and target port"
        fixes.append(Fix(NAME, value, why))
        if request.has_server:  # its ports would lie in the wider range
            fixes.append(reserve(request, situation.reserved_ports))
    if widest and needs.triples(request, widest) > have:
        pairs = needs.triples(request, widest)
        words.append(
            f"Use {pairs:,} pairs of a source address and a target port: listen on "
            f"{-(-pairs // request.sources):,} ports, or have more addresses: --sources "
            f"{-(-pairs // len(request.listen_ports))} (load: --source)."
        )
    return " ".join(words), tuple(fixes)


def reserve(request: Request, reserved: PortRanges) -> Fix:
    """Keep connect() from taking the listening ports, and keep what is reserved already."""
    ports = tuple((port, port) for port in request.listen_ports)
    return Fix(RESERVED, format_ports(reserved + ports), "no client then takes a listening port")
