"""What lies behind several symptoms at once: a server that ended, or one that takes no more. Pure.

A root is told once, before the rows that follow from it; those then have no remedy of their own. A
root behind a single row is told in that row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from c1m.limits.evidence import Silence
from c1m.results.processor import cpu_share
from c1m.results.record import Connections, Samples
from c1m.results.requests import Explanation
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
    symptoms: frozenset[str]


def find(
    samples: Samples,
    silence: Silence | None,
    connections: Connections,
    unanswered: int,
    server_nofile: int,
) -> Root | None:
    """The root of what is missing; None where none is known."""
    ended = server_ended(samples)
    if ended is not None:
        when = format_duration(ended * NS_PER_S)
        return Root(
            f"the server's process ended {when} after the start",
            "",
            "See why it ended: its own log, and dmesg for a kill for want of memory.",
            frozenset(_GONE),
        )
    answered = connections.peak_open - unanswered
    is_full = bool(server_nofile) and NEAR_LIMIT * server_nofile <= answered <= server_nofile
    used = _meanwhile(samples, silence, is_full=is_full)
    # One that leaves a few connects unanswered may have nothing else to do, and still takes others.
    if not is_full and not (used and silence is not None and silence.is_end):
        return None
    causes, remedy = [], "Look at the server's log and at its own limit of connections."
    if is_full:
        causes.append(
            f"It answered {format_count(answered)}, and its process may have "
            f"{format_count(server_nofile)} descriptors open (RLIMIT_NOFILE)."
        )
        remedy = "Start the server with more: ulimit -n in its shell, LimitNOFILE= in its unit."
    if used:
        causes.append(used)
        if is_full and "spins" in used:
            remedy += " At its limit it should leave its listener alone until one has closed."
    return Root(
        f"the server took no more connections after {format_count(answered)}",
        " ".join(causes),
        remedy,
        frozenset(_NOT_BEGUN),
    )


def _meanwhile(samples: Samples, silence: Silence | None, *, is_full: bool) -> str:
    """What the server's process did while it answered nothing; "" where that is not known, or as it
    should be: at its limit it has nothing to do."""
    if silence is None or samples.server is None:
        return ""
    cpu = cpu_share(samples.server, samples.t_s, silence.start_s, silence.end_s)
    if cpu is None or IDLE <= cpu < SPINS:
        return ""
    seconds = silence.end_s - silence.start_s
    used, whole = (format_duration(s * NS_PER_S) for s in (cpu * seconds, seconds))
    if cpu < IDLE:
        return (
            ""
            if is_full
            else (
                f"Its process did nothing in the {whole} in which no connect was answered: it is "
                "stopped, or waits for something else."
            )
        )
    return (
        f"It spins: its process used {used} of processor time in the {whole} in which no connect "
        "was answered."
    )


def told_once(root: Root | None, rows: Sequence[tuple[str, Explanation]]) -> list[Explanation]:
    """The rows (each with its symptom), the root of several of them put first."""
    follow = {i for i, (symptom, _) in enumerate(rows) if root and symptom in root.symptoms}
    if root is None or not follow:
        return [row for _, row in rows]
    if len(follow) > 1:
        cause = f"{root.cause} What follows from it has no remedy of its own here.".strip()
        first = Explanation(0, root.what, cause, root.remedy)
        rest = [replace(row, remedy="") if i in follow else row for i, (_, row) in enumerate(rows)]
        return [first, *rest]
    said = root.cause or f"{root.what[:1].upper()}{root.what[1:]}."
    return [
        replace(row, cause=f"{row.cause} {said}", remedy=root.remedy) if i in follow else row
        for i, (_, row) in enumerate(rows)
    ]


def server_ended(samples: Samples) -> float | None:
    """When (s) the server's process was seen to be gone for good; None: it was not."""
    rss = samples.server.rss_bytes if samples.server else []
    if not rss or rss[-1] is not None or all(value is None for value in rss):
        return None
    last_alive = max(i for i, value in enumerate(rss) if value is not None)
    return samples.t_s[last_alive + 1]
