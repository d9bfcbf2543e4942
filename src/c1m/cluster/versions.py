"""Whether all workers have what the controller has: what they say to each other is no protocol
that is kept between versions. The comparison is pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from c1m.errors import UsageError

# As Dask names them; NumPy's and Python's, because what is measured depends on them.
COMPARED = {"c1m": "c1m", "python": "Python", "numpy": "NumPy", "distributed": "distributed"}
NAMED_MAX = 3

Versions = Mapping[str, str | None]


async def check(client: Any, workers: Sequence[str]) -> None:
    """Refuse workers that differ, before anything of c1m is run there. `client`: Dask's.

    Raises UsageError, with what differs where.
    """
    found = await client.get_versions(packages=["c1m"])
    ours = found["client"]["packages"]
    theirs = {one: found["workers"].get(one, {}).get("packages", {}) for one in workers}
    if said := different(ours, theirs):
        raise UsageError(
            f"The workers have other versions than this process: {said}.",
            "Install the same on all machines: pip install 'c1m[cluster]==VERSION'.",
        )


def different(ours: Versions, theirs: Mapping[str, Versions]) -> str:
    """What differs at which workers, by their addresses, in words; "" for nothing."""
    sentences = []
    for package, name in COMPARED.items():
        others: dict[str | None, list[str]] = {}
        for worker, versions in theirs.items():
            if versions.get(package) != ours.get(package):
                others.setdefault(versions.get(package), []).append(worker)
        if others:
            there = [
                f"{_short(version)} at {_named(workers)}" for version, workers in others.items()
            ]
            sentences.append(f"{name} is {_short(ours.get(package))} here, {' and '.join(there)}")
    return "; ".join(sentences)


def _short(version: str | None) -> str:
    """A version as people write it: Python's comes as 3.11.7.final.0."""
    return "not there" if version is None else version.removesuffix(".final.0")


def _named(workers: Sequence[str]) -> str:
    more = len(workers) - NAMED_MAX
    return ", ".join(workers[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
