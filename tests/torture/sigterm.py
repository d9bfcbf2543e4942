"""SIGTERM while 100,000 connections wait for replies: each has its reply, and the server ends."""

from __future__ import annotations

import time

from .child import Child
from .served import Served
from .verdict import Torture, Verdict

COUNT, COUNT_EPOLL = 100_000, 15_000  # the epoll engine needs a descriptor for each
PORTS, SOURCES, WINDOW = 4, 16, 2_000
DRAIN_S = 30
RUNS = (("echo", "auto"), ("kv", "auto"), ("tests.torture.apps:Echo", "auto"), ("echo", "epoll"))
PATIENCE_S = 300.0


def run(scale: float) -> Verdict:
    """An application, the key-value server and a protocol of asyncio; and the other engine."""
    verdict = Verdict()
    for app, engine in RUNS:
        most = COUNT_EPOLL if engine == "epoll" or ":" in app else COUNT
        _one(verdict, app, engine, max(int(most * scale), 200), scale >= 1)
    return verdict


def _one(verdict: Verdict, app: str, engine: str, count: int, is_timed: bool) -> None:
    listen = [f"tcp://127.0.0.1:{port}" for port in [0] * PORTS]
    options = {"drain_ns": DRAIN_S * 10**9}
    name = f"{app.rpartition(':')[2]} on {engine}"
    app = app.removeprefix("tests.")
    with Served(app, listen, engine=engine, options=options) as server:
        client = Child(
            "asking", ports=server.ports, sources=SOURCES, window=WINDOW, count=count,
            kv=app == "kv", pid=server.process.pid,
        )  # fmt: skip
        with client:
            killed = client.wait_for(lambda line: "killed" in line, PATIENCE_S)
            server.process.wait(PATIENCE_S)
            seconds = time.monotonic() - killed["killed"]
            said = client.wait_for(lambda line: "done" in line, PATIENCE_S)
        status, last = server.process.returncode, server.look()
    figures, check = verdict.figures, verdict.check
    figures[f"{name}: connections"] = said["opened"]
    figures[f"{name}: requests in flight at SIGTERM"] = count - killed["replied_before"]
    figures[f"{name}: replies"] = said["replied"] - count
    figures[f"{name}: ended"] = said["ended"]
    figures[f"{name}: seconds to the exit"] = round(seconds, 1)
    check(not killed["unsent"], f"{name}: {killed['unsent']} bytes of requests were not out.")
    check(said["replied"] == said["said"] == 2 * count,
          f"{name}: of {said['said']} requests {said['replied']} were answered.")  # fmt: skip
    check(said["ended"] == {"closed": count}, f"{name}: connections ended so: {said['ended']}.")
    check(status == 0, f"{name}: exit status {status}.")
    check(not is_timed or seconds < DRAIN_S, f"{name}: the exit took {seconds:.1f} s.")
    check(last["closed"] == {"DRAIN": count}, f"{name}: the server says {last['closed']}.")


TORTURE = Torture(
    "sigterm",
    "SIGTERM at 100,000 connections with data in flight: every accepted request answered, exit "
    f"within the deadline ({DRAIN_S} s).",
    run,
)
