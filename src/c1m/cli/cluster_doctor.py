"""What `c1m doctor --cluster` shows: a line for each worker, and what helps where."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Protocol

from c1m.limits.forecast import Forecast
from c1m.limits.limit import SHORT
from c1m.units import format_count

NAMED_MAX = 5


class Examined(Protocol):
    """A worker as `cluster/doctor.py` found it; that needs Dask, and this does not."""

    @property
    def worker(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def connections(self) -> int: ...
    @property
    def found(self) -> Forecast: ...
    def as_dict(self) -> dict[str, Any]: ...


def is_short(examined: Sequence[Examined]) -> bool:
    """Whether some worker cannot have its part."""
    return any(one.found.is_short for one in examined)


def most(examined: Sequence[Examined]) -> int | None:
    """How many connections the workers can have if each has as many; None: that is not known."""
    bounds = [one.found.fits for one in examined if one.found.fits is not None]
    return min(bounds) * len(examined) if bounds else None


def as_dict(examined: Sequence[Examined], connections: int) -> dict[str, Any]:
    """For JSON: connections, workers (a dict for each, as c1m doctor has it), fits, verdict."""
    return {
        "connections": connections,
        "verdict": SHORT if is_short(examined) else "ok",
        "fits": most(examined),
        "workers": [one.as_dict() for one in examined],
    }


def render(examined: Sequence[Examined], connections: int, width: int) -> str:
    """The table (worker, its connections, verdict, how many fit, what bounds them), then what is
    short and what helps, each said once for all workers that it is said of; then a sentence."""
    role = examined[0].found.request.role
    title = f"What {format_count(connections)} connections need of {len(examined)} workers ({role})"
    rows = [("worker", "connections", "verdict", "fits", "first limit")]
    for one in examined:
        fits = "-" if one.found.fits is None else format_count(one.found.fits)
        verdict = SHORT if one.found.is_short else "ok"
        asked = format_count(one.connections)
        rows.append((one.worker, asked, verdict, fits, one.found.first_limit or "-"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [title, ""]
    for name, asked, verdict, fits, limit in rows:
        numbers = f"{asked:>{widths[1]}}  {verdict:<{widths[2]}}  {fits:>{widths[3]}}"
        lines.append(f"{name:<{widths[0]}}  {numbers}  {limit}")
    for (name, text), workers in _short(examined).items():
        where = "all" if len(workers) == len(examined) else _named(workers)
        lines += ["", *_wrap(f"{name}, at {where}: {text}", width)]
    return "\n".join([*lines, "", *_wrap(summary(examined, connections), width)])


def summary(examined: Sequence[Examined], connections: int) -> str:
    """Whether all of them fit, in a sentence."""
    fits, asked = most(examined), format_count(connections)
    if is_short(examined):
        short = sum(one.found.is_short for one in examined)
        most_said = "" if not fits else f" With as many for each, {format_count(fits)} fit."
        return f"{asked} connections do not fit: {short} of {len(examined)} workers.{most_said}"
    known = "" if fits is None else f" The first limit above that is at {format_count(fits)}."
    return f"{asked} connections fit on these workers.{known}"


def _short(examined: Sequence[Examined]) -> dict[tuple[str, str], list[str]]:
    """What is short and what to do -> at which workers."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in examined:
        for finding in one.found.findings:
            if finding.verdict == SHORT:
                text = " ".join(filter(None, (finding.text, finding.remedy)))
                found.setdefault((finding.name, text), []).append(one.worker)
    return found


def _named(workers: Sequence[str]) -> str:
    more = len(workers) - NAMED_MAX
    return ", ".join(workers[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _wrap(text: str, width: int) -> list[str]:
    """Words are not cut: commands are there to be copied."""
    return textwrap.wrap(
        text, max(width, 40), break_long_words=False, break_on_hyphens=False
    )  # fmt: skip
