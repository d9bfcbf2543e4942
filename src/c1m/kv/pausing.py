"""CLIENT PAUSE: commands wait until it ends. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any

_HELD = frozenset({"publish", "spublish"})  # as if they changed data: Redis replicates them


class Pause:
    """Of all clients. `until_ms` is Unix time, 0: there is none; `held` are those who wait."""

    def __init__(self) -> None:
        self.until_ms = 0
        self.is_all = False  # else what only reads goes on
        self.held: list[Any] = []

    def begin(self, until_ms: int, *, is_all: bool) -> None:
        """Of two at a time the later end and the stricter kind hold."""
        self.is_all = is_all or (self.is_all and self.until_ms > 0)
        self.until_ms = max(until_ms, self.until_ms)

    def end(self) -> list[Any]:
        """Those who may go on."""
        held, self.held = self.held, []
        self.until_ms, self.is_all = 0, False
        return held

    def holds(self, client: Any, command: Any, args: list[bytes]) -> bool:
        """Let a command wait, and what its client sends behind it, if it is to wait now."""
        those = [command]
        if command.name == "exec":
            those = [queued for queued, _ in client.queue or ()]
        if not self.is_all and not any(each.is_write or each.name in _HELD for each in those):
            return False
        client.later = deque([args])
        self.held.append(client)
        return True
