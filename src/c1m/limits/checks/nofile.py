"""RLIMIT_NOFILE, the number of descriptors of one process: soft and hard.

With epoll every connection is a descriptor. With io_uring connections are direct descriptors, which
do not count; but one ring's table may not be larger than this limit, so a low one means more rings.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, bounded, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import Situation


def soft(request: Request, situation: Situation) -> Finding:
    """Never short: a process may raise its soft limit to the hard one."""
    name = "nofile (soft)"
    if situation.nofile is None:
        return unknown(name, "/proc/self/limits")
    have, hard = situation.nofile
    text = ""
    if have < hard:
        text = f"c1m raises it to the hard limit ({hard:,}) by itself when it starts."
    return Finding(name, OK, None, have, "descriptors", text)


def hard(request: Request, situation: Situation) -> Finding:
    """Bounds the connections with epoll, the rings with io_uring."""
    name = "nofile (hard)"
    if situation.nofile is None:
        return unknown(name, "/proc/self/limits")
    have = situation.nofile[1]
    needed = needs.descriptors(request, have)
    text = "With epoll every connection is a descriptor of its process."
    if request.engine == "uring":
        text = "Connections in io_uring do not count; its rings do."
    remedy = (
        f"Give the process more: LimitNOFILE={needed} in its systemd unit, or "
        f"'* hard nofile {needed}' in /etc/security/limits.conf and a new login."
    )
    if request.engine == "epoll" and situation.uring_works:
        remedy += " Or use --engine uring, whose connections do not count."
    return bounded(
        name,
        request,
        lambda r: needs.descriptors(r, have),
        have,
        unit="descriptors",
        text=text,
        remedy=remedy,
    )


def rings(request: Request, situation: Situation) -> Finding | None:
    """How many rings the connections need, since one may hold no more than nofile."""
    if request.engine != "uring":
        return None
    if situation.nofile is None:
        return unknown("rings", "/proc/self/limits")
    limit = situation.nofile[1]
    return bounded(
        "rings",
        request,
        lambda r: needs.rings(r, limit),
        needs.rings_max(limit),
        unit="rings",
        text=f"One ring holds {needs.ring_slots(limit):,} connections here: not more than nofile "
        f"(hard), nor than {needs.RING_SLOTS_MAX:,}.",
        remedy=f"Raise nofile to {-(-request.connections // needs.RINGS_MAX)} or more, which makes "
        f"rings larger; one process holds at most {needs.RING_SLOTS_TOTAL_MAX:,} connections.",
    )
