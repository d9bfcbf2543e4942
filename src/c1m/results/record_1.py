"""Records of schema "c1m-run/1" as those of "c1m-run/2". Nothing else knows of schema 1.

What schema 2 has otherwise: the first requests and the stampedes are counted as all requests are
(`first`, `stampede`, the `requests` of a stampede's stage), not in a list of rounds; a wrong reply
is one of the `faults`; connects that failed with other errnos are `failed_otherwise`, because
`failed` is all that failed; every record has stages. Early records of schema 1 had no stages, no
faults and no count of connections that were ready.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from c1m.results import codec
from c1m.results.requests import FaultSeen, Requests, StageResult

SCHEMA = "c1m-run/1"
_NAMES = {"failed": "failed_otherwise"}  # of connections
_STAGES = ("ramp", "hold", "stampede")  # of the early records


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of the run."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class _ReplyFailure:
    """A reply that was not what was sent, or none."""

    connection: int
    expected: str
    received: str


@dataclass(frozen=True, slots=True)
class _Round:
    """One message on every open connection; `name` is "first" or "stampede"."""

    name: str
    sent: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0
    in_flight_peak: int = 0
    seconds: float = 0.0
    first_failures: list[_ReplyFailure] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)

    def requests(self) -> Requests:
        """The same as schema 2 has it."""
        kinds = dict(self.faults)
        if self.wrong and not kinds:  # before there were kinds
            kinds = {"garbled": self.wrong}
        return Requests(
            self.sent, self.sent, self.right, self.wrong, self.missing,
            faults=kinds, in_flight_peak=self.in_flight_peak, seconds=self.seconds,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Changed:
    """The parts of a record of schema 1 that schema 2 has otherwise."""

    phases: list[_Span] = field(default_factory=list)
    rounds: list[_Round] = field(default_factory=list)
    requests: Requests = field(default_factory=Requests)
    stages: list[StageResult] = field(default_factory=list)
    faults: list[FaultSeen] = field(default_factory=list)


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a record of schema 1 as that of schema 2. Raises ValueError where it is damaged.

    `data` is not changed.
    """
    old = codec.decode(_Changed, data)
    first = next((one for one in old.rounds if one.name == "first"), _Round("first"))
    stages = _stages(old)
    stampedes = [stage.requests for stage in stages if stage.is_stampede]
    load = [stage.requests for stage in stages if not stage.is_stampede]
    new = {
        "schema": "c1m-run/2",
        "requests": Requests.together(load) if old.stages else old.requests,
        "first": first.requests(),
        "stampede": Requests.together(stampedes),
        "stages": stages,
        "faults": old.faults or _faults_seen(old.rounds),
    }
    kept = {name: value for name, value in data.items() if name != "rounds"}
    if isinstance(counts := data.get("connections"), dict):
        kept["connections"] = {"ready": first.right} | {_NAMES.get(n, n): counts[n] for n in counts}
    return kept | {name: codec.encode(value) for name, value in new.items()}


def _stages(old: _Changed) -> list[StageResult]:
    """The stages with how long requests were due in them, stampedes with their requests."""
    stages = old.stages or [
        StageResult(span.name, span.name, span.start_s, span.end_s)
        for span in old.phases
        if span.name in _STAGES
    ]
    stampedes = iter([one for one in old.rounds if one.name == "stampede"])
    made = []
    for stage in stages:
        requests = stage.requests
        if stage.is_stampede and (one := next(stampedes, None)) is not None:
            own = one.requests()
            # Replies beyond those due were counted for the stage already.
            requests = replace(own, faults=dict(Counter(own.faults) + Counter(requests.faults)))
        elif requests.due:
            requests = replace(requests, seconds=max(0.0, stage.end_s - stage.start_s))
        made.append(replace(stage, requests=requests))
    return made


def _faults_seen(rounds: list[_Round]) -> list[FaultSeen]:
    """What early records had of wrong replies; when they came is not known."""
    return [
        FaultSeen(
            "garbled" if one.received else "missing", 0.0, one.connection, 0,
            one.expected, one.received,
        )
        for each in rounds
        for one in each.first_failures
    ]  # fmt: skip
