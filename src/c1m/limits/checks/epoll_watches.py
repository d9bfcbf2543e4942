"""fs.epoll.max_user_watches: descriptors that one user may watch by epoll."""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import Finding, Fix, bounded, unknown, with_room
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "fs.epoll.max_user_watches"


def check(request: Request, situation: Situation) -> Finding | None:
    """With the epoll engine only; both ends are taken to run as one user."""
    if request.engine != "epoll":
        return None
    have = situation.epoll_watches_max
    if have is None:
        return unknown(NAME, NAME)
    value = with_room(needs.epoll_watches(request))
    return bounded(
        NAME,
        request,
        needs.epoll_watches,
        have,
        unit="watches",
        remedy=f"sysctl -w {NAME}={value}",
        fixes=(Fix(NAME, str(value), "epoll watches every connection"),),
    )
