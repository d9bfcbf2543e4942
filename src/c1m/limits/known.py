"""The numbers at which connections stop for everybody, recognised and named. Pure.

A run that stops short, or becomes slow and stays slow, near one of these numbers has very likely
met what is behind it. Near means: as far below as that wall is known to be met, and never above it.

- Descriptors. A process has some open before its first connection (Python, an epoll, listeners):
  limits of 1,024 stop runs at 980 to 1,017, systemd's 524,288 at 524,273.
- Ports. A triple (source, destination, destination port) has the ports of the ephemeral range and
  not one more; connect() takes those of one parity first and then searches that whole half for each
  further one (inet_hash_connect): the ramp becomes 100 times slower at half the range.
- Connection tracking. Other connections have entries in the same table: 262,144 stops runs from
  250,000 on.

`recognise` trusts what is known of this machine first; a number that only other machines have
explains a run only where this machine's own numbers do not.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from c1m.results.record import Asked, Metadata, Ramp
from c1m.results.requests import Explanation
from c1m.units import format_count

DESCRIPTORS, PORTS, CONNTRACK = "descriptors", "ports", "conntrack"

# How far below its wall a run stops.
DESCRIPTORS_BELOW = 64  # what a process has open anyway
PORTS_BELOW_SHARE = 0.002  # ports that others use or that rest in TIME_WAIT
CONNTRACK_BELOW_SHARE = 0.05  # entries of other connections

RAMP_STEP = 1000  # connections of one element of Ramp.per_1000_s
KNEE_FACTOR = 3.0  # so many times slower after the knee than before it
KNEE_STAYS_SHARE = 0.9  # of the steps after it, at least twice as slow as before
KNEE_STEPS_LEAST = 4  # on either side: fewer are an accident
KNEE_AT_WALL_SHARE = 0.01  # a knee is at a wall when so near: triples fill up not quite evenly
MULTIPLES_MAX = 64  # of half a range; above, every number is near a multiple

OPENING = ("ramp", "steps", "spike")  # the stages that open connections

DEFAULT_RANGE = (32768, 60999)

_RAISE_NOFILE = (
    "Raise LimitNOFILE= in the unit or `ulimit -n` in the shell of the process it is, then "
    "fs.nr_open if that is lower; c1m's io_uring engine needs no descriptor a connection."
)
_MORE_TRIPLES = (
    "Give more source addresses (--source), let the server listen on more ports, or widen "
    "net.ipv4.ip_local_port_range."
)
_PROXY_PORTS = (
    "Is there a proxy or a NAT between? It needs a source port for each connection too: give it "
    "more addresses on the far side, or widen its net.ipv4.ip_local_port_range."
)
_CONNTRACK_ELSEWHERE = (
    "Look at net.netfilter.nf_conntrack_count and nf_conntrack_max on the server, the client and "
    "what is between; raise the table or add a 'notrack' rule."
)


@dataclass(frozen=True, slots=True)
class Wall:
    """A number of connections at which runs stop: `at`, met from `at - below` on."""

    at: int
    below: int
    kind: str
    cause: str
    remedy: str

    def is_near(self, peak: int) -> bool:
        """Whether a run that stopped at `peak` may have met it."""
        return self.at - self.below <= peak <= self.at


def _known_nofile(at: int, whose: str) -> Wall:
    cause = f"{format_count(at)} is a usual RLIMIT_NOFILE ({whose}), and each connection of a "
    return Wall(at, DESCRIPTORS_BELOW, DESCRIPTORS, cause + "process takes one.", _RAISE_NOFILE)


def _known_ports(at: int, cause: str, remedy: str = _PROXY_PORTS) -> Wall:
    return Wall(at, math.ceil(at * PORTS_BELOW_SHARE), PORTS, cause, remedy)


def _known_conntrack(at: int) -> Wall:
    cause = f"{format_count(at)} is a usual nf_conntrack_max: connection tracking drops new ones."
    return Wall(at, int(at * CONNTRACK_BELOW_SHARE), CONNTRACK, cause, _CONNTRACK_ELSEWHERE)


# What people meet somewhere. docs/reference/walls.md lists them, and a test holds it to that.
KNOWN = (
    _known_nofile(1_024, "the soft default of most shells and services"),
    _known_nofile(4_096, "the hard default of older systems"),
    _known_ports(
        14_116,
        "14,116 is half of the default ephemeral range 32768-60999: from there on connect() "
        "searches, for one source and target.",
    ),
    _known_nofile(20_000, "set by hosts and containers"),
    _known_ports(
        28_232, "28,232 is the default ephemeral range 32768-60999, for one source and target."
    ),
    _known_ports(
        32_256,
        "32,256 is half of the range 1024-65535: from there on connect() searches, for one source "
        "and target.",
    ),
    _known_ports(64_512, "64,512 is the range 1024-65535, for one source and target."),
    _known_ports(65_535, "65,535 ports are all that one source address has for one target."),
    _known_nofile(65_536, "of many units and container images"),
    _known_conntrack(65_536),
    _known_conntrack(131_072),
    _known_conntrack(262_144),
    _known_nofile(524_288, "systemd's hard default"),
    _known_ports(
        967_680, "967,680 is 30 x 32,256: half of the range 1024-65535 for each of 30 targets."
    ),
    Wall(
        1_048_576, DESCRIPTORS_BELOW, DESCRIPTORS,
        "1,048,576 is the default of fs.nr_open, which no RLIMIT_NOFILE may pass, and the most "
        "that the file table of one io_uring holds.",
        "Raise fs.nr_open and then the limit of the process; with io_uring use several rings, as "
        "c1m does.",
    ),
)  # fmt: skip


def recognise(
    peak: int,
    asked: Asked,
    ramp: Ramp,
    ports: int | None,
    triples: int | None,
    metadata: Metadata,
    *,
    errnos: Collection[str] = (),
    conntrack_highest: int | None = None,
    is_server_here: bool = False,
) -> list[Explanation]:
    """The walls that a run stopped at (`peak` < asked) or became slow at; [] for other runs.

    `ports`: those that connect() finds quickly for one triple (None: half of the range in
    `metadata`); `triples`: pairs of source address and target that the run used; `errnos`: names
    of those that connects failed with; `conntrack_highest`: most entries that connection tracking
    had here (0: it is idle; None: not known); `is_server_here`: both ends are on this machine.
    """
    own = _own_walls(ports, triples, metadata, conntrack_highest)
    kinds = _kinds(errnos, is_idle=is_server_here and conntrack_highest == 0)
    found = []
    if 0 < peak < asked.connections:
        found = [
            Explanation(
                asked.connections - peak, f"stopped at {format_count(peak)}", wall.cause,
                wall.remedy,
            )
            for wall in _met(peak, own, kinds)
        ]  # fmt: skip
    knee = knee_of(ramp.per_1000_s[: asked.connections // RAMP_STEP])
    if knee is not None and (named := _knee(knee, peak, asked, ports, triples, metadata)):
        found.append(named)
    return found


def _kinds(errnos: Collection[str], *, is_idle: bool) -> set[str]:
    """The kinds of walls that those errnos leave possible; `is_idle`: nothing is tracked."""
    if "EADDRNOTAVAIL" in errnos:
        return {PORTS}
    if not {"EMFILE", "ENFILE"}.isdisjoint(errnos):
        return {DESCRIPTORS}
    return {DESCRIPTORS, PORTS} if is_idle else {DESCRIPTORS, PORTS, CONNTRACK}


def _met(peak: int, own: Sequence[Wall], kinds: Collection[str]) -> list[Wall]:
    """This machine's own walls near `peak`, else the known ones, the nearest first.

    Where one fits to within a few descriptors, those that fit only loosely are left out.
    """
    for walls in (own, KNOWN):
        near = [wall for wall in walls if wall.kind in kinds and wall.is_near(peak)]
        close = [wall for wall in near if wall.at - peak <= DESCRIPTORS_BELOW]
        if near:
            return sorted(close or near, key=lambda wall: wall.at)
    return []


def _own_walls(
    ports: int | None, triples: int | None, metadata: Metadata, conntrack_highest: int | None
) -> list[Wall]:
    """The walls of this machine as the record knows it."""
    walls = list(_own_descriptors(metadata))
    low, high = port_range(metadata) or (1, 0)
    quick = ports or (high - low + 1) // 2
    pairs = triples or 1
    if quick > 0:
        whole = max(high - low + 1, quick)
        text = f"{format_count(pairs)} pairs of source and target with " if pairs > 1 else ""
        at_half, at_all = pairs * quick, pairs * whole
        walls += [
            Wall(
                at_half, math.ceil(at_half * PORTS_BELOW_SHARE), PORTS,
                f"{format_count(at_half)} is {text}half of the ephemeral range ({low}-{high}): "
                "from there on connect() searches for each port.", _MORE_TRIPLES,
            ),
            Wall(
                at_all, math.ceil(at_all * PORTS_BELOW_SHARE), PORTS,
                f"{format_count(at_all)} is {text}the whole ephemeral range ({low}-{high}): no "
                "local port is left.", _MORE_TRIPLES,
            ),
        ]  # fmt: skip
    most = metadata.sysctls.get("net.netfilter.nf_conntrack_max", "")
    below = int(int(most) * CONNTRACK_BELOW_SHARE) if most.isdigit() else 0
    if conntrack_highest and most.isdigit() and conntrack_highest >= int(most) - below:
        walls.append(
            Wall(
                int(most), below, CONNTRACK,
                f"net.netfilter.nf_conntrack_max is {format_count(int(most))} here and "
                f"{format_count(conntrack_highest)} were taken: new connections are dropped.",
                "Raise net.netfilter.nf_conntrack_max, or add a 'notrack' rule for the port.",
            )
        )  # fmt: skip
    return walls


def _own_descriptors(metadata: Metadata) -> Iterable[Wall]:
    """RLIMIT_NOFILE of the run's process; only epoll takes a descriptor for each connection."""
    limit = metadata.nofile_soft
    if limit <= DESCRIPTORS_BELOW or metadata.engine.name != "epoll":
        return
    each = "each connection takes one; "
    what = f"RLIMIT_NOFILE of this process is {format_count(limit)} and {each}"
    remedy = "Raise it (ulimit -n), or use --engine uring, whose connections do not count."
    yield Wall(
        limit, DESCRIPTORS_BELOW, DESCRIPTORS,
        what + "the server's, if it was started alike, ends there too.", remedy,
    )  # fmt: skip
    yield Wall(
        limit // 2, DESCRIPTORS_BELOW // 2, DESCRIPTORS,
        what + "with client and server in one process it is two.", remedy,
    )  # fmt: skip


