"""Records of schema "c1m-run/1" as those of "c1m-run/2". Nothing else knows of schema 1.

What schema 2 has otherwise:

- The first requests and the stampedes are counted as all requests are (`first`, `stampede`, the
  `requests` of a stampede's stage), not in a list of rounds.
- A wrong reply is one of the `faults`.
- The CPU of both ends is only in figures, not in the limit's sentences, too.
- An explanation names the errno of its failure.
- What was asked has its times in nanoseconds.
- Connects that failed with other errnos are `failed_otherwise`: `failed` is all that failed.
- Every record has stages. Early records of schema 1 had none, nor faults, nor a count of
  connections that were ready.

It changes JSON, and knows only the parts that it changes.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from c1m.errors import UsageError
from c1m.results import codec
from c1m.units import NS_PER_S, parse_count

SCHEMA = "c1m-run/1"
_CPU = "CPU while requests ran: "
_STAGES = ("ramp", "hold", "stampede")  # of the early records


@dataclass(frozen=True, slots=True)
class _Failure:
    connection: int
    expected: str
    received: str  # "": it did not come


@dataclass(frozen=True, slots=True)
class _Requests:
    name: str = ""  # of a round: "first" or "stampede"
    due: int = 0
    sent: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0
    in_flight_peak: int = 0
    seconds: float = 0.0
    first_failures: list[_Failure] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Stage:
    name: str
    start_s: float = 0.0
    end_s: float = 0.0
    requests: _Requests = field(default_factory=_Requests)


@dataclass(frozen=True, slots=True)
class _Explanation:
    what: str

    @property
    def errno(self) -> str:
        match = re.match(r"[\d,]+ x (\w+) while ", self.what)
        return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class _Limit:
    sentences: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Record:
    command: list[str] = field(default_factory=list)
    scenario: str = ""
    target: str = ""
    explanations: list[_Explanation] = field(default_factory=list)
    limit: _Limit = field(default_factory=_Limit)
    phases: list[_Stage] = field(default_factory=list)
    rounds: list[_Requests] = field(default_factory=list)
    requests: _Requests = field(default_factory=_Requests)
    stages: list[_Stage] = field(default_factory=list)


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """The JSON of a record of schema 1 as that of schema 2. Raises ValueError where it is damaged.

    `data` is not changed.
    """
    old = codec.decode(_Record, data)
    first = next((one for one in old.rounds if one.name == "first"), _Requests("first"))
    rounds = [one for one in old.rounds if one.name == "stampede"]
    new = {name: value for name, value in data.items() if name != "rounds"}
    new["schema"] = "c1m-run/2"
    if isinstance(counts := data.get("connections"), dict):
        names = {"failed": "failed_otherwise"}
        new["connections"] = {"ready": first.right} | {names.get(n, n): counts[n] for n in counts}
    typed = _typed(old.command)
    new["scenario"] = typed.get("scenario", old.scenario)
    if isinstance(asked := data.get("asked"), dict):
        new["asked"] = _asked(asked) | {"scenario": old.scenario, "targets": [old.target]} | typed
    if isinstance(limit := data.get("limit"), dict):
        said = [text for text in old.limit.sentences if not text.startswith(_CPU)]
        new["limit"] = limit | {"sentences": said}
    told = zip(data.get("explanations", ()), old.explanations, strict=True)
    new["explanations"] = [one | {"errno": seen.errno} for one, seen in told]
    stages = data.get("stages") or codec.encode([p for p in old.phases if p.name in _STAGES])
    new["stages"] = stages = [dict(stage) for stage in stages]
    extras: Counter[str] = Counter()
    for stage, seen in zip(stages, old.stages or [_Stage(s["name"]) for s in stages], strict=True):
        if stage["name"] != "stampede":
            seconds = max(0.0, seen.end_s - seen.start_s) if seen.requests.due else 0.0
            stage["requests"] = stage.get("requests", {}) | {"seconds": seconds}
        elif rounds:
            stage["requests"] = _requests([rounds.pop(0)], seen.requests.faults)
            extras.update(seen.requests.faults)
    load = [stage["requests"] for stage in stages if stage["name"] != "stampede"]
    new["requests"] = data.get("requests", {}) | {
        "faults": dict(Counter(old.requests.faults) - extras),
        "seconds": sum(one["seconds"] for one in load),
    }
    new["first"] = _requests([first])
    new["stampede"] = _requests([one for one in old.rounds if one.name == "stampede"], extras)
    new["faults"] = data.get("faults") or _faults(old.rounds)
    return new


def _typed(command: Sequence[str]) -> dict[str, Any]:
    """Options that schema 1 has in the command only, and a scenario that it has as "echo"."""
    words = [part for word in command for part in word.split("=", 1 if word[:2] == "--" else 0)]
    said = list(itertools.pairwise(words))
    found: dict[str, Any] = {"sources": [value for name, value in said if name == "--source"]}
    for name, value in said:
        if name in ("--connect-window", "--publishers"):
            with contextlib.suppress(UsageError):
                found[name[2:].replace("-", "_")] = parse_count(value)
        if (name, value) == ("--scenario", "reconnect-storm"):
            found["scenario"] = value
    return found


def _asked(old: dict[str, Any]) -> dict[str, Any]:
    """With times in nanoseconds, not seconds; what early records did not say is empty."""
    asked = {"timeout_ns": 0, "arrivals": "", "spread": ""} | old
    for name in ("hold", "think", "timeout"):
        seconds = asked.pop(f"{name}_s", None)
        if isinstance(seconds, int | float):
            if not abs(seconds) < 2**63 / NS_PER_S:
                raise ValueError(f"asked.{name}_s is not in range")
            asked[f"{name}_ns"] = round(seconds * NS_PER_S)
    return asked


def _requests(rounds: Sequence[_Requests], extras: dict[str, int] | None = None) -> dict[str, Any]:
    """What rounds are in schema 2; `extras`: replies beyond those due, by kind."""
    faults = Counter(extras or {})
    for one in rounds:  # early records had no kinds
        faults.update(one.faults or ({"garbled": one.wrong} if one.wrong else {}))
    counts = ("sent", "right", "wrong", "missing", "seconds")
    sums = {name: sum(getattr(one, name) for one in rounds) for name in counts}
    peak = max((one.in_flight_peak for one in rounds), default=0)
    return sums | {"due": sums["sent"], "faults": dict(faults), "in_flight_peak": peak}


def _faults(rounds: Sequence[_Requests]) -> list[dict[str, Any]]:
    """What early records had of wrong replies; when they came is not known."""
    return [
        {"kind": "garbled" if one.received else "missing", "t_s": 0.0, "seq": 0} | codec.encode(one)
        for each in rounds
        for one in each.first_failures
    ]
