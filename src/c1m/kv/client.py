"""The connection whose commands run.

An idle connection has no such object: one is made when commands come, from the connection's row
(`slot`, `protocol`, `index`), and kept only while something is unusual about it (`is_kept`).
"""

from __future__ import annotations

from c1m.kv.database import Database
from c1m.kv.store import Store


class Client:
    """One connection. What most have in common are the class's own attributes."""

    queue: list[list[bytes]] | None = None  # of a transaction: MULTI was called
    is_stale = False  # a watched key was changed: EXEC does nothing
    is_broken = False  # a queued command was refused: EXEC is, too
    is_closing = False  # after its replies
    in_transaction = False  # EXEC runs its commands: nothing may block
    is_guest = False  # it must say AUTH first

    def __init__(self, slot: int, store: Store, protocol: int = 2, index: int = 0) -> None:
        self.slot = slot
        self.store = store
        self.protocol = protocol
        self.db: Database = store.databases[index]

    def is_kept(self) -> bool:
        """Something is unusual about it that its row does not hold."""
        return self.queue is not None or self.is_closing

    def leave(self) -> None:
        """The connection has ended: whoever knows it by this object forgets it."""
