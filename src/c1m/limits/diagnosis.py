"""Why connections are missing: each of them in a row with its cause and what to do. Pure.

Three kinds of rows, in this order:

1. `missing_rows`: what became of the connections that are not open.
2. The walls that the run stopped at or became slow at (`walls.py`).
3. `kernel_rows`: what else the kernel counted that delays or loses connections and packets.

A counter is joined to a row whose symptom it can explain and of which it is at least a hundredth:
one overflow does not explain ten thousand time-outs. Counters are the whole network namespace's;
those that only an accepting machine counts say nothing here about a server elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from c1m.errors import LimitError
from c1m.limits import roots, walls
from c1m.limits.catalogue import COUNTERS, GAUGES, limits_of
from c1m.limits.evidence import Evidence
from c1m.limits.situation import numbers
from c1m.results.options import LoadOptions
from c1m.results.record import Connections, Explanation, Failure
from c1m.units import format_count

JOINED_SHARE_LEAST = 0.01  # of a row's connections; below, a counter is an accident beside it
JOINED_MAX = 3  # counters named in one row
GAUGE_NEAR_LIMIT = 0.95

_WHEN = {"connect": "while connecting", "open": "while open"}


def explanations(
    asked: LoadOptions, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> list[Explanation]:
    """All rows; [] for a run in which nothing is missing and nothing was dropped or delayed."""
    rows, told = missing_rows(asked, connections, failures, evidence)
    if evidence.unanswered:
        rows.append(("unanswered", _unanswered(evidence.unanswered)))
    met = walls.recognise(
        # Where all have opened nothing stopped them, whatever the most at one moment was.
        connections.peak_open if connections.opened < asked.connections else asked.connections,
        asked,
        evidence,
        {failure.errno for failure in failures if failure.phase == "connect"},
    )
    root = roots.find(connections, evidence)
    explained = roots.report_once(root, rows)
    has_own_row = len(explained) > len(rows)
    return [*explained, *met, *kernel_rows(evidence, told, root if has_own_row else None)]


def missing_rows(
    asked: LoadOptions, connections: Connections, failures: Sequence[Failure], evidence: Evidence
) -> tuple[list[tuple[str, Explanation]], set[str]]:
    """Rows with their symptoms (as in roots.py), and the names of the counters that they mention.

    They add up to the connections that were asked for and are not open at the end, without those
    that the plan closed and did not open again. One of them may be below zero, and says why.
    """
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


def _failure_row(failure: Failure, evidence: Evidence, told: set[str]) -> Explanation:
    """One errno of one phase, with what this machine knows about it."""
    seen = [text for limit in limits_of(failure.errno) for text in limit.seen(evidence)]
    symptom = f"{failure.phase} {failure.errno}"
    counted, remedy = _joined(symptom, failure.count, failure.remedy, evidence, told)
    if failure.errno == "ETIMEDOUT" and evidence.is_server_here is False:
        names = (one.name.replace(".", "") for one in COUNTERS if one.of_server and one.is_alarm)
        remedy += f" The server's own counters are on its machine: nstat -az {' '.join(names)}."
    what = f"{format_count(failure.count)} x {failure.errno} {_WHEN.get(failure.phase, '')}"
    cause = " ".join([_sentence(failure.text), *seen, *counted])
    return Explanation(failure.count, what.strip(), cause.strip(), remedy.strip(), failure.errno)


def _unfinished(count: int, evidence: Evidence, told: set[str]) -> Explanation:
    general = "Give the ramp more time, or lower --connect-rate."
    counted, remedy = _joined("connect unfinished", count, general, evidence, told)
    cause = " ".join(["The run ended while they were connecting.", *counted])
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


def _joined(
    symptom: str, count: int, general: str, evidence: Evidence, told: set[str]
) -> tuple[list[str], str]:
    """The counters that explain a symptom as sentences, and what to do about it.

    Alarms come first. The remedy is the doctor's, else that of the first alarm, else `general`.
    """
    found = [
        counter
        for counter in COUNTERS
        if symptom in counter.explains and evidence.moved(counter) > 0
        if evidence.moved(counter) >= JOINED_SHARE_LEAST * count
    ]
    found = sorted(found, key=lambda counter: not counter.is_alarm)[:JOINED_MAX]
    told.update(counter.name for counter in found)
    sentences = [
        f"{format_count(evidence.moved(counter))} x {counter.meaning} ({counter.name})."
        for counter in found
    ]
    signs = [symptom.split()[1], *(counter.name for counter in found)]
    alarms = (counter.remedy for counter in found if counter.is_alarm)
    return sentences, doctors_remedy(signs, evidence) or next(alarms, general)


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
    evidence: Evidence, told: Collection[str] = (), root: roots.Root | None = None
) -> list[Explanation]:
    """What else was counted that delays or loses connections: alarms not `told`, gauges at limits.

    Their counts are not connections and part of no sum. A listener's counter has no remedy where it
    only counts what follows from the root.
    """
    rows = []
    for counter in COUNTERS:
        moved = evidence.moved(counter)
        if not moved or not counter.is_alarm or counter.name in told:
            continue
        remedy = doctors_remedy([counter.name], evidence) or counter.remedy
        if (
            root is not None
            and counter.of_server
            and not root.symptoms.isdisjoint(counter.explains)
        ):
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
