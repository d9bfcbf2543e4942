"""Connection tracking: the size of its table, and how long it remembers a silent connection.

It drops packets of new connections when its table is full ("nf_conntrack: table full" in the
kernel's log). It is active only where a firewall rule or NAT needs it: then every TCP connection
has an entry, loopback included, so sockets without a single entry mean that it is idle.
"""

from __future__ import annotations

from collections.abc import Iterable

from c1m.limits.limit import (
    NO_ANSWER,
    OK,
    Bound,
    Counter,
    Evidence,
    Finding,
    Gauge,
    Limit,
    Situation,
    Wall,
    numbers,
    set_sysctl,
)
from c1m.limits.needs import Request
from c1m.units import NS_PER_S, format_count, format_duration

MAX = "net.netfilter.nf_conntrack_max"
COUNT = "net.netfilter.nf_conntrack_count"
TIMEOUT_LEAST_S = 3600  # silent connections of an hour are common


class Conntrack(Bound):
    """net.netfilter.nf_conntrack_max: the size of the table, where connections are tracked."""

    name = MAX
    sysctls = (MAX,)
    usage = COUNT
    taken = "are taken"
    unit = "entries"
    why = "one entry for each connection"
    then = " (about 320 bytes each), or a 'notrack' rule for the port."
    kind = "conntrack"
    near_share = 0.05  # other connections have entries in the same table
    remedy = "Raise net.netfilter.nf_conntrack_max, or add a 'notrack' rule for the server's port."
    remedy_elsewhere = (
        "Look at net.netfilter.nf_conntrack_count and nf_conntrack_max on the server, the client "
        "and what is between; raise the table or add a 'notrack' rule."
    )
    counters = (
        Counter(
            "Conntrack.drop",
            "connection tracking dropped a packet: its table was full",
            explains=(*NO_ANSWER, "connect EPERM", "open ETIMEDOUT"),
            is_alarm=True,
        ),
        Counter(
            "Conntrack.early_drop",
            "connection tracking threw out an unconfirmed connection to make room: its table was "
            "full",
            explains=(*NO_ANSWER, "open ETIMEDOUT"),
            is_alarm=True,
        ),
        Counter(
            "Conntrack.insert_failed",
            "connection tracking could not enter a connection: another had the same addresses and "
            "ports",
            "With NAT: more addresses to translate to, or `--random-fully`.",
            explains=NO_ANSWER,
            is_alarm=True,
        ),
    )
    gauge = Gauge(
        "Conntrack.count", "connections that connection tracking knows; 0: no rule uses it"
    )
    usual = {
        at: f"{at:,} is a usual nf_conntrack_max: connection tracking drops new ones."
        for at in (65_536, 131_072, 262_144)
    }

    def find(self, request: Request, situation: Situation) -> Finding | None:
        most, used = situation.number(MAX), situation.number(COUNT)
        if most is None:
            text = "No connection is tracked here."
            return Finding(self.name, OK, 0, "not loaded", text=text)
        if used == 0:
            return self.finding(most, "Loaded but tracking nothing: no rule uses it.", needed=0)
        return super().find(request, situation)

    def needed(self, request: Request, situation: Situation) -> int:
        return request.connections  # also when both ends are here

    def own_walls(self, evidence: Evidence) -> Iterable[Wall]:
        tracked = evidence.gauges.get(self.gauge.name, 0)
        for most in numbers(evidence.metadata.sysctls, MAX):
            cause = (
                f"{MAX} is {format_count(most)} here and {format_count(tracked)} were taken: new "
                "connections are dropped."
            )
            wall = self.wall(most, cause)
            if tracked and tracked >= most - wall.below:
                yield wall

    def is_ruled_out(self, evidence: Evidence) -> bool:
        is_idle = bool(evidence.gauges) and not evidence.gauges.get(self.gauge.name)
        return is_idle and bool(evidence.is_server_here)


class ConntrackTimeout(Limit):
    """How long connection tracking remembers a silent connection, where it is in use."""

    name = "net.netfilter.nf_conntrack_tcp_timeout_established"
    sysctls = (name,)
    is_recorded = False
    unit = "seconds"

    def applies(self, request: Request, situation: Situation) -> bool:
        return situation.number(MAX) is not None and bool(situation.number(COUNT))

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        text = f"A connection silent for {format_duration(have * NS_PER_S)} is forgotten"
        if have >= TIMEOUT_LEAST_S:
            return self.finding(have, f"{text}.", needed=TIMEOUT_LEAST_S)
        why = "silent connections are remembered for a day"
        then = ", or have clients send something more often."
        advice = set_sysctl(self.name, 86400, why, then)
        text += ", and may then be cut off."
        return self.finding(have, text, advice, needed=TIMEOUT_LEAST_S)


LIMITS = (Conntrack(), ConntrackTimeout())
