"""What SCAN, HSCAN, SSCAN and ZSCAN go through: lists taken when a scan began. Pure.

A cursor names a snapshot and a position in it, so what is there from a scan's begin to its end is
returned, whatever comes and goes meanwhile. Few snapshots are kept. A cursor whose snapshot has
gone starts over, on the newest one of the same container if that was taken later: what was
returned may come again, nothing is lost, and scans that start over share a snapshot.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

Owner = tuple[int, bytes | None]  # the database's index, and the key; None: the keys themselves

POSITION_BITS = 32
ID_BITS = 20  # together below 2 ** 53: some clients keep a cursor as a float
IDS = 1 << ID_BITS

KEPT_MAX = 64  # snapshots
MEMBERS_MAX = 1 << 22  # of all snapshots but the newest
IDLE_MS = 300_000  # nobody has asked for so long: a scan that was given up


@dataclass(slots=True)
class Snapshot:
    """Members in the order in which they are returned."""

    owner: Owner
    members: list[bytes]
    changes: int  # of the store, when it was taken
    used_ms: int
    scans: int = 0  # that have begun and not ended


class Snapshots:
    """Those of one store."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}  # the one that was asked for last is the last
        self._newest: dict[Owner, int] = {}
        self._next = 1
        self._members = 0

    def step(
        self,
        owner: Owner,
        cursor: int,
        count: int,
        container: Collection[bytes],
        changes: int,
        now_ms: int,
    ) -> tuple[int, list[bytes]]:
        """The next cursor (0: this was all) and up to `count` members.

        They were in `container` when its snapshot was taken: the caller leaves out what has gone.
        """
        name, position = divmod(cursor, 1 << POSITION_BITS)
        snapshot = self._kept.get(name)
        if snapshot is None or snapshot.owner != owner:
            position = 0
            name = self._begin(owner, name if cursor else None, container, changes, now_ms)
            snapshot = self._kept[name]
        del self._kept[name]
        end = position + count
        if end >= len(snapshot.members):
            snapshot.scans -= 1
        if snapshot.scans > 0:
            snapshot.used_ms = now_ms
            self._kept[name] = snapshot
        else:
            self._forget(name, snapshot)
        done = end >= len(snapshot.members)
        return 0 if done else name << POSITION_BITS | end, snapshot.members[position:end]

    def _begin(
        self,
        owner: Owner,
        lost: int | None,
        container: Collection[bytes],
        changes: int,
        now_ms: int,
    ) -> int:
        """A snapshot for a scan that begins, or whose snapshot `lost` has gone."""
        name = self._newest.get(owner)
        if name is not None:
            newest = self._kept[name]
            is_later = lost is not None and 0 < (name - lost) % IDS < IDS // 2
            if is_later or newest.changes == changes:
                newest.scans += 1
                return name
        name, self._next = self._next, self._next % (IDS - 1) + 1
        if name in self._kept:  # the ids went round while somebody scanned
            self._forget(name, self._kept.pop(name))
        members = list(container)
        self._kept[name] = Snapshot(owner, members, changes, now_ms, 1)
        self._newest[owner] = name
        self._members += len(members)
        self._make_room(name)
        return name

    def drop_idle(self, now_ms: int) -> None:
        """Drop the one that was unused for longest, if that is too long."""
        for name, snapshot in self._kept.items():
            if now_ms - snapshot.used_ms > IDLE_MS:
                self._forget(name, self._kept.pop(name))
            return

    def _make_room(self, newest: int) -> None:
        """Drop those that are too many or too large, longest unused first."""
        for name in list(self._kept):
            others = self._members - len(self._kept[newest].members)
            if name == newest or (len(self._kept) <= KEPT_MAX and others <= MEMBERS_MAX):
                return
            self._forget(name, self._kept.pop(name))

    def _forget(self, name: int, snapshot: Snapshot) -> None:
        self._members -= len(snapshot.members)
        if self._newest.get(snapshot.owner) == name:
            del self._newest[snapshot.owner]
