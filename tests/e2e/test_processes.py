"""One server of several processes: the same ports, sums, one that dies, signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, finish, free_ports, run, start
from e2e.several_processes import Processes, connected, echoed, place

MANY = 2000


@pytest.mark.parametrize(("count", "host"), [(2, "127.0.0.1"), (3, "[::1]")])
def test_connections_are_spread_and_counts_added_up(tmp_path: Path, count: int, host: str) -> None:
    listen = [f"tcp://{host}:0", "tcp://127.0.0.1:0"]
    with Processes(tmp_path, count, listen=listen) as server:
        with connected(server.urls[0], MANY) as socks, connected(server.urls[1], 50) as others:
            assert all(map(echoed, socks[:50] + others))
            found = server.until(lambda s: s["connections"]["live"] == MANY + 50)
            of_each = found["processes"]["connections"]
            assert len(of_each) == count and sum(of_each.values()) == MANY + 50
            share = MANY / count  # five standard deviations of a draw, and some
            assert all(abs(held - share) < 150 for held in of_each.values()), of_each
            rows = json.loads(server.page("/connections?limit=1000&sort=age"))
            assert rows["live"] == MANY + 50 and len(rows["connections"]) == 1000
            assert {row["process"] for row in rows["connections"]} == set(range(count))
            ages = [row["age_s"] for row in rows["connections"]]
            assert ages == sorted(ages, reverse=True)
            assert server.page("/readyz") == "ready\n" and server.page("/healthz") == "ok\n"
            metrics = server.page("/metrics")
            assert f"\nc1m_connections {MANY + 50}\n" in metrics
            assert re.search(r'c1m_process_restarts_total\{process="1"\} 0\n', metrics)
        server.until(lambda s: s["connections"]["live"] == 0)
        assert server.stop() == 0
        figures = server.totals()
        assert figures["opened"] == MANY + 50 and figures["messages"] >= 100
        assert figures["closed"]["peer_eof"] + figures["closed"]["reset"] == MANY + 50
        assert f"{MANY + 50:,} connections opened" in server.output
        assert f"process {count - 1}: " in server.output


def test_one_that_dies_is_started_again_and_nobody_is_refused(tmp_path: Path) -> None:
    with Processes(tmp_path, 2) as server, connected(server.url, 1000) as early:
        before = server.until(lambda s: s["connections"]["live"] == 1000)
        victim = server.children()[0]
        os.kill(server.pid, signal.SIGSTOP)  # it notices nothing yet
        os.kill(victim, signal.SIGKILL)
        ended(victim)
        with connected(server.url, 400) as late:  # half of them wait for the next one
            os.kill(server.pid, signal.SIGCONT)
            assert all(map(echoed, late))
            found = server.until(lambda s: sum(s["processes"]["restarts"].values()) == 1)
            lost = found["connections"]["closed"]["process"]
            assert lost in before["processes"]["connections"].values()
            found = server.until(lambda s: s["connections"]["live"] == 1400 - lost)
            assert found["connections"]["opened"] == 1400
            # It has fewer, and so it gets more of the new ones than the other.
            number, other = ("0", "1") if found["processes"]["restarts"]["0"] else ("1", "0")
            server.until(lambda s: s["processes"]["weight"][number] > 0.6)
            with connected(server.url, 800):
                mended = server.until(lambda s: s["connections"]["live"] == 2200 - lost)
                held = mended["processes"]["connections"]
                then = found["processes"]["connections"]
                assert held[other] - held[number] < (then[other] - then[number]) * 0.8, held
        assert victim not in server.children()
        assert len(server.children()) == 2
        assert len(early) == 1000
        process = server.process
        os.kill(server.pid, signal.SIGTERM)
        said, errors = finish(process)
        assert process.returncode == 0
        assert "has ended with signal SIGKILL" in errors and "It is started again now" in errors
        assert f"{lost:,}  ended with their process" in said
        assert server.totals()["closed"]["process"] == lost


def ended(pid: int) -> None:
    """Until it has, and nobody has asked for its status. Before that it may still accept."""
    end = time.monotonic() + PATIENCE_S
    while " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_signal_drains_all_and_a_second_one_ends_all(tmp_path: Path) -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        with Processes(tmp_path, 2) as server, connected(server.url, 100) as socks:
            assert all(map(echoed, socks))
            assert server.stop(number) == 0
            assert all(sock.recv(1) == b"" for sock in socks)
            assert server.totals()["closed"]["drain"] == 100
    with Processes(tmp_path, 2, "--drain-spread", "1h") as server, connected(server.url, 10):
        children = server.children()
        os.kill(server.pid, signal.SIGTERM)
        server.until(lambda s: s["draining"] == 1)
        os.kill(server.pid, signal.SIGTERM)
        server.process.wait(PATIENCE_S)
        assert server.process.returncode == 128 + signal.SIGTERM
        gone(children)


def gone(pids: list[int]) -> None:
    end = time.monotonic() + PATIENCE_S
    while any(Path(f"/proc/{pid}/exe").exists() for pid in pids):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_is_left_where_the_first_one_is_killed(tmp_path: Path) -> None:
    with Processes(tmp_path, 2) as server, connected(server.url, 10) as socks:
        assert all(map(echoed, socks))
        children = server.children()
        server.process.kill()
        assert all(sock.recv(1) == b"" for sock in socks)
        gone(children)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place(server.url))


def test_a_unix_socket_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "echo.sock"
    with Processes(tmp_path, 2, listen=[f"unix://{path}"]) as server:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                assert echoed(sock)
        os.kill(server.children()[1], signal.SIGKILL)
        server.until(lambda s: sum(s["processes"]["restarts"].values()) == 1)
        assert path.exists()
        os.kill(server.pid, signal.SIGTERM)
        finish(server.process)
        assert server.process.returncode == 0 and not path.exists()


def test_what_cannot_be_is_said_once(tmp_path: Path) -> None:
    port = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        done = run("serve", "echo", "--processes", 2, "--listen", f"127.0.0.1:{port}")
        assert done.returncode == 2 and "is in use" in done.stderr
        assert done.stderr.count("\n") == 1
    with Processes(tmp_path, 2) as server:  # nor do two of them share a port
        done = run("serve", "echo", "--processes", 2, "--listen", server.url)
        assert done.returncode == 2 and "is in use" in done.stderr
    for words, said in (
        (("--takeover", tmp_path / "next"), "cannot be taken over"),
        (("--engine", "epoll", "--connections-max", 0), "holds nothing"),
        (("--access-log", "/nowhere/x"), "there is no directory /nowhere"),
        (("--user", "nobody-here"), "There is no user"),
    ):
        done = run("serve", "echo", "--processes", 2, "--listen", "127.0.0.1:0", *words)
        assert done.returncode == 2 and said in done.stderr, (words, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr
    for count in (0, 257, "x", -1, 1.5):
        done = run("serve", "echo", "--processes", count, "--listen", "127.0.0.1:0")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr


def test_a_total_is_shared_out(tmp_path: Path) -> None:
    """Refused beyond --connections-max: each process has its part."""
    options = ("--connections-max", 100, "--when-full", "refuse", "--engine", "epoll")
    with Processes(tmp_path, 2, *options) as server:
        with connected(server.url, 150):
            server.until(lambda s: s["connections"]["live"] == 100)
            with pytest.raises(AssertionError, match=r"503 It is full.*room for 100"):
                server.page("/readyz")
        assert server.stop() == 0


def test_one_process_is_started_again_too(tmp_path: Path) -> None:
    with Processes(tmp_path, 1) as server:
        os.kill(server.children()[0], signal.SIGKILL)
        with connected(server.url, 3) as socks:
            assert all(map(echoed, socks))
        os.kill(server.pid, signal.SIGTERM)
        finish(server.process)
        assert server.process.returncode == 0


BROKEN = """
import os, c1m
class App(c1m.App):
    def on_start(self, server):
        if os.path.exists("broken"):
            raise SystemExit(7)
    def on_data(self, batch, server):
        server.send(batch.slots, batch.data)
