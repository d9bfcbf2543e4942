"""fs.nr_open: the highest value that RLIMIT_NOFILE may be given."""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import Finding, Fix, bounded, unknown, with_room
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "fs.nr_open"


def check(request: Request, situation: Situation) -> Finding:
    """As the hard limit, one level up."""
    have = situation.nr_open
    if have is None:
        return unknown(NAME, NAME)
    value = with_room(needs.descriptors(request, situation.hard_nofile))
    return bounded(
        NAME,
        request,
        lambda r: needs.descriptors(r, situation.hard_nofile),
        have,
        unit="descriptors",
        remedy=f"sysctl -w {NAME}={value}, and then raise nofile.",
        fixes=(Fix(NAME, str(value), "lets RLIMIT_NOFILE be raised that far"),),
    )
