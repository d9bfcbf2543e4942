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
from c1m.loadgen.connections import (
    CLOSED,
    FAILED,
    LEAVING,
    OPEN,
    SHAKING,
    UNDER_WAY,
    ConnectionPool,
)
from c1m.loadgen.sources import AddressPlan
from c1m.loadgen.transports.base import Taken, Transport
from c1m.scenarios.messages import Numbers
from c1m.units import NS_PER_S

_ARE_OPEN = (OPEN, LEAVING)
AGAIN_NS = NS_PER_S  # one that the server ends before that, having said nothing on it, is lost


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
        self._is_heard = np.zeros(count, np.bool_)  # a message has come on it
        self.is_renewed = np.zeros(count, np.bool_)  # opens in the place of one that ended
        self.renewing = 0  # how many are

    def _begin(self, numbers: Numbers, now_ns: int) -> Numbers:
        """The handshakes begin. Returns those that need none."""
        self.states[numbers] = SHAKING
        self._is_heard[numbers] = False
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
        for heard, _ in taken.messages:
            self._is_heard[heard] = True
        if taken.failed:  # nothing more is said there, whatever these messages were
            ending = np.array([number for number, _ in taken.failed], np.int64)
            self.leave(ending[self.are_open(ending)])
        if len(taken.ready):
            self.handshake.record(now_ns - self._since_ns[taken.ready])
            self._open(taken.ready, now_ns)
        for reason, text in taken.said.items():
            self.said.setdefault(reason, text)
        return taken

    def ended(self, numbers: Numbers) -> list[tuple[Numbers, Ragged]]:
        """The server has ended these in good order: the messages that are whole by that."""
        messages = self._transport.ended(numbers)
        for heard, _ in messages:
            self._is_heard[heard] = True
            self.leave(heard)
        return messages

    def taken_up(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these have opened in the place of one that the server ended: bool[n]."""
        again = self.is_renewed.take(numbers)
        self._see_renewed(numbers[again])
        return again

    def not_renewed(self, numbers: Numbers) -> Numbers:
        """See ConnectionPool."""
        if not self.renewing:
            return numbers[:0]
        fail = np.isin(self.states.take(numbers), UNDER_WAY)
        return numbers[fail & self.is_renewed.take(numbers)]

    def _see_renewed(self, numbers: Numbers) -> None:
        self.is_renewed[numbers] = False
        self.renewing -= len(numbers)

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
        self._renew(numbers[are_idle])
        self._transport.gone(numbers)
        kept = ~are_idle
        return super().lost(slots[kept], errnos[kept], now_ns, is_wanted=is_wanted)

    def _may_go(self, number: int, now_ns: int) -> bool:
        if int(self.states[number]) not in _ARE_OPEN:
            return False
        may_go = bool(self._is_heard[number])
        if self._transport.may_end_unheard:
            may_go |= now_ns - int(self._since_ns[number]) >= AGAIN_NS
        return may_go and self._transport.is_idle(number)

    def _renew(self, numbers: Numbers) -> None:
        """The server has ended them: others are opened in their place."""
        self.states[numbers] = CLOSED
        self.live -= len(numbers)
        self.counts.renewed += len(numbers)
        self.is_renewed[numbers] = True
        self.renewing += len(numbers)
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
        self._see_renewed(numbers[self.is_renewed[numbers] & (self.states[numbers] == FAILED)])
