"""Everything that a key-value server keeps: its databases, its settings and its counters. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from c1m.engine.contract import Slots
from c1m.kv.arguments import INT64_MAX
from c1m.kv.channels import Subscriptions
from c1m.kv.cluster import Cluster
from c1m.kv.database import Database, Shared
from c1m.kv.host import Host
from c1m.kv.memory import Memory
from c1m.kv.outbox import Outbox
from c1m.kv.pausing import Pause
from c1m.kv.publishing import Publishers
from c1m.kv.rows import IS_GUEST, Rows
from c1m.kv.settings import Settings
from c1m.kv.statistics import Statistics
from c1m.kv.waiting import Waiting
from c1m.protocols.resp.requests import RequestBounds

DATABASES = 16


def unknown_addresses(slots: Slots) -> list[tuple[str, str]]:
    """The peer's and the server's address of each connection, where nobody knows them."""
    return [("?:0", "?:0")] * len(slots)


class Elsewhere(Protocol):
    """A hub with subscribers of its own, which PUBLISH says everything to."""

    def publish(self, name: bytes, message: bytes, told: Callable[[int | bytes], object]) -> None:
        """Say it there and to the store's own subscribers. `told` is called with how many those
        are, now or later, or with the text of an error reply. Raises CommandError."""

    def size(self, name: bytes) -> int:
        """How many hear a channel there."""

    def names(self) -> Iterable[bytes]:
        """The channels that are heard there."""


class Store(Shared):
    """A server's data and what is common to all its clients, whose slots are below `capacity`."""

    def __init__(self, capacity: int = 1024) -> None:
        super().__init__()
        self.out = Outbox(capacity)
        self.rows = Rows(capacity)
        self.addresses: Callable[[Slots], list[tuple[str, str]]] = unknown_addresses
        self.waiting = Waiting()
        self.bounds = RequestBounds()  # of what clients may have unfinished
        self.queued_bytes = 0  # of transactions that wait for EXEC, of all clients
        self.subscriptions = Subscriptions(capacity)
        self.subscriptions.states = self.rows.state
        self.databases = [Database(index, self) for index in range(DATABASES)]
        self.memory = Memory(self, self.databases)
        self.statistics = Statistics()
        self.settings = Settings()
        self.make_room: Callable[[], bool] | None = None  # where memory is bounded: is there room?
        self.write_refusal = b""  # why nothing can be written now: the text of the error reply
        self.pause = Pause()
        self.monitors: list[int] = []  # slots of those who see all commands
        self.is_guarded = False  # nothing that is run alone may take a short way: see `guard`
        self.is_barred = False  # nor may many at once
        self.cluster: Cluster | None = None  # of which this is a node: see `join`
        self.host = Host()
        self.elsewhere: Elsewhere | None = None  # where others hear and publish, too
        self.publishers = Publishers(self)
        self.served: frozenset[str] | None = None  # names of the commands that are; None: all
        self.settings.effects["requirepass"] = self._ask_for_password
        self.settings.effects["proto-max-bulk-len"] = self._bound_values
        self.settings.effects["client-query-buffer-limit"] = self._bound_requests
        self.settings.effects["hash-max-listpack-entries"] = self._bound_hashes
        self.settings.effects["hash-max-listpack-value"] = self._bound_hash_parts
        self.settings.effects["maxmemory"] = self._bound_memory
        self.settings.effects["maxmemory-policy"] = self.memory.set_policy
        self.settings.effects["maxmemory-samples"] = self.memory.set_samples
        self.settings.effects["slowlog-max-len"] = self.statistics.keep_slow
        self.settings.effects["slowlog-log-slower-than"] = self._time_from
        self.settings.effects["latency-monitor-threshold"] = self._late_from

    def adopt(self, other: Store) -> None:
        """Take over the databases of a store that is no longer used."""
        self.databases = self.memory.databases = other.databases
        for db in self.databases:
            db.store = self
        self.look_ms = other.look_ms

    def flushed(self, db: Database) -> None:
        """See Shared."""
        if self.journal is not None:
            self.journal.flushed(db)

    def swapped(self, one: Database, other: Database) -> None:
        """See Shared."""
        if self.journal is not None:
            self.journal.swapped(one, other)

    def wrote(self, db: Database, keys: Iterable[bytes]) -> None:
        """See Shared."""
        if self.journal is not None:
            self.journal.wrote(db, keys)

    def _bound_memory(self, limit: int) -> None:
        self.memory.set_limit(limit)
        self.make_room = self.memory.make_room if limit else None
        self.guard()

    def guard(self) -> None:
        """After `make_room`, `write_refusal`, `served`, `monitors`, `pause` or what is timed has
        changed."""
        self.is_barred = (
            self.make_room is not None
            or self.served is not None
            or bool(self.write_refusal or self.monitors or self.pause.until_ms)
            or self.statistics.is_timing_all
        )
        self.is_guarded = self.is_barred or self.cluster is not None

    def join(self, cluster: Cluster) -> None:
        """Be a node of a cluster: only what is in its slots is served, in database 0."""
        self.cluster = cluster
        self.settings["cluster-enabled"] = "yes"
        self.guard()

    def end_pause(self) -> None:
        """Those who waited go on."""
        self.waiting.unblocked += self.pause.end()
        self.guard()

    def clients_max(self) -> int:
        """maxmemory-clients: bytes that all may have unfinished, and queued in transactions."""
        text = self.settings["maxmemory-clients"]
        if text.endswith("%"):
            return int(text[:-1]) * self.settings["maxmemory"] // 100 or INT64_MAX
        return int(text) or INT64_MAX

    def _ask_for_password(self, password: str) -> None:
        self.rows.first_state = IS_GUEST if password else 0

    def _bound_values(self, size: int) -> None:
        self.value_max = size
        self.bounds = replace(self.bounds, bulk=size)

    def _bound_requests(self, size: int) -> None:
        self.bounds = replace(self.bounds, request=size)

    def _time_from(self, slow_us: int) -> None:
        self.statistics.time_from(slow_us, self.settings["latency-monitor-threshold"])
        self.guard()

    def _late_from(self, late_ms: int) -> None:
        self.statistics.time_from(self.settings["slowlog-log-slower-than"], late_ms)

    def _bound_hashes(self, entries: int) -> None:
        self.small_hash = entries, self.small_hash[1]

    def _bound_hash_parts(self, size: int) -> None:
        self.small_hash = self.small_hash[0], size
