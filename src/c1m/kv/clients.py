"""All connections: columns with a row for each, and an object for those that are unusual. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots
from c1m.kv.client import Client
from c1m.kv.store import Store

RESP3 = 1  # HELLO 3 was said
IS_KEPT = 2  # `kept` has an object for it
IS_GUEST = 4  # it must say AUTH before anything else
IS_SUBSCRIBER = 8  # of any channel
IS_ELSEWHERE = 16  # its database is not the first


class Clients:
    """Rows by slot. `state` (bits as above) and `index` (the database) are uint8[capacity].

    A row of zeros is a new connection; memory is used where a row was written to only.
    """

    def __init__(self, store: Store, capacity: int) -> None:
        self.store = store
        self.state = store.subscriptions.states  # messages go by it, too
        self.states = self.state.data  # the same memory, an element of which costs less
        self.index: npt.NDArray[np.uint8] = np.zeros(capacity, np.uint8)
        self.kept: dict[int, Client] = {}
        self.first_state = 0  # of a new connection: IS_GUEST where a password is asked for

    def open(self, slots: Slots) -> None:
        """New connections: int32[n]."""
        if self.first_state:
            self.state[slots] = self.first_state

    def of(self, slot: int) -> Client:
        """The object of a connection whose commands are to run; `settle` follows."""
        state = int(self.state[slot])
        if state & IS_KEPT:
            return self.kept[slot]
        client = Client(slot, self.store, 3 if state & RESP3 else 2, int(self.index[slot]))
        client.is_guest = bool(state & IS_GUEST)
        client.is_subscriber = bool(state & IS_SUBSCRIBER)
        return client

    def settle(self, client: Client) -> None:
        """Its commands have run: what is unusual about it is kept, all else is in its row."""
        is_kept = client.is_kept()
        if is_kept:
            self.kept[client.slot] = client
        else:
            self.kept.pop(client.slot, None)
        self.state[client.slot] = (
            (RESP3 if client.protocol == 3 else 0)
            | (IS_KEPT if is_kept else 0)
            | (IS_GUEST if client.is_guest else 0)
            | (IS_SUBSCRIBER if client.is_subscriber else 0)
            | (IS_ELSEWHERE if client.db.index else 0)
        )
        self.index[client.slot] = client.db.index

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n], each once."""
        state = self.state[slots]
        subscribers = slots[(state & IS_SUBSCRIBER) != 0]
        if len(subscribers):
            self.store.subscriptions.forget(subscribers)
        for slot in slots[(state & IS_KEPT) != 0].tolist():
            self.kept.pop(slot).leave()
        self.state[slots] = 0
        self.index[slots] = 0
