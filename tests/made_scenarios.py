"""Scenarios by name, begun and rehearsed for so many connections."""

from __future__ import annotations

from typing import Any

from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import find_scenario, rehearse


def make_scenario(
    name: str, *, connections: int = 1, seed: int = 0, pipeline: int = 1, **options: Any
) -> Scenario:
    """As a plan does it: `options` are those of find_scenario."""
    scenario = find_scenario(name, **options)
    rehearse(scenario, connections, seed, pipeline)
    return scenario
