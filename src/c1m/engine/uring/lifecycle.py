"""Connections of the uring engine begin and end: places, states and counters.

CLOSE of a direct descriptor frees its place but neither sends a FIN nor stops completions while a
receive is armed on it, so the receive is cancelled (by user data) in the same block. The slot's
generation goes up at that moment; whatever completes later under the old one is dropped.
"""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import NO_SLOTS, EngineStatistics, EventBatch, Slots
from c1m.engine.states import ConnEvent, ConnState
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.accept import Acceptor
from c1m.engine.uring.connect import Connector
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.send import Output
from c1m.engine.uring.table import ConnTable
from c1m.engine.uring.user_data import GENERATION_SHIFT, Op, pack
from c1m.engine.uring.watch import Watch
from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import Completions


class Lives:
    """Counts every connection in and out, and gives its place back."""

    def __init__(
        self,
        rings: RingSet,
        table: ConnTable,
        statistics: EngineStatistics,
        output: Output,
        watch: Watch,
        acceptor: Acceptor,
        connector: Connector,
    ) -> None:
        self._rings = rings
        self._table = table
        self._statistics = statistics
        self._output = output
        self._watch = watch
        self._acceptor = acceptor
        self._connector = connector

    def accepted(self, accepts: Completions, batch: EventBatch) -> None:
        """Completions of accepts to new connections."""
        results = accepts[:, 2].view(np.int32)
        done = accepts[(results >= 0)]
        if len(done):
            self._acceptor.succeeded()
        for index, _, result, _ in accepts[(accepts[:, 3] & abi.CQE_MORE) == 0].tolist():
            self._acceptor.ended(index, (1 << 32) - result if result >> 31 else 0)
        if not len(done):
            return
        rings = (done[:, 1] >> GENERATION_SHIFT).astype(np.int32)
        slots = rings * np.int32(self._rings.files_per_ring) + done[:, 2].view(np.int32)
        self._table.open(slots, ConnEvent.ACCEPT)
        self._statistics.accepted += len(slots)
        self._statistics.live += len(slots)
        for index, count in enumerate(np.bincount(rings).tolist()):
            self._rings.places[index].free -= count
        self._watch.begin(slots)
        batch.opened = np.concatenate((batch.opened, slots))
        listeners = self._acceptor.positions[done[:, 0]]
        batch.opened_listeners = np.concatenate((batch.opened_listeners, listeners))

    def connect_done(self, connects: Completions, batch: EventBatch) -> None:
        """Completions of connects to open connections, or to failures with an errno."""
        slots = connects[:, 0].view(np.int32).copy()
        results = connects[:, 2].view(np.int32).copy()
        current = self._table.generations[slots] == connects[:, 1] >> GENERATION_SHIFT
        slots, results = slots[current], results[current]
        if self._connector.errors:
            for i, slot in enumerate(slots.tolist()):
                results[i] = -self._connector.errors.pop(slot, -int(results[i]))
        ok = results == 0
        good = slots[ok]
        self._statistics.connecting -= len(good)
        self._statistics.connected += len(good)
        self._statistics.live += len(good)
        self._table.connected(good)
        self._watch.begin(good)
        batch.connected = np.concatenate((batch.connected, good))
        if len(good) < len(slots):
            batch.failed = np.concatenate((batch.failed, slots[~ok]))
            batch.failed_errnos = np.concatenate((batch.failed_errnos, -results[~ok]))
            self.connect_failed(slots[~ok])

    def connect_failed(self, slots: Slots) -> None:
        """Connects that failed, or that the caller has given up."""
        self._statistics.connecting -= len(slots)
        self._statistics.connect_failed += len(slots)
        data = pack(slots, self._table.generations[slots], Op.CONNECT)
        self._rings.push(slots, sub.cancel(data))
        self._close_files(slots)

    def still_open(self, slots: list[int]) -> Slots:
        """Those that have not ended meanwhile."""
        found = np.array(slots, np.int32)
        return found[self._table.is_open(found)]

    def lose(self, batch: EventBatch) -> None:
        """Connections that ended by an error; each once, with the first errno."""
        errnos: dict[int, int] = {}
        for slot, code in self._output.lost:
            errnos.setdefault(slot, code)
        self._output.lost.clear()
        slots = np.fromiter(errnos, np.int32, len(errnos))
        codes = np.fromiter(errnos.values(), np.int32, len(errnos))
        is_open = self._table.is_open(slots)
        gone = slots[is_open]
        lingering = slots[self._table.states[slots] == ConnState.LINGERING]
        batch.closed = np.concatenate((batch.closed, gone))
        batch.closed_errnos = np.concatenate((batch.closed_errnos, codes[is_open]))
        batch.eof = batch.eof[~np.isin(batch.eof, gone)] if len(batch.eof) else NO_SLOTS
        self._statistics.live -= len(gone)
        self._statistics.lingering -= len(lingering)
        self.free(np.concatenate((gone, lingering)))

    def reset(self, slots: Slots) -> None:
        """Send a RST; the connections are to be freed next."""
        self._rings.push(slots, sub.disconnect(self._rings.files(slots)))

    def free(self, slots: Slots) -> None:
        """The connections are gone: stop what is armed, close, give the slots back."""
        if not len(slots):
            return
        self._output.drop(slots)
        self._statistics.closed += len(slots)
        self._watch.end(slots)
        self._close_files(slots)

    def _close_files(self, slots: Slots) -> None:
        self._rings.push(slots, sub.close(self._rings.files(slots)))
        self._table.free(slots)
        self._rings.give_places_back(slots)
        self._acceptor.room_came()
