"""The examples of WebSockets, each as a process of its own on each engine, with real clients."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from e2e.cli_helpers import Server, free_ports
from e2e.library_runs import WAIT_S, eventually, process
from e2e.test_examples import EXAMPLES, interrupted

AS_MODULE = """
import runpy, sys
import c1m
serve = c1m.serve
c1m.serve = lambda app, listen: serve(app, listen, engine={engine!r})
sys.argv[1:] = {arguments!r}
runpy.run_path({path!r}, run_name="__main__")
"""


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextlib.contextmanager
def example(name: str, engine: str, folder: Path, *arguments: str) -> Iterator[str]:
    """The URL of an example; a SIGINT ends it in good order."""
    port, script = free_ports(1), folder / "run.py"
    script.write_text(
        AS_MODULE.format(
            engine=engine, arguments=[str(port), *arguments], path=str(EXAMPLES / name)
        )
    )
    with process(script) as child:
        yield f"ws://127.0.0.1:{port}"
        assert child.poll() is None
        interrupted(child)


Opened = Callable[[str], ClientConnection]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """Opens a WebSocket to an example, as soon as that listens; all are closed in the end."""
    with contextlib.ExitStack() as stack:

        def attempt(url: str) -> ClientConnection | None:
            try:
                return stack.enter_context(connect(url, proxy=None, open_timeout=WAIT_S))
            except ConnectionRefusedError:
                return None

        yield lambda url: eventually(lambda: attempt(url), f"a server at {url}")


def test_chat(engine: str, tmp_path: Path, opened: Opened) -> None:
    with example("chat.py", engine, tmp_path) as url:
        ada = opened(f"{url}/tea?name=Ada")
        assert ada.recv(WAIT_S) == "Ada has come"
        elsewhere = opened(f"{url}/coffee?name=Alan")
        assert elsewhere.recv(WAIT_S) == "Alan has come"
        bob = opened(f"{url}/tea?name=Bob%20B")
        for ws in (ada, bob):
            assert ws.recv(WAIT_S) == "Bob B has come"
        bob.send("one lump or two? ☕")
        for ws in (ada, bob):
            assert ws.recv(WAIT_S) == "Bob B: one lump or two? ☕"
        bob.close()
        assert ada.recv(WAIT_S) == "Bob B has left"
        for path in ("/tea", "/?name=Eve"):
            with pytest.raises(InvalidStatus, match="400"):
                opened(url + path)
        elsewhere.send("x")
        assert elsewhere.recv(WAIT_S) == "Alan: x"


def test_presence(engine: str, tmp_path: Path, opened: Opened) -> None:
    with example("presence.py", engine, tmp_path) as url:
        first = opened(f"{url}/news/1")
        assert first.recv(WAIT_S) == "1"
        others = [opened(f"{url}/news/1") for _ in range(9)]
        elsewhere = opened(f"{url}/news/2")
        while first.recv(WAIT_S) != "10":
            pass
        assert elsewhere.recv(WAIT_S) == "1"
        for ws in others:
            ws.close()
        while first.recv(WAIT_S) != "1":
            pass


def test_prices(engine: str, tmp_path: Path, opened: Opened) -> None:
    with example("prices.py", engine, tmp_path, "100") as url:
        asked = [{"S001"}, {"S001", "S007"}, {f"S{number:03}" for number in range(100)}]
        clients = [opened(f"{url}/?symbols={','.join(sorted(each))},none") for each in asked]
        for ws, symbols in zip(clients, asked, strict=True):
            seen: set[str] = set()
            while seen < symbols:
                symbol, price = str(ws.recv(WAIT_S)).split()
                assert symbol in symbols
                assert 0 < float(price) < 1000
                seen.add(symbol)


def test_a_class_by_its_name(engine: str, tmp_path: Path, opened: Opened) -> None:
    """As `c1m serve chat:Chat` does; the final figures say what became of all."""
    (tmp_path / "chat.py").write_text((EXAMPLES / "chat.py").read_text())
    port = free_ports(1)
    listen = [f"http://127.0.0.1:{port}"]
    server = Server(
        tmp_path, "--engine", engine, "--quiet", app="chat:Chat", listen=listen, cwd=tmp_path
    )
    ada = opened(f"ws://127.0.0.1:{port}/tea?name=Ada")
    assert ada.recv(WAIT_S) == "Ada has come"
    assert server.stop() == 0
    with pytest.raises(ConnectionClosed, match="1001"):
        ada.recv(WAIT_S)
    figures = json.loads(server.figures_path.read_text())
    assert (figures["opened"], sum(figures["closed"].values())) == (1, 1)
