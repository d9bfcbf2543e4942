"""Why connections are missing: every one of them in a row with its cause and what to do. Pure.

Three kinds of rows, in this order:

1. `missing_rows`: what became of the connections that are not open. They add up to `missing`, which
   is what was asked less what was still open, without those that the plan closed.
2. The walls that the run stopped at or became slow at (`walls.py`).
3. `kernel_rows`: what else the kernel counted that delays or loses connections and packets.

A counter is joined to a row whose symptom it can explain and of which it is at least a hundredth:
one overflow does not explain ten thousand time-outs. Counters are the whole network namespace's;
those that only an accepting machine counts say nothing here about a server elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from c1m.errors import LimitError
from c1m.limits import known as walls
from c1m.limits import roots
from c1m.limits.counters import BY_NAME, COUNTERS, GAUGE_BY_NAME, GAUGES, Counter
from c1m.results.record import Asked, Connections, Failure, Metadata, Ramp, Samples
from c1m.results.requests import Explanation
from c1m.units import format_bytes, format_count

if TYPE_CHECKING:
    from c1m.limits.check import Finding

JOINED_SHARE_LEAST = 0.01  # of a row's connections; below, a counter is an accident beside it
JOINED_MAX = 3  # counters told in one row
GAUGE_NEAR_LIMIT = 0.95
MEMORY_FULL = 0.97

# Checks of the doctor whose remedy knows this machine better than the general one, by errno or
# by counter. The first that has a remedy is told.
DOCTORS: Mapping[str, tuple[str, ...]] = {
    "EMFILE": ("nofile (hard)",),
    "ENFILE": ("fs.file-max",),
    "EADDRNOTAVAIL": ("net.ipv4.ip_local_port_range",),
    "ENOMEM": ("cgroup memory", "memory", "net.ipv4.tcp_mem"),
    "ENOBUFS": ("cgroup memory", "memory", "net.ipv4.tcp_mem"),
    "TcpExt.ListenOverflows": ("net.core.somaxconn",),
    "TcpExt.ListenDrops": ("net.core.somaxconn",),
    "TcpExt.TCPReqQFullDrop": ("net.ipv4.tcp_max_syn_backlog",),
    "TcpExt.TCPAbortOnMemory": ("net.ipv4.tcp_mem",),
    "TcpExt.TCPMemoryPressures": ("net.ipv4.tcp_mem",),
    "Softnet.dropped": ("net.core.netdev_max_backlog",),
    "Conntrack.drop": ("net.netfilter.nf_conntrack_max",),
    "Conntrack.early_drop": ("net.netfilter.nf_conntrack_max",),
}

_WHEN = {"connect": "while connecting", "open": "while open"}


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a run knows beside its connections; any of it may be absent.

    `gauges`: the highest of each (Sampler.gauges); `ports`, `triples` as walls.recognise takes
    them; `is_server_here`: None where it is not known; `findings` of the doctor for this machine.
    """

    kernel_counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, int] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    metadata: Metadata = field(default_factory=Metadata)
    ramp: Ramp = field(default_factory=Ramp)
    ports: int | None = None
    triples: int | None = None
    is_server_here: bool | None = None
    findings: Sequence[Finding] = ()
    unanswered: int = 0  # connections that opened and never had a first reply
    server_nofile: int = 0  # RLIMIT_NOFILE (soft) of the server's process; 0: not known
    silence: roots.Silence | None = None  # in which the server answered no connect
    refusal: LimitError | None = None  # the limit of this machine at which connects stopped

    def moved(self, counter: Counter) -> int:
        """By how much it moved; 0 where it says nothing about this run's server."""
        if counter.of_server and self.is_server_here is False:
            return 0
        count = max(0, self.kernel_counters.get(counter.name, 0))
        if counter.name == "TcpExt.ListenDrops":  # counts each overflow too: only what is beyond
            count -= self.kernel_counters.get("TcpExt.ListenOverflows", 0)
        return max(0, count)

    def doctors_remedy(self, *keys: str) -> str:
        """What the doctor says to these errnos and counters; "" where it says nothing."""
        said = {finding.name: finding.remedy for finding in self.findings}
        names = (name for key in keys for name in DOCTORS.get(key, ()))
        return next((said[name] for name in names if said.get(name)), "")


