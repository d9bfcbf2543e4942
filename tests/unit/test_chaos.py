"""A sample of `python -m tests.torture faults`: every server under random faults and peers."""

from __future__ import annotations

import pytest

from chaos.runs import run

EACH = 25  # runs in one test


@pytest.mark.parametrize("first", range(0, 500, EACH))
def test_laws_hold_under_random_faults(first: int) -> None:
    for seed in range(first, first + EACH):
        try:
            run(seed)
        except Exception as error:
            error.add_note(f"python -m tests.torture faults --seed {seed}")
            raise


@pytest.mark.parametrize("seed", [8988, 17208])
def test_seeds_that_have_found_something(seed: int) -> None:
    """Who was held for a PROXY header when the server stopped."""
    run(seed)
