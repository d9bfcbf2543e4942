"""A user's App that closes, pauses, broadcasts and sends late, to whomever; those that behave get
their own bytes back nevertheless."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import c1m
from chaos.kinds import Run
from chaos.peers import Peer
from chaos.stage import Stage

GOOD = 0x80  # from this byte on: of one that behaves, and sent back
BROADCAST = b"to all"


class Wild(c1m.App):
    """`live`: whom it knows."""

    def __init__(self, random: Random, strike: Callable[[], None]) -> None:
        self.random = random
        self.strike = strike
        self.live: set[int] = set()
        self.paused: list[int] = []

    def on_open(self, batch: c1m.OpenBatch, server: c1m.Server) -> None:
        assert self.live.isdisjoint(batch.slots.tolist())
        self.live.update(batch.slots.tolist())
        self.strike()
        if self.random.random() < 0.1:
            server.send(batch.slots, b"hello")

    def on_data(self, batch: c1m.DataBatch, server: c1m.Server) -> None:
        random = self.random
        slots = batch.slots.tolist()
        assert self.live.issuperset(slots)
        for slot, piece in zip(slots, batch.data.pieces(), strict=True):
            self.strike()
            if piece[0] >= GOOD:
                server.send(slot, piece)
                continue
            kind = random.randrange(10)
            if kind == 0:
                self._close([slot], server)
            elif kind == 1:
                server.broadcast(BROADCAST, skip_blocked=random.random() < 0.5)
            elif kind == 2:
                server.send([slot] * 3, b"x" * random.choice((1, 5000)))
            elif kind == 3 and random.random() < 0.3:
                server.send(slot, bytes(100_000))
        if random.random() < 0.3:
            those = random.sample(slots, random.randrange(1, len(slots) + 1))
            server.pause(those)
            self.paused += those
        if random.random() < 0.05:
            server.send(random.randrange(server.capacity), b"to a stranger")

    def _close(self, slots: list[int], server: c1m.Server) -> None:
        self.live.difference_update(slots)
        server.close(slots * self.random.choice((1, 2)), abort=self.random.random() < 0.5)

    def on_eof(self, slots: c1m.Slots, server: c1m.Server) -> None:
        those = slots.tolist()
        self.strike()
        if self.random.random() < 0.7:
            self._close(those, server)
        else:
            self.paused += those  # closed later

    def on_blocked(self, slots: c1m.Slots, server: c1m.Server) -> None:
        assert self.live.issuperset(slots.tolist())
        self.strike()

    on_drained = on_blocked

    def on_close(self, batch: c1m.CloseBatch, server: c1m.Server) -> None:
        gone = {*batch.slots.tolist()}
        assert gone <= self.live
        self.live -= gone
        self.strike()

    def on_stop(self, server: c1m.Server) -> None:
        self.strike()

    def is_done(self, server: c1m.Server) -> bool:
        self.strike()
        return True

    def on_tick(self, now_ns: int, server: c1m.Server) -> int | None:
        self.strike()
        if self.random.random() < 0.05:
            server.call_soon(self.strike)
        if self.random.random() < 0.3:
            server.resume(self.paused)
            ended = [slot for slot in {*self.paused} & self.live if server._live[slot] == 2]
            self._close(ended, server)
            self.paused.clear()
        return self.random.choice((None, now_ns + 1000))


def replies(came: bytes) -> bytes:
    """Without what is for all."""
    return came.translate(None, bytes(range(GOOD)))


class WildRun(Run):
    """See Wild."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.app = Wild(random, self.saboteur.strike)
        self.stage = Stage(random, self.app)

    def good(self, number: int) -> Peer:
        stream = bytes(self.random.choices(range(GOOD, 256), k=self.random.choice((1, 100, 3000))))

        def wanted(came: bytes) -> bool | None:
            found = replies(came)
            return None if found != stream and stream.startswith(found) else found == stream

        return Peer(self.random, self.stage.connect(), stream, wanted)

    def bad(self) -> bytes:
        return bytes(self.random.choices(range(1, GOOD), k=self.random.choice((1, 20, 3000))))

    def check_empty(self) -> None:
        assert not self.app.live
