"""A few of the kills that `python -m tests.conformance kv-crash` does by the hundred."""

from __future__ import annotations

from pathlib import Path

from kv_crashes import Crashes


def test_what_was_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path, seed=1)
    for _ in range(4):
        crashes.life()
    assert crashes.confirmed > 0
