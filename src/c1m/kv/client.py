"""The connection whose commands run.

An idle connection has no such object: one is made when commands come, from the connection's row
(`slot`, `protocol`, `index`), and kept only while something is unusual about it (`is_kept`).
"""

from __future__ import annotations

from typing import Any

from c1m.kv.database import Database
from c1m.kv.errors import CommandError
from c1m.kv.store import Store
from c1m.protocols.resp.requests import ARGUMENT_COST

SKIPS, SILENT, TALKS_AGAIN = 1, 2, 3  # CLIENT REPLY SKIP, OFF, ON


class Client:
    """One connection. What most have in common are the class's own attributes."""

    queue: list[tuple[Any, list[bytes]]] | None = None  # of MULTI: commands and arguments
    watched: list[tuple[Database, bytes]] | None = None  # by WATCH
    is_stale = False  # a watched key was changed: EXEC does nothing
    is_broken = False  # a queued command was refused: EXEC is, too
    is_closing = False  # after its replies
    has_ended = False  # it sends no more: it is closed when it has got its replies
    in_transaction = False  # EXEC runs its commands: nothing may block
    is_guest = False  # it must say AUTH first
    is_monitor = False  # it sees all commands
    is_subscriber = False  # of any channel: RESP2 then bounds what it may say
    waiter: Any = None  # a command waits for a key: a c1m.kv.waiting.Waiter
    later: list[list[bytes]] | None = None  # commands that came behind the one that waits
    later_size = 0  # bytes that came with them
    queued = 0  # bytes of `queue`
    unanswered = 0  # PUBLISHes that have not come back from a broker yet
    silence = 0  # SKIPS: no reply to the next command; SILENT: none at all

    def __init__(self, slot: int, store: Store, protocol: int = 2, index: int = 0) -> None:
        self.slot = slot
        self.store = store
        self.protocol = protocol
        self.db: Database = store.databases[index]

    def is_kept(self) -> bool:
        """Something is unusual about it that its row does not hold."""
        return (
            self.queue is not None
            or self.watched is not None
            or self.later is not None
            or self.silence != 0
            or self.is_monitor
            or self.is_closing
        )

    def enqueue(self, command: Any, args: list[bytes]) -> None:
        """A command of a transaction waits for EXEC. Raises CommandError where too much does."""
        store, queue = self.store, self.queue
        assert queue is not None
        size = sum(map(len, args)) + ARGUMENT_COST * len(args)
        most = min(store.bounds.request, store.clients_max() - store.queued_bytes + self.queued)
        if self.queued + size > most:
            raise CommandError(b"OOM too much is queued in transactions")
        queue.append((command, args))
        self.queued += size
        store.queued_bytes += size

    def end_transaction(self) -> None:
        """Forget what was queued and what is watched."""
        self.store.queued_bytes -= self.queued
        self.queued = 0
        self.queue = None
        self.is_broken = False
        self.unwatch()

    def unwatch(self) -> None:
        """Forget what is watched."""
        self.is_stale = False
        for database, key in self.watched or ():
            watchers = database.watchers[key]
            watchers.discard(self)
            if not watchers:
                del database.watchers[key]
        self.watched = None

    def end_monitor(self) -> None:
        """It sees other clients' commands no longer."""
        if self.is_monitor:
            self.is_monitor = False
            self.store.monitors.remove(self.slot)
            self.store.guard()

    def leave(self) -> None:
        """The connection has ended: whoever knows it by this object forgets it."""
        self.end_transaction()
        self.end_monitor()
        if self.waiter is not None:
            self.store.waiting.remove(self.waiter)

    def say(self, reply: bytes) -> None:
        """A reply that comes later than its command."""
        if self.silence != SILENT:
            self.store.out.say(self.slot, reply)
