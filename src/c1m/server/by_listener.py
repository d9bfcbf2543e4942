"""Several applications on one server: a connection belongs to that of the listener it came by."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

import numpy as np

from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.server.figures import Figures
from c1m.server.server import App, CloseBatch, DataBatch, OpenBatch, Server


class Further(NamedTuple):
    """An application with listeners of its own: their URLs, and the option that they were told by,
    which errors name: "--resp"."""

    listen: Sequence[str]
    app: App
    option: str = "A further listener"


class ByListener(App):
    """`first` has the listeners that the server is given; `further` have their own.

    Each is called with its own connections only; where one raises (`on_error`) the others are
    called nevertheless, and none of theirs is closed.
    """

    def __init__(self, first: App, further: Sequence[Further]) -> None:
        self._apps = [first, *(each.app for each in further)]
        self._further = further
        self.turn = min((app.turn for app in self._apps if app.turn is not None), default=None)
        self.closes_at_stop = any(app.closes_at_stop for app in self._apps)

    def further_listeners(self) -> list[tuple[str, Sequence[str]]]:
        """What the server listens on besides what it is told, by application."""
        return [(each.option, each.listen) for each in self._further]

    def figures(self, server: Server) -> Figures:
        return {name: figure for app in self._apps for name, figure in app.figures(server).items()}

    def refusal(self, listener: int) -> bytes:
        owner = int(self._of_listener[listener])
        return self._apps[owner].refusal(listener)

    def notes(self, server: Server) -> list[str]:
        return [line for app in self._apps for line in app.notes(server)]

    def on_start(self, server: Server) -> None:
        self._owner = np.zeros(server.capacity, np.uint8)
        # -1 is a listener of before the last `listen`: none is listened on while the server stops.
        self._of_listener = np.array([*server.listener_owners, 0], np.uint8)
        for app in self._apps:
            app.on_start(server)

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        owners = self._of_listener[batch.listeners]
        if (self._owner.take(batch.slots) != owners).any():  # all zeros take no memory
            self._owner[batch.slots] = owners
        for number, app in enumerate(self._apps):
            which = owners == number
            if which.any():
                those = OpenBatch(batch.slots[which], batch.listeners[which])
                server.tell("on_open", those.slots, those, app)

    def on_data(self, batch: DataBatch, server: Server) -> None:
        owners = self._owner.take(batch.slots)
        for number, app in enumerate(self._apps):
            which = owners == number
            if which.all():
                _give(app, batch.slots, batch.data, server)
            elif which.any():
                _give(app, batch.slots[which], batch.data.take(which), server)

    def on_eof(self, slots: Slots, server: Server) -> None:
        self._each(slots, "on_eof", server)

    def on_blocked(self, slots: Slots, server: Server) -> None:
        self._each(slots, "on_blocked", server)

    def on_drained(self, slots: Slots, server: Server) -> None:
        self._each(slots, "on_drained", server)

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        owners = self._owner.take(batch.slots)
        for number, app in enumerate(self._apps):
            which = owners == number
            if which.any():
                those = CloseBatch(batch.slots[which], batch.reasons[which])
                server.tell("on_close", those.slots, those, app)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        due = [
            server.attempt("on_tick", partial(app.on_tick, now_ns, server), app=app)
            for app in self._apps
        ]
        return min((each for each in due if each is not None), default=None)

    def on_stop(self, server: Server) -> None:
        for app in self._apps:
            server.attempt("on_stop", partial(app.on_stop, server), app=app)

    def is_done(self, server: Server) -> bool:
        return all(app.is_done(server) for app in self._apps)

    def on_end(self, server: Server) -> None:
        with ExitStack() as each:  # all of them, also where one raises
            for app in reversed(self._apps):
                each.callback(app.on_end, server)

    def _each(self, slots: Slots, callback: str, server: Server) -> None:
        owners = self._owner.take(slots)
        for number, app in enumerate(self._apps):
            those = slots[owners == number]
            if len(those):
                server.tell(callback, those, app=app)


def _give(app: App, slots: Slots, data: Ragged, server: Server) -> None:
    if type(app).on_pieces is not App.on_pieces:
        pieces = list(zip(slots.tolist(), data.pieces(), strict=True))
        server.tell("on_pieces", slots, pieces, app)
    else:
        server.tell("on_data", slots, DataBatch(slots, data), app)
