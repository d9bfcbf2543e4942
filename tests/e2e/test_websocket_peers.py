"""WebSockets as others speak them: Autobahn's test suite, `websockets`, and npm's `ws`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from conformance import autobahn
from conformance.kv_servers import running, takes_connections
from conformance.obtaining import ROOT, CannotBeHad
from e2e.debian_servers import free_port
from e2e.npm import INSTALL_S, installed

PACKAGES = ("ws@^8",)
PATIENCE_S = 120
SIZES = (0, 1, 125, 126, 127, 1000, 65_535, 65_536, 1 << 20)


@pytest.mark.conformance
@pytest.mark.timeout(900)
@pytest.mark.parametrize("side", ["server", "client"])
def test_a_sample_of_autobahns_cases(side: str) -> None:
    try:
        run = autobahn.of_client if side == "client" else autobahn.of_server
        cases = run(autobahn.SAMPLE)
    except CannotBeHad as why:
        pytest.skip(str(why))
    assert len(cases) > 30
    assert [case for case in cases if not case.is_good] == []


@pytest.fixture(params=["", "--compress"], ids=["plain", "compressed"])
def echo(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, bool]]:
    """The port of an echo, and whether it agrees to compression."""
    port = free_port()
    command = [sys.executable, "-m", "tests.conformance.autobahn_peers", "server", str(port)]
    more = [request.param] if request.param else []
    with running([*command, *more], tmp_path, lambda: takes_connections(port), ROOT):
        yield port, bool(more)


@pytest.mark.conformance
@pytest.mark.timeout(INSTALL_S + PATIENCE_S)
def test_npms_ws(echo: tuple[int, bool]) -> None:
    port, compress = echo
    program = installed("npm-ws", PACKAGES) / "with_ws.mjs"
    command = ["node", str(program), str(port), "yes" if compress else "no"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr


async def _everything(port: int, compress: bool) -> None:
    def opened() -> connect:
        return connect(
            f"ws://127.0.0.1:{port}/", max_size=1 << 22, compression="deflate" if compress else None
        )

    async with opened() as socket:
        assert bool(socket.protocol.extensions) == compress
        for size in SIZES:
            for sent in ("ü" * (size // 2), bytes(size), "a" * size):
                await socket.send(sent)
                assert await socket.recv() == sent
        await socket.send(["in ", "frag", "", "ments"])
        assert await socket.recv() == "in fragments"
        await (await socket.ping(b"payload"))
    assert socket.close_code == 1000
    async with opened() as socket:
        await socket.close(4321, "ende")
    assert (socket.close_code, socket.close_reason) == (4321, "")
    await asyncio.gather(*(_many(opened(), number) for number in range(50)))


async def _many(opened: connect, number: int) -> None:
    """A hundred messages at once, in order."""
    async with opened as socket:
        sent = [f"{number}/{i}/" * (1 + i % 20) for i in range(100)]
        await asyncio.gather(_send(socket, sent), _heard(socket, sent))


async def _send(socket: ClientConnection, sent: list[str]) -> None:
    for message in sent:
        await socket.send(message)


async def _heard(socket: ClientConnection, sent: list[str]) -> None:
    assert [await socket.recv() for _ in sent] == sent


@pytest.mark.timeout(PATIENCE_S)
def test_websockets(echo: tuple[int, bool]) -> None:
    assert int(websockets.version.version.split(".")[0]) >= 14
    asyncio.run(_everything(*echo))
