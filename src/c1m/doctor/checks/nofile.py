"""RLIMIT_NOFILE, the number of descriptors of one process: soft and hard.

With epoll every connection is a descriptor. With io_uring connections are direct descriptors, which
do not count; but one ring's table may not be larger than this limit, so a low one means more rings.
"""

from __future__ import annotations

from c1m.doctor import needs
from c1m.doctor.check import OK, Finding, bounded, unknown
from c1m.doctor.needs import Request
from c1m.doctor.situation import Situation


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
    if request.engine == "uring":
        text = (
            f"{needs.rings(request, have):,} ring(s) of at most {needs.ring_slots(have):,} slots: "
            "connections in io_uring do not count, but one ring holds no more than this limit."
        )
    else:
        text = "With epoll every connection is a descriptor of its process."
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
