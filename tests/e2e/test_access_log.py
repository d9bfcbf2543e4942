"""A line for each connection that ends: --access-log, on each kind of server."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

import c1m
from c1m.errors import UsageError
from c1m.server import access
from e2e.cli_helpers import Server, finish, start
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving, talk


class Protocol(asyncio.Protocol):
    """Sends back."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class Echo(c1m.App):
    """Sends back."""

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        server.send(batch.slots, batch.data)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("engine", ["uring", "epoll"])
@pytest.mark.parametrize("app", [Echo, Protocol])
def test_each_end_is_a_line(app: Any, engine: str, tmp_path: Path) -> None:
    path = tmp_path / "access"
    made = app() if app is Echo else app
    with serving(made, engine=engine, access_log=str(path), access_log_json=True) as run:
        url = str(run.server.endpoints[0])
        named = {}
        for size in (10, 200, 3000):
            sock = talk(run, size)
            named["{}:{}".format(*sock.getsockname())] = size
            if size == 200:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if size < 3000:
                sock.close()
        eventually(lambda: path.read_text().count("\n") == 2, "two have ended")
    lines = lines_of(path)
    sock.close()
    assert {line["peer"]: line["received"] for line in lines} == named
    assert {line["received"]: line["reason"] for line in lines} == {
        10: "peer_eof", 200: "reset", 3000: "drain",
    }  # fmt: skip
    for line in lines:
        assert line["sent"] == line["received"] and line["unsent"] == 0
        assert line["listener"] == url and line["opened"] <= line["time"]


def test_a_slot_that_is_used_again_is_another_connection(tmp_path: Path) -> None:
    """asyncio's connections end in the batch in which their slot may begin anew."""
    path = tmp_path / "access"
    with serving(Protocol, engine="epoll", access_log=str(path), access_log_json=True) as run:
        for size in range(1, 200):
            talk(run, size).close()
    lines = lines_of(path)
    assert sorted(line["received"] for line in lines) == list(range(1, 200))
    assert len({line["peer"] for line in lines}) == 199


def test_many_at_once_are_written_in_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "LINES_MOST", 7)
    path = tmp_path / "access"
    with serving(Echo(), access_log=str(path)) as run:
        socks = [talk(run, 5) for _ in range(50)]
        for sock in socks:
            sock.close()
        eventually(lambda: path.read_text().count("\n") == 50, "all lines are there")
    form = (
        r"\S+Z connection=\d+ peer=127\.0\.0\.1:\d+ listener=tcp://\S+ opened=\S+Z seconds=[\d.]+ "
        r"received=5 sent=5 unsent=0 reason=peer_eof"
    )
    lines = path.read_text().splitlines()
    assert len(lines) == 50 and all(re.fullmatch(form, line) for line in lines)


def test_what_is_too_much_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(access, "ROWS_MOST", 0)
    path = tmp_path / "access"
    with serving(Echo(), access_log=str(path)) as run:
        for _ in range(3):
            talk(run, 1).close()
    assert path.read_text() == ""
    said = [r.getMessage() for r in caplog.records if r.event == "access-log-lost"]  # type: ignore[attr-defined]
    assert len(said) == 2 and said[1] == "The access log has lost 3 lines."


def test_a_full_disk_is_said_once_and_the_server_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with serving(Echo(), access_log="/dev/full") as run:
        for _ in range(3):
            talk(run, 1).close()
        eventually(lambda: run.server.operators.access.lost == 3, "three lines are lost")
        talk(run, 1).close()
    said = [r.getMessage() for r in caplog.records if r.event == "access-log-lost"]  # type: ignore[attr-defined]
    assert said == [
        "The access log /dev/full takes no lines: no space left on device. They are counted.",
        "The access log has lost 4 lines.",
    ]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        c1m.Server(Echo(), "tcp://127.0.0.1:0", access_log=str(tmp_path / "no" / "file"))


def connect_once(server: Server) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"


