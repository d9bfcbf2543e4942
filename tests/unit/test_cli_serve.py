"""`c1m serve`: its servers, and what it says before it serves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from c1m.apps import APPS, load_app
from c1m.cli import serve, serve_text
from c1m.cli.commands import COMMANDS
from c1m.limits import forecast
from c1m.limits.limit import Situation
from c1m.server.server import App, Makes


def engine(room: int) -> Any:
    return SimpleNamespace(name="uring", room=lambda: room)


def test_the_room_is_what_the_engine_has_and_memory_holds() -> None:
    assert serve_text._room(engine(5)) == 5
    assert serve_text._room(engine(0)) == 0
    everything = 10**9  # connections: more than any machine's memory
    assert 1_000 < serve_text._room(engine(everything)) < everything


def test_what_is_not_known_bounds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "read_situation", Situation)
    assert serve_text._room(engine(10**9)) == 10**9


def test_every_server_of_the_table_is_an_app_and_in_the_help() -> None:
    for name, entry in APPS.items():
        assert isinstance(load_app(name), App | Makes)
        assert f"{name} ({entry.help})" in " ".join(str(serve.serve.help).split())
        assert name in COMMANDS["serve"]


def test_processes_that_were_started_again_are_counted_in_words() -> None:
    counts = {"opened": 7, "messages": 9, "cpu_s": 1.5, "restarts": 1}
    server: Any = SimpleNamespace(
        children=[SimpleNamespace(live=0, restarts=1)], each=lambda: [counts]
    )
    assert serve_text._spread(server) == "1 restart"
    assert serve_text._of_each(server) == [
        "process 0: 7 connections opened, 9 messages, CPU 1.50 s, 1 restart"
    ]
    server.children = [SimpleNamespace(live=2, restarts=1), SimpleNamespace(live=2, restarts=2)]
    assert serve_text._spread(server) == "spread 50/50 %  3 restarts"
