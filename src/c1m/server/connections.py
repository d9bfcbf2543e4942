"""The connections of a server: who is open, who is not read from, what may be asked for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Engine, Slots, distinct
from c1m.engine.given import given_pieces, given_slots
from c1m.engine.names import address_of, sockaddrs
from c1m.engine.ragged import Buffer, Ragged, bytes_of
from c1m.loop import Loop
from c1m.server.operators import Operators
from c1m.server.statistics import CloseReason, ServerStatistics

Payload = Buffer | Ragged | Sequence[Buffer]
AnySlots = Slots | Sequence[int] | int

CLOSED, OPEN, AT_EOF = 0, 1, 2  # the server's own view of a slot
PAUSED, BLOCKED = 1, 2  # why a slot is not read from: the application, its unsent output


class ServerConnections:
    """The half of a Server that an application calls for its connections."""

    engine: Engine
    loop: Loop
    capacity: int
    statistics: ServerStatistics
    operators: Operators
    _has_ended = False  # connections were closed by us in this tick

    def _begin_afresh(self) -> None:
        """Columns of no connection, which have no memory yet."""
        self._live = np.zeros(self.capacity, np.uint8)  # CLOSED, OPEN or AT_EOF
        self._holds = np.zeros(self.capacity, np.uint8)  # PAUSED, BLOCKED or both
        self._ended_by = np.zeros(self.capacity, np.uint8)  # CloseReason of slots that we closed
        self._top = 0  # no slot from here on is in use

    def send(self, slots: AnySlots, data: Payload) -> None:
        """Send piece i of `data` to slots[i], or the same bytes to all of them.

        All of it is accepted; what the kernel does not take at once waits in order. Bytes for a
        connection that has ended are counted as unsent. Raises UsageError, with nothing sent, for
        slots that this server does not have and for pieces outside their memory.
        """
        came = self.loop.batch
        if data is not came.data or slots is not came.data_slots:
            slots = given_slots(slots, self.capacity)
            data = given_pieces(data, len(slots))
        self.engine.send(slots, data)

    def broadcast(self, data: Buffer, *, skip_blocked: bool = True) -> int:
        """Send the same bytes to every open connection; returns to how many.

        Connections whose unsent output is over the high watermark are skipped, so that peers that
        do not read cost no further memory; `skip_blocked=False` sends to them too.
        """
        payload = bytes_of("data", data)
        slots = self.live_slots()
        if skip_blocked:
            slots = slots[(self._holds[slots] & BLOCKED) == 0]
        self.engine.send(slots, Ragged.repeat(payload, len(slots)))
        return len(slots)

    def close(
        self,
        slots: AnySlots,
        *,
        abort: bool = False,
        reason: CloseReason = CloseReason.LOCAL,
    ) -> None:
        """Close connections: after their output, or at once with a reset.

        A closed connection whose output is still going out can be aborted, too. They count as
        closed for this reason, but for those whose peers have ended already.
        """
        slots = given_slots(slots, self.capacity)
        if abort:
            self.engine.close(slots[self._live[slots] == CLOSED], abort=True)
        at_eof = self._live[slots] == AT_EOF
        self._end(slots[at_eof], CloseReason.PEER_EOF, abort=abort)
        self._end(slots[~at_eof], reason, abort=abort)

    def pause(self, slots: AnySlots) -> None:
        """Stop reading from connections; what is already on its way may still come."""
        self._hold(self._open_ones(slots), PAUSED)

    def resume(self, slots: AnySlots) -> None:
        """Read from them again; from blocked ones as soon as their output has drained."""
        self._release(self._open_ones(slots), PAUSED)

    def _open_ones(self, slots: AnySlots) -> Slots:
        """Each once, and none that has ended: its slot may soon be another connection's."""
        those = distinct(given_slots(slots, self.capacity))
        open_ones: Slots = those[self._live[those] != CLOSED]
        return open_ones

    def are_held(self, slots: Slots) -> npt.NDArray[np.bool_]:
        """Which of these are not read from: paused, or unsent output is over the watermark."""
        held: npt.NDArray[np.bool_] = self._holds.take(slots) != 0
        return held

    def peers(self, slots: AnySlots) -> list[tuple[str, int]]:
        """Host and port of each peer: of the client, where a proxy has said it in a PROXY header.

        ("", 0) for who came over a unix socket or has gone, and where the kernel cannot say it. It
        is asked each time: for some connections, not for all in every tick.
        """
        names = sockaddrs(self.engine, given_slots(slots, self.capacity))
        return [address_of(name) for name in names]

    def live_slots(self) -> Slots:
        """All open connections, ascending: int32[live]."""
        return np.flatnonzero(self._live[: self._top]).astype(np.int32)

    # --- what the server itself does with them

    def _still_live(self, slots: Slots) -> Slots:
        """Without those that the application has closed earlier in this tick."""
        return slots[self._live[slots] != CLOSED] if self._has_ended else slots

    def _hold(self, slots: Slots, why: int) -> None:
        self._holds[slots] |= np.uint8(why)
        self.engine.receive(slots, False)

    def _release(self, slots: Slots, why: int) -> None:
        self._holds[slots] &= np.uint8(~why & 0xFF)
        self.engine.receive(slots[self._holds[slots] == 0], True)

    def _end(self, slots: Slots, reason: CloseReason, *, abort: bool = False) -> None:
        if not len(slots):
            return
        slots = distinct(slots[self._live[slots] != CLOSED])
        self._live[slots] = CLOSED
        self._holds[slots] = 0
        self._ended_by[slots] = reason
        self._has_ended = True
        self._count_closed(reason, len(slots))
        self.operators.ended(slots, reason)
        self.engine.close(slots, abort=abort)

    def _count_closed(self, reason: CloseReason, count: int) -> None:
        self.statistics.closed[reason] += count
        self.statistics.live -= count
