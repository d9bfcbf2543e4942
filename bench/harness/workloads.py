"""What is asked of the servers. A workload's name says all of it: echo:64:1000 is 64 B, 1,000."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from harness.peers import BROADCAST, ECHO, HOLD, HTTP, STREAMS

CONNECTIONS = (1, 8, 64, 1_000, 15_000)
PAYLOADS = (64, 1_024)
WARM_UP_S = 0.5


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure.

    kind: echo (closed loop), open (open loop at `rate` a second), subset (`in_flight` of the open
    ones at a time), churn, ramp, broadcast, idle, driven (c1m's generator instead of the server),
    streams (the closed loop; the server echoes by asyncio's streams), http (uvicorn, by wrk; the
    payload is the answer's body).
    """

    kind: str
    connections: int
    payload: int = 64
    in_flight: int = 0
    rate: int = 0

    @property
    def name(self) -> str:
        """For people and for patterns."""
        last = f":{self.in_flight}" if self.in_flight else f":{self.rate}" if self.rate else ""
        return f"{self.kind}:{self.payload}:{self.connections}{last}"

    @property
    def task(self) -> str:
        """What a server has to be able to do."""
        tasks = {"broadcast": BROADCAST, "idle": HOLD, "streams": STREAMS, "http": HTTP}
        return tasks.get(self.kind, ECHO)

    @property
    def needs_fresh_server(self) -> bool:
        """Whether what the last run left would be measured too: memory, tables, and with wrk, which
        knows one source address only, ports in TIME_WAIT.
        """
        return self.kind in ("ramp", "idle", "http")

    @property
    def title(self) -> str:
        """A heading."""
        n, size = f"{self.connections:,}", f"{self.payload:,} B"
        some = "1 connection" if self.connections == 1 else f"{n} connections"
        return {
            "echo": f"Echo of {size}, {some}, closed loop",
            "open": f"Echo of {size}, {some}, open loop at {self.rate:,} requests/s",
            "subset": f"Echo of {size}, {self.in_flight:,} in flight while {n} are open",
            "churn": f"Connect, echo {size} once, close: {n} at a time",
            "ramp": f"{some} opened, each echoed once",
            "broadcast": f"Broadcast of {size} to {some}",
            "idle": f"Memory of {some} that are idle",
            "driven": f"Requests that a generator drives: {size}, {some}",
            "streams": f"Echo of {size} by streams, {some}, closed loop",
            "http": f"uvicorn, answers of {size}, {some}, wrk",
        }[self.kind]

    @property
    def unit(self) -> str:
        """What one operation is; the rate is so many of these a second."""
        return {
            "churn": "cycles", "ramp": "connections", "broadcast": "deliveries",
            "idle": "connections",
        }.get(self.kind, "requests")  # fmt: skip

    def arguments(self, seconds: float, window: int) -> list[str]:
        """The C generator's mode and options."""
        mode = dict.fromkeys(("echo", "subset", "driven", "streams"), "closed") | {"idle": "hold"}
        options: list[str] = [mode.get(self.kind, self.kind)]
        values = {
            "payload": self.payload, "connections": self.connections, "window": window,
            "seconds": seconds, "warm-up": min(WARM_UP_S, seconds),
        }  # fmt: skip
        if self.in_flight:
            values["in-flight"] = self.in_flight
        if self.rate:
            values["rate"] = self.rate
        for key, value in values.items():
            options += [f"--{key}", str(value)]
        return options


ALL = (
    *(Workload("echo", n, payload) for payload in PAYLOADS for n in CONNECTIONS),
    Workload("open", 1_000, rate=20_000),
    Workload("subset", 15_000, in_flight=1_000),
    Workload("churn", 64),
    Workload("ramp", 15_000),
    Workload("broadcast", 1_000),
    Workload("broadcast", 15_000),
    Workload("idle", 15_000),
    Workload("driven", 64),
    Workload("driven", 1_000),
    Workload("streams", 64),
    Workload("streams", 1_000),
    *(Workload("http", n) for n in (8, 64, 1_000, 10_000)),
)
QUICK = (Workload("echo", 1), Workload("echo", 64), Workload("echo", 1_000), Workload("churn", 64))


def chosen(
    kinds: Iterable[str], patterns: Iterable[str], among: Sequence[Workload] = ALL
) -> list[Workload]:
    """Workloads whose kind is in `kinds` (none: any) and whose name fits a pattern (none: any)."""
    kinds, patterns = list(kinds), list(patterns)
    return [
        each
        for each in among
        if (not kinds or each.kind in kinds)
        and (not patterns or any(fnmatchcase(each.name, pattern) for pattern in patterns))
    ]


def from_name(name: str) -> Workload:
    """The workload of a name, one of ALL or not. Raises ValueError."""
    kind, payload, connections, *last = name.split(":")
    number = int(last[0]) if last else 0
    return Workload(
        kind,
        int(connections),
        int(payload),
        in_flight=number if kind == "subset" else 0,
        rate=number if kind == "open" else 0,
    )
