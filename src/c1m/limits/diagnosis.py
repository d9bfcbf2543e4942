"""Why connections are missing: each of them in a row with its cause and what to do. Pure.

Three kinds of rows, in this order:

1. `missing_rows`: what became of the connections that are not open.
2. The walls that the run stopped at or became slow at (`walls.py`).
3. `kernel_rows`: what else the kernel counted that delays or loses connections and packets.

What lies behind several rows at once, a server that ended or one that takes no more, is their root.
It is reported once, before the rows that follow from it, which then have no remedy of their own. A
root behind a single row is reported in that row.

A counter is joined to a row whose symptom it can explain and of which it is at least a hundredth:
one overflow does not explain ten thousand timeouts. Counters are the whole network namespace's;
those that only an accepting machine counts say nothing here about a server elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from c1m.errors import LimitError
from c1m.limits import walls
from c1m.limits.catalogue import COUNTERS, GAUGES, limits_of
from c1m.limits.limit import Evidence, numbers
from c1m.results.options import LoadOptions
from c1m.results.record import Connections, Explanation, Failure, Samples
from c1m.results.samples import cpu_share
from c1m.units import NS_PER_S, format_count, format_duration

JOINED_SHARE_LEAST = 0.01  # of a row's connections; below, a counter is an accident beside it
JOINED_MAX = 3  # counters named in one row
GAUGE_NEAR_LIMIT = 0.95

NEAR_LIMIT = 0.95  # of a process's descriptors: some are files, listeners and the like
SPINS = 0.2  # of a core, while it answers nothing: with work to do others may have the rest
IDLE = 0.02

# What a row is about: an errno in its phase, or one of "connect unfinished", "never begun" and
# "unanswered" (open, and without a first reply).
_NOT_BEGUN = {"connect unfinished", "never begun", "unanswered", "connect ETIMEDOUT"}
_GONE = _NOT_BEGUN | {
    f"{phase} {errno}"
    for phase in ("connect", "tls", "handshake", "open")
    for errno in ("ECONNREFUSED", "ECONNRESET", "EOF", "EPIPE", "ETIMEDOUT")
}

Row = tuple[str, Explanation]  # with its symptom

_WHEN = {
    "connect": "while connecting", "tls": "in the TLS handshake", "handshake": "in the handshake",
    "open": "while open",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Root:
    """One cause, and the symptoms that follow from it."""

    what: str
    cause: str
    remedy: str
    symptoms: set[str]


def explanations(
    asked: LoadOptions, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> list[Explanation]:
    """All rows; [] for a run in which nothing is missing and nothing was dropped or delayed."""
    rows, told = missing_rows(asked, connections, failures, evidence)
    if evidence.unanswered:
        rows.append(("unanswered", _unanswered(evidence.unanswered, connections)))
    met = walls.recognise(
        # Where all have opened nothing stopped them, whatever the most at one moment was.
        connections.peak_open if connections.opened < asked.connections else asked.connections,
        asked,
        evidence,
        {failure.errno for failure in failures if failure.phase == "connect"},
    )
    root = root_of(connections, evidence)
    explained = report_once(root, rows)
    follow = root.symptoms if root and len(explained) > len(rows) else ()  # it has its own row
    return [*explained, *met, *kernel_rows(evidence, told, follow)]


def missing_rows(
    asked: LoadOptions, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> tuple[list[Row], set[str]]:
    """Rows with their symptoms, and the names of the counters that they mention.

    They add up to the connections that were asked for and are not open at the end, without those
    that the plan (or the server, between requests) closed and that did not open again. One of them
    may be below zero, and says why.
    """
    c, told = connections, set[str]()
    never = max(0, asked.connections - c.attempted)
    rows = [("never begun", _never_begun(never, asked, evidence.refusal))] if never else []
    connects = c.attempted - c.opened - c.unfinished - c.tls_failed - c.handshake_failed
    totals = (
        ("connect", connects), ("tls", c.tls_failed), ("handshake", c.handshake_failed),
        ("open", c.lost),
    )  # fmt: skip
    for phase, total in totals:
        own = [failure for failure in failures if failure.phase == phase]
        rows += [_failure(failure, evidence, told) for failure in own]
        if rest := total - sum(failure.count for failure in own):
            what = f"{format_count(rest)} {_WHEN[phase]}, without an errno"
            rows.append((phase, Explanation(rest, what, "The record does not say why.")))
    if c.unfinished:
        what = f"{format_count(c.unfinished)} connects unfinished"
        unfinished = Explanation(
            c.unfinished,
            what,
            "The run ended while they were connecting.",
            "Give the ramp more time, or lower --connect-rate.",
        )
        rows.append(_joined("connect unfinished", unfinished, evidence, told))
    instead = max(0, c.attempted - asked.connections - c.closed - c.renewed)
    if instead:
        what = f"{format_count(instead)} further connects in the place of others"
        row = Explanation(-instead, what, "They were tried after others had failed.")
        rows.append(("instead", row))
    return rows, told


def _never_begun(count: int, asked: LoadOptions, refusal: LimitError | None) -> Explanation:
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


def _failure(failure: Failure, evidence: Evidence, told: set[str]) -> Row:
    """One errno of one phase, with what this machine knows about it."""
    seen = [text for limit in limits_of(failure.errno) for text in limit.seen(evidence)]
    what = f"{format_count(failure.count)} x {failure.errno} {_WHEN.get(failure.phase, '')}".strip()
    cause = " ".join([_sentence(failure.text), *seen]).strip()
    row = Explanation(failure.count, what, cause, failure.remedy, failure.errno)
    symptom, row = _joined(f"{failure.phase} {failure.errno}", row, evidence, told)
    if failure.errno == "ETIMEDOUT" and evidence.is_server_here is False:
        names = (one.name.replace(".", "") for one in COUNTERS if one.of_server and one.is_alarm)
        elsewhere = f"The server's own counters are on its machine: nstat -az {' '.join(names)}."
        row = replace(row, remedy=f"{row.remedy} {elsewhere}".strip())
    return symptom, row


def _unanswered(count: int, connections: Connections) -> Explanation:
    """Connections that are open, and that the server has never said anything on.

    Over TLS it has answered in the handshake; by TLS 1.3 a client is done with it first.
    """
    by_kernel = (
        "The kernel completes connections before the server accepts them, so these may have waited "
        "in its accept queue until the end."
    )
    by_server = (
        "The server has accepted them, since it answered in their handshakes. Whether it was done "
        "with these, its own count says."
    )
    return Explanation(
        count,
        f"{format_count(count)} connected, and never had a first reply",
        by_server if connections.secured else by_kernel,
        "Look at the server's log and at its own limit of connections.",
    )


def _joined(symptom: str, row: Explanation, evidence: Evidence, told: set[str]) -> Row:
    """The row with the counters that explain its symptom, and what to do about it.

    Alarms come first. The remedy is the doctor's, else that of the first alarm, else the row's.
    """
    least = max(1, JOINED_SHARE_LEAST * row.count)
    found = [
        counter
        for counter in COUNTERS
        if symptom in counter.explains and evidence.moved(counter) >= least
    ]
    found = sorted(found, key=lambda counter: not counter.is_alarm)[:JOINED_MAX]
    told.update(counter.name for counter in found)
    sentences = [
        f"{format_count(evidence.moved(counter))} x {counter.meaning} ({counter.name})."
        for counter in found
    ]
    signs = [symptom.split()[1], *(counter.name for counter in found)]
    alarms = (counter.remedy for counter in found if counter.is_alarm)
    remedy = doctors_remedy(signs, evidence) or next(alarms, row.remedy)
    return symptom, replace(row, cause=" ".join([row.cause, *sentences]).strip(), remedy=remedy)


def doctors_remedy(signs: Sequence[str], evidence: Evidence) -> str:
    """What the doctor says about the limits behind errnos and counters; "" where it says nothing.

    The first sign that has a limit with a remedy decides; of its limits, the one that allows least.
    """
    for sign in signs:
        names = {limit.name for limit in limits_of(sign)}
        said = [finding for finding in evidence.findings if finding.name in names]
        said = [finding for finding in said if finding.remedy]
        if said:
            least = min(said, key=lambda one: math.inf if one.fits is None else one.fits)
            return least.remedy
    return ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "." if text else ""


def kernel_rows(
    evidence: Evidence, told: Collection[str] = (), follow: Collection[str] = ()
) -> list[Explanation]:
    """What else was counted that delays or loses connections: alarms not `told`, gauges at limits.

    Their counts are not connections and part of no sum. A listener's counter has no remedy where it
    only counts what follows from the root: the symptoms `follow`.
    """
    rows = []
    for counter in COUNTERS:
        moved = evidence.moved(counter)
        if not moved or not counter.is_alarm or counter.name in told:
            continue
        remedy = doctors_remedy([counter.name], evidence) or counter.remedy
        if counter.of_server and not set(follow).isdisjoint(counter.explains):
            remedy = ""
        what = f"{counter.name} +{format_count(moved)}"
        rows.append(Explanation(moved, what, _sentence(counter.meaning), remedy))
    for gauge in GAUGES:
        bounds = numbers(evidence.metadata.sysctls, gauge.limit)[gauge.position :]
        highest = evidence.gauges.get(gauge.name, 0)
        if bounds and bounds[0] > 0 and highest >= GAUGE_NEAR_LIMIT * bounds[0]:
            what = f"{gauge.name} at {format_count(highest)} of {format_count(bounds[0])}"
            cause = f"{_sentence(gauge.meaning)} {gauge.limit} bounds it."
            rows.append(Explanation(highest, what, cause, gauge.remedy))
    return rows


def root_of(connections: Connections, evidence: Evidence) -> Root | None:
    """The root of what is missing; None where none is known."""
    ended = server_ended(evidence.samples)
    if ended is not None:
        what = f"the server's process ended {format_duration(ended * NS_PER_S)} after the start"
        remedy = "See why it ended: its own log, and dmesg for a kill because memory ran out."
        return Root(what, "", remedy, _GONE)
    answered, most = connections.peak_open - evidence.unanswered, evidence.server_nofile
    is_full = bool(most) and NEAR_LIMIT * most <= answered <= most
    idle, spinning = _meanwhile(evidence)
    if is_full:
        idle = ""  # as it should be: at its limit it has nothing to do
    # One that leaves a few connects unanswered may have nothing else to do, and still take others.
    is_stuck = evidence.silence is not None and evidence.silence.is_end and (idle or spinning)
    if not is_full and not is_stuck:
        return None
    full, remedy = "", "Look at the server's log and at its own limit of connections."
    if is_full:
        full = (
            f"It answered {format_count(answered)}, and its process may have {format_count(most)} "
            "descriptors open (RLIMIT_NOFILE)."
        )
        remedy = "Start the server with more: ulimit -n in its shell, LimitNOFILE= in its unit."
        if spinning:
            remedy += " At its limit it should leave its listener alone until one has closed."
    what = f"the server took no more connections after {format_count(answered)}"
    return Root(what, " ".join(filter(None, (full, idle, spinning))), remedy, _NOT_BEGUN)


def _meanwhile(evidence: Evidence) -> tuple[str, str]:
    """What the server's process did while it answered nothing: (nothing, or spun); "" for neither
    and where it is not known."""
    silence, samples = evidence.silence, evidence.samples
    if silence is None or samples.server is None:
        return "", ""
    cpu = cpu_share(samples.server, samples.t_s, silence.start_s, silence.end_s)
    if cpu is None or IDLE <= cpu < SPINS:
        return "", ""
    seconds = silence.end_s - silence.start_s
    used, whole = (format_duration(s * NS_PER_S) for s in (cpu * seconds, seconds))
    within = f"in the {whole} in which no connect was answered"
    if cpu < IDLE:
        return f"Its process did nothing {within}: it is stopped, or waits for something else.", ""
    return "", f"It spins: its process used {used} of processor time {within}."


def report_once(root: Root | None, rows: Sequence[Row]) -> list[Explanation]:
    """The rows (each with its symptom), a root of several of them put first."""
    if root is None:
        return [row for _, row in rows]
    follow = [symptom in root.symptoms for symptom, _ in rows]
    is_shared = sum(follow) > 1
    said = root.cause or f"{root.what[:1].upper()}{root.what[1:]}."
    found = []
    for (_, row), follows in zip(rows, follow, strict=True):
        if follows and is_shared:
            row = replace(row, remedy="")
        elif follows:
            row = replace(row, cause=f"{row.cause} {said}", remedy=root.remedy)
        found.append(row)
    if is_shared:
        cause = f"{root.cause} What follows from it has no remedy of its own here.".strip()
        found.insert(0, Explanation(0, root.what, cause, root.remedy))
    return found


def server_ended(samples: Samples) -> float | None:
    """When (s) the server's process was seen to be gone for good; None: it was not."""
    rss = samples.server.rss_bytes if samples.server else []
    if not rss or rss[-1] is not None or all(value is None for value in rss):
        return None
    last_alive = max(i for i, value in enumerate(rss) if value is not None)
    return samples.t_s[last_alive + 1]
