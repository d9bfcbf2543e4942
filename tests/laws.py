"""The laws of a record: sums that hold in every run. What they are is said beside their parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from c1m.results.record import (
    EXTRA_KINDS,
    REQUEST_COUNTS,
    WRONG_KINDS,
    Connections,
    FanOut,
    Requests,
    RunRecord,
    Share,
)


def broken_laws(record: RunRecord) -> list[str]:
    """Sums that do not hold, as sentences (each would be a bug of ours); [] for a sound record."""
    c = record.connections
    broken = _broken_by("", c)
    connects = c.attempted - c.opened - c.unfinished - c.tls_failed - c.handshake_failed
    totals = (
        ("connect", connects), ("tls", c.tls_failed), ("handshake", c.handshake_failed),
        ("open", c.lost),
    )  # fmt: skip
    for phase, total in totals:
        explained = sum(failure.count for failure in record.failures if failure.phase == phase)
        if explained != total:
            broken.append(f"{total} failures in phase {phase}, but {explained} have an errno")
    parts = {"first requests": record.first, "stampedes": record.stampede}
    parts["all stages"] = record.requests
    for number, stage in enumerate(record.stages, 1):
        parts[f"stage {number} ({stage.name})"] = stage.requests
    for where, requests in parts.items():
        broken += _broken_by_requests(f"{where}: ", requests)
    stampedes = [stage.requests for stage in record.stages if stage.is_stampede]
    load = [stage.requests for stage in record.stages if not stage.is_stampede]
    if record.stages:
        broken += _broken_by_sum("stages", load, record.requests)
        broken += _broken_by_sum("stampedes", stampedes, record.stampede)
    for share in record.shares:
        broken += _broken_by(f"{share.name}: ", share)
    if record.fan_out is not None:
        broken += _broken_by("fan-out: ", record.fan_out)
    return broken


def _broken_by(where: str, part: Connections | Requests | FanOut | Share) -> list[str]:
    """Those of its LAWS that do not hold."""
    values = {one.name: getattr(part, one.name) for one in fields(part)}
    if isinstance(part, Requests):
        values |= {kind: part.faults.get(kind, 0) for kind in WRONG_KINDS}
    broken = []
    for law in part.LAWS:
        whole, sign, rest = law.split(maxsplit=2)
        names, value = rest.split(" + "), values[whole]
        total = sum(values[name] for name in names)
        said = " + ".join(f"{name} {values[name]}" for name in names)
        if sign == "=" and value != total:
            broken.append(f"{where}{whole} is {value}, not {said}")
        if sign == "<=" and value > total:
            broken.append(f"{where}{whole} {value} is above {said}")
    return broken


def _broken_by_requests(where: str, r: Requests) -> list[str]:
    kinds = sorted(set(r.faults) - set(WRONG_KINDS) - set(EXTRA_KINDS))
    counts = {name: getattr(r, name) for name in REQUEST_COUNTS} | r.faults
    return [
        *_broken_by(where, r),
        *(f"{where}there is no fault of kind {kind!r}" for kind in kinds),
        *(f"{where}{name} is {n}, below 0" for name, n in counts.items() if n < 0),
    ]


def _broken_by_sum(what: str, stages: Sequence[Requests], whole: Requests) -> list[str]:
    """The stages' requests together are the run's."""
    sums = {name: sum(getattr(one, name) for one in stages) for name in REQUEST_COUNTS}
    totals = {name: getattr(whole, name) for name in REQUEST_COUNTS}
    for kind in sorted({*whole.faults, *(kind for one in stages for kind in one.faults)}):
        sums[kind + " replies"] = sum(one.faults.get(kind, 0) for one in stages)
        totals[kind + " replies"] = whole.faults.get(kind, 0)
    return [
        f"{name} of all {what} is {totals[name]}, but the {what} add up to {sums[name]}"
        for name in sums
        if sums[name] != totals[name]
    ]