def port_range(metadata: Metadata) -> tuple[int, int] | None:
    """First and last ephemeral port of the run's machine."""
    words = metadata.sysctls.get("net.ipv4.ip_local_port_range", "").split()
    if len(words) != 2 or not all(word.isdigit() for word in words):
        return None
    return int(words[0]), int(words[1])


@dataclass(frozen=True, slots=True)
class Knee:
    """Where a ramp became slow for good: after `at` connections, `times` slower than before."""

    at: int
    times: float


def knee_of(per_1000_s: Sequence[float]) -> Knee | None:
    """The knee of a ramp (seconds for each 1,000 connections); None where it has none.

    The one cut that parts the logarithms of the times best, by least squares. It counts where the
    times jump there and nearly all of the later ones stay up: a pause is no knee, nor is a ramp
    that slows down little by little.
    """
    times = [max(t, 1e-6) for t in per_1000_s]
    if len(times) < 2 * KNEE_STEPS_LEAST:
        return None
    cut = _best_cut([math.log(t) for t in times])
    before, after = statistics.median(times[:cut]), statistics.median(times[cut:])
    beside = times[max(0, cut - 5) : cut], times[cut : cut + 5]
    jump = statistics.median(beside[1]) / statistics.median(beside[0])
    staying = sum(t >= 2 * before for t in times[cut:])
    stays = staying >= KNEE_STAYS_SHARE * (len(times) - cut)
    if min(jump, after / before) < KNEE_FACTOR or not stays:
        return None
    return Knee(cut * RAMP_STEP, after / before)


