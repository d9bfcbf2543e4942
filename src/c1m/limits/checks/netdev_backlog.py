"""net.core.netdev_max_backlog: packets that wait for a CPU to take them in.

Loopback, veth (containers) and packet steering (RPS) put packets into a queue a CPU; a NIC's own
driver mostly does not. What does not fit is dropped without a word and comes back 200 ms or more
later, a SYN after 1 s. A sender on loopback empties the queue itself as it goes, so 1,000 is enough
there: 20,000 connections at once dropped nothing. With lo steered to another core a million
connections overflowed it (docs/explanation/kernel-facts.md). So only drops are evidence.
"""

from __future__ import annotations

from c1m.limits.check import OK, Finding, Fix
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

NAME = "net.core.netdev_max_backlog"
ENOUGH = 100_000  # a queue takes memory only for what waits in it


def check(request: Request, situation: Situation) -> Finding | None:
    """Never short; what would be better where packets have been dropped.

    None where the sysctl is not there: it is the whole machine's, and containers do not see it.
    """
    have = situation.netdev_max_backlog
    if have is None:
        return None
    text, remedy = "", ""
    fixes: tuple[Fix, ...] = ()
    if situation.softnet_dropped:
        text = (
            f"{situation.softnet_dropped:,} packets have found it full since the machine started, "
            "and were dropped."
        )
        if have < ENOUGH:
            remedy = f"sysctl -w {NAME}={ENOUGH}"
            fixes = (Fix(NAME, str(ENOUGH), "a burst of packets finds room"),)
    return Finding(NAME, OK, None, have, "packets", text, remedy, fixes=fixes)
