"""A run of the benchmark as one JSON document, and back. Reading and writing, no computing."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.measure import Comparison
from harness.workloads import from_name

SCHEMA = 1


@dataclass(slots=True)
class Results:
    """What was measured, under which conditions."""

    name: str
    started: str  # UTC, "2026-11-23T12:05:07Z"
    conditions: dict[str, Any]  # machine, kernel, versions, limits, load average before and after
    settings: dict[str, Any]  # pairs, seconds, cores
    skipped: dict[str, str]  # peers that are not there, and why
    comparisons: list[Comparison] = field(default_factory=list)
    start_up: dict[str, list[float]] = field(default_factory=dict)  # seconds, by command
    million: list[dict[str, Any]] = field(default_factory=list)  # see million.figures

    def write(self, path: Path) -> None:
        """As JSON, one run of the generator a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        head = {
            "schema": SCHEMA, "name": self.name, "started": self.started,
            "conditions": self.conditions, "settings": self.settings, "skipped": self.skipped,
            "start_up": self.start_up,
        }  # fmt: skip
        body = ",\n".join(_comparison(each) for each in self.comparisons)
        million = ",\n".join("  " + json.dumps(each) for each in self.million)
        text = json.dumps(head, indent=1)[:-2]
        path.write_text(f'{text},\n "million": [\n{million}\n],\n "comparisons": [\n{body}\n]}}\n')


def read(path: Path) -> Results:
    """The document at `path`. Raises ValueError when it is of another schema."""
    data: Mapping[str, Any] = json.loads(path.read_text())
    if data.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {data.get('schema')}, this reads {SCHEMA}.")
    comparisons = [
        Comparison(
            from_name(each["workload"]),
            each["peer"],
            each["against"],
            [(pair[0], pair[1]) for pair in each["pairs"]],
            each["error"],
        )
        for each in data["comparisons"]
    ]
    return Results(
        data["name"], data["started"], data["conditions"], data["settings"], data["skipped"],
        comparisons, data["start_up"], data.get("million", []),
    )  # fmt: skip


def _comparison(each: Comparison) -> str:
    names = {"workload": each.workload.name, "peer": each.peer, "against": each.against}
    head = json.dumps({**names, "error": each.error})[:-1]
    pairs = ",\n".join("   " + json.dumps(list(map(_small, pair))) for pair in each.pairs)
    return f'  {head}, "pairs": [\n{pairs}]}}'


def _small(run: Mapping[str, Any]) -> dict[str, Any]:
    """Without caches that hold nothing to speak of: a slabinfo has two hundred lines."""
    kept = {k: v for k, v in run.items() if k not in ("mode", "payload")}
    if "held" in kept:
        empty, held = kept["empty"], kept["held"]
        grown = {
            name: size
            for name, size in held["slabs"].items()
            if abs(size - empty["slabs"].get(name, 0)) >= 65_536
        }
        kept["empty"] = {**empty, "slabs": {n: empty["slabs"].get(n, 0) for n in grown}}
        kept["held"] = {**held, "slabs": grown}
    return kept


def conclude(found: dict[str, Any], path: Path | None) -> None:
    """What was found is whole: say who was left out, and write it where that is wanted."""
    for name, why in found.get("skipped", {}).items():
        print(f"left out: {name}: {why}")
    found["conditions"]["load_average_after"] = os.getloadavg()[0]
    if path is not None:
        path.write_text(json.dumps(found, indent=1) + "\n")
