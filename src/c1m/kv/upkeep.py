"""What is to be done between commands, a slice at a time: expired keys, eviction, garbage. Pure."""

from __future__ import annotations

from c1m.kv.expiry import NEVER_MS
from c1m.kv.store import Store

EXPIRY_SLICE = 250  # keys looked at in one go: about half a millisecond


def upkeep(store: Store) -> int | None:
    """Do some of it; milliseconds until it wants to be called again, None: nothing is due.

    Takes about a millisecond at most. `store.now_ms` is to be what it is now.
    """
    if store.now_ms >= store.look_ms:
        expire_some(store)
    store.snapshots.drop_idle(store.now_ms)
    is_waiting = store.memory.is_over and store.memory.make_room() and store.memory.is_over
    if store.garbage:
        store.garbage.sweep()
        is_waiting = is_waiting or bool(store.garbage)
    if is_waiting:
        return 0
    if store.look_ms >= NEVER_MS:
        return None
    return max(store.look_ms - store.now_ms, 0)


def expire_some(store: Store, count: int = EXPIRY_SLICE) -> None:
    """Remove what has expired, looking at about `count` keys; `store.look_ms`: when to go on."""
    for db in store.databases:
        if count > 0:
            count -= db.deadlines.look(db.expires, db.expire, store.now_ms, count)
    store.look_ms = min(db.deadlines.next_ms for db in store.databases)
