"""Ports: those that a client's connections leave from, and those that are listened on.

A connection is told from others by source, destination and both ports. connect() takes ports of the
low bound's parity first. When they are used up for one (source, destination, port) triple it scans
that whole half again for each further connection (inet_hash_connect): 47,000/s become 340/s. So the
doctor counts only half of the ephemeral range.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from c1m.limits import needs
from c1m.limits.limit import (
    SHORT,
    Advice,
    Bound,
    Evidence,
    Finding,
    Fix,
    Limit,
    Situation,
    Wall,
    numbers,
    set_sysctl,
)
from c1m.limits.needs import Request
from c1m.units import format_count, format_number_of

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
DEFAULT_RANGE = (32768, 60999)
WIDEST = (1024, 65535)

SLOW_NEAR = 1000  # connections: a ramp is measured in steps of so many
SLOW_NEAR_SHARE = 0.01  # triples fill up not quite evenly
MULTIPLES_MAX = 64  # of half a range; above, every number is near a multiple

PortRanges = tuple[tuple[int, int], ...]


def parse_ports(text: str) -> PortRanges:
    """The kernel's list form, `8001,9000-9010`, as sorted pairs of first and last port."""
    pairs = []
    for part in text.replace(",", " ").split():
        first, _, last = part.partition("-")
        if first.isdigit() and (last or first).isdigit():
            pairs.append((int(first), int(last or first)))
    return tuple(sorted(pairs))


