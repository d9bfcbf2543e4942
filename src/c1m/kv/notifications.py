"""Keyspace notifications: what changes is published, where the settings ask for it. Pure.

Nothing is called for a change while notify-keyspace-events is empty. The event m (a key is not
there) is accepted and never comes.
"""

from __future__ import annotations

from c1m.kv.database import Database
from c1m.kv.pubsub import publish
from c1m.kv.settings import EVENTS_OF_A
from c1m.kv.store import Store


class Notifications:
    """The listener of one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._letters: frozenset[str] = frozenset()
        store.settings.effects["notify-keyspace-events"] = self.choose

    def choose(self, letters: str) -> None:
        """Other events from now on."""
        listeners = self._store.listeners
        if self.hear in listeners:
            listeners.remove(self.hear)
        self._letters = frozenset(letters.replace("A", EVENTS_OF_A))
        if self._letters & {"K", "E"}:
            listeners.append(self.hear)
        self._store.new_key = self.hear_of_new if "n" in self._letters else None

    def hear_of_new(self, db: Database, key: bytes) -> None:
        """A key comes that is not there."""
        self.hear(db, key, b"new", "n")

    def hear(self, db: Database, key: bytes, event: bytes, kind: str) -> None:
        """A key has changed."""
        heard = self._store.subscriptions
        if kind not in self._letters or not (len(heard.channels) or len(heard.patterns)):
            return
        if "K" in self._letters:
            publish(self._store, b"__keyspace@%d__:%b" % (db.index, key), event)
        if "E" in self._letters:
            publish(self._store, b"__keyevent@%d__:%b" % (db.index, event), key)
