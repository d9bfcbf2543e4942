"""A sample of `python -m tests.torture protocols`."""

from __future__ import annotations

import pytest

from chaos.protocols import run


@pytest.mark.parametrize("seed", range(12))
def test_protocols_with_random_peers(seed: int) -> None:
    run(seed)
