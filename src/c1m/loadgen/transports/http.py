"""HTTP/1.1 requests and responses on connections that are kept. Pure.

A scenario says whole requests. What it hears is whole responses: the head as it came, an empty
line, and the body without chunks.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import NOT_ASKED, NOT_HTTP, PEER_EOF
from c1m.loadgen.transports.base import NOBODY, Rows, Taken, Transport
from c1m.protocols.http.messages import Bounds, Refused
from c1m.protocols.http.replies import ResponseReader
from c1m.scenarios.messages import Numbers

BOUNDS = Bounds(body=1 << 24)  # of a response


class HttpTransport(Transport):
    """Requests on up to `count` connections, and their responses."""

    def __init__(self, count: int) -> None:
        self._waiting = np.zeros(count, np.uint32)  # requests without a response
        self._methods: dict[int, deque[bytes]] = {}  # of those that wait
        self._readers: dict[int, ResponseReader] = {}

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
        if not self._waiting[number]:
            return b"", NOT_ASKED
        reader = self._readers.get(number)
        if reader is None:
            reader = self._readers[number] = ResponseReader(self._methods[number][0], BOUNDS)
        reader.feed(piece)
        if not reader.is_whole or reader.head is None:
            return b"", None
        del self._readers[number]
        self._methods[number].popleft()
        self._waiting[number] -= 1
        head = reader.head
        lines = [b"HTTP/1.%d %d %b" % (head.minor, head.status, head.reason)]
        lines += [b"%b: %b" % field for field in head.fields]
        rows.messages.append((number, b"\r\n".join(lines) + b"\r\n\r\n" + reader.body()))
        is_last = b"close" in head.tokens(b"connection") or not head.minor
        return reader.rest(), PEER_EOF if is_last else None

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: they are whole requests."""
        for number, message in zip(numbers.tolist(), messages.pieces(), strict=True):
            self._methods.setdefault(number, deque()).append(message.partition(b" ")[0])
            self._waiting[number] += 1
        return messages

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: nobody."""
        return NOBODY, Ragged.empty()

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        self._waiting[numbers] = 0
        for number in numbers.tolist():
            self._readers.pop(number, None)
            self._methods.pop(number, None)

    def is_idle(self, number: int) -> bool:
        """See Transport: where it waits for no response (RFC 9112, 9.3.1)."""
        return not self._waiting[number]
