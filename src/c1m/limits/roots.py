"""What lies behind several symptoms at once: a server that ended, or one that takes no more. Pure.

A root is reported once, before the rows that follow from it, which then have no remedy of their
own. A root behind a single row is reported in that row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from c1m.limits.evidence import Evidence
from c1m.results.record import Connections, Explanation, Samples
from c1m.results.samples import cpu_share
from c1m.units import NS_PER_S, format_count, format_duration

NEAR_LIMIT = 0.95  # of a process's descriptors: some are files, listeners and the like
SPINS = 0.2  # of a core, while it answers nothing: with work to do others may have the rest
IDLE = 0.02

# What a row is about: an errno in its phase, or one of "connect unfinished", "never begun" and
# "unanswered" (open, and without a first reply).
_NOT_BEGUN = {"connect unfinished", "never begun", "unanswered", "connect ETIMEDOUT"}
_GONE = _NOT_BEGUN | {
    f"{phase} {errno}"
    for phase in ("connect", "open")
    for errno in ("ECONNREFUSED", "ECONNRESET", "EOF", "EPIPE", "ETIMEDOUT")
}


@dataclass(frozen=True, slots=True)
class Root:
    """One cause, and the symptoms that follow from it."""

    what: str
    cause: str
    remedy: str
    symptoms: set[str]


def find(connections: Connections, evidence: Evidence) -> Root | None:
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


def report_once(root: Root | None, rows: Sequence[tuple[str, Explanation]]) -> list[Explanation]:
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
