"""Which engine is chosen, and the reason as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from c1m.engine import uring
from c1m.engine.base import Engine
from c1m.engine.choose import ENGINES, choose
from c1m.errors import EngineUnavailable, UsageError

REFUSAL = "This kernel's io_uring is switched off (kernel.io_uring_disabled is 2)."


@pytest.fixture
def chosen() -> Iterator[list[Engine]]:
    """Engines to be shut down after the test."""
    engines: list[Engine] = []
    yield engines
    for engine in engines:
        engine.shutdown()


@pytest.fixture
def without_uring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses io_uring."""

    def refuse(*_: Any, **__: Any) -> None:
        raise EngineUnavailable(REFUSAL, "Set kernel.io_uring_disabled to 0.")

    monkeypatch.setattr(uring, "UringEngine", refuse)


@pytest.mark.parametrize("name", ["epoll", "uring"])
def test_the_one_asked_for(name: str, chosen: list[Engine]) -> None:
    chosen.append(choose(name))
    assert chosen[0].name == name
    assert chosen[0].reason.startswith("asked for")
    assert ("ulimit -n" in chosen[0].reason) == (name == "epoll")  # its limit


def test_auto_takes_uring_where_it_works(chosen: list[Engine]) -> None:
    try:
        uring.UringEngine(reason="").shutdown()
    except EngineUnavailable as refusal:
        pytest.skip(f"no io_uring here: {refusal}")
    chosen.append(choose("auto"))
    assert chosen[0].name == "uring"
    assert chosen[0].reason == "this kernel has all that it needs"


@pytest.mark.usefixtures("without_uring")
def test_auto_takes_epoll_elsewhere_and_says_why(chosen: list[Engine]) -> None:
    chosen.append(choose())
    assert chosen[0].name == "epoll"
    assert chosen[0].reason.startswith(f"instead of uring: {REFUSAL}")


@pytest.mark.usefixtures("without_uring")
def test_uring_asked_for_and_not_there_is_told_with_two_remedies() -> None:
    with pytest.raises(UsageError) as caught:
        choose("uring")
    assert caught.value.message == f"The uring engine was asked for. {REFUSAL}"
    assert caught.value.remedy == "Set kernel.io_uring_disabled to 0. Or use --engine epoll."


@pytest.mark.parametrize("name", ["", "URING", "select"])
def test_an_unknown_engine_is_told_with_those_that_there_are(name: str) -> None:
    with pytest.raises(UsageError, match="There is no engine") as caught:
        choose(name)
    assert all(engine in caught.value.remedy for engine in ENGINES)


@pytest.mark.parametrize("name", ["epoll", "uring"])
def test_options_reach_the_engine(name: str, chosen: list[Engine]) -> None:
    chosen.append(choose(name, live_max=7))
    assert chosen[0].live_max == 7
    assert chosen[0].capacity >= 7