def explanations(
    asked: Asked, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> list[Explanation]:
    """All rows; [] for a run in which nothing is missing and nothing was dropped or delayed."""
    rows, told = _missing_rows(asked, connections, failures, evidence)
    if evidence.unanswered:
        rows.append(("unanswered", _unanswered(evidence.unanswered)))
    gauges = evidence.gauges
    met = walls.recognise(
        # Where all have opened nothing stopped them, whatever the most at one moment was.
        connections.peak_open if connections.opened < asked.connections else asked.connections,
        asked,
        evidence.ramp,
        evidence.ports,
        evidence.triples,
        evidence.metadata,
        errnos={failure.errno for failure in failures if failure.phase == "connect"},
        conntrack_highest=gauges.get("Conntrack.count", 0 if gauges else None),
        is_server_here=bool(evidence.is_server_here),
    )
    root = roots.find(
        evidence.samples, evidence.silence, connections, evidence.unanswered, evidence.server_nofile
    )
    explained = roots.told_once(root, rows)
    seen = kernel_rows(evidence, told)
    if root is not None and len(explained) > len(rows):  # it is told by itself
        seen = [_following(root, row) for row in seen]
    return [*explained, *met, *seen]


def _following(root: roots.Root, row: Explanation) -> Explanation:
    """A listener's counter, without a remedy where it only counts what follows from the root."""
    counter = BY_NAME.get(row.what.split()[0])
    if counter is None or not counter.of_server or root.symptoms.isdisjoint(counter.explains):
        return row
    return replace(row, remedy="")


def missing(asked: Asked, connections: Connections) -> int:
    """Connections asked for that are not open at the end, though the plan did not close them.

    Connections that the plan closed and opened again (churn, a storm) are attempted twice.
    """
    again = max(0, connections.attempted - asked.connections)
    gone = connections.open_at_end + connections.ended
    return asked.connections - gone - max(0, connections.closed - again)


def missing_rows(
    asked: Asked, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> list[Explanation]:
    """Rows whose counts add up to `missing`; one of them may be below zero, and says why."""
    return [row for _, row in _missing_rows(asked, connections, failures, evidence)[0]]


def _missing_rows(
    asked: Asked, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> tuple[list[tuple[str, Explanation]], set[str]]:
    """The rows by their symptoms (as in roots.py), and the names of the counters that they tell."""
    c, told = connections, set[str]()
    never = max(0, asked.connections - c.attempted)
    rows = [("never begun", _never_begun(never, asked, evidence.refusal))] if never else []
    for phase, total in (("connect", c.attempted - c.opened - c.unfinished), ("open", c.lost)):
        own = [failure for failure in failures if failure.phase == phase]
        rows += [
            (f"{phase} {failure.errno}", _failure_row(failure, evidence, told)) for failure in own
        ]
        if rest := total - sum(failure.count for failure in own):
            what = f"{format_count(rest)} {_WHEN[phase]}, without an errno"
            rows.append((phase, Explanation(rest, what, "The record does not say why.")))
    if c.unfinished:
        rows.append(("connect unfinished", _unfinished(c.unfinished, evidence, told)))
    instead = max(0, c.attempted - asked.connections - c.closed)
    if instead:
        what = f"{format_count(instead)} further connects in the place of others"
        row = Explanation(-instead, what, "They were tried after others had failed.")
        rows.append(("instead", row))
    return rows, told


def _never_begun(count: int, asked: Asked, refusal: LimitError | None) -> Explanation:
    what = f"{format_count(count)} connects never begun"
    if refusal is not None:
        return Explanation(count, what, refusal.message, refusal.remedy)
    remedy = "Give the ramp more time"
    remedy += "." if asked.connect_rate_per_s is None else ", or raise --connect-rate."
    return Explanation(
        count,
        what,
        "The run ended before their turn: it was stopped, stood still, or its plan had no time for "
        "them.",
        remedy,
    )


def _failure_row(failure: Failure, evidence: Evidence, told: set[str]) -> Explanation:
    """One errno of one phase, with what this machine knows about it."""
    joined = _joined(f"{failure.phase} {failure.errno}", failure.count, evidence)
    told.update(counter.name for counter in joined)
    special = _specific(failure, evidence)
    cause = " ".join([_sentence(failure.text), *special, *_told(joined, evidence)]).strip()
    remedy = evidence.doctors_remedy(failure.errno, *(counter.name for counter in joined))
    if not remedy:
        # What only tells that something is amiss (no alarm) has no better remedy than the errno's.
        remedy = next((one.remedy for one in joined if one.is_alarm), failure.remedy)
    if failure.errno == "ETIMEDOUT" and evidence.is_server_here is False:
        remedy += (
            " The server's own counters are on its machine: nstat -az TcpExtListenOverflows "
            "TcpExtListenDrops."
        )
    what = f"{format_count(failure.count)} x {failure.errno} {_WHEN.get(failure.phase, '')}"
    return Explanation(failure.count, what.strip(), cause, remedy.strip())


def _unfinished(count: int, evidence: Evidence, told: set[str]) -> Explanation:
    joined = _joined("connect unfinished", count, evidence)
    told.update(counter.name for counter in joined)
    cause = " ".join(["The run ended while they were connecting.", *_told(joined, evidence)])
    remedy = evidence.doctors_remedy(*(counter.name for counter in joined))
    if not remedy:
        general = "Give the ramp more time, or lower --connect-rate."
        remedy = next((one.remedy for one in joined if one.is_alarm), general)
    return Explanation(count, f"{format_count(count)} connects unfinished", cause, remedy)


def _unanswered(count: int) -> Explanation:
    """Connections that are open, and that the server has never said anything on."""
    return Explanation(
        count,
        f"{format_count(count)} connected, and never had a first reply",
        "The kernel completes connections before the server accepts them, so these may have waited "
        "in its accept queue until the end.",
        "Look at the server's log and at its own limit of connections.",
    )


def _joined(symptom: str, count: int, evidence: Evidence) -> list[Counter]:
    """The counters that explain the symptom: alarms first, else in the order of the table."""
    least = JOINED_SHARE_LEAST * count
    found = [
        counter
        for counter in COUNTERS
        if symptom in counter.explains and evidence.moved(counter) > 0
        if evidence.moved(counter) >= least
    ]
    return sorted(found, key=lambda counter: not counter.is_alarm)[:JOINED_MAX]


def _told(counters: Sequence[Counter], evidence: Evidence) -> list[str]:
    return [
        f"{format_count(evidence.moved(counter))} x {counter.meaning} ({counter.name})."
        for counter in counters
    ]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def _specific(failure: Failure, evidence: Evidence) -> list[str]:
    """What the run's own figures add to an errno: sentences."""
    metadata, sentences = evidence.metadata, []
    if failure.errno == "EADDRNOTAVAIL":
        sentences += _ports(evidence)
    elif failure.errno == "EMFILE" and metadata.nofile_soft:
        sentences.append(f"RLIMIT_NOFILE is {format_count(metadata.nofile_soft)} here.")
    elif failure.errno == "ENFILE" and metadata.sysctls.get("fs.file-max", "").isdigit():
        sentences.append(f"fs.file-max is {format_count(int(metadata.sysctls['fs.file-max']))}.")
    elif failure.errno in ("ENOMEM", "ENOBUFS") and metadata.memory_bytes:
        used = max(evidence.samples.kernel.used_bytes, default=0)
        if used >= MEMORY_FULL * metadata.memory_bytes:
            have = f"{format_bytes(used)} of {format_bytes(metadata.memory_bytes)}"
            sentences.append(f"The machine's memory was full: {have}.")
    return sentences


def _ports(evidence: Evidence) -> list[str]:
    """How many ports there were, and who else may have them."""
    sentences = []
    ends = walls.port_range(evidence.metadata)
    if ends is not None:
        low, high = ends
        pairs = evidence.triples or 1
        fits = format_count(pairs * max(0, high - low + 1))
        of = f"{format_count(pairs)} pairs" if pairs > 1 else "one pair"
        sentences.append(f"Ports {low}-{high} carry {fits} for {of} of source and target.")
    resting = evidence.gauges.get("TCP.tw", 0)
    if resting:
        sentences.append(f"Up to {format_count(resting)} connections were in TIME_WAIT.")
    return sentences


def kernel_rows(
    evidence: Evidence, told: set[str] | frozenset[str] = frozenset()
) -> list[Explanation]:
    """What else was counted that delays or loses connections: alarms not `told`, gauges at limits.

    Their counts are not connections: they are no part of any sum.
    """
    rows = [
        Explanation(
            moved,
            f"{counter.name} +{format_count(moved)}",
            _sentence(counter.meaning),
            evidence.doctors_remedy(counter.name) or counter.remedy,
        )
        for counter in COUNTERS
        if counter.is_alarm and counter.name not in told and (moved := evidence.moved(counter))
    ]
    for gauge in GAUGES:
        limit = _limit(gauge.name, evidence.metadata)
        highest = evidence.gauges.get(gauge.name, 0)
        if limit and highest >= GAUGE_NEAR_LIMIT * limit:
            what = f"{gauge.name} at {format_count(highest)} of {format_count(limit)}"
            cause = f"{_sentence(gauge.meaning)} {gauge.limit} bounds it."
            rows.append(Explanation(highest, what, cause, gauge.remedy))
    return rows


def _limit(name: str, metadata: Metadata) -> int:
    """What bounds a gauge, as this machine has it set; 0 where it is not known."""
    gauge = GAUGE_BY_NAME[name]
    words = metadata.sysctls.get(gauge.limit, "").split()
    if len(words) <= gauge.position or not words[gauge.position].isdigit():
        return 0
    return int(words[gauge.position])
