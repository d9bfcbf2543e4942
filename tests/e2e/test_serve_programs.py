"""Protocol classes that people run, by `c1m serve MODULE:NAME`, with the clients that they have."""

from __future__ import annotations

import http.client
import json
import signal
import smtplib
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.cli_helpers import COMMAND, PATIENCE_S, Server, run

PROGRAMS = '''
import asyncio

import c1m


def smtp():
    """aiosmtpd's, whose handler echoes nothing: it counts what it was given."""
    from aiosmtpd.smtp import SMTP

    class Handler:
        async def handle_DATA(self, server, session, envelope):
            await asyncio.sleep(0.01)
            return f"250 {len(envelope.content)} bytes for {len(envelope.rcpt_tos)}"

    return SMTP(Handler())


async def application(scope, receive, send):
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message["more_body"]
    await asyncio.sleep(0.01)
    said = scope["path"].encode() + b" " + body
    headers = [(b"content-length", b"%d" % len(said))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": said})


class Uvicorn:
    def __init__(self, kind):
        from uvicorn import Config
        from uvicorn.server import ServerState

        self.config = Config(application, http=kind, lifespan="off")
        self.config.load()
        self.state = ServerState()

    def __call__(self):
        return self.config.http_protocol_class(self.config, self.state, {})


async def upper(reader, writer):
    """Lines in capitals, each after a while; the end of the stream ends it."""
    async with asyncio.timeout(60):
        while line := await reader.readline():
            await asyncio.sleep(0.001)
            writer.write(line.upper())
            await writer.drain()
    writer.close()


def streams():
    return asyncio.StreamReaderProtocol(asyncio.StreamReader(), upper)


class Backwards(c1m.App):
    def on_data(self, batch, server):
        server.send(batch.slots, [piece[::-1] for piece in batch.data.pieces()])


class Nested:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.transport.write(data)


class Wanting(c1m.App):
    def __init__(self, name): ...


async def handle(reader, writer): ...


number = 5
'''
LAST = "\nh11 = Uvicorn('h11')\nhttptools = Uvicorn('httptools')\n"


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def serving(tmp_path: Path, engine: str, name: str) -> Server:
    (tmp_path / "programs.py").write_text(PROGRAMS + (LAST if name.startswith("h") else ""))
    app = f"programs:{name}"
    return Server(tmp_path, "--engine", engine, "--quiet", app=app, cwd=tmp_path)


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), PATIENCE_S)


def end(server: Server, opened: int, by: str) -> None:
    """Stop it; all that were opened have ended for this reason."""
    assert server.stop(signal.SIGTERM) == 0
    figures = server.figures()
    assert (figures["opened"], figures["closed"][by]) == (opened, opened)
    assert figures["received_bytes"] and figures["sent_bytes"] and figures["messages"]


def test_aiosmtpd(tmp_path: Path, engine: str) -> None:
    pytest.importorskip("aiosmtpd")
    with serving(tmp_path, engine, "smtp") as server:
        for _ in range(3):
            with smtplib.SMTP("127.0.0.1", port_of(server), timeout=PATIENCE_S) as client:
                client.ehlo()
                refused = client.sendmail("a@example.org", ["b@example.org"], b"hello\r\n" * 10_000)
                assert refused == {}
                assert client.noop()[0] == 250
        end(server, 3, "local")


@pytest.mark.parametrize("kind", ["h11", "httptools"])
def test_uvicorns_protocols(tmp_path: Path, engine: str, kind: str) -> None:
    for package in ("uvicorn", kind):
        pytest.importorskip(package)
    with serving(tmp_path, engine, kind) as server:
        clients = [
            http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=PATIENCE_S)
            for _ in range(10)
        ]
        for size in (0, 1, 1_000_000):
            for number, client in enumerate(clients):
                client.request("POST", f"/{number}", b"x" * size)
            for number, client in enumerate(clients):
                response = client.getresponse()
                assert (response.status, response.read()) == (200, b"/%d " % number + b"x" * size)
        for client in clients[:5]:
            client.close()
        clients[5].request("GET", "/after")
        assert clients[5].getresponse().read() == b"/after "
        assert server.stop(signal.SIGTERM) == 0
        closed = server.figures()["closed"]
        assert (closed["peer_eof"], closed["drain"]) == (5, 5)
        for client in clients[5:]:
            assert client.sock.recv(1) == b""
            client.close()


def test_stream_reader_protocol(tmp_path: Path, engine: str) -> None:
    with serving(tmp_path, engine, "streams") as server:
        socks = [connect(server) for _ in range(20)]
        for sock in socks:
            sock.sendall(b"one\ntw")
        for sock in socks:
            sock.sendall(b"o\n")
            sock.shutdown(socket.SHUT_WR)
        for sock in socks:
            with sock.makefile("rb") as file:
                assert file.read() == b"ONE\nTWO\n"
            sock.close()
        end(server, 20, "peer_eof")


@pytest.mark.parametrize(("name", "answer"), [("Backwards", b"olleh"), ("Nested.Echo", b"hello")])
def test_an_app_or_a_protocol_by_its_name(
    tmp_path: Path, engine: str, name: str, answer: bytes
) -> None:
    with serving(tmp_path, engine, name) as server:
        assert server.first_line.startswith(f"programs:{name}: listening on tcp://")
        with connect(server) as sock:
            sock.sendall(b"hello")
            assert sock.recv(10) == answer
            assert server.stop(signal.SIGINT) == 0
            assert sock.recv(1) == b""
        assert server.figures()["closed"]["drain"] == 1


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nosuch", "There is no server 'nosuch'. Choose from: echo, kv, push, or MODULE:NAME ("),
        ("a b:c", "There is no server 'a b:c'."),
        ("nosuch:App", "There is no module 'nosuch' here."),
        ("programs.inner:App", "There is no module 'programs.inner' here."),
        ("programs:Backward", "programs has no 'Backward'. Did you mean 'Backwards'?"),
        ("programs:Nested.Zzz", "programs has no 'Nested.Zzz'. Check its spelling."),
        ("programs:number", "5 is neither a c1m.App nor an asyncio.Protocol class."),
        ("programs:Wanting", "programs:Wanting cannot be made (TypeError: "),
        ("programs:Uvicorn", "Uvicorn is no asyncio protocol"),
        ("programs:handle", "handle is a coroutine function, which makes no protocols."),
        ("programs:application", "uvicorn MODULE:application --loop c1m:new_event_loop"),
        ("broken:App", "broken cannot be imported (ZeroDivisionError: division by zero)."),
        ("needing:App", "needing cannot be imported (No module named 'nothing_of_this_name')."),
    ],
)
def test_what_is_not_there_is_a_sentence(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "programs.py").write_text(PROGRAMS)
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "needing.py").write_text("import nothing_of_this_name")
    done = run("serve", name, "--listen", "tcp://127.0.0.1:0", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("c1m: ") and done.stderr.count("\n") == 1
    assert said in done.stderr


def test_an_error_that_is_the_servers_end_is_a_record_and_the_figures_are_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "bad.py").write_text(
        "import c1m\n\n\nclass Bad(c1m.App):\n"
        "    def on_start(self, server):\n        raise ValueError('no such thing')\n"
    )
    done = subprocess.run(
        [*COMMAND, "serve", "bad:Bad", "--listen", "tcp://127.0.0.1:0", "--on-error", "stop",
         "--log", "json", "--json", "figures.json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    last = [json.loads(line) for line in done.stderr.splitlines()][-1]
    assert last["event"] == "ended-by-error" and "no such thing" in last["traceback"]
    assert json.loads((tmp_path / "figures.json").read_text())["opened"] == 0
