"""net.ipv4.tcp_mem: pages of data that all TCP sockets may hold together.

A silent connection holds none. A socket with a message unread is accounted one page, however short
the message. Past the third number the kernel takes only the first segment of an empty queue and
resets closing connections that still have output, so things get slow before they fail.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import Finding, Fix, bounded, unknown, with_room
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "net.ipv4.tcp_mem"


def check(request: Request, situation: Situation) -> Finding:
    """Room for an unread message on one connection in eight; a note when all do not fit."""
    if situation.tcp_mem_pages is None:
        return unknown(NAME, NAME)
    low, pressure, have = situation.tcp_mem_pages
    all_at_once = needs.tcp_mem_pages_stampede(request)
    value = with_room(max(all_at_once, have))
    text = ""
    if have < all_at_once:
        text = (
            f"Silent connections need none. Should all {request.connections:,} have a message "
            "unread at the same moment, the kernel takes one segment of each; more has to wait."
        )
    triple = f"{max(low, value // 2)} {max(pressure, value * 3 // 4)} {value}"
    return bounded(
        NAME,
        request,
        needs.tcp_mem_pages,
        have,
        unit="pages",
        text=text,
        remedy=f"sysctl -w {NAME}='{triple}'",
        fixes=(Fix(NAME, triple, "room for unread data of all connections at once"),),
    )
