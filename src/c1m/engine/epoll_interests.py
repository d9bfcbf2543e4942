"""What the epoll set is asked to report of connections, where the kernel may have no memory.

A refusal costs no connection: what was asked for is asked for again when the pause is over, in
which accepting pauses as well.
"""

from __future__ import annotations

import select
from collections.abc import MutableSequence
from contextlib import suppress

from c1m.engine.shortage import Shortage


class Interests:
    """Asks for what is in the column of interests; `late` are those that have to wait."""

    def __init__(
        self, epoll: select.epoll, column: MutableSequence[int], shortage: Shortage
    ) -> None:
        self.late: set[int] = set()
        self._epoll = epoll
        self._column = column
        self._shortage = shortage

    def ask(self, slot: int, wanted: int, *, is_new: bool = False) -> None:
        """Have this reported of the slot from now on, or from a little later on."""
        self._column[slot] = wanted
        try:
            (self._epoll.register if is_new else self._epoll.modify)(slot, wanted)
        except OSError as error:  # ENOMEM, ENOSPC
            self._shortage.refused("watch", "further epoll watch", error)
            self.late.add(slot)

    def again(self) -> None:
        """The pause is over."""
        late, self.late = self.late, set()
        for slot in late:
            if wanted := self._column[slot]:
                try:
                    self._epoll.modify(slot, wanted)
                except FileNotFoundError:
                    self.ask(slot, wanted, is_new=True)
                except OSError as error:
                    self._shortage.refused("watch", "further epoll watch", error)
                    self.late.add(slot)

    def output_refused(self, slot: int, code: int) -> None:
        """The kernel had no memory for a send: it is not asked again before the pause is over."""
        self._shortage.refused("send", "memory for a send", code)
        self.late.add(slot)
        with suppress(OSError):
            self._epoll.modify(slot, self._column[slot] & ~select.EPOLLOUT)
