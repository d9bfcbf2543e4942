"""net.netfilter.nf_conntrack_max and the time-out of an established connection.

Connection tracking drops packets of new connections when its table is full ("nf_conntrack: table
full" in the kernel's log). It is active only where a firewall rule or NAT needs it: then every TCP
connection has an entry, loopback included, so sockets without a single entry mean that it is idle.
"""

from __future__ import annotations

from c1m.limits import needs
from c1m.limits.check import OK, Finding, Fix, bounded, unknown, with_room
from c1m.limits.needs import Request
from c1m.limits.situation import Situation
from c1m.units import NS_PER_S, format_duration

MAX = "net.netfilter.nf_conntrack_max"
TIMEOUT = "net.netfilter.nf_conntrack_tcp_timeout_established"
# Silent connections of an hour are common; a shorter time-out cuts them off without a word.
TIMEOUT_LEAST_S = 3600


def table(request: Request, situation: Situation) -> Finding:
    """The table's size, where it is in use."""
    if not situation.has_conntrack:
        return Finding(MAX, OK, 0, "not loaded", text="No connection is tracked here.")
    if situation.conntrack_max is None or situation.conntrack_count is None:
        return unknown(MAX, MAX)
    used = situation.conntrack_count
    if used == 0:
        text = "Loaded but tracking nothing: no rule uses it."
        return Finding(MAX, OK, 0, situation.conntrack_max, "entries", text)
    value = with_room(needs.conntrack_entries(request) + used)
    return bounded(
        MAX,
        request,
        needs.conntrack_entries,
        max(0, situation.conntrack_max - used),
        unit="entries",
        text=f"{used:,} of {situation.conntrack_max:,} are taken.",
        remedy=f"sysctl -w {MAX}={value} (about 320 bytes each), or a 'notrack' rule for the port.",
        fixes=(Fix(MAX, str(value), "one entry for each connection"),),
    )


def timeout(request: Request, situation: Situation) -> Finding | None:
    """How long a silent connection is remembered; only where the table is in use."""
    if not situation.has_conntrack or not situation.conntrack_count:
        return None
    have = situation.conntrack_established_s
    if have is None:
        return unknown(TIMEOUT, TIMEOUT)
    span = format_duration(have * NS_PER_S)
    if have >= TIMEOUT_LEAST_S:
        text = f"A connection silent for {span} is forgotten."
        return Finding(TIMEOUT, OK, TIMEOUT_LEAST_S, have, "seconds", text)
    return Finding(
        TIMEOUT,
        OK,
        TIMEOUT_LEAST_S,
        have,
        "seconds",
        f"A connection silent for {span} is forgotten, and may then be cut off.",
        f"sysctl -w {TIMEOUT}=86400, or have clients send something more often.",
        fixes=(Fix(TIMEOUT, "86400", "silent connections are remembered for a day"),),
    )
