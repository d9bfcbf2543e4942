"""A transport: it makes messages of a connection's bytes, and bytes of a scenario's messages. Pure.

With one, a connection is open when its handshake is done, and a scenario sees whole messages only.
Connections are numbers, as everywhere in the load client. One that has nothing unfinished is a byte
in a column.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.scenarios.messages import Numbers

MESSAGE_MAX = 1 << 24  # bytes of one message
SAID_MAX = 200  # bytes of what a server says about a refusal

NOBODY: Numbers = np.zeros(0, np.int64)

Where = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Taken:
    """What pieces brought, in this order: who is ready, replies to send, messages, failures, and
    what is said before those connections are closed."""

    ready: Numbers = field(default_factory=lambda: NOBODY)
    replies: list[tuple[Numbers, Ragged]] = field(default_factory=list)
    messages: list[tuple[Numbers, Ragged]] = field(default_factory=list)
    last_words: list[tuple[Numbers, Ragged]] = field(default_factory=list)
    failed: list[tuple[int, int]] = field(default_factory=list)  # number, reason (limits.reasons)
    said: dict[int, str] = field(default_factory=dict)  # by reason: the server's words


@dataclass(slots=True)
class Rows:
    """The same one by one: what a plain form finds, made into a Taken at the end."""

    ready: list[int] = field(default_factory=list)
    replies: list[tuple[int, bytes]] = field(default_factory=list)
    messages: list[tuple[int, bytes]] = field(default_factory=list)
    last_words: list[tuple[int, bytes]] = field(default_factory=list)

    def into(self, taken: Taken) -> None:
        """Add these behind what is there."""
        if self.ready:
            taken.ready = np.concatenate((taken.ready, np.array(self.ready, np.int64)))
        for name in ("replies", "messages", "last_words"):
            rows, batches = getattr(self, name), getattr(taken, name)
            if rows:
                numbers = np.array([number for number, _ in rows], np.int64)
                batches.append((numbers, Ragged.of([piece for _, piece in rows])))


class Transport(Protocol):
    """What the load client asks of a transport. Numbers in one call are distinct but in `take`.

    One that has to do something by the clock says with `tick_ns` how often it is asked.
    """

    wraps: bool = True  # False: `wrap` leaves messages as they are
    tick_ns: int = 0  # 0: never
    may_end_unheard: bool = False  # a server may end one on which it has not answered yet, too

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """These have connected: who of them has to say something first, and what. The others are
        ready at once."""
        ...

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """Pieces that came, in order."""
        ...

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """The bytes that carry message i on connection numbers[i]."""
        ...

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """Before these are closed: who of them says something, and what."""
        ...

    def gone(self, numbers: Numbers) -> None:
        """These have ended, by whomever: what is kept of them is forgotten."""
        ...

    def is_idle(self, number: int) -> bool:
        """Whether the server may end this connection as it likes: another one is opened then, and
        says once more what was not answered here."""
        return False

    def ended(self, numbers: Numbers) -> list[tuple[Numbers, Ragged]]:
        """The server has ended these in good order: messages that are whole by that."""
        return []

    def statuses(self) -> Counter[int]:
        """At the end, of HTTP: how many responses had which status."""
        return Counter()

    def due(self, now_ns: int) -> Taken:
        """What is to be said, or has failed, by the time that it is; asked every `tick_ns`."""
        return Taken()

    @property
    def awaited(self) -> int:
        """How much of what was said is still to be confirmed, beside the scenario's replies."""
        return 0

    def notes(self) -> list[str]:
        """When all replies are there or given up: sentences about what does not add up."""
        return []

    def doubts(self) -> list[str]:
        """The same about what is as it may be, and worth knowing."""
        return []


def chosen(numbers: Numbers, data: Ragged, which: Where) -> tuple[Numbers, Ragged]:
    """Those pieces; all of them without a copy."""
    if which.all():
        return numbers, data
    return numbers[which], data.take(which)
