"""A bound on the memory of the data: each change is weighed, and keys are evicted to make room.

Nothing here costs anything while there is no bound. With one, a key's weight (an estimate, see
`weights`) is kept, and with a policy that evicts what was not used for long the second of its last
use, too. As in Redis, the key to go is the best one of a few that are drawn at random.
"""

from __future__ import annotations

from c1m.kv.database import Database, Shared
from c1m.kv.random_keys import RandomKeys
from c1m.kv.weights import Sum, Weights

SLICE = 100  # keys evicted in one go: about half a millisecond
SAMPLES = 5  # keys of which one is evicted: Redis's maxmemory-samples
SAMPLES_MAX = 64  # more make the choice no better, and take their time at each eviction
POLICIES = (
    "noeviction", "allkeys-lru", "allkeys-random", "volatile-lru", "volatile-random",
    "volatile-ttl",
)  # fmt: skip


class Memory:
    """The bound of one store. `limit` is in bytes, 0: there is none."""

    def __init__(self, store: Shared, databases: list[Database]) -> None:
        self.store = store
        self.databases = databases
        self.limit = 0
        self.policy = "noeviction"
        self.samples = SAMPLES
        self.evicted = 0  # keys
        self._sum = Sum()
        self._turn = 0  # of the databases, when a key is drawn
        self._volatile = [RandomKeys() for _ in databases]  # of the keys that expire

    @property
    def used(self) -> int:
        """Bytes of all data, estimated; 0 where there is no limit."""
        return self._sum.bytes

    # --- settings -----------------------------------------------------------------------------

    def set_limit(self, limit: int) -> None:
        """From now on. Where there was none, all keys are weighed: 1,000,000 take a second."""
        was_off = not self.limit
        self.limit = limit
        if was_off and limit:
            for db in self.databases:
                db.weights = Weights(self._sum)
                for key, value in db.data.items():
                    db.weights.weigh(key, value, expires=key in db.expires)
            self.store.listeners.insert(0, self._note)
        elif not was_off and not limit:
            for db in self.databases:
                db.weights = None
            self._sum = Sum()
            self.store.listeners.remove(self._note)
        self.set_policy(self.policy)

    def set_policy(self, policy: str) -> None:
        """What is evicted. Raises ValueError for a policy that is not there."""
        if policy not in POLICIES:
            raise ValueError(f"there is no policy {policy} here, only {', '.join(POLICIES)}")
        self.policy = policy
        for db in self.databases:
            if db.weights is not None:
                db.weights.used = (db.weights.used or {}) if policy.endswith("-lru") else None

    def set_samples(self, samples: int) -> None:
        """How many keys are drawn to evict one of them."""
        self.samples = min(samples, SAMPLES_MAX)

    def _note(self, db: Database, key: bytes, event: bytes, kind: str) -> None:
        """A listener of changes."""
        if db.weights is not None:
            db.weights.weigh(key, db.data.get(key), expires=key in db.expires)
            if db.weights.used is not None:
                db.note_use(key)

    # --- making room --------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """More is stored than may be."""
        return self._sum.bytes > self.limit > 0

    def make_room(self) -> bool:
        """Evict some keys if there are too many; False: there is no room, and none can be made.

        Where one slice does not suffice it goes on with the next command, or the next tick.
        """
        for _ in range(SLICE):
            if self._sum.bytes <= self.limit:
                break
            if not self._evict_one():
                return False
        return True

    def _evict_one(self) -> bool:
        if self.policy == "noeviction":
            return False
        drawn = 1 if self.policy.endswith("-random") else self.samples
        best: tuple[int, Database, bytes] | None = None
        for _ in range(drawn):
            candidate = self._draw()
            if candidate is None:
                return False
            if best is None or candidate[0] < best[0]:
                best = candidate
        assert best is not None
        self._evict(*best[1:])
        return True

    def _draw(self) -> tuple[int, Database, bytes] | None:
        """A key that may go, with what is the smaller the sooner it should."""
        is_volatile = self.policy.startswith("volatile-")
        for _ in self.databases:
            self._turn = (self._turn + 1) % len(self.databases)
            db = self.databases[self._turn]
            if is_volatile:
                key = self._volatile[self._turn].draw(db.expires, self.store.changes)
            else:
                key = db.random_keys.draw(db.data, self.store.changes)
            if key is None:
                continue
            order = 0
            if self.policy == "volatile-ttl":
                order = db.expires[key]
            elif db.weights is not None and db.weights.used is not None:
                order = db.weights.used.get(key, 0)
            return order, db, key
        return None

    def _evict(self, db: Database, key: bytes) -> None:
        self.store.garbage.throw(db.data[key])
        db.remove(key)
        self.evicted += 1
        db.changed(key, b"evicted", "e")