"""


def test_one_that_dies_at_once_again_and_again_has_pauses(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text(BROKEN)
    with Processes(tmp_path, 2, app="broken_app:App", cwd=tmp_path) as server:
        (tmp_path / "broken").touch()
        os.kill(server.children()[0], signal.SIGKILL)
        server.until(lambda s: max(s["processes"]["restarts"].values()) >= 4)
        with connected(server.url, 20) as socks:  # the other one serves all
            assert all(map(echoed, socks))
        (tmp_path / "broken").unlink()
        server.until(lambda s: min(s["processes"]["weight"].values()) > 0)
        os.kill(server.pid, signal.SIGTERM)
        _, errors = finish(server.process)
        assert server.process.returncode == 0
        pauses = [float(text) for text in re.findall(r"started again in ([0-9.]+) s", errors)]
        assert pauses[:3] == [0.1, 0.2, 0.4]


def test_where_none_comes_up_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken_app.py").write_text(BROKEN)
    (tmp_path / "broken").touch()
    process = start(
        "serve", "broken_app:App", "--processes", 2, "--listen", "127.0.0.1:0", cwd=tmp_path
    )
    _, errors = finish(process)
    assert process.returncode == 1
    assert "has ended with status 7 before it served" in errors


PROGRAM = """
import sys, c1m
class Echo(c1m.App):
    def on_data(self, batch, server):
        server.send(batch.slots, batch.data)
print("up to here", flush=True)
try:
    found = c1m.serve(Echo(), sys.argv[1], processes=int(sys.argv[2]), admin=sys.argv[3])
    print(found.opened, found.live, sum(found.closed.values()), flush=True)
except c1m.C1mError as error:
    print(error, flush=True)
"""


def test_a_program_is_run_again_for_each(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    port = free_ports(2)
    command = [sys.executable, "program.py", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        [*command, "2", f"127.0.0.1:{port + 1}"], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as process:
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port + 1)):
                break
            assert time.monotonic() < end
            time.sleep(0.05)
        with connected(f"tcp://127.0.0.1:{port}", 20) as socks:
            assert all(map(echoed, socks))
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE_S)[0]
        assert process.returncode == 0
        assert said.splitlines() == ["up to here"] * 3 + ["20 0 20"]
    done = subprocess.run(
        [*command, "999", "127.0.0.1:0"], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert "999 is too large for processes" in done.stdout
