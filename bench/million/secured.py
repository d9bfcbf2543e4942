"""So many connections over TLS, each echoed once: how long it takes, what it costs both ends."""

from __future__ import annotations

from typing import Any

from harness.accounts import account
from harness.measure import Machine, memory

from million.lives import SETTLE_S, a_life, stride

WORDS = {"": "without TLS", "ssl": "by ssl", "handoff": "handed off"}


def hold(machine: Machine, count: int, way: str) -> dict[str, Any]:
    """`way`: ssl, handoff, or empty for none. Printed, too. Raises RunFailed."""
    with a_life(machine, count, tls=way) as life:
        pids = {"server": life.server.pid, "client": life.client.pid}
        life.ask("idle", seconds=SETTLE_S)
        empty = {end: memory(pid)["rss_bytes"] for end, pid in pids.items()}
        before = {end: account(pid)["cpu_ns"] for end, pid in pids.items()}
        opened = life.ask("open", count=count, step=stride(count))
        spent = {end: account(pid)["cpu_ns"] - before[end] for end, pid in pids.items()}
        life.ask("idle", seconds=SETTLE_S)
        life.memory()
        held = {end: memory(pid) for end, pid in pids.items()}
        user = {end: (held[end]["rss_bytes"] - empty[end]) / count for end in pids}
        still = life.ask("idle", seconds=0)
    found = {
        "way": way, "connections": count, **opened, "still_open": still["connections"],
        "cpu_seconds": {end: ns / 1e9 for end, ns in spent.items()}, "user_bytes": user,
        "empty_rss_bytes": empty,
        "held": {end: {k: v for k, v in each.items() if k != "slabs"}
                 for end, each in held.items()},
    }  # fmt: skip
    say(found)
    return found


def say(found: dict[str, Any]) -> None:
    """In a few lines."""
    count, cpu, user = found["connections"], found["cpu_seconds"], found["user_bytes"]
    print(
        f"\n{found['opened']:,} of {count:,} connections opened {WORDS[found['way']]} and echoed "
        f"({found['echoed']:,}) in {found['seconds']:.1f} s; {found['still_open']:,} at the end; "
        f"{found['errors']} errors, {found['mismatches']} wrong {found['stopped']}"
    )
    for end in ("server", "client"):
        each_us = cpu[end] / count * 1e6
        print(f"  {end}: {cpu[end]:.1f} s of processor time ({each_us:.0f} us each), "
              f"{user[end]:,.0f} B of user memory a connection", flush=True)  # fmt: skip
