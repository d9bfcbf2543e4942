"""A load test of your own server, with pytest: its thresholds are asserts.

Shows   c1m.load from a test: what it returns as objects, as histograms and as NumPy arrays.
Needs   pytest; and in the place of asyncio_echo.py, the command that starts your server.
Try it  pytest examples/test_my_server.py
"""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import c1m

COMMAND = [sys.executable, str(Path(__file__).with_name("asyncio_echo.py"))]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Your server, for as long as the tests of this file take: as soon as it listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([*COMMAND, str(port)])  # a process: it would share our CPU here
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield f"tcp://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def test_holds_under_load(url: str) -> None:
    run = c1m.load(url, connections=200, scenario="lines", hold="2s", rate="500/s")
    assert run.verdict.complete, run.verdict.shortfalls
    assert run.requests.right == run.requests.due == 1_000
    assert run.connections.lost == 0, run.failures

    latency = run.latencies["request"].distribution()  # from when each request was due
    assert latency.quantile(0.95) < 1e9  # ns
    assert run.series.array("open").max() == 200  # one element a second
    assert run.series.array("bad").sum() == 0
