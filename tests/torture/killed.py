"""kill -9 of the client end of a million connections: all are noticed, and nothing is left."""

from __future__ import annotations

import time

from .child import Child
from .probe import Probe, note
from .served import Served
from .verdict import Torture, Verdict

COUNT = 1_000_000
PORTS, SOURCES, WINDOW = 4, 64, 4_000
CONNECTS = 20.0  # a second, of the probe
BESIDE = 3  # connections of the probe that may be there at a time
PATIENCE_S = 600.0
LEFT_MAX = 16 << 20  # bytes: what counts as back to the empty server's memory


def run(scale: float) -> Verdict:
    """On the engine that servers have by default."""
    verdict, count = Verdict(), max(int(COUNT * scale), 200)
    listen = [f"tcp://127.0.0.1:{port}" for port in [0] * PORTS]
    with Served("echo", listen) as server:
        before = server.rest()
        client = Child("holding", ports=server.ports, sources=SOURCES, window=WINDOW, count=count)
        with client, Probe(server.ports[0], 0, CONNECTS, 0) as probe:
            held = client.wait_for(lambda line: line.get("held") == count, PATIENCE_S)
            server.look()
            full = server.wait_for(lambda line: line["live"] >= count)
            probe.wait_for(lambda line: line["connects"])
            start = time.monotonic()
            client.kill()
            server.look()
            server.wait_for(lambda line: line["live"] < count)
            noticing = time.monotonic()
            server.wait_for(lambda line: line["live"] <= BESIDE, PATIENCE_S)
            end = time.monotonic()
            time.sleep(1.0)
            probe.stop()
        probes = probe.answers("connects")
        failed = sum(ms < 0 for _, ms in probes)
        after = server.rest(count + len(probes) - failed)
        last = server.stop()
    figures, check = verdict.figures, verdict.check
    figures["connections"] = count
    figures["seconds from the kill to the first noticed"] = round(noticing - start, 1)
    figures["seconds from the kill to the last"] = round(end - start, 1)
    for name, line in (("before", before), ("with all", full), ("after", after)):
        figures[f"memory of the server, MiB {name}"] = round(line["rss"] / 2**20, 1)
    note(verdict, "connects of a probe before the kill", probe.answers("connects", until=start))
    note(verdict, "connects of a probe from the kill on", probe.answers("connects", since=start))
    closed = last["closed"]
    figures["ended"] = closed
    check(not failed, f"{failed} connects of the probe have failed.")
    check(not held["wrong"] and not held["lost"], f"The clients have seen: {held}.")
    others = last["opened"] - len(probes)
    check(
        last["opened"] == sum(closed.values()) and count <= others <= count + 1,
        f"Of {count} clients and {len(probes)} probes the server has opened {last['opened']} and "
        f"closed {sum(closed.values())}.",
    )  # fmt: skip
    check(after["fds"] == before["fds"], f"Descriptors: {before['fds']}, then {after['fds']}.")
    left = after["rss"] - before["rss"]
    check(left < LEFT_MAX, f"The empty server has {left >> 20} MiB more than before.")
    return verdict


TORTURE = Torture(
    "killed",
    "kill -9 of the client end of 1,000,000 connections: all noticed and cleaned, the server back "
    "to its empty memory, accepting throughout.",
    run,
)
