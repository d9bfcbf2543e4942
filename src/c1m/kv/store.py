"""Everything that a key-value server keeps: its databases, its settings and its counters. Pure."""

from __future__ import annotations

from c1m.kv.database import Database, Shared
from c1m.kv.outbox import Outbox
from c1m.protocols.resp.requests import BULK_MAX

DATABASES = 16


class Store(Shared):
    """A server's data and what is common to all its clients, whose slots are below `capacity`."""

    def __init__(self, capacity: int = 1024) -> None:
        super().__init__()
        self.out = Outbox(capacity)
        self.value_max = BULK_MAX  # bytes of a string
        self.databases = [Database(index, self) for index in range(DATABASES)]
