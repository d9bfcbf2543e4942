"""A sample of tests/torture/lossy.py: each server behind a wire that is bad to packets.

Only what is right is looked at: how long it takes is the wire's, and TCP's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from torture.lossy import KINDS, WIRES, Run
from torture.wire import CannotBeHad, Faults, Wire


@pytest.fixture
def wires() -> None:
    """Skips where there are none."""
    try:
        with Wire(Faults()):
            pass
    except CannotBeHad as why:
        pytest.skip(f"no wire between two network namespaces can be made here: {why}")


@pytest.mark.usefixtures("wires")
def test_all_bytes_are_right_and_nobody_is_stuck(engine: str) -> None:
    """All servers at once, each with namespaces of its own."""

    def found(kind: str) -> tuple[str, dict[str, Any]]:
        run = Run(kind, engine, WIRES["all"], changes=True, count=8, rounds=1, size=50_000)
        return kind, run.found()

    with ThreadPoolExecutor(len(KINDS)) as pool:
        of_each = dict(pool.map(found, KINDS))
    for kind, said in of_each.items():
        assert said["wrong"] == [], kind
        assert said["conversations"] > 0, kind
    for what in ("lost", "doubled", "damaged"):
        assert sum(said["packets"][what] for said in of_each.values()) > 0, what