def format_ports(ranges: PortRanges) -> str:
    """Pairs of first and last port as the kernel writes them: sorted, joined where they touch."""
    joined: list[list[int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in joined)


def ports_before_scan(low: int, high: int, reserved: PortRanges = ()) -> int:
    """Local ports that connect() finds quickly for one (source, destination, port) triple.

    `low`..`high` inclusive; those of the low bound's parity (half of them), without the reserved
    ones (pairs of first and last port that do not overlap).
    """
    count = max(0, high - low + 1) // 2
    last_quick = low + 2 * count - 1
    for first, last in reserved:
        start, end = max(first, low), min(last, last_quick)
        start += (start - low) % 2
        if start <= end:
            count -= (end - start) // 2 + 1
    return max(0, count)


class Ephemeral(NamedTuple):
    """The ports that connect() takes by itself: `low` to `high` without the reserved ones."""

    low: int
    high: int
    reserved: PortRanges

    @classmethod
    def of(cls, sysctls: Mapping[str, str]) -> Ephemeral:
        """This machine's; the default range where it is not known."""
        low, high = numbers(sysctls, RANGE) or DEFAULT_RANGE
        return cls(low, high, parse_ports(sysctls.get(RESERVED, "")))

    @property
    def quick(self) -> int:
        """How many of them connect() finds quickly for one source and target."""
        return ports_before_scan(*self)

    def __str__(self) -> str:
        return f"{self.low}-{self.high}"


def triples(connections: int, quick: int) -> int:
    """(source, destination, port) triples needed so that none passes `quick` ports (> 0)."""
    return -(-connections // quick)


def _reserve(request: Request, situation: Situation, then: str = "") -> Advice:
    """Keep connect() from taking the listening ports, and keep what is reserved already."""
    ports = tuple((port, port) for port in request.listen_ports)
    value = format_ports(Ephemeral.of(situation.sysctls).reserved + ports)
    return set_sysctl(RESERVED, value, "no client then takes a listening port", then)


class LocalPorts(Bound):
    """net.ipv4.ip_local_port_range: the ports that a client's connections leave from."""

    name = RANGE
    sysctls = (RANGE, RESERVED)
    unit = "pairs"
    end = "client"
    kind = "ports"
    near_share = 0.002  # ports that others use or that rest in TIME_WAIT
    remedy = (
        "Give more sources (--source), let the server listen on more ports, or widen "
        "net.ipv4.ip_local_port_range."
    )
    remedy_elsewhere = (
        "Is there a proxy or a NAT between? It needs a source port for each connection too: give "
        "it more addresses on the far side, or widen its net.ipv4.ip_local_port_range."
    )
    errnos = {
        "EADDRNOTAVAIL": "no free local port is left for that source and destination, or the "
        "source address is not of this machine"
    }
    usual = {
        14_116: "14,116 is half of the default ephemeral range 32768-60999: from there on "
        "connect() searches, for one source and target.",
        28_232: "28,232 is the default ephemeral range 32768-60999, for one source and target.",
        32_256: "32,256 is half of the range 1024-65535: from there on connect() searches, for one "
        "source and target.",
        64_512: "64,512 is the range 1024-65535, for one source and target.",
        65_535: "65,535 ports are all that one source address has for one target.",
        967_680: "967,680 is 30 x 32,256: half of the range 1024-65535 for each of 30 targets.",
    }

    def have(self, request: Request, situation: Situation) -> int | None:
        return request.sources * len(request.listen_ports) if situation.numbers(RANGE) else None

    def needed(self, request: Request, situation: Situation) -> int:
        return triples(request.connections, Ephemeral.of(situation.sysctls).quick)

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        if Ephemeral.of(situation.sysctls).quick:
            return super().judge(have, request, situation)
        text = self._each(situation) + "."
        advice = self.advice(request, situation)
        if not advice.remedy:
            advice = Advice(f"Take ports out of {RESERVED}.")
        return self.finding(0, text, advice, verdict=SHORT, fits=0)

    def _each(self, situation: Situation) -> str:
        own = Ephemeral.of(situation.sysctls)
        return f"{own}: {own.quick:,} connections for each pair of source address and target port"

    def note(self, request: Request, situation: Situation) -> str:
        if request.sources == needs.LOOPBACK_SOURCES:
            pairs = "on loopback 127.0.0.0/8 gives the sources by itself"
        else:
            pairs = (
                f"{format_number_of(request.sources, 'source')}, "
                f"{format_number_of(len(request.listen_ports), 'port')}"
            )
        return f"{self._each(situation)}; {pairs}."

    def advice(self, request: Request, situation: Situation) -> Advice:
        """Widen the range where that gives more; what it cannot give, further addresses must."""
        own = Ephemeral.of(situation.sysctls)
        widest = ports_before_scan(*WIDEST, own.reserved)
        words, fixes = list[str](), list[Fix]()
        if own.low > WIDEST[0] or own.high < WIDEST[1]:
            why = f"{widest:,} instead of {own.quick:,} connections for each source and target port"
            advice = set_sysctl(RANGE, "{} {}".format(*WIDEST), why, ".")
            words.append(advice.remedy)
            fixes += advice.fixes
            if request.has_server:  # its ports would lie in the wider range
                fixes += _reserve(request, situation).fixes
        pairs = triples(request.connections, widest) if widest else 0
        if pairs > request.sources * len(request.listen_ports):
            words.append(
                f"Use {pairs:,} pairs of a source address and a target port: listen on "
                f"{-(-pairs // request.sources):,} ports, or have more addresses: --sources "
                f"{-(-pairs // len(request.listen_ports))} (load: --source)."
            )
        return Advice(" ".join(words), tuple(fixes))

    def own_walls(self, evidence: Evidence) -> Iterable[Wall]:
        if not numbers(evidence.metadata.sysctls, RANGE):
            return
        own, pairs = Ephemeral.of(evidence.metadata.sysctls), evidence.triples or 1
        of = f"{format_count(pairs)} pairs of source and target with " if pairs > 1 else ""
        at_half, at_all = pairs * own.quick, pairs * (own.high - own.low + 1)
        yield self.wall(
            at_half,
            f"{format_count(at_half)} is {of}half of the ephemeral range ({own}): from there on "
            "connect() searches for each port.",
        )
        yield self.wall(
            at_all,
            f"{format_count(at_all)} is {of}the whole ephemeral range ({own}): no local port is "
            "left.",
        )

    def slows(self, at: int, evidence: Evidence) -> str:
        """Where half the ephemeral range of each triple is used up."""
        own, pairs, near = Ephemeral.of(evidence.metadata.sysctls), evidence.triples, SLOW_NEAR
        if own.quick == 0:
            return ""
        if pairs is None:
            pairs = round(at / own.quick)
            if not 0 < pairs <= MULTIPLES_MAX:
                return ""
        else:
            near = max(SLOW_NEAR, int(SLOW_NEAR_SHARE * pairs * own.quick))
        full = pairs * own.quick
        if abs(at - full) > near:
            return ""
        return (
            f"{format_count(pairs)} x {format_count(own.quick)} = {format_count(full)}: half of "
            f"the ephemeral range ({own}) of each pair of source and target is used up there, and "
            "connect() searches that half for each further port."
        )

    def seen(self, evidence: Evidence) -> list[str]:
        """How many ports there were, and who else may have them."""
        sentences = []
        if ends := numbers(evidence.metadata.sysctls, RANGE):
            low, high = ends
            pairs = evidence.triples or 1
            fits = format_count(pairs * max(0, high - low + 1))
            of = f"{format_count(pairs)} pairs" if pairs > 1 else "one pair"
            sentences.append(f"Ports {low}-{high} carry {fits} for {of} of source and target.")
        if resting := evidence.gauges.get("TCP.tw", 0):
            sentences.append(f"Up to {format_count(resting)} connections were in TIME_WAIT.")
        return sentences


class ListenPorts(Limit):
    """net.ipv4.ip_local_reserved_ports: keeps clients from the ports that are listened on.

    A port inside the ephemeral range can be taken by any outgoing connection; listening on it then
    fails with EADDRINUSE until that connection is gone, up to a minute later. Bounds no number.
    """

    name = RESERVED
    sysctls = (RANGE,)
    source = RANGE
    end = "server"

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        own = Ephemeral.of(situation.sysctls)
        taken = [(1, own.low - 1), *own.reserved, (own.high + 1, 65535)]  # no client gets these
        exposed = format_ports(
            tuple(
                (port, port)
                for port in request.listen_ports
                if not any(first <= port <= last for first, last in taken)
            )
        )
        present = format_ports(own.reserved) or "none"
        if not exposed:
            return self.finding(present, needed="none")
        text = f"A client can take {exposed}, inside {own}, before the server."
        advice = _reserve(request, situation, f", or listen below {own.low}.")
        return self.finding(present, text, advice, needed=exposed)


LIMITS = (LocalPorts(), ListenPorts())
