"""Counts of a record, each described once at its field. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True, slots=True)
class Count:
    """What a field counts, described once: thresholds, comparisons, the verdict, live metrics, the
    schema and the reference all read it."""

    help: str
    better: str = LOWER  # or HIGHER; "": neither
    of: str = ""  # the count of which it is a share
    name: str = ""  # as a metric; "": the field's
    shortfall: str = ""  # what the verdict says where there is any; "": there may be


def counted(help: str, **more: str) -> Any:
    """A field of a record that is such a count."""
    return field(default=0, metadata={"count": Count(help, **more)})


def counts_of(kind: type) -> dict[str, Count]:
    """The counts of a part of a record, by field."""
    return {f.name: f.metadata["count"] for f in fields(kind) if "count" in f.metadata}