def _best_cut(values: Sequence[float]) -> int:
    """The position that leaves the least squared distance to the means of the two parts.

    The same as the most of `sum(left)**2 / len(left) + sum(right)**2 / len(right)`.
    """
    total, count = sum(values), len(values)
    sums = list(itertools.accumulate(values))

    def parted(cut: int) -> float:
        left = sums[cut - 1]
        return left**2 / cut + (total - left) ** 2 / (count - cut)

    return max(range(KNEE_STEPS_LEAST, count - KNEE_STEPS_LEAST + 1), key=parted)


def _knee(
    knee: Knee, peak: int, asked: Asked, ports: int | None, triples: int | None, metadata: Metadata
) -> Explanation | None:
    """The knee in words; None where the plan itself may have slowed the ramp down."""
    what = f"slow from connection {format_count(knee.at)} on ({knee.times:.0f} times slower)"
    count = max(0, peak - knee.at)
    at_wall = _at_half_range(knee.at, ports, triples, metadata)
    if at_wall:
        return Explanation(count, what, at_wall, _MORE_TRIPLES)
    if sum(stage.startswith(OPENING) for stage in asked.stages) > 1:
        return None  # several ramps of different rates have knees by themselves
    cause = "No known wall is at that number."
    remedy = (
        "See which kernel counters moved, and whether the server or the client ran out of CPU or "
        "memory from there on."
    )
    return Explanation(count, what, cause, remedy)


def _at_half_range(at: int, ports: int | None, triples: int | None, metadata: Metadata) -> str:
    """Why connects become slow there: half the ephemeral range times the triples; "" if not."""
    low, high = port_range(metadata) or DEFAULT_RANGE
    quick = ports or (high - low + 1) // 2
    if quick <= 0:
        return ""
    if triples is not None:
        pairs = triples
        is_near = abs(at - pairs * quick) <= max(RAMP_STEP, KNEE_AT_WALL_SHARE * pairs * quick)
    else:
        pairs = round(at / quick)
        is_near = 0 < pairs <= MULTIPLES_MAX and abs(at - pairs * quick) <= RAMP_STEP
    if not is_near:
        return ""
    whole = f"{format_count(pairs)} x {format_count(quick)} = {format_count(pairs * quick)}"
    return (
        f"{whole}: half of the ephemeral range ({low}-{high}) of each pair of source and target is "
        "used up there, and connect() searches that half for each further port."
    )
