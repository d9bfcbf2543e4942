"""Whether a run was as asked, in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from c1m.results.counts import Count
from c1m.results.options import LoadOptions
from c1m.results.record import (
    CONNECTION_COUNTS,
    EXTRA_KINDS,
    FAN_OUT_COUNTS,
    NOT_OPENED,
    REQUEST_COUNTS,
    WRONG_KINDS,
    Check,
    Connections,
    FanOut,
    Requests,
    RunRecord,
    Verdict,
)
from c1m.results.workers import Loss
from c1m.units import NS_PER_S, format_count, format_duration

LOST_SAID = 8  # workers, each with its sentence
CHECKS_SAID = 5  # that failed, each with its sentence
MOVED = (
    "The server is a node of a Redis Cluster, and its other nodes have these keys: write the "
    "target as redis://HOST:PORT, and put c1m.hash_tag(n) into the keys of your own scenario."
)


def judge(record: RunRecord, also: Sequence[str] = ()) -> Verdict:
    """The verdict: complete when all asked-for connections were open at the same time, none was
    lost, every request that was due was sent, every reply was right and came once, every
    publication reached everybody, every check held, and no worker was lost. `also`: further
    sentences of what was short.
    """
    asked, c = record.asked, record.connections
    shortfalls = [*_of_workers(record.degraded), *also, *_of_connections(asked, c)]
    if record.first.sent:
        shortfalls += _of_one_each("First requests", record.first, c, is_of_all=True)
    # Of a publication only its publisher is sent to.
    is_of_all = record.fan_out is None and not _opens_after_a_stampede(asked.stages)
    for stage in record.stages:
        if stage.is_stampede:
            shortfalls += _of_one_each("Stampede", stage.requests, c, is_of_all=is_of_all)
    shortfalls += _of_requests(record)
    if record.all_requests.faults.get("moved"):
        shortfalls.append(MOVED)
    shortfalls += _of_checks(record.checks)
    if record.fan_out is not None:
        shortfalls += _of_fan_out(record.fan_out)
    return Verdict(complete=not shortfalls, shortfalls=shortfalls)


def _of_workers(lost: Sequence[Loss]) -> list[str]:
    shortfalls = [
        f"The worker {one.worker} was lost at {format_duration(one.t_s * NS_PER_S)} with "
        f"{format_count(one.connections)} connections open: {one.why.rstrip('.')}."
        for one in lost[:LOST_SAID]
    ]
    if len(lost) > LOST_SAID:
        shortfalls.append(f"{format_count(len(lost) - LOST_SAID)} further workers were lost.")
    return shortfalls


def _of_connections(asked: LoadOptions, connections: Connections) -> list[str]:
    shortfalls = []
    words = (
        kind.replace("otherwise", "for another reason").replace("_", " ").replace("tls", "TLS")
        for kind in NOT_OPENED
    )
    why = _listed(zip((getattr(connections, kind) for kind in NOT_OPENED), words, strict=True))
    # Connections that the plan closed and opened again are attempted twice.
    again_failed = connections.attempted - connections.opened - connections.unfinished
    if connections.opened < asked.connections:
        shortfalls.append(
            f"{format_count(asked.connections - connections.opened)} of "
            f"{format_count(asked.connections)} connections did not open{why}."
        )
    elif connections.peak_open < asked.connections:
        shortfalls.append(
            f"At most {format_count(connections.peak_open)} of {format_count(asked.connections)} "
            "connections were open at the same time."
        )
    elif again_failed > 0:
        shortfalls.append(
            f"{format_count(again_failed)} of {format_count(connections.attempted)} connects "
            f"failed{why}."
        )
    return shortfalls + _must_not_be(connections, CONNECTION_COUNTS)


def _must_not_be(one: Any, counts: Mapping[str, Count], **more: str) -> list[str]:
    """The sentences of counts that are to be 0; `more`: what these name besides the counts."""
    values = {name: format_count(getattr(one, name)) for name in counts} | more
    return [
        count.shortfall.format_map(values)
        for name, count in counts.items()
        if count.shortfall and getattr(one, name)
    ]


def _opens_after_a_stampede(stages: Sequence[str]) -> bool:
    """Whether a stage (by its text) may open connections that were not there to stampede."""
    names = [text.split()[0].lower() for text in stages if text]
    after = names[names.index("stampede") + 1 :] if "stampede" in names else []
    return any(name not in ("stampede", "drain", "back") for name in after)


def _of_one_each(
    name: str, one: Requests, connections: Connections, *, is_of_all: bool
) -> list[str]:
    """Of requests that are one for each connection."""
    shortfalls = []
    if one.right < one.sent:
        shortfalls.append(
            f"{name}: {format_count(one.right)} of {format_count(one.sent)} replies were right; "
            f"wrong: {format_count(one.wrong)}, missing: {format_count(one.missing)}."
        )
    # The lost are reported already; what the plan closed may have been closed before.
    anew = connections.lost + connections.closed + connections.renewed
    if is_of_all and one.sent < connections.opened - anew:
        shortfalls.append(
            f"{name}: only {format_count(one.sent)} of {format_count(connections.opened)} "
            "opened connections were sent to."
        )
    return shortfalls


def _of_requests(record: RunRecord) -> list[str]:
    requests, everything = record.requests, record.all_requests
    kinds = _kinds(requests, WRONG_KINDS)
    shortfalls = _must_not_be(requests, REQUEST_COUNTS, kinds=kinds)
    if extra := sum(everything.faults.get(kind, 0) for kind in EXTRA_KINDS):
        kinds = _kinds(everything, EXTRA_KINDS)
        shortfalls.append(f"{format_count(extra)} replies came beyond those due{kinds}.")
    return shortfalls


def _of_checks(checks: Sequence[Check]) -> list[str]:
    failed = [one for one in checks if one.failed]
    shortfalls = [
        f"The check {one.name!r} failed {format_count(one.failed)} of "
        f"{format_count(one.passed + one.failed)} times."
        for one in failed[:CHECKS_SAID]
    ]
    if len(failed) > CHECKS_SAID:
        shortfalls.append(f"{format_count(len(failed) - CHECKS_SAID)} further checks failed.")
    return shortfalls


def _kinds(requests: Requests, kinds: dict[str, str]) -> str:
    return _listed((requests.faults.get(kind, 0), f"{kind} ({kinds[kind]})") for kind in kinds)


def _listed(counts: Iterable[tuple[int, str]]) -> str:
    """ ": 2 refused, 1 timed out", or "" where all are 0."""
    said = [f"{format_count(count)} {what}" for count, what in counts if count]
    return ": " + ", ".join(said) if said else ""


def _of_fan_out(fan_out: FanOut) -> list[str]:
    shortfalls = []
    if fan_out.received < fan_out.expected:
        shortfalls.append(
            f"Publications reached {format_count(fan_out.received)} of "
            f"{format_count(fan_out.expected)} receivers: "
            f"{format_count(fan_out.missing)} are missing."
        )
    return shortfalls + _must_not_be(fan_out, FAN_OUT_COUNTS)
