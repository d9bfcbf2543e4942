"""Whoever reads the output goes away: the run or the server goes on to its end and its status.

Each command is started as a shell would start it, with descriptors that are closed, lead to a pipe
whose reader has gone or is stalled, or to a full disk (/dev/full).
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import COMMAND, PATIENCE_S, Server, free_ports
from report_records import complete_record

Closer = Callable[[], None]


def closes(*descriptors: int) -> Closer:
    """What a shell's `>&-` does, in the child."""

    def close() -> None:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    return close


def leads_to(path: str, *descriptors: int) -> Closer:
    """What a shell's `>PATH` does, in the child."""

    def lead() -> None:
        opened = os.open(path, os.O_WRONLY)
        for descriptor in descriptors:
            os.dup2(opened, descriptor)
        os.close(opened)

    return lead


def gone(*descriptors: int) -> Closer:
    """A pipe whose reader has gone, in the child."""

    def lead() -> None:
        reader, writer = os.pipe()
        for descriptor in descriptors:
            os.dup2(writer, descriptor)
        os.close(reader)
        os.close(writer)

    return lead


STREAMS: dict[str, Closer] = {
    "| true": gone(1),
    "2>&1 | true": gone(1, 2),
    ">/dev/full": leads_to("/dev/full", 1),
    ">/dev/full 2>&1": leads_to("/dev/full", 1, 2),
    ">&-": closes(1),
    "2>&-": closes(2),
    ">&- 2>&-": closes(1, 2),
    "<&- >&- 2>&-": closes(0, 1, 2),
}
EACH = pytest.mark.parametrize("streams", STREAMS)


def run(streams: str, *arguments: object, cwd: Path) -> tuple[int, str]:
    """Exit status and what came on standard error, where that is not what is broken."""
    with open(cwd / "stderr", "w+") as said:
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            preexec_fn=STREAMS[streams],
            timeout=PATIENCE_S,
            check=False,
        )
        said.seek(0)
        return done.returncode, said.read()


def assert_quiet(streams: str, said: str) -> None:
    """A full disk is told on standard error, where that is there; a reader is not missed."""
    wanted = "no space left on device" if streams == ">/dev/full" else ""
    assert (said.count("\n"), wanted in said) == (bool(wanted), True), said


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Somebody to load."""
    with Server(tmp_path_factory.mktemp("server"), "--quiet") as running:
        yield running


@EACH
def test_a_load_writes_its_results(streams: str, server: Server, tmp_path: Path) -> None:
    status, said = run(
        streams, "load", server.url, "--connections", 20, "--hold", "1s", "--rate", "50/s",
        "--json", "run.json", "--csv", "run.csv", "--hgrm", "run.hgrm", cwd=tmp_path,
    )  # fmt: skip
    assert status == 0
    assert_quiet(streams, said)
    assert RunRecord.read(tmp_path / "run.json").verdict.complete
    assert (tmp_path / "run.csv").stat().st_size and (tmp_path / "run.hgrm").stat().st_size


@EACH
@pytest.mark.parametrize("command", ["report", "compare", "doctor", "demo"])
def test_the_other_commands_end_as_they_would(streams: str, command: str, tmp_path: Path) -> None:
    complete_record(1_000).write(tmp_path / "run.json")
    arguments = {
        "report": ("report", "run.json", "--csv", "out"),
        "compare": ("compare", "run.json", "run.json", "--json", "out"),
        "doctor": ("doctor", "--connections", 10),
        "demo": ("demo", "--connections", 20, "--hold", "0s", "--out", "demo"),
    }[command]
    status, said = run(streams, *arguments, cwd=tmp_path)
    assert status == 0
    assert_quiet(streams, said)
    outcome = {"report": "out", "compare": "out", "demo": "demo/run.json"}.get(command)
    assert outcome is None or (tmp_path / outcome).stat().st_size


@EACH
def test_a_server_goes_on_and_says_nothing_to_its_peers(streams: str, tmp_path: Path) -> None:
    """Its progress must not get into a socket that was given the number of a closed descriptor."""
    port = free_ports(1)
    figures = tmp_path / "server.json"
    process = subprocess.Popen(
        [*COMMAND, "serve", "echo", "--listen", f"tcp://127.0.0.1:{port}", "--json", figures,
         "--engine", "epoll"],  # where connections are descriptors
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        preexec_fn=STREAMS[streams],
    )  # fmt: skip
    try:
        socks: list[socket.socket] = []
        while not socks:
            with contextlib.suppress(ConnectionRefusedError):
                socks.append(socket.create_connection(("127.0.0.1", port)))
            assert process.poll() is None
        socks += [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
        for turn in range(12):  # over a second, so that progress is shown in between
            for sock in socks:
                sock.settimeout(PATIENCE_S)
                sock.sendall(b"%4d" % turn)
                assert sock.recv(100) == b"%4d" % turn
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        assert [sock.recv(100) for sock in socks] == [b""] * 5
    finally:
        process.kill()
        process.wait()
        for sock in socks:
            sock.close()
    assert json.loads(figures.read_text())["messages"] == 60


def test_a_stalled_reader_stalls_no_server(tmp_path: Path) -> None:
    """The pipe is full before the server has said anything."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    os.set_blocking(writer, True)
    path = tmp_path / "echo.sock"
    process = subprocess.Popen(
        [*COMMAND, "serve", "echo", "--listen", f"unix://{path}"], stdout=writer, stderr=writer
    )
    os.close(writer)
    try:
        while not path.exists():
            assert process.poll() is None
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(str(path))
            sock.sendall(b"hello")
            assert sock.recv(100) == b"hello"
            process.send_signal(signal.SIGINT)
            assert sock.recv(100) == b""
        os.close(reader)  # the final figures may wait for it
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_pipe_that_does_not_block_gets_everything(tmp_path: Path) -> None:
    complete_record(1_000).write(tmp_path / "run.json")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(65536))
    with subprocess.Popen([*COMMAND, "report", tmp_path / "run.json"], stdout=writer) as process:
        os.close(writer)
        with open(reader, "rb") as file:
            said = file.read().lstrip(b"\0")
        assert process.wait(PATIENCE_S) == 0
    whole = subprocess.check_output([*COMMAND, "report", tmp_path / "run.json"])
    assert said == whole


