"""What `c1m serve` says before it serves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from c1m.cli import serve
from c1m.limits import forecast
from c1m.limits.situation import Situation


def engine(room: int) -> SimpleNamespace:
    return SimpleNamespace(name="uring", room=lambda: room)


def test_the_room_is_what_the_engine_has_and_memory_holds() -> None:
    assert serve._room(engine(5)) == 5
    assert serve._room(engine(0)) == 0
    everything = 10**9  # connections: more than any machine's memory
    assert 1_000 < serve._room(engine(everything)) < everything


def test_what_is_not_known_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "read_situation", Situation)
    assert serve._room(engine(10**9)) == 10**9
