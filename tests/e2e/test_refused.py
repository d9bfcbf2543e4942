"""What the kernel refuses an ordinary user: who is there is served, and what is short is said."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from c1m.errors import EngineUnavailable
from c1m.kernel import uring_probe
from c1m.results.record import RunRecord
from e2e.cli_helpers import COMMAND, PATIENCE_S, finish
from e2e.ordinary_user import KIB, Limits, Refused, is_served, new_user, readable, run_as, start_as

FIRST_RING, FURTHER_RING = 196 * KIB, 84 * KIB  # locked, as docs/reference/limits.md says
NOFILE = 256
IN_EPOLL = NOFILE // 4  # the first connections are in an epoll set
NOT_S = 0.02  # how long a reply is waited for that should not come


@pytest.fixture
def locked() -> None:
    """Skips where rings do not count as locked memory (before Linux 6.14), or there are none."""
    try:
        uring_probe.probe()
    except EngineUnavailable as reason:
        pytest.skip(str(reason))
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    if release < (6, 14):
        pytest.skip("rings do not count against RLIMIT_MEMLOCK before Linux 6.14")


Connect = Callable[[int, int], list[socket.socket]]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens so many connections to a port, and closes them in the end."""
    opened: list[socket.socket] = []

    def more(port: int, count: int) -> list[socket.socket]:
        some = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        opened.extend(some)
        return some

    yield more
    for sock in opened:
        sock.close()


@pytest.fixture
def made() -> Iterator[list[Refused]]:
    """Servers that are ended whatever happens."""
    servers: list[Refused] = []
    yield servers
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
            finish(server.process)


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize("kib", [4, 64, 96, 160, 192])
def test_without_a_whole_ring_both_ends_run_on_epoll_and_say_why(
    kib: int, tmp_path: Path, made: list[Refused]
) -> None:
    uid = new_user()
    made.append(Refused(uid, tmp_path, "--quiet", memlock=kib * KIB))
    server = made[0]
    assert "engine epoll (instead of uring: The kernel gives no io_uring" in server.engine
    path = tmp_path / "run.json"
    target = f"tcp://127.0.0.1:{server.port}"
    done = run_as(
        uid, "load", target, "--connections", 200, "--quiet", "--json", path, memlock=kib * KIB
    )
    assert (done.returncode, done.stderr) == (0, "")
    record = RunRecord.read(path)
    assert record.verdict.complete and record.metadata.engine.name == "epoll"
    assert server.stop()["opened"] == 200
    asked = run_as(uid, "serve", "echo", "--listen", target, "--engine", "uring", memlock=kib * KIB)
    assert asked.returncode == 2
    assert asked.stderr.startswith("c1m: The uring engine was asked for. The kernel gives no io_")
    assert asked.stderr.count("\n") == 1


@pytest.mark.usefixtures("locked")
@pytest.mark.parametrize(
    ("bytes_more", "rings"),
    [(0, 1), (8 * KIB, 1), (68 * KIB, 1), (76 * KIB, 1), (FURTHER_RING, 2), (2 * FURTHER_RING, 3)],
)
def test_the_room_that_is_announced_is_the_room_that_there_is(
    bytes_more: int, rings: int, tmp_path: Path, made: list[Refused], connect: Connect
) -> None:
    """Also where a further ring is given and its buffers are not: at 68 to 83 KiB more."""
    made.append(Refused(new_user(), tmp_path, memlock=FIRST_RING + bytes_more, nofile=NOFILE))
    server = made[0]
    assert server.room() == rings * NOFILE + IN_EPOLL
    socks = connect(server.port, server.room() + 40)
    there, late = socks[: server.room()], socks[server.room() :]
    assert all(is_served(sock) for sock in there)
    assert not any(is_served(sock, NOT_S) for sock in late)
    said = f"c1m: The kernel gives no io_uring number {rings + 1}: RLIMIT_MEMLOCK is"
    assert server.process.stderr is not None
    assert server.process.stderr.readline().startswith(said)
    there[0].close()
    assert readable(late, PATIENCE_S), "one has gone, in whichever engine, and one has come in"
    for sock in there[1:40]:
        sock.close()
    for sock in late:  # they have spoken above: what the kernel kept is echoed now
        assert select.select([sock], [], [], PATIENCE_S)[0]
    assert all(is_served(sock) for sock in there[40:])
    figures = server.stop()
    assert figures["opened"] == len(socks) and figures["refused"] == {"ring": AnyAbove(0)}
    assert server.errors == "", "it is said once"
    said = said.removeprefix("c1m: ")
    assert said in str(figures["refusal"]) and said in server.output


