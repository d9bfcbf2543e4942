"""Take-over with a process on the other side that lies or ends, and with many sockets."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.errors import UsageError
from c1m.kernel.channel import Channel, Doorway, knock
from c1m.server.life import Life
from c1m.server.takeover import Predecessor, Succession, predecessor
from e2e.library_runs import WAIT_S, eventually

PLACE = {"family": int(AF_INET), "host": "127.0.0.1", "port": 1}
ABOUT = {"version": "1", "app": "echo", "pid": 1}
FULL = {"hello": 1, "about": ABOUT, "left": 0, "sockets": []}


@pytest.mark.parametrize(
    "said",
    [
        {"hello": 1},
        {**FULL, "hello": 2},
        {**FULL, "about": "me"},
        {**FULL, "about": {}},
        {**FULL, "left": 5},
        {**FULL, "left": "all"},
        {**FULL, "sockets": [[PLACE, PLACE, True]]},
        {**FULL, "sockets": [[PLACE, PLACE, True]], "has": 1},
        {**FULL, "sockets": [[{"where": 1}, PLACE, True]], "has": 1},
        {**FULL, "sockets": [7], "has": 1},
    ],
)
def test_an_old_process_that_says_nonsense_is_refused(tmp_path: Path, said: Any) -> None:
    doorway, (reader, writer) = Doorway(str(tmp_path / "next")), os.pipe()

    def lie() -> None:
        channel = None
        while channel is None:
            channel = doorway.next()
        channel.say([reader] * said.get("has", 0), **said)
        channel.hear(WAIT_S * 1000)
        channel.hear(WAIT_S * 1000)  # the end
        channel.close()

    liar = threading.Thread(target=lie)
    liar.start()
    try:
        with pytest.raises(UsageError, match="cannot be taken over from"):
            predecessor(str(tmp_path / "next"), os.geteuid())
    finally:
        liar.join()
        doorway.close()
        os.close(reader)
        os.close(writer)


@contextmanager
def serves(path: Path, count: int) -> Iterator[Succession]:
    """An old process with so many listening sockets, which are one here."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        place = Endpoint(AF_INET, "127.0.0.1", sock.getsockname()[1])
        rows = [(sock.fileno(), place, place, False)] * count
        listeners: Any = SimpleNamespace(all=lambda: rows, share=lambda on: None)
        found = Succession(str(path), {"app": "echo"}, listeners, lambda pid, must_hurry: None)
        try:
            yield found
        finally:
            found.end(lambda: None, lambda: True)


def looked(old: Succession) -> bool:
    old.look()
    return True


def test_more_sockets_than_a_channel_takes_at_once(tmp_path: Path) -> None:
    count, found = 2000, list[Predecessor | None]()
    with serves(tmp_path / "next", count) as old:
        new = threading.Thread(
            target=lambda: found.append(predecessor(str(tmp_path / "next"), os.geteuid()))
        )

        def is_there() -> bool:
            old.look()
            return not new.is_alive()

        for _ in range(3):  # the new one does not read yet
            old.look()
        new.start()
        eventually(is_there, "the new one has them all")
    [taken] = found
    assert taken is not None
    assert len(taken.given) == count
    taken.close()
    for each in taken.given:
        os.close(each.fd)


def test_one_that_was_asked_to_end_does_not_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has let go for a next one, which ended by the same signal."""
    begun: list[str] = []
    monkeypatch.setattr(os, "execv", lambda *what: begun.append("anew"))
    with serves(tmp_path / "next", 1) as old:
        channel = knock(str(tmp_path / "next"), os.geteuid())
        assert isinstance(channel, Channel)
        channel.say(hello=1, pid=1)
        eventually(lambda: looked(old) and channel.hear() != ({}, []), "it has answered")
        channel.say(say="let go")
        eventually(lambda: looked(old) and old.has_left, "it lets go")
        channel.close()
        assert old.end(lambda: None, lambda: True) == 0
    assert begun == []


def test_the_new_one_serves_on_where_no_next_one_can_come(tmp_path: Path) -> None:
    said: list[str] = []
    life = Life(takeover=str(tmp_path / "gone" / "next"), say=said.append)
    old = SimpleNamespace(ready=lambda: None, is_stopping=lambda: True, close=lambda: None)
    server = SimpleNamespace(
        is_stopping=False,
        statistics=SimpleNamespace(live=0),
        listeners=SimpleNamespace(remove_left=lambda: None),
        operators=SimpleNamespace(take_over=lambda: None),
    )
    life._old, life._server = old, server  # type: ignore[assignment]
    life._look(0)
    life._look(1)
    [line] = said
    assert "cannot be used for a take-over" in line
    life.end()
