"""Fixtures of the contract's tests: every test runs once for every engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contract.harness import HARNESSES, ONLY
from contract.world import World

MakeWorld = Callable[..., World]
NEVER_NS = 3_600_000_000_000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`engine_kind`, the engine's name."""
    if "engine_kind" in metafunc.fixturenames:
        module = metafunc.module.__name__.rpartition("test_contract_")[2]
        kinds = [kind for kind in sorted(HARNESSES) if module in ONLY.get(kind, module)]
        metafunc.parametrize("engine_kind", kinds)


@pytest.fixture
def inner_kind(engine_kind: str) -> str:
    """The name of the engine that has the connections."""
    return HARNESSES[engine_kind]().uses or engine_kind


@pytest.fixture
def make_world(engine_kind: str, request: pytest.FixtureRequest) -> Iterator[MakeWorld]:
    """Makes worlds with engines of given options; in the end, all laws are checked."""
    make_harness = HARNESSES[engine_kind]
    test: str = request.node.originalname
    lacking = make_harness().lacks.get(test)
    if lacking:
        pytest.skip(lacking)
    worlds: list[World] = []
    gc.collect()
    before = make_harness().resources()

    def make(**options: Any) -> World:
        options.setdefault("linger_ns", NEVER_NS)  # nobody expires because the machine is busy
        worlds.append(World(make_harness(), **options))
        return worlds[-1]

    yield make
    try:
        for world in worlds:
            world.end()
    finally:
        for world in worlds:
            world.engine.shutdown()
            world.harness.close()
    gc.collect()
    assert make_harness().resources() == before, "descriptors have leaked"


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """An engine that listens, with a low watermark for its output."""
    world = make_world(outbox_high=1 << 16)
    world.listen()
    return world
