"""`c1m top` at a server: once, as lines, as JSON, on a terminal, and where there is none."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from c1m.cli.top import Sample, figures, line, view
from e2e.cli_helpers import Server, finish, free_ports, start
from e2e.library_runs import WAIT_S, eventually

STATS = {
    "connections": {
        "opened": 10, "live": {"http": 4}, "peak": 9, "room": 100, "opening": 1,
        "closed": {"peer_eof": 6, "reset": 0}, "never_opened": {"Its header is wrong": 2},
    },
    "limited": {"per_source": 3}, "kernel_refused": {}, "messages": 100, "ticks": 50,
    "bytes": {"received": 1000, "sent": 2000, "unsent": 0, "queued": 7}, "draining": 0,
    "memory_bytes": 1 << 20, "cpu_seconds": 1.0,
}  # fmt: skip


def test_rates_are_of_what_is_new() -> None:
    before = Sample(0, STATS, {"live": 4})
    later = json.loads(json.dumps(STATS))
    later["connections"]["opened"] += 20
    later["connections"]["closed"]["reset"] = 4
    later["limited"]["idle_timeout"] = 6
    later["cpu_seconds"] = 2.0
    seen = figures(Sample(2_000_000_000, later, {"live": 5}), before)
    assert (seen["live"], seen["opened_per_s"], seen["cpu"]) == (5, 10, 0.5)
    assert seen["closed"] == {
        "peer_eof": {"count": 6, "per_s": 0}, "reset": {"count": 4, "per_s": 2},
    }  # fmt: skip
    assert seen["limited"]["idle_timeout"] == {"count": 6, "per_s": 3}
    assert "idle_timeout 3.0/s" in line(seen) and "per_source" not in line(seen)
    shown = "\n".join(view("http://x", seen, [], "unsent"))
    assert "limits that acted" in shown and "never opened" in shown and "per_source" in shown
    later["draining"] = 1
    assert line(figures(Sample(2, later, {"live": 5}), before)).endswith("stopping")


def test_once_and_as_json(tmp_path: Path) -> None:
    port = free_ports(1)
    place = f"127.0.0.1:{port}"
    with Server(tmp_path, "--admin", place, "--quiet") as server:
        listens = int(server.url.rsplit(":", 1)[1])
        with socket.create_connection(("127.0.0.1", listens), WAIT_S) as sock:
            sock.sendall(b"xyz")
            assert len(sock.recv(3)) == 3
            once = start("top", "--admin", place, "--sort", "received", "--once", "--every", "0.1")
            output, errors = finish(once)
            assert (once.returncode, errors) == (0, "")
            assert "1 open" in output and "{}:{}".format(*sock.getsockname()) in output
            asked = start("top", "--admin", str(port), "--once", "--json", "--every", "0.1")
            output, errors = finish(asked)
            [seen] = map(json.loads, output.splitlines())
            assert seen["live"] == 1 and seen["limited"] == {}


def test_on_a_terminal(tmp_path: Path) -> None:
    place = f"127.0.0.1:{free_ports(1)}"
    with Server(tmp_path, "--admin", place, "--quiet"):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "c1m", "top", "--admin", place, "--every", "0.1"]
        with subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"},
        ) as top:  # fmt: skip
            os.close(theirs)
            shown = b""

            def comes(words: bytes) -> bool:
                nonlocal shown
                shown += os.read(ours, 65536)
                return words in shown

            eventually(lambda: comes(b"by unsent"), "it is drawn")
            os.write(ours, b"s")
            eventually(lambda: comes(b"by received"), "it is sorted by another column")
            os.write(ours, b"q")
            eventually(lambda: comes(b"\x1b[?1049l"), "the terminal is given back")
            assert top.wait(WAIT_S) == 0
        os.close(ours)


@pytest.mark.parametrize(
    ("place", "status", "said"),
    [("127.0.0.1:{}", 1, "No answer from"), ("tcp://x:1-3", 2, "is not one place"),
     ("unix:///nowhere", 1, "No answer from"), ("nonsense", 2, "nonsense")],
)  # fmt: skip
def test_without_a_server(place: str, status: int, said: str) -> None:
    top = start("top", "--admin", place.format(free_ports(1)), "--once")
    output, errors = finish(top)
    assert (output, top.returncode) == ("", status)
    assert errors.startswith("c1m: ") and said in errors and errors.count("\n") == 1
