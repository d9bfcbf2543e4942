"""Fixtures: a world on each kernel, with what its rings went through."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contract.world import World
from kernel.watched import KINDS, Seen, harness

Make = Callable[..., World]


@pytest.fixture
def seen() -> Seen:
    """What the rings went through."""
    return Seen()


@pytest.fixture(params=KINDS)
def make_world(request: pytest.FixtureRequest, seen: Seen) -> Iterator[Make]:
    """Makes worlds that listen; options as for UringEngine. All laws are checked in the end."""
    worlds: list[World] = []

    def make(**options: Any) -> World:
        world = World(harness(request.param, seen), **options)
        worlds.append(world)
        world.listen()
        return world

    yield make
    for world in worlds:
        try:
            world.end()
        finally:
            world.engine.shutdown()
            world.harness.close()
