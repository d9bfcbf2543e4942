"""What `c1m demo` shows: connections that are echoed, or subscribers who are published to."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from c1m.kernel.procfs import process_sample
from c1m.results.record import RunRecord
from c1m.results.snapshot import Snapshot
from c1m.units import NS_PER_S, format_bytes, format_count, format_duration, format_rate

HOLD_NS = 10 * NS_PER_S
MESSAGES = 10
MESSAGE = "client {n} publishes {seq} ".ljust(64 + len("{n}{seq}") - 2, ".")  # 64 bytes of it
TIMEOUT = "10m"
CHANNEL = "news"
IDLE_NS = 3 * NS_PER_S  # subscribers who are only there: what one takes is measured then


class Plan:
    """The server's arguments, what the client is asked for, and what is said at the end."""

    server: Sequence[str]

    def asked(self, url: str, count: int) -> dict[str, Any]:
        """The arguments of c1m.load, for `count` connections."""
        raise NotImplementedError

    def began(self, server_pid: int) -> None:
        """The server is there, without connections."""

    def look(self, snapshot: Snapshot) -> None:
        """A moment of the run."""

    def said(self, record: RunRecord) -> list[str]:
        """Lines besides the summary."""
        return []


class Echoing(Plan):
    """Connections are opened, echoed, held, and all send at the same moment."""

    server = ("echo",)

    def __init__(self, hold_ns: int | None) -> None:
        self._hold_s = (HOLD_NS if hold_ns is None else hold_ns) / NS_PER_S

    def asked(self, url: str, count: int) -> dict[str, Any]:
        """See Plan."""
        return {"target": url, "connections": count, "hold": self._hold_s}


class Pushing(Plan):
    """WebSocket subscribers, ten messages of 64 bytes to all of them, published by POST."""

    # Seldom pinged: every 50 s it would be 20,000 pings and pongs a second while others connect.
    server = ("push", "--page", "--ping", "5m")

    def __init__(self, hold_ns: int | None) -> None:
        self._hold_s = (IDLE_NS if hold_ns is None else hold_ns) / NS_PER_S
        self._pid = 0
        self._empty_bytes = self._idle_bytes = 0
        self._subscribers = 0

    def asked(self, url: str, count: int) -> dict[str, Any]:
        """See Plan. One connection besides the subscribers publishes: ten times, and each time
        the last subscriber is waited for."""
        self._subscribers = count
        return {
            "target": f"{url.replace('tcp:', 'ws:')}/connect?channel={CHANNEL}",
            "scenario": "publish",
            "publish_to": f"/publish?channel={CHANNEL}",
            "message": MESSAGE,
            "timeout": TIMEOUT,
            "stages": [
                f"ramp {count + 1}",
                f"hold for {self._hold_s:g}s",
                *["stampede"] * MESSAGES,
            ],
        }

    def began(self, server_pid: int) -> None:
        """See Plan."""
        self._pid = server_pid
        self._empty_bytes = _resident(server_pid)

    def look(self, snapshot: Snapshot) -> None:
        """See Plan: the last look before anything is published."""
        if snapshot.open >= self._subscribers and not snapshot.requests.sent:
            self._idle_bytes = _resident(self._pid)

    def said(self, record: RunRecord) -> list[str]:
        """See Plan."""
        lines = []
        last, fan = record.latencies.get("push_last"), record.fan_out
        if last is not None and last.count and fan is not None and fan.published:
            each = fan.received / fan.published
            lines.append(
                f"published by POST: {fan.published} messages of 64 bytes, "
                f"{format_count(fan.received)} of {format_count(fan.expected)} received; "
                f"to the last subscriber {format_duration(last.min_ns)} to "
                f"{format_duration(last.max_ns)}, {format_duration(last.mean_ns)} in the mean: "
                f"{format_rate(each * NS_PER_S / last.mean_ns)} deliveries"
            )
        if self._idle_bytes:
            taken = self._idle_bytes - self._empty_bytes
            lines.append(
                f"server's memory with {format_count(self._subscribers)} idle subscribers: "
                f"{format_bytes(taken)} more than without, {taken / self._subscribers:.1f} B each"
                + (
                    f"; with the kernel's {format_bytes(kernel)}, both ends"
                    if (kernel := record.memory.kernel_bytes_per_connection)
                    else ""
                )
            )
        return lines


def command_of(asked: dict[str, Any]) -> str:
    """What c1m.load is asked for, as a command."""
    words = ["c1m", "load", asked["target"]]
    for name, value in asked.items():
        flag = "--" + name.replace("_", "-").removesuffix("s" if name == "stages" else "\0")
        values = value if isinstance(value, list) else [value]
        if name == "hold":
            values = [f"{value:g}s"]
        words += [word for one in values for word in (flag, str(one)) if name != "target"]
    return shlex.join(words)


def _resident(pid: int) -> int:
    sample = process_sample(pid)
    return sample.rss_bytes if sample is not None else 0
