"""Publishers that POST what they say (HTTP/1.1, kept alive), beside subscribers. Pure.

Connections 0 .. publishers - 1 are these; they hear nothing but the responses, of which a scenario
is given the status and the beginning of the body: b"200 ok".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import NOT_ASKED, NOT_HTTP, PEER_EOF
from c1m.loadgen.transports.base import NOBODY, SAID_MAX, Rows, Taken, Transport
from c1m.protocols.http.messages import Bounds, Refused
from c1m.protocols.http.replies import ResponseReader
from c1m.scenarios.messages import Numbers

BOUNDS = Bounds(body=1 << 24)  # of a response


class PostingTransport(Transport):
    """Requests that POST to one target, and their responses."""

    def __init__(self, target: str, host: str, fields: Sequence[str] = ()) -> None:
        named = [field.partition(":")[0].strip().lower() for field in fields]
        kind = [] if "content-type" in named else ["Content-Type: text/plain; charset=utf-8"]
        lines = [f"POST {target} HTTP/1.1", f"Host: {host}", *kind, *fields, "Content-Length: "]
        self._head = "\r\n".join(lines).encode()
        self._readers: dict[int, ResponseReader] = {}
        self._waiting: dict[int, int] = {}  # requests without a response

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: ready at once."""
        return NOBODY, Ragged.empty()

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        taken, rows = Taken(), Rows()
        for number, piece in zip(numbers.tolist(), data.pieces(), strict=True):
            while piece:
                try:
                    piece, reason = self._answer(number, piece, rows)
                except Refused:
                    piece, reason = b"", NOT_HTTP
                if reason is not None:
                    taken.failed.append((number, reason))
                    break
        rows.into(taken)
        return taken

    def _answer(self, number: int, piece: bytes, rows: Rows) -> tuple[bytes, int | None]:
        """Go on with a response; returns what came behind it, and why the connection ends."""
        if not self._waiting.get(number):
            return b"", NOT_ASKED
        reader = self._readers.setdefault(number, ResponseReader(b"POST", BOUNDS))
        reader.feed(piece)
        if not reader.is_whole or reader.head is None:
            return b"", None
        del self._readers[number]
        self._waiting[number] -= 1
        rows.messages.append(
            (number, b"%d %b" % (reader.head.status, reader.body()[:SAID_MAX].strip()))
        )
        is_last = b"close" in reader.head.tokens(b"connection") or not reader.head.minor
        return reader.rest(), PEER_EOF if is_last else None

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: a request each."""
        requests = []
        for number, body in zip(numbers.tolist(), messages.pieces(), strict=True):
            self._waiting[number] = self._waiting.get(number, 0) + 1
            requests.append(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))
        return Ragged.of(requests)

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: nobody."""
        return NOBODY, Ragged.empty()

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        for number in numbers.tolist():
            self._readers.pop(number, None)
            self._waiting.pop(number, None)

    def is_idle(self, number: int) -> bool:
        """See Transport: where it waits for no response (RFC 9112, 9.3.1)."""
        return not self._waiting.get(number)


class Beside(Transport):
    """Two transports: `publishing` for numbers below `publishers`, `hearing` for the others."""

    def __init__(self, publishers: int, publishing: Transport, hearing: Transport) -> None:
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
