"""All connections: a row for each, and an object for those that are unusual. Pure."""

from __future__ import annotations

from c1m.engine.contract import Slots
from c1m.kv.client import Client
from c1m.kv.rows import DATABASE_SHIFT, IS_GUEST, IS_KEPT, IS_SUBSCRIBER, RESP3
from c1m.kv.store import Store

TOO_MANY = b"-ERR max number of clients reached\r\n"


class Clients:
    """Makes a connection's object of its row when commands come, and a row of it behind them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.rows = store.rows
        self._active = memoryview(store.rows.active)  # type: ignore[arg-type]
        self.state = store.rows.state
        self.states = self.state.data  # the same memory, an element of which costs less
        self.kept: dict[int, Client] = store.rows.kept
        self._plain = Client(-1, store)  # stands for each that has nothing unusual, in turn

    def open(self, slots: Slots) -> Slots:
        """New connections: int32[n]. Returns those that are too many, which have no row."""
        statistics = self.store.statistics
        statistics.connections += len(slots)
        room = max(self.store.settings["maxclients"] - self.rows.count, 0)
        refused: Slots = slots[room:]
        statistics.connections_refused += len(refused)
        if room:
            self.rows.open(slots[:room], self.store.now_ms)
        return refused

    def of(self, slot: int) -> Client:
        """The object of a connection whose commands are to run; `settle` follows at once."""
        state = self.states[slot]
        if not state & ~RESP3:
            client = self._plain
            client.slot, client.protocol = slot, 3 if state else 2
            return client
        if state & IS_KEPT:
            return self.kept[slot]
        client = Client(slot, self.store, 3 if state & RESP3 else 2, state >> DATABASE_SHIFT)
        if state & (IS_GUEST | IS_SUBSCRIBER):
            client.is_guest = bool(state & IS_GUEST)
            client.is_subscriber = bool(state & IS_SUBSCRIBER)
        return client

    def heard(self, slots: list[int]) -> None:
        """These sent something, where `settle` does not follow."""
        active, second = self._active, self.rows.second
        for slot in slots:
            active[slot] = second

    def settle(self, client: Client) -> None:
        """Its commands have run: what is unusual about it is kept, all else is in its row."""
        slot = client.slot
        self._active[slot] = self.rows.second
        state = RESP3 if client.protocol == 3 else 0
        if client.is_kept():
            self.kept[slot] = client
            state |= IS_KEPT
        elif self.states[slot] & IS_KEPT:
            del self.kept[slot]
        if client.is_guest:
            state |= IS_GUEST
        if client.is_subscriber:
            state |= IS_SUBSCRIBER
        if client.db.index:
            state |= client.db.index << DATABASE_SHIFT
        self.states[slot] = state
        if state & ~RESP3 and client is self._plain:
            self._plain = Client(-1, self.store)

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n], each once."""
        for slot in slots[(self.state[slots] & IS_KEPT) != 0].tolist():
            self.kept.pop(slot).leave()
        subscribers = slots[(self.state[slots] & IS_SUBSCRIBER) != 0]
        if len(subscribers):
            self.store.subscriptions.forget(subscribers)
        self.rows.forget(slots)