def test_it_is_put_aside_by_a_signal(tmp_path: Path) -> None:
    path, aside = tmp_path / "access", tmp_path / "access.1"
    with Server(tmp_path, "--access-log", path, "--quiet") as server:
        connect_once(server)
        eventually(lambda: path.read_text().count("\n") == 1, "a line is there")
        path.rename(aside)
        os.kill(server.pid, signal.SIGUSR1)
        eventually(path.exists, "a new file is there")
        connect_once(server)
        eventually(lambda: path.read_text().count("\n") == 1, "a line is in the new one")
        assert server.stop() == 0
    assert aside.read_text().count("\n") == 1


def test_standard_output(tmp_path: Path) -> None:
    options = ("serve", "echo", "--listen", "tcp://127.0.0.1:0", "--access-log", "-")
    process = start(*options, "--log", "json")
    assert process.stderr is not None
    records: list[dict[str, Any]] = []
    while not records or records[-1]["event"] != "listening":
        records.append(json.loads(process.stderr.readline()))
    host, port = records[-1]["listeners"][0].removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port)), WAIT_S) as sock:
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
    process.send_signal(signal.SIGTERM)
    output, errors = finish(process)
    [line] = map(json.loads, output.splitlines())
    assert line["received"] == 1 and line["reason"] in ("peer_eof", "drain")
    records += map(json.loads, errors.splitlines())
    assert [r["event"] for r in records[-2:]] == ["stopping", "stopped"]
    assert records[-1]["opened"] == 1 and process.returncode == 0
    both = start(*options, "--json", "-")
    _, errors = finish(both)
    assert both.returncode == 2 and "cannot have both" in errors


def test_an_application_whose_last_callback_fails_loses_no_line(tmp_path: Path) -> None:
    class Faulty(Echo):
        def on_end(self, server: c1m.Server) -> None:
            raise RuntimeError("on purpose")

    run = ServerThread(
        c1m.Server(
            Faulty(), "tcp://127.0.0.1:0", engine="epoll",
            access_log=str(tmp_path / "access"), access_log_json=True, admin="127.0.0.1:0",
        )
    )  # fmt: skip
    sock = talk(run, 10)
    with pytest.raises(RuntimeError, match="on purpose"):
        run.stop()
    sock.close()
    assert [line["received"] for line in lines_of(tmp_path / "access")] == [10]
    admin = run.server.operators.admin
    assert admin is not None
    with pytest.raises(OSError):
        socket.create_connection((admin.endpoint.host, admin.endpoint.port), WAIT_S).close()


def test_a_reader_of_standard_output_that_stalls_stops_nobody() -> None:
    """And gets all lines when it goes on."""
    count = 100  # more lines than the pipe takes
    options = ("serve", "echo", "--listen", "tcp://127.0.0.1:0", "--access-log", "-")
    process = start(*options, "--log", "json")
    assert process.stderr is not None and process.stdout is not None
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 4096)
    try:
        record: dict[str, Any] = {"event": ""}
        while record["event"] != "listening":
            record = json.loads(process.stderr.readline())
        host, port = record["listeners"][0].removeprefix("tcp://").split(":")
        for _ in range(count):
            with socket.create_connection((host, int(port)), WAIT_S) as sock:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
        for _ in range(count):
            assert json.loads(process.stdout.readline())["received"] == 1
    finally:
        process.send_signal(signal.SIGTERM)
        output, errors = finish(process)
    assert (process.returncode, output) == (0, "")
    assert "access-log-lost" not in errors


def test_why_a_file_cannot_be_opened_anew_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "logs" / "access"
    path.parent.mkdir()
    with serving(Echo(), access_log=str(path)) as run:
        path.parent.rename(tmp_path / "aside")
        run.server.call_soon(run.server.operators.access.reopen)
        eventually(lambda: run.server.operators.access._fd < 0, "it cannot go on")
        talk(run, 1).close()
        eventually(lambda: run.server.operators.access.lost == 1, "its line is lost")
    assert "takes no lines: no such file or directory." in caplog.text


def test_a_file_that_the_servers_user_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user was asked before, as with --user."""
    monkeypatch.setattr("c1m.files.check_writable", lambda path: None)
    with pytest.raises(UsageError, match="file that the server's user may write"):
        c1m.Server(Echo(), "tcp://127.0.0.1:0", access_log=str(tmp_path / "no" / "file"))
