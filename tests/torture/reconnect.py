"""A million clients come back at once behind a kill -9 of their server.

They connect as fast as their process can, with no bound on connects under way, try again a second
after a refusal, and give a connect up after half a minute. A probe on a listener of its own asks on
one connection all the time: how are those who are in?
"""

from __future__ import annotations

import time
from typing import Any

from .child import Child
from .probe import Probe, note
from .served import Served
from .verdict import Torture, Verdict

COUNT = 1_000_000
PORTS, SOURCES, WINDOW = 4, 64, 4_000
REST_S = 30.0
ACCEPT_RATE = 20_000
PINGS = 50.0
PATIENCE_S = 900.0


def run(scale: float) -> Verdict:
    """Without and with a bound on accepts."""
    verdict = Verdict()
    for name, limits in (("no bound", {}), ("accept rate", {"accept_rate": ACCEPT_RATE})):
        if limits:
            name = f"{ACCEPT_RATE:,}/s"
        _one(verdict, name, limits, max(int(COUNT * scale), 500))
    return verdict


def _one(verdict: Verdict, name: str, limits: dict[str, Any], count: int) -> None:
    listen = [f"tcp://127.0.0.1:{port}" for port in [0] * (PORTS + 1)]
    server = Served("echo", listen, limits=limits)
    client = Child(
        "holding", ports=server.ports[:PORTS], sources=SOURCES, window=count, count=count,
        returns=True, rest_s=REST_S,
    )  # fmt: skip
    with client:
        with server:
            client.wait_for(lambda line: line.get("held") == count, PATIENCE_S)
            first = client.look()
            killed = time.monotonic()
            server.kill()
        with _restarted(server.urls, limits) as again:
            up = time.monotonic()
            with Probe(0, again.ports[PORTS], 0, PINGS) as probe:
                client.look()
                gone = client.wait_for(lambda line: line["held"] < count, PATIENCE_S)
                last = client.wait_for(
                    lambda line: line["held"] == count and line["lost"] >= count, PATIENCE_S
                )
                probe.wait_for(lambda line: line["pings"])
                probe.stop()
            client.stop()
            again.rest(count)
            counts = again.stop()
    figures, check = verdict.figures, verdict.check
    figures[f"{name}: connections"] = count
    figures[f"{name}: seconds from the kill until a new server could listen"] = round(
        up - killed, 1
    )
    figures[f"{name}: seconds from the new server to all back"] = round(last["t"] - up, 1)
    refused = {key: n - first["failed"].get(key, 0) for key, n in last["failed"].items()}
    figures[f"{name}: connects that failed"] = {key: n for key, n in refused.items() if n}
    figures[f"{name}: connects given up"] = last["timed_out"] - first["timed_out"]
    note(verdict, f"{name}: pings of who is in", probe.answers("pings", until=last["t"]))
    check(gone["held"] < count, f"{name}: nobody has noticed.")
    check(not last["wrong"], f"{name}: {last['wrong']} replies were wrong.")
    check(
        counts["opened"] == sum(counts["closed"].values()) and counts["live"] == 0,
        f"{name}: the server has opened {counts['opened']}, and ended {counts['closed']}.",
    )


def _restarted(urls: list[str], limits: dict[str, Any]) -> Served:
    """As an init system does: again and again, until the killed one's rings have let go of its
    ports, which the kernel takes down behind its connections."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return Served("echo", urls, limits=limits)
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
        time.sleep(0.5)


TORTURE = Torture(
    "reconnect",
    "1,000,000 clients come back at once after the server was killed: all get in again.",
    run,
)
