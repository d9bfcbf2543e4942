"""Programs that people run, on c1m's loop in the way in which a user of each would put them there.

A test shows that the way works and that what comes back is right. What the loop does in all corners
is a matter of the packages' own tests: `python -m tests.conformance packages`.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

import c1m
from e2e.cli_helpers import PATIENCE_S, assert_complete, load
from e2e.debian_servers import free_port, program, running
from e2e.library_runs import eventually

OURS = "c1m.EventLoop"

APP = '''
import asyncio


async def app(scope, receive, send):
    """Says on which loop it runs; echoes a body, or what comes over a WebSocket."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
    else:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        loop = type(asyncio.get_running_loop())
        name = b"%s.%s" % (loop.__module__.split(".")[0].encode(), loop.__name__.encode())
        headers = [(b"loop", name), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})
'''


@pytest.fixture(autouse=True)
def on_engine(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops here and in processes that a test starts are made on this engine."""
    monkeypatch.setenv("C1M_ENGINE", engine)


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """A directory with an ASGI application in app.py."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@contextlib.contextmanager
def started(here: Path, port: int, *command: object) -> Iterator[None]:
    """A server in a process of its own, from when it answers; it must end in good order."""
    said = here / "said"
    with said.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=here, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(here)},
        )  # fmt: skip

        def answers() -> bool:
            assert process.poll() is None, said.read_text()
            with contextlib.suppress(OSError):
                return bool(post(port, b""))
            return False

        try:
            eventually(answers, "the server answers")
            yield
            process.terminate()
            assert process.wait(PATIENCE_S) in (0, -15), said.read_text()
            assert "Traceback" not in said.read_text(), said.read_text()
        finally:
            process.kill()
            process.wait()


def post(port: int, body: bytes) -> tuple[str | None, bytes]:
    """The loop that the application runs on, and the body that came back."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        client.request("POST", "/", body)
        answer = client.getresponse()
        return answer.headers["loop"], answer.read()
    finally:
        client.close()


def assert_serves(port: int) -> None:
    """Bodies of one byte and of many come back, from our loop, and so do WebSocket messages."""
    from websockets.sync.client import connect

    for body in (b"1", b"0123456789" * 100_000):
        assert post(port, body) == (OURS, body)
    with connect(f"ws://127.0.0.1:{port}/") as socket:
        for text in ("one", "two" * 50_000):
            socket.send(text)
            assert socket.recv() == text


# --- ASGI servers -------------------------------------------------------------------------------


@pytest.mark.parametrize("http_by, ws_by", [("httptools", "websockets"), ("h11", "wsproto")])
def test_uvicorn(here: Path, http_by: str, ws_by: str) -> None:
    port = free_port()
    command = ("-m", "uvicorn", "app:app", "--loop", "c1m:new_event_loop", "--port", port,
               "--http", http_by, "--ws", ws_by)  # fmt: skip
    with started(here, port, *command):
        assert_serves(port)


def test_uvicorn_with_two_workers(here: Path) -> None:
    port = free_port()
    command = ("-m", "uvicorn", "app:app", "--loop", "c1m:new_event_loop", "--port", port)
    with started(here, port, *command, "--workers", 2):
        for _ in range(4):
            assert_serves(port)


def test_gunicorn_with_uvicorns_worker(here: Path) -> None:
    (here / "worker.py").write_text(
        "from uvicorn_worker import UvicornWorker\n\n\n"
        "class OnC1M(UvicornWorker):\n"
        '    CONFIG_KWARGS = {"loop": "c1m:new_event_loop"}\n'
    )
    port = free_port()
    command = ("-m", "gunicorn", "app:app", "-k", "worker.OnC1M", "-b", f"127.0.0.1:{port}",
               "--no-control-socket")  # fmt: skip
    with started(here, port, *command):
        assert_serves(port)


def test_hypercorn(here: Path) -> None:
    port = free_port()
    (here / "serve.py").write_text(
        "import c1m\nfrom hypercorn.asyncio import serve\nfrom hypercorn.config import Config\n"
        "from app import app\n\n"
        f'config = Config.from_mapping(bind="127.0.0.1:{port}")\n'
        "c1m.run(serve(app, config))\n"
    )
    with started(here, port, "serve.py"):
        assert_serves(port)


def test_the_load_scenario_over_websocket(here: Path) -> None:
    """examples/load_websocket.py; uvicorn sends what JSON it is sent back."""
    port = free_port()
    command = ("-m", "uvicorn", "app:app", "--loop", "c1m:new_event_loop", "--port", port,
               "--ws", "websockets-sansio", "--ws-ping-interval", 0, "--backlog", 2048)  # fmt: skip
    scenario = Path(__file__).parents[2] / "examples" / "load_websocket.py"
    with started(here, port, *command):
        status, record, _ = load(
            here, f"ws://127.0.0.1:{port}", "--stage", "ramp 500", "--stage", "stampede",
            "--scenario", f"{scenario}:Visitor",
        )  # fmt: skip
    assert status == 0
    assert_complete(record, 500)


# --- libraries ----------------------------------------------------------------------------------


def test_aiohttp_client_and_server() -> None:
    from aiohttp import ClientSession, WSMsgType, web

    async def hello(request: web.Request) -> web.StreamResponse:
        return web.Response(text=f"{request.remote} {len(await request.read())}")

    async def echo(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        return socket

    async def main() -> None:
        app = web.Application()
        app.add_routes([web.post("/", hello), web.get("/ws", echo)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = "http://{}:{}".format(*runner.addresses[0])
        async with ClientSession() as session:

            async def size_of(count: int) -> str:
                async with session.post(url, data=bytes(count)) as answer:
                    return await answer.text()

            sizes = [1, 10_000, 1_000_000]
            told = await asyncio.gather(*map(size_of, sizes))
            assert told == [f"127.0.0.1 {count}" for count in sizes]
            async with session.ws_connect(f"{url}/ws") as socket:
                await socket.send_str("a message")
                assert (await socket.receive()).data == "a message"
                await socket.close()
                assert (await socket.receive()).type is WSMsgType.CLOSED
        await runner.cleanup()

    c1m.run(main())


def test_aiohttp_run_app(here: Path) -> None:
    port = free_port()
    (here / "serve.py").write_text(
        "import asyncio\nimport c1m\nfrom aiohttp import web\n\n\n"
        "async def echo(request):\n"
        "    loop = type(asyncio.get_running_loop())\n"
        '    name = f"{loop.__module__.split(chr(46))[0]}.{loop.__name__}"\n'
        '    return web.Response(body=await request.read(), headers={"loop": name})\n\n\n'
        "app = web.Application()\n"
        'app.router.add_post("/", echo)\n'
        f'web.run_app(app, host="127.0.0.1", port={port}, loop=c1m.new_event_loop())\n'
    )
    with started(here, port, "serve.py"):
        assert post(port, b"body") == (OURS, b"body")


def test_websockets_client_and_server() -> None:
    from websockets.asyncio.client import connect
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(socket: ServerConnection) -> None:
        async for message in socket:
            await socket.send(message)

    async def talk(port: int, n: int) -> None:
        async with connect(f"ws://127.0.0.1:{port}") as socket:
            for text in (f"client {n}", "x" * 300_000):
                await socket.send(text)
                assert await socket.recv() == text
            assert socket.remote_address[:2] == ("127.0.0.1", port)

    async def main() -> None:
        async with serve(echo, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            await asyncio.gather(*(talk(port, n) for n in range(20)))

    c1m.run(main())


def test_aiosmtpd() -> None:
    from aiosmtpd.controller import Controller

    class Kept:
        def __init__(self) -> None:
            self.mails: list[bytes] = []

        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            assert isinstance(asyncio.get_running_loop(), c1m.EventLoop)
            self.mails.append(envelope.content)
            return "250 kept"

    kept = Kept()
    loop = c1m.new_event_loop()
    controller = Controller(kept, "127.0.0.1", free_port(), loop=loop)
    controller.start()
    try:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", "c1m"
        mail.set_content("line\n" * 10_000)
        for _ in range(2):
            with smtplib.SMTP("127.0.0.1", controller.port, timeout=PATIENCE_S) as client:
                assert client.send_message(mail) == {}
    finally:
        controller.stop()
    assert [mail.count(b"line\r\n") for mail in kept.mails] == [10_000] * 2


def test_asyncssh() -> None:
    import asyncssh

    class Anybody(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    async def doubled(process: asyncssh.SSHServerProcess[str]) -> None:
        process.stdout.write(2 * await process.stdin.readline())
        process.exit(3)

    async def main() -> None:
        key = asyncssh.generate_private_key("ssh-ed25519")
        server = await asyncssh.create_server(
            Anybody, "127.0.0.1", 0, server_host_keys=[key], process_factory=doubled
        )
        async with asyncssh.connect(
            "127.0.0.1", server.get_port(), known_hosts=None, username="somebody", client_keys=None
        ) as client:
            done = await client.run("", input="line\n")
            assert (done.stdout, done.exit_status) == ("line\nline\n", 3)
        server.close()
        await server.wait_closed()

    c1m.run(main())


def test_redis(tmp_path: Path) -> None:
    from redis.asyncio import Redis

    port = free_port()

    async def main() -> None:
        async with Redis(port=port) as client:
            await asyncio.gather(*(client.set(f"key {n}", n) for n in range(100)))
            values = await client.mget([f"key {n}" for n in range(100)])
            assert values == [b"%d" % n for n in range(100)]
            async with client.pubsub() as listener:
                await listener.subscribe("news")
                await client.publish("news", "text")
                heard = [message async for message in heard_by(listener)]
            assert [each["type"] for each in heard] == ["subscribe", "message"]

    async def heard_by(listener: Any) -> Any:
        async for message in listener.listen():
            yield message
            if message["type"] == "message":
                return

    server = program("redis-server", "redis-server")
    command = [server, "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    with running(command, port, tmp_path / "log"):
        c1m.run(main())


# --- asyncio's and others' ways to start a loop -------------------------------------------------


async def echoed() -> bytes:
    """An echo over streams on the loop that runs."""
    assert isinstance(asyncio.get_running_loop(), c1m.EventLoop)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"line\n")
        said = await reader.read()
        writer.close()
        await writer.wait_closed()
        return said


def test_run() -> None:
    assert c1m.run(echoed()) == b"line\n"


def test_asyncios_runner() -> None:
    with asyncio.Runner(loop_factory=c1m.new_event_loop) as runner:
        assert [runner.run(echoed()) for _ in range(2)] == [b"line\n"] * 2


def test_anyio() -> None:
    import anyio

    async def main() -> bytes:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)

        async def echo(stream: anyio.abc.SocketStream) -> None:
            async with stream:
                async for piece in stream:
                    await stream.send(piece)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, echo)
            stream = await anyio.connect_tcp("127.0.0.1", port)
            async with stream:
                await stream.send(b"over anyio")
                said = await stream.receive()
            tasks.cancel_scope.cancel()
        await listener.aclose()
        assert await echoed() == b"line\n"
        return said

    options = {"loop_factory": c1m.new_event_loop}
    assert anyio.run(main, backend_options=options) == b"over anyio"


ANYIO_TEST = """
import asyncio
import c1m
import pytest


@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": c1m.new_event_loop}


@pytest.mark.anyio
async def test_it():
    assert isinstance(asyncio.get_running_loop(), c1m.EventLoop)
"""
ASYNCIO_CONFTEST = """
import c1m


def pytest_asyncio_loop_factories(config, item):
    return {"c1m": c1m.new_event_loop}
"""
ASYNCIO_TEST = """
import asyncio
import c1m
import pytest
import pytest_asyncio


@pytest_asyncio.fixture
async def port():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.asyncio
async def test_it(port):
    assert isinstance(asyncio.get_running_loop(), c1m.EventLoop)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"line\\n")
    assert await reader.read() == b"line\\n"
    writer.close()
"""


@pytest.mark.parametrize(
    "files",
    [{"test_it.py": ANYIO_TEST}, {"conftest.py": ASYNCIO_CONFTEST, "test_it.py": ASYNCIO_TEST}],
    ids=["anyio", "pytest-asyncio"],
)
def test_pytest_plugins(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider",
               "-o", "asyncio_default_fixture_loop_scope=function"]  # fmt: skip
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
