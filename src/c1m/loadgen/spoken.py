"""Connections with a transport: open when their handshake is done, closed with its farewell. Pure.

The accounts are those of `connections`. A connection in its handshake is under way (`unfinished`);
one whose handshake fails has not opened.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Engine, Slots
from c1m.engine.ragged import Ragged
from c1m.loadgen.connections import CLOSED, LEAVING, OPEN, SHAKING, ConnectionPool
from c1m.loadgen.sources import AddressPlan
from c1m.loadgen.transports.base import Taken, Transport
from c1m.scenarios.messages import Numbers
from c1m.units import NS_PER_S

_ARE_OPEN = (OPEN, LEAVING)
AGAIN_NS = NS_PER_S  # an idle connection that the server ends before that is lost


class SpokenPool(ConnectionPool):
    """See ConnectionPool."""

    def __init__(
        self,
        engine: Engine,
        count: int,
        addresses: AddressPlan,
        now_ns: int,
        transport: Transport,
    ) -> None:
        super().__init__(engine, count, addresses, now_ns)
        self._transport = transport

    def _begin(self, numbers: Numbers, now_ns: int) -> Numbers:
        """The handshakes begin. Returns those that need none."""
        self.states[numbers] = SHAKING
        asking, said = self._transport.opened(numbers)
        self._send(asking, said)
        if len(asking) == len(numbers):
            return asking[:0]
        ready = numbers[~np.isin(numbers, asking)]
        self._open(ready, now_ns)
        return ready

    def take(self, numbers: Numbers, data: Ragged, now_ns: int) -> Taken:
        """Pieces that came: replies are sent, handshakes are done. What failed is not closed."""
        return self._taken(self._transport.take(numbers, data), now_ns)

    def due(self, now_ns: int) -> Taken:
        """What the transport says by the clock; as `take`."""
        return self._taken(self._transport.due(now_ns), now_ns)

    @property
    def awaited(self) -> int:
        """See Transport."""
        return self._transport.awaited

    def _taken(self, taken: Taken, now_ns: int) -> Taken:
        self.say(taken.replies)
        if len(taken.ready):
            self.handshake.record(now_ns - self._since_ns[taken.ready])
            self._open(taken.ready, now_ns)
        for reason, text in taken.said.items():
            self.said.setdefault(reason, text)
        return taken

    def say(self, pieces: Sequence[tuple[Numbers, Ragged]]) -> None:
        """What a transport has to say by itself."""
        for numbers, each in pieces:
            self._send(numbers, each)

    def _send(self, numbers: Numbers, pieces: Ragged) -> None:
        if len(numbers):
            self._engine.send(self.slots.take(numbers), pieces)

    # --- ends ---------------------------------------------------------------------------------

    def close(self, numbers: Numbers, *, abort: bool = False) -> None:
        """See ConnectionPool."""
        if not abort:
            self._send(*self._transport.farewell(numbers))
        self._transport.gone(numbers)
        super().close(numbers, abort=abort)

    def finish(self, numbers: Numbers) -> None:
        """See ConnectionPool."""
        self._send(*self._transport.farewell(numbers))
        self._transport.gone(numbers)
        super().finish(numbers)

    def lost(
        self, slots: Slots, errnos: npt.NDArray[np.int32], now_ns: int, *, is_wanted: bool = False
    ) -> Numbers:
        """See ConnectionPool. Idle connections that the server may end are opened again."""
        numbers = self.numbers_of(slots)
        may_go = [self._may_go(number, now_ns) for number in numbers.tolist()]
        are_idle = np.array(may_go, np.bool_)
        self._open_again(numbers[are_idle])
        self._transport.gone(numbers)
        kept = ~are_idle
        return super().lost(slots[kept], errnos[kept], now_ns, is_wanted=is_wanted)

    def _may_go(self, number: int, now_ns: int) -> bool:
        is_old = now_ns - int(self._since_ns[number]) >= AGAIN_NS
        return is_old and self._transport.is_idle(number) and int(self.states[number]) in _ARE_OPEN

    def _open_again(self, numbers: Numbers) -> None:
        """The server has ended them: they count as closed, and others are opened in their place."""
        self.states[numbers] = CLOSED
        self.live -= len(numbers)
        self.counts.closed += len(numbers)
        self._assigned -= len(numbers)
        self._again.append(numbers)

    def finished(self, slots: Slots) -> None:
        """See ConnectionPool."""
        super().finished(slots)
        self._transport.gone(self.numbers_of(slots))

    def failed(self, numbers: Numbers, errnos: npt.NDArray[np.int32]) -> None:
        """See ConnectionPool."""
        self._transport.gone(numbers[self.states.take(numbers) == SHAKING])
        super().failed(numbers, errnos)
