"""A key-value store that keeps its data in a directory, without sockets: ticks, ends and starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from c1m.apps.kv.persistence import Persistence
from c1m.kv.client import Client
from c1m.kv.store import Store
from c1m.testing.manual_clock import ManualClock
from kv_session import START_MS, Session

Contents = dict[int, dict[bytes, tuple[Any, int | None]]]


class Kept(Session):
    """A session whose store was read from `directory`, which it keeps up to `tick`."""

    def __init__(self, directory: Path, durability: str = "always", clients: int = 2) -> None:
        super().__init__(clients)
        self.clock = ManualClock()
        self.persistence = Persistence(str(directory), durability, self.clock)
        self.lines: list[str] = []
        loaded = Store()
        try:
            self.persistence.load(loaded, self.lines.append)
        except BaseException:
            self.persistence.release()
            raise
        self.store.adopt(loaded)
        self.clients = [Client(slot, self.store) for slot in range(clients)]
        self.persistence.start(self.store)

    def tick(self) -> int | None:
        """The end of a tick."""
        return self.persistence.commit(self.clock.now_ns())

    def kill(self) -> None:
        """What the disk has stays as it is; nothing is closed in good order."""
        if self.persistence.flusher is not None:
            self.persistence.flusher.end()
        self.persistence.release()

    def close(self) -> None:
        """End in good order."""
        self.persistence.close()

    def contents(self) -> Contents:
        """All keys by database, as what can be compared."""
        now_ms = self.store.now_ms
        return {
            db.index: {
                key: (comparable(value), db.expires.get(key))
                for key, value in db.data.items()
                if db.expires.get(key, now_ms + 1) > now_ms
            }
            for db in self.store.databases
        }


def comparable(value: Any) -> Any:
    """A value's type and contents, in their order where that counts.

    A string may be `bytes` or `bytearray`: SETBIT that changes nothing makes one of the other.
    """
    if isinstance(value, bytes | bytearray):
        return "string", bytes(value)
    name = type(value).__name__
    if hasattr(value, "scores"):
        return name, value.scores
    return name, set(value) if name == "Members" else value


__all__ = ["START_MS", "Kept", "comparable"]
