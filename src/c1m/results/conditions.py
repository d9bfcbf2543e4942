"""The conditions in which two sets of runs differ: figures compare only where these agree.

Pure: records in, a list out. `is_alarming` is False where the difference may be the very purpose,
as between two builds of c1m, or is without meaning, as of the seed.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from c1m.results.record import RunRecord
from c1m.units import format_bytes, format_count, format_duration

_LOCAL = re.compile(r"\w+://(?:127\.|localhost[:/]|\[::1\])")
_PLAIN = ("kernel", "cpu", "cores", "python", "numpy", "c1m", "nofile_soft", "nofile_hard")
_CALM = {"c1m", "asked.seed"}
# The engine that ran, the target and the scenario are conditions of their own; who is measured as
# the server, and what is required of the figures, is none.
_NOT_TOLD = {"engine", "targets", "scenario", "server_pid", "require"}
_MEMORY_STEP = 64 << 20  # MemTotal moves by some MiB between boots of the same machine


@dataclass(frozen=True, slots=True)
class Condition:
    """One that differs, with what it was on each side (" | " between several)."""

    name: str
    a: str
    b: str
    is_alarming: bool = True


def differing(a: Sequence[RunRecord], b: Sequence[RunRecord]) -> list[Condition]:
    """All conditions that are not the same in all records of both sides, the alarming first."""
    all_a, all_b = [_conditions(one) for one in a], [_conditions(one) for one in b]
    names = dict.fromkeys(name for one in (*all_a, *all_b) for name in one)
    found = []
    for name in names:
        left, right = _texts(all_a, name), _texts(all_b, name)
        if left != right or len(left) > 1:
            found.append(Condition(name, " | ".join(left), " | ".join(right), name not in _CALM))
    return sorted(found, key=lambda one: not one.is_alarming)


def _texts(records: Sequence[dict[str, str]], name: str) -> list[str]:
    return sorted({one.get(name, "-") for one in records})


def _conditions(record: RunRecord) -> dict[str, str]:
    meta = record.metadata
    named = {name: _text(getattr(meta, name)) for name in _PLAIN}
    named["memory"] = format_bytes(round(meta.memory_bytes / _MEMORY_STEP) * _MEMORY_STEP)
    named["engine"] = meta.engine.name
    named |= {name: " ".join(text.split()) for name, text in meta.sysctls.items()}
    named["target"] = _target_kind(record.target)
    named["scenario"] = record.scenario
    for field in dataclasses.fields(record.asked):
        if field.name not in _NOT_TOLD:
            value = getattr(record.asked, field.name)
            is_time = field.name.endswith("_ns") and value is not None
            named[f"asked.{field.name}"] = format_duration(value) if is_time else _text(value)
    return named


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(value) or "-"
    if isinstance(value, int | float):
        return format_count(value) if float(value).is_integer() else f"{value:g}"
    return "-" if value is None or value == "" else str(value)


def _target_kind(target: str) -> str:
    if not target:
        return "-"
    if target.startswith("unix:"):
        return "a Unix socket"
    return "on this machine" if _LOCAL.match(target) else "on the network"
