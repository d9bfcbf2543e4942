"""So many connections over TLS, each echoed once: how long it takes, what it costs both ends."""

from __future__ import annotations

from typing import Any

from harness.accounts import account
from harness.measure import Machine, memory

from million.lives import SETTLE_S, Life, a_life, stride

FIRST = 3  # one in so many is opened first: what all share is there then
WORDS = {"": "without TLS", "ssl": "by ssl", "handoff": "handed off"}


def hold(machine: Machine, count: int, way: str) -> dict[str, Any]:
    """`way`: ssl, handoff, or empty for none. Printed, too. Raises RunFailed."""
    with a_life(machine, count, tls=way) as life:
        pids = {"server": life.server.pid, "client": life.client.pid}
        empty = _resident(life, pids)
        some = life.ask("open", count=count // FIRST, step=stride(count))
        held = _resident(life, pids)
        before = {end: account(pid)["cpu_ns"] for end, pid in pids.items()}
        rest = life.ask("open", count=count, step=stride(count))
        spent = {end: account(pid)["cpu_ns"] - before[end] for end, pid in pids.items()}
        full = _resident(life, pids)
        still = life.ask("idle", seconds=0)
    more = rest["opened"] - some["opened"]
    found = {
        "way": way, "connections": count, "first": some, **rest,
        "echoed": some["echoed"] + rest["echoed"], "still_open": still["connections"],
        "cpu_seconds_of_the_rest": {end: ns / 1e9 for end, ns in spent.items()},
        "user_bytes": {end: (full[end] - empty[end]) / count for end in pids},
        "user_bytes_of_the_rest": {end: (full[end] - held[end]) / more for end in pids},
        "resident_bytes": {"empty": empty, "first": held, "all": full},
    }  # fmt: skip
    say(found)
    return found


def _resident(life: Life, pids: dict[str, int]) -> dict[str, int]:
    """Of both ends, once what handshakes have left is given back."""
    life.ask("idle", seconds=SETTLE_S)
    life.memory()
    return {end: memory(pid)["rss_bytes"] for end, pid in pids.items()}


def say(found: dict[str, Any]) -> None:
    """In a few lines."""
    count, cpu = found["connections"], found["cpu_seconds_of_the_rest"]
    user, rest = found["user_bytes"], found["user_bytes_of_the_rest"]
    seconds = found["first"]["seconds"] + found["seconds"]
    more = found["opened"] - found["first"]["opened"]
    print(
        f"\n{found['opened']:,} of {count:,} connections opened {WORDS[found['way']]} and echoed "
        f"({found['echoed']:,}) in {seconds:.1f} s; {found['still_open']:,} at the end; "
        f"{found['errors']} errors, {found['mismatches']} wrong {found['stopped']}"
    )
    for end in ("server", "client"):
        each_us = cpu[end] / more * 1e6
        print(f"  {end}: {each_us:.0f} us of processor time, {user[end]:,.0f} B of user memory a "
              f"connection, {rest[end]:,.0f} B behind the first {found['first']['opened']:,}",
              flush=True)  # fmt: skip
