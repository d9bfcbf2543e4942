"""net.ipv4.tcp_rmem and tcp_wmem: least, first and greatest size of one socket's two buffers.

They are bounds, not allocations: an empty buffer takes no memory. So they stop no connection, but
they say how much a peer that does not read can make the kernel keep.
"""

from __future__ import annotations

from c1m.limits.check import OK, Finding, Fix, unknown
from c1m.limits.needs import PAGE_BYTES, Request
from c1m.limits.situation import Situation, Triple
from c1m.units import format_bytes

RMEM = "net.ipv4.tcp_rmem"
WMEM = "net.ipv4.tcp_wmem"
# Above this as the size at first, a few thousand busy connections hold gigabytes.
FIRST_MAX = 1 << 20


def rmem(request: Request, situation: Situation) -> Finding:
    """The receive buffers."""
    return _check(RMEM, "received and not read", situation.tcp_rmem_bytes, 131072)


def wmem(request: Request, situation: Situation) -> Finding:
    """The send buffers."""
    return _check(WMEM, "sent and not acknowledged", situation.tcp_wmem_bytes, 16384)


def _check(name: str, what: str, triple: Triple | None, first_usual: int) -> Finding:
    if triple is None:
        return unknown(name, name)
    least, first, most = triple
    have = " ".join(map(str, triple))
    text = f"One connection may come to hold {format_bytes(most)} {what}; a silent one holds none."
    if least >= PAGE_BYTES and PAGE_BYTES <= first <= FIRST_MAX:
        return Finding(name, OK, None, have)
    better = f"{max(least, PAGE_BYTES)} {first_usual} {max(most, first_usual)}"
    why = "smaller than a page" if min(least, first) < PAGE_BYTES else "large for many connections"
    return Finding(
        name,
        OK,
        None,
        have,
        text=f"The first or least size is {why}. {text}",
        remedy=f"sysctl -w {name}='{better}'",
        fixes=(Fix(name, better, f"the present one is {why}"),),
    )