def test_a_terminal_that_is_hung_up(server: Server, tmp_path: Path) -> None:
    """Closing a terminal is EIO for who writes there, and SIGHUP for who runs there."""
    path = tmp_path / "run.json"
    script = f"""
import os, sys
from c1m.cli.main import main
sys.argv = ["c1m", "load", {server.url!r}, "--connections", "20", "--hold", "1h", "--json",
            {str(path)!r}]
main()
"""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "dumb"
        os.execv(sys.executable, [sys.executable, "-c", script])
    said = b""
    while b"hold" not in said:
        said += os.read(master, 4096)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert RunRecord.read(path).connections.opened == 20


# --- what is asked for on standard output ------------------------------------------------------


def output_of(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, arguments)]
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        **options,
    )  # fmt: skip
    return done


def test_a_record_through_pipes(server: Server, tmp_path: Path) -> None:
    done = output_of("load", server.url, "--connections", 20, "--json", "-", cwd=tmp_path)
    assert done.returncode == 0
    record = RunRecord.from_json(json.loads(done.stdout))
    assert record.connections.opened == 20
    assert "COMPLETE: 20 of 20" in done.stderr and "20 open" in done.stderr
    shown = output_of("report", "-", cwd=tmp_path, input=done.stdout)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("COMPLETE: 20 of 20")
    csv = output_of("report", "-", "--csv", "-", "--quiet", cwd=tmp_path, input=done.stdout)
    assert csv.stdout.startswith("t_s,open,") and csv.stderr == ""
    (tmp_path / "run.json").write_text(done.stdout)
    compared = output_of("compare", "run.json", "-", "--json", "-", cwd=tmp_path, input=done.stdout)
    assert json.loads(compared.stdout)["schema"] == "c1m-compare/1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json"]


def test_a_servers_figures_on_standard_output(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "serve", "echo", "--listen", f"unix://{tmp_path / 's'}", "--json", "-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    assert "listening on" in process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert json.loads(out)["opened"] == 0


def test_only_one_can_have_standard_output(tmp_path: Path) -> None:
    done = output_of("report", "x.json", "--csv", "-", "--hgrm", "-", cwd=tmp_path)
    assert done.returncode == 2 and "--hgrm -, --csv -" in done.stderr


LOST = {
    "compare": ("compare", "run.json", "run.json", "--json", "-"),
    "report": ("report", "run.json", "--csv", "-"),
    "schema": ("report", "--schema"),
    "doctor": ("doctor", "--connections", "10", "--json"),
    "sysctl": ("doctor", "--connections", "10", "--sysctl"),
}


@pytest.mark.parametrize("streams", ["| true", ">/dev/full", ">&-"])
@pytest.mark.parametrize("command", [*LOST, "load"])
def test_data_that_is_lost_is_an_error(
    streams: str, command: str, server: Server, tmp_path: Path
) -> None:
    complete_record(1_000).write(tmp_path / "run.json")
    load = ("load", server.url, "--connections", "5", "--json", "-", "--csv", "run.csv")
    status, said = run(streams, *LOST.get(command, load), cwd=tmp_path)
    assert status in (1, 2)
    assert "c1m: Standard output cannot be written" in said
    assert "Traceback" not in said
    if command == "load" and streams == "| true":  # the others are refused before the run
        assert (tmp_path / "run.csv").stat().st_size and "COMPLETE: 5 of 5" in said


def test_a_file_that_cannot_be_written_costs_no_other(server: Server, tmp_path: Path) -> None:
    done = output_of("load", server.url, "--connections", 5, "--quiet", "--csv", "/dev/full",
                     "--json", "run.json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("c1m: /dev/full cannot be written: no space left on device.")
    assert "COMPLETE: 5 of 5" in done.stdout
    assert RunRecord.read(tmp_path / "run.json").verdict.complete


def test_signs_that_an_encoding_does_not_have(tmp_path: Path) -> None:
    complete_record(1_000).write(tmp_path / "run.json")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = output_of("report", "run.json", cwd=tmp_path, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
