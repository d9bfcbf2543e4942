"""Which engine is chosen, and the reason as text."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.choose import ENGINES, choose
from c1m.engine.contract import Engine
from c1m.engine.uring import engine as uring
from c1m.errors import EngineUnavailable, LimitError, UsageError
from c1m.kernel import uring_abi
from c1m.kernel.real import RealKernel
from c1m.kernel.uring_probe import OLDEST, Features, probe
from c1m.testing.fake_kernel import FakeKernel

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


@pytest.mark.parametrize(
    "features",
    [OLDEST, replace(Features(), fd_install=False), replace(Features(), getsockopt=False)],
)
def test_an_event_loop_has_epoll_where_rings_make_no_descriptors(
    features: Features, monkeypatch: pytest.MonkeyPatch, chosen: list[Engine]
) -> None:
    monkeypatch.setattr(uring, "probe", lambda: features)
    before = len(os.listdir("/proc/self/fd"))
    chosen.append(choose(needs_descriptors=True, few_first=1))
    assert chosen[0].name == "epoll"
    assert "makes no descriptor of a connection" in chosen[0].reason
    chosen[0].shutdown()
    assert len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(UsageError, match=r"asked for.*makes no descriptor") as caught:
        choose("uring", needs_descriptors=True)
    assert "Linux 6.8" in caught.value.remedy
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_engine_on_the_oldest_kernel_says_what_it_lacks() -> None:
    kernel = FakeKernel(features=OLDEST)
    with pytest.raises(EngineUnavailable, match="makes no descriptor of a connection"):
        uring.UringEngine(kernel=kernel, needs_descriptors=True)
    assert kernel.open_files() == 0
    uring.UringEngine(kernel=FakeKernel(features=OLDEST)).shutdown()  # for servers it will do


def test_what_the_kernel_has_is_found_by_trying(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        features = probe()
    except EngineUnavailable as refusal:
        pytest.skip(f"no io_uring here: {refusal}")
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(uring_abi, "SO_PEERNAME", 4321)  # no such option
    monkeypatch.setattr(uring_abi, "OP_FIXED_FD_INSTALL", 250)  # no such operation
    found = probe()
    assert found == replace(features, getsockopt=False, fd_install=False)
    assert len(os.listdir("/proc/self/fd")) == before


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


@pytest.mark.usefixtures("without_uring")
def test_neither_engine_is_one_sentence_with_both_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("select.epoll", refuse)
    with pytest.raises(LimitError, match="The kernel gives no room for the epoll engine") as caught:
        choose()
    assert REFUSAL in caught.value.message and "ulimit -n" in caught.value.remedy


def test_auto_has_a_whole_ring_before_it_says_uring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its buffers are the last of it; what was made before them is given back."""
    try:
        uring.UringEngine(reason="").shutdown()
    except EngineUnavailable as refusal:
        pytest.skip(f"no io_uring here: {refusal}")
    before = len(os.listdir("/proc/self/fd"))

    memory = RealKernel.memory

    def refuse(kernel: RealKernel, length: int) -> Any:
        if length < 1 << 20:  # a buffer ring; the buffers themselves are larger
            raise OSError(errno.EMFILE, "refused")
        return memory(kernel, length)

    monkeypatch.setattr(RealKernel, "memory", refuse)
    engine = choose("auto")
    assert engine.name == "epoll"
    assert engine.reason.startswith("instead of uring: The kernel gives no io_uring number 1: ")
    engine.shutdown()
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_engine_that_is_made_in_one_thread_runs_in_another(chosen: list[Engine]) -> None:
    chosen.append(choose())
    engine = chosen[0]
    (endpoint,) = engine.listen([Endpoint(AF_INET, "127.0.0.1", 0)], 16)
    opened: list[int] = []

    def run() -> None:
        opened.extend(engine.wait(5_000_000_000).opened.tolist())
        engine.shutdown()

    with socket.create_connection(("127.0.0.1", endpoint.port)):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert len(opened) == 1
