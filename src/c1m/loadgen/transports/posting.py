"""Publishers that POST what they say (HTTP/1.1, kept alive), beside subscribers. Pure.

Connections 0 .. publishers - 1 are these; they hear nothing but the responses, of which a scenario
is given the status and the beginning of the body: b"200 ok".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.loadgen.transports.base import SAID_MAX, Taken, Transport
from c1m.loadgen.transports.http import HttpTransport
from c1m.protocols.http.replies import ReplyHead
from c1m.scenarios.messages import Numbers


class PostingTransport(HttpTransport):
    """Requests that POST to one target on up to `count` connections, and their responses."""

    def __init__(self, count: int, target: str, host: str, fields: Sequence[str] = ()) -> None:
        super().__init__(count)
        named = [field.partition(":")[0].strip().lower() for field in fields]
        kind = [] if "content-type" in named else ["Content-Type: text/plain; charset=utf-8"]
        lines = [f"POST {target} HTTP/1.1", f"Host: {host}", *kind, *fields, "Content-Length: "]
        self._head = "\r\n".join(lines).encode()

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: a request each."""
        head = self._head
        bodies = messages.pieces()
        return super().wrap(
            numbers, Ragged.of([b"%b%d\r\n\r\n%b" % (head, len(body), body) for body in bodies])
        )

    def is_idle(self, number: int) -> bool:
        """See Transport: what is published is not said twice."""
        return not self._waiting[number]

    def _message(self, head: ReplyHead, body: bytes) -> bytes:
        return b"%d %b" % (head.status, body[:SAID_MAX].strip())


class Beside(Transport):
    """Two transports: `publishing` for numbers below `publishers`, `hearing` for the others."""

    may_end_unheard = True  # a publisher may say nothing for long

    def __init__(self, publishers: int, publishing: PostingTransport, hearing: Transport) -> None:
        self._publishers = publishers
        self._publishing = publishing
        self._hearing = hearing

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport."""
        return self._hearing.opened(numbers[numbers >= self._publishers])

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        is_first = numbers < self._publishers
        if not is_first.any():
            return self._hearing.take(numbers, data)
        both = self._publishing.take(numbers[is_first], data.take(is_first))
        other = self._hearing.take(numbers[~is_first], data.take(~is_first))
        both.ready = other.ready
        both.messages += other.messages
        both.replies += other.replies
        both.last_words += other.last_words
        both.failed += other.failed
        both.said |= other.said
        return both

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport."""
        is_first = numbers < self._publishers
        if is_first.all():
            return self._publishing.wrap(numbers, messages)
        if not is_first.any():
            return self._hearing.wrap(numbers, messages)
        pieces = np.empty(len(numbers), object)
        for which, transport in ((is_first, self._publishing), (~is_first, self._hearing)):
            pieces[which] = transport.wrap(numbers[which], messages.take(which)).pieces()
        return Ragged.of(pieces.tolist())

    def ended(self, numbers: Numbers) -> list[tuple[Numbers, Ragged]]:
        """See Transport: of publishers."""
        return self._publishing.ended(numbers[numbers < self._publishers])

    def statuses(self) -> Counter[int]:
        """See Transport: of publishers."""
        return self._publishing.statuses()

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport."""
        return self._hearing.farewell(numbers[numbers >= self._publishers])

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        is_first = numbers < self._publishers
        if is_first.any():
            self._publishing.gone(numbers[is_first])
        self._hearing.gone(numbers)

    def is_idle(self, number: int) -> bool:
        """See Transport."""
        return number < self._publishers and self._publishing.is_idle(number)
