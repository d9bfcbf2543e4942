"""net.ipv4.ip_local_reserved_ports against the ports that are listened on.

A port inside the ephemeral range can be taken by any outgoing connection; listening on it then
fails with EADDRINUSE until that connection is gone, up to a minute later.
"""

from __future__ import annotations

from c1m.limits.check import OK, Finding, unknown
from c1m.limits.checks import local_ports
from c1m.limits.needs import Request
from c1m.limits.situation import Situation, format_ports

NAME = local_ports.RESERVED


def check(request: Request, situation: Situation) -> Finding | None:
    """For the listening end only; never short, since it bounds no number."""
    if not request.has_server:
        return None
    if situation.port_range is None:
        return unknown(NAME, local_ports.NAME)
    low, high = situation.port_range
    exposed = tuple(
        (port, port)
        for port in request.listen_ports
        if low <= port <= high
        and not any(first <= port <= last for first, last in situation.reserved_ports)
    )
    have = format_ports(situation.reserved_ports) or "none"
    if not exposed:
        return Finding(NAME, OK, "none", have)
    fix = local_ports.reserve(request, situation.reserved_ports)
    return Finding(
        NAME,
        OK,
        format_ports(exposed),
        have,
        text=f"A client can take {format_ports(exposed)}, inside {low}-{high}, before the server.",
        remedy=f"sysctl -w {NAME}={fix.value}, or listen below {low}.",
        fixes=(fix,),
    )