class AnyAbove(int):
    """Equal to every larger number."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and other > int(self)

    __hash__ = int.__hash__


@pytest.mark.usefixtures("locked")
def test_rings_that_another_process_gives_back_are_taken(
    tmp_path: Path, made: list[Refused], connect: Connect
) -> None:
    """Nobody closes here: by time alone."""
    uid = new_user()
    limits: Limits = {"memlock": 2 * FIRST_RING + 40 * KIB, "nofile": NOFILE}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        made.append(Refused(uid, tmp_path / name, "--quiet", **limits))
    server, other = made
    room = NOFILE + IN_EPOLL
    socks = connect(server.port, room + 10)
    assert all(is_served(sock) for sock in socks[:room])
    assert not any(is_served(sock, NOT_S) for sock in socks[room:])
    other.stop()
    for sock in socks[room:]:
        assert select.select([sock], [], [], PATIENCE_S)[0]
    assert server.stop()["opened"] == len(socks)


@pytest.mark.usefixtures("locked")
def test_a_run_that_meets_the_limit_names_it_and_ends_by_itself(
    tmp_path: Path, made: list[Refused]
) -> None:
    """Server and client share the memory: both were told of room that the other took."""
    uid = new_user()
    limits: Limits = {"memlock": 2 * FIRST_RING + 4 * FURTHER_RING, "nofile": NOFILE}
    made.append(Refused(uid, tmp_path, **limits))
    path = tmp_path / "run.json"
    target = f"tcp://127.0.0.1:{made[0].port}"
    done = run_as(
        uid, "load", target, "--connections", 5 * NOFILE, "--connect-window", 32, "--quiet",
        "--json", path, **limits,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")
    record = RunRecord.read(path)
    c = record.connections
    assert 2 * NOFILE <= c.attempted < 5 * NOFILE and c.attempted == c.opened
    assert c.lost == 0 and c.open_at_end == c.opened
    assert any("RLIMIT_MEMLOCK" in text for text in record.verdict.shortfalls)
    (never,) = [row for row in record.explanations if "never begun" in row.what]
    assert never.count == 5 * NOFILE - c.attempted and "RLIMIT_MEMLOCK" in never.cause
    assert record.metadata.engine.extra["refused_ring"] > 0
    assert made[0].stop()["opened"] == c.opened


@pytest.mark.usefixtures("locked")
def test_more_than_the_room_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    done = run_as(
        new_user(), "load", "tcp://127.0.0.1:1", "--connections", 2 * NOFILE,
        memlock=FIRST_RING + 20 * KIB, nofile=NOFILE,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"can hold about {NOFILE} here" in done.stderr and "RLIMIT_MEMLOCK" in done.stderr


HOLDS = """
import os, sys
from c1m.apps.echo import Echo
from c1m.loop import stopped_by_signals
from c1m.server.server import Server
server = Server(Echo(), "tcp://127.0.0.1:0", engine="epoll")
held = [os.dup(0) for _ in range(150)]
with stopped_by_signals(server.stop, exits_at_second=True):
    print(server.endpoints[0].port, flush=True)
    server.run()
print(server.statistics.refused, server.statistics.refusal)
"""


def test_an_epoll_server_that_has_no_descriptor_left_sleeps(connect: Connect) -> None:
    """The rest of its process has taken descriptors: EMFILE comes before its own limit.

    A loop that spins asks some 300,000 times a second; this one, in some seconds, a few times.
    """
    process = start_as(new_user(), sys.executable, "-c", HOLDS, nofile=NOFILE)
    try:
        assert process.stdout is not None
        socks = connect(int(process.stdout.readline()), NOFILE)
        served = [sock for sock in socks if is_served(sock, NOT_S)]
        assert 50 < len(served) < NOFILE - 150
        assert all(is_served(sock) for sock in served)
        for sock in served[:20]:
            sock.close()
        waiting = [sock for sock in socks if sock not in served]
        assert all(select.select([sock], [], [], PATIENCE_S)[0] for sock in waiting[:20])
        process.send_signal(signal.SIGINT)
        output, errors = finish(process)
    finally:
        if process.poll() is None:
            process.kill()
    assert errors.count("\n") == 1 and "gives no further connection" in errors  # the log, once
    refused = re.match(r"\{'connection': (\d+)\} The kernel gives no further connection: ", output)
    assert refused is not None and 0 < int(refused[1]) < 100
    assert f"RLIMIT_NOFILE is {NOFILE}" in output


@pytest.mark.parametrize("engine", ["auto", "uring", "epoll"])
@pytest.mark.parametrize("nofile", range(5, 12))
def test_few_descriptors_end_in_a_sentence_or_in_a_server(engine: str, nofile: int) -> None:
    """With five Python itself may not start."""
    process = start_as(
        new_user(), *COMMAND, "serve", "echo", "--listen", "tcp://127.0.0.1:0", "--quiet",
        "--engine", engine, nofile=nofile,
    )  # fmt: skip
    assert process.stdout is not None
    said = process.stdout.readline(), process.stdout.readline()
    if all(said):
        process.send_signal(signal.SIGINT)
    _, errors = finish(process)
    if said[0]:
        assert (process.returncode, errors) == (0, "")
        assert not re.search(r"room for 0 connections", said[1])
    elif "Traceback" in errors or "Fatal Python error" in errors:
        assert "c1m/cli/main.py" not in errors, errors  # Python's own, before it came to us
    else:
        assert process.returncode == 2
        assert errors.startswith("c1m: ") and errors.count("\n") == 1
        assert f"RLIMIT_NOFILE is {nofile}" in errors or "no descriptor is left" in errors


@pytest.mark.parametrize("command", ["serve", "load"])
@pytest.mark.parametrize("mib", [60, 80, 100, 120, 150])
def test_a_small_address_space_ends_in_a_sentence_or_does(command: str, mib: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        arguments: list[object] = ["load", f"tcp://127.0.0.1:{port}", "--connections", 1]
        if command == "serve":
            arguments = ["serve", "echo", "--listen", f"tcp://127.0.0.1:{port}"]
        else:
            arguments += ["--scenario", "hold", "--quiet"]
        limits: Limits = {"as": mib << 20}
        done = run_as(new_user(), *arguments, **limits)
    assert "Traceback" not in done.stderr
    if command == "load" and done.returncode == 0:
        assert done.stdout.startswith("COMPLETE")
        return
    assert done.returncode == 2
    assert done.stderr.startswith("c1m: ")
    is_listening = "cannot be listened on: it is in use" in done.stderr  # it came so far
    assert is_listening or "(RLIMIT_AS) is" in done.stderr
