"""The examples, each as a process of its own, with real clients; Ctrl-C ends them with status 0."""

from __future__ import annotations

import random
import signal
import socket
import struct
import subprocess
from pathlib import Path

import pytest

from e2e.debian_servers import free_port
from e2e.library_runs import WAIT_S, eventually, process

EXAMPLES = Path(__file__).parents[2] / "examples"


def connect(port: int, child: subprocess.Popen[str]) -> socket.socket:
    """A connection to an example, as soon as it listens."""

    def attempt() -> socket.socket | None:
        assert child.poll() is None, child.stderr.read() if child.stderr else ""
        try:
            return socket.create_connection(("127.0.0.1", port), WAIT_S)
        except ConnectionRefusedError:
            return None

    found: socket.socket = eventually(attempt, f"a server on port {port}")
    return found


def interrupted(child: subprocess.Popen[str]) -> str:
    """Send a SIGINT; the rest of the output of a process that ends in good order."""
    child.send_signal(signal.SIGINT)
    output, errors = child.communicate(timeout=WAIT_S)
    assert errors == ""
    assert child.returncode == 0
    return output


def read_exactly(sock: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        piece = sock.recv(count - len(received))
        assert piece, f"the end after {len(received)} of {count} bytes"
        received += piece
    return bytes(received)


def is_at_end(sock: socket.socket) -> bool:
    return sock.recv(1) == b""


@pytest.mark.parametrize("name", ["echo.py", "asyncio_echo.py"])
def test_echo(name: str) -> None:
    port = free_port()
    with process(EXAMPLES / name, str(port)) as child:
        first = connect(port, child)
        others = [connect(port, child) for _ in range(49)]
        for number, sock in enumerate([first, *others]):
            sock.sendall(b"%d " % number * 1000)
        for number, sock in enumerate([first, *others]):
            assert read_exactly(sock, len(b"%d " % number * 1000)) == b"%d " % number * 1000
        for sock in others:
            sock.shutdown(socket.SHUT_WR)
            assert is_at_end(sock)
            sock.close()
        output = interrupted(child)
        assert is_at_end(first)
        first.close()
    total = sum(len(b"%d " % number * 1000) for number in range(50))
    assert output == f"50 connections, {total:,} bytes in, {total:,} out\n"


def test_broadcaster() -> None:
    port = free_port()
    with process(EXAMPLES / "broadcaster.py", str(port), "0.02") as child:
        socks = [connect(port, child) for _ in range(20)]
        files = [sock.makefile("rb") for sock in socks]
        for file in files:
            first = file.readline()
            rounds = [first, *(file.readline() for _ in range(5))]
            start = int(first.split()[1])
            assert rounds == [b"round %d\n" % (start + i) for i in range(6)]
        output = interrupted(child)
        for sock, file in zip(socks, files, strict=True):
            assert file.readlines()[-1] == b"good-bye\n"
            file.close()
            sock.close()
    *rounds_shown, last = output.splitlines()
    assert any(line.endswith(": 20 connections") for line in rounds_shown)
    assert last.startswith(f"{len(rounds_shown):,} rounds, ")


def test_telemetry() -> None:
    port = free_port()
    rng = random.Random(5)
    records = 0
    total = 0.0
    with process(EXAMPLES / "telemetry.py", str(port)) as child:
        streams: list[tuple[socket.socket, bytearray]] = []
        for device in range(40):
            values = [rng.randrange(1000) / 8 for _ in range(rng.randrange(1, 200))]
            records += len(values)
            total += sum(values)
            packed = (struct.pack("<IId", device, i, v) for i, v in enumerate(values))
            streams.append((connect(port, child), bytearray().join(packed)))
        streams[0][1].extend(struct.pack("<IId", 1 << 16, 0, 1.0))
        streams[1][1].extend(b"cut off")
        while streams:
            each = rng.choice(streams)
            size = rng.choice([1, 15, 16, 17, 100, 1600])
            each[0].sendall(each[1][:size])
            del each[1][:size]
            if not each[1]:
                streams.remove(each)
                each[0].shutdown(socket.SHUT_WR)
                assert is_at_end(each[0])
                each[0].close()
        output = interrupted(child).splitlines()
    assert " connections, 0 records of 0 devices, sum 0.00, " in output[0]
    assert output[-1] == (
        f"in all: {records:,} records of 40 devices, sum {total:.2f}, 1 unknown, 7 bytes cut off"
    )


def test_each_example_says_what_it_shows_and_how_to_try_it() -> None:
    files = sorted(EXAMPLES.glob("*.py"))
    assert len(files) >= 4
    for file in files:
        header = file.read_text().split('"""')[1]
        for word in ("Shows ", "Needs ", "Try it "):
            assert f"\n{word}" in header, f"{file.name} has no {word!r}"
        assert len(file.read_text().splitlines()) <= 90
