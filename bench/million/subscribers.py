"""Runs a million subscribers of the key-value server's one channel, and some that do not read.

subscribers   all subscribe, are idle (memory), and hear publications; in turns all of them read,
              and one in a hundred does not
unread        fewer, and long messages, until those who do not read are dropped: what the server
              takes for them meanwhile, and what the others notice
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from harness.measure import Machine
from harness.processes import RunFailed

from c1m.kernel import procfs
from million.lives import CLOSE_S_MAX, SETTLE_S, Found, Life, Tell, _plain, a_life, stride

DEAF = 100  # one in so many
UNREAD, UNREAD_DEAF, UNREAD_PAYLOAD, UNREAD_ROUNDS = 1_000, 100, 1 << 16, 150

Run = Callable[[Machine, int, str, Found, Tell], None]


def measure(machine: Machine, most: int, found: Found, tell: Tell) -> None:
    """Both lives; one that fails is written down as failed."""
    wanted: list[tuple[str, Run, int]] = [
        (f"subscribers {most:,}", subscribers, most), ("unread", unread, min(most, UNREAD))
    ]  # fmt: skip
    for life, run, count in wanted:
        try:
            run(machine, count, life, found, tell)
        except RunFailed as failure:
            found.append({"kind": "failed", "life": life, "error": str(failure)})
        tell("")


def subscribers(machine: Machine, count: int, name: str, found: Found, tell: Tell) -> None:
    """Opened in one go, idle, published to."""
    with a_life(machine, count + 1, is_redis=True) as life:
        empty = life.memory()
        tell(f"{count:,} subscribe")
        opened = life.ask("open", count=count + 1, step=stride(count))  # one publishes
        if opened["opened"] <= count:
            raise RunFailed(f"{opened['opened']:,} of {count:,} opened: {opened['stopped']}")
        life.ask("idle", seconds=SETTLE_S)
        held = life.memory()
        _publish(life, rounds=1)  # warm-up
        for number in range(machine.pairs):
            for deaf in (0, count // DEAF):
                tell(f"published to {count:,}, {deaf:,} do not read, pair {number + 1}")
                run = _publish(life, rounds=1, deaf=deaf)
                found.append({"kind": "published", "life": name, **run})
        closing = life.close_all()
        found.append({
            "kind": "subscribed", "life": name, "connections": count, **opened,
            "errors": closing["errors"], "empty": _plain(empty), "held": _plain(held),
            "closed": _plain(life.memory()),
        })  # fmt: skip


def unread(machine: Machine, count: int, name: str, found: Found, tell: Tell) -> None:
    """Long messages to few enough that this machine can hold what is not read."""
    with a_life(machine, count + 1, payload=UNREAD_PAYLOAD, is_redis=True) as life:
        life.ask("open", count=count + 1)
        for deaf in (0, UNREAD_DEAF):
            tell(f"{UNREAD_ROUNDS} of {UNREAD_PAYLOAD:,} B to {count:,}, {deaf} do not read")
            run = _publish(life, rounds=UNREAD_ROUNDS, deaf=deaf)
            peak = _peak_bytes(life.server.pid)
            found.append({"kind": "unread", "life": name, **run, "server_peak_bytes": peak})


def _peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident."""
    status = procfs.read_text(f"proc/{pid}/status") or ""
    match = re.search(r"VmHWM:\s+([0-9]+) kB", status)
    return int(match[1]) << 10 if match else 0


def _publish(life: Life, **options: Any) -> dict[str, Any]:
    life.server.wait_until_idle(CLOSE_S_MAX)
    return life.ask("publish", **options)
