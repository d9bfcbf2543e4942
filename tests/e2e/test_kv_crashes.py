"""A few of the kills that `python -m tests.conformance kv-crash` does by the hundred."""

from __future__ import annotations

from pathlib import Path

from kv_crashes import Crashes


def test_what_was_confirmed_is_there_after_a_kill(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path, seed=1)
    for life in range(40):  # on a busy machine many are too short for a reply
        crashes.life()
        if life >= 3 and crashes.confirmed > 0:
            return
    raise AssertionError("nothing was ever confirmed")
