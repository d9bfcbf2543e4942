"""An engine whose connections begin with a PROXY header: the contract around another engine.

Of listeners that are told so (`Endpoint.is_proxied`), and of no other: who could choose whether to
send a header could take any address. A connection is reported as opened when its header has come;
one without a header, or with a wrong one, is closed and counted. `peers` gives the address that the
header says.

Cost: such a connection has a row of 19 bytes; those of other listeners touch none. Until its header
has come it also has an entry in a dict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from c1m.addresses import AF_UNIX, Endpoint, ListeningSocket, SockAddrs
from c1m.clock import Clock
from c1m.engine.contract import Engine, EventBatch, Pieces, Slots
from c1m.engine.decorated import HELD, NEVER, PLAIN, Decorated
from c1m.engine.names import ROW, packed, sockaddrs, unpacked
from c1m.guard.networks import Networks, number_of
from c1m.protocols.proxy import Broken, Header, Wrong, read
from c1m.units import NS_PER_S

HEADER_NS = 10 * NS_PER_S  # within which a header must come
UNFINISHED_MAX = 64 << 20  # bytes of headers that have not come whole, of all connections


@dataclass(slots=True)
class _Waiting:
    """A connection whose header has not come."""

    since_ns: int
    came: bytes = b""


class ProxyEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`.

    `trusted`: the proxies that may connect by TCP; all may where it is empty. By a unix socket all
    may that its file lets.
    """

    def __init__(self, inner: Engine, clock: Clock, trusted: Networks | None = None) -> None:
        super().__init__(inner)
        self._clock = clock
        self._trusted = trusted
        self._listeners: list[Endpoint] = []
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()  # by slot, the oldest first
        self._unfinished = 0  # bytes that came of their headers
        self._rows = np.zeros((inner.capacity, ROW), np.uint8)  # no memory where none is touched
        self._row_bytes = self._rows.reshape(-1).data

    # --- addresses --------------------------------------------------------------------------------

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        """See Engine.peers: of whatever family a header says."""
        rows = self._rows.take(slots, axis=0)
        found = [unpacked(row.tobytes()) for row in rows]
        own = np.flatnonzero(rows[:, 0] == 0)
        if len(own):
            for at, name in zip(own.tolist(), self._inner.peers(slots[own], family), strict=True):
                found[at] = name
        return found

    def _keep(self, slot: int, header: Header) -> None:
        row = bytes(ROW) if header.source is None else packed(header.source)
        self._row_bytes[slot * ROW : slot * ROW + ROW] = row

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        """See Engine.connect."""
        slots = super().connect(sources, destinations)
        self._rows[slots, 0] = 0
        return slots

    def adopt(self, fd: int) -> int:
        """See Engine.adopt."""
        slot = super().adopt(fd)
        self._rows[slot, 0] = 0
        return slot

    # --- connections without a header -------------------------------------------------------------

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """See Engine.listen."""
        found = super().listen(endpoints, backlog)
        if endpoints:  # else connections may still come that were accepted before
            self._listeners = [e if isinstance(e, Endpoint) else e.endpoint for e in endpoints]
        return found

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """See Engine.wait."""
        batch = super().wait(timeout_ns, pieces)
        if len(batch.opened) and not all(each.is_proxied for each in self._listeners):
            direct = np.array([*(not each.is_proxied for each in self._listeners), False])
            self._rows[batch.opened[direct.take(batch.opened_listeners)], 0] = 0
        return batch

    def _holds(self, listener: int) -> bool:
        if listener < 0:
            return any(each.is_proxied for each in self._listeners)
        return self._listeners[listener].is_proxied

    def _hold(self, slots: Slots, listeners: Slots) -> None:
        super()._hold(slots, listeners)
        if not self._trusted:
            return
        are_unix = np.array([*(each.family == AF_UNIX for each in self._listeners), False])
        slots = slots[~are_unix.take(listeners)]
        for slot, name in zip(slots.tolist(), sockaddrs(self._inner, slots), strict=True):
            if not self._trusted.have(number_of(name)):
                self._end(slot, Wrong.STRANGER.code)

    def _begin(self, slot: int) -> None:
        self._waiting[slot] = _Waiting(self._clock.now_ns())

    def _forget(self, slot: int) -> None:
        waiting = self._waiting.pop(slot, None)
        if waiting is not None:
            self._unfinished -= len(waiting.came)

    def _take(self, pieces: Pieces) -> None:
        kinds = self._kind_bytes
        for slot, piece in pieces:
            if kinds[slot] == HELD:
                self._take_one(slot, piece)
            elif kinds[slot] == PLAIN:  # its header came in this batch, too
                self._told.data.append((slot, piece))

    def _take_one(self, slot: int, piece: bytes) -> None:
        waiting = self._waiting[slot]
        waiting.came += piece
        self._unfinished += len(piece)
        try:
            header = read(waiting.came)
        except Broken as broken:
            self._end(slot, broken.wrong.code)
            return
        if header is None:
            if self._unfinished > UNFINISHED_MAX:
                self._end(slot, Wrong.TOO_MUCH.code)
            return
        self._forget(slot)
        self._keep(slot, header)
        self._open(slot, PLAIN)
        rest = waiting.came[header.size :]
        if rest:
            self._told.data.append((slot, rest))

    def _end_of_input(self, slot: int) -> None:
        self._end(slot, Wrong.ENDED.code)

    # --- time -------------------------------------------------------------------------------------

    def _due_ns(self) -> int:
        if not self._waiting:
            return NEVER
        oldest = next(iter(self._waiting.values()))
        return max(oldest.since_ns + HEADER_NS - self._clock.now_ns(), 0)

    def _work(self) -> None:
        limit_ns = self._clock.now_ns() - HEADER_NS
        while self._waiting:
            slot, oldest = next(iter(self._waiting.items()))
            if oldest.since_ns > limit_ns:
                return
            self._end(slot, Wrong.LATE.code)
