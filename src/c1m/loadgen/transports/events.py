"""Server-sent events (HTML, 9.2) between connections and a scenario, which only hears. Pure.

What one server sends to many in a tick is mostly the same bytes: these are read once, and one
comparison of memory shows who else had them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import HTTP_STATUS, NOT_A_STREAM, NOT_EVENTS, NOT_HTTP
from c1m.loadgen.transports.base import MESSAGE_MAX, NOBODY, SAID_MAX, Rows, Taken, Transport, Where
from c1m.loadgen.transports.places import Places
from c1m.protocols.http.messages import Body, Refused
from c1m.protocols.http.messages import Stream as Unread
from c1m.protocols.http.replies import WIDE, ResponseReader
from c1m.protocols.sse import CONTENT_TYPE, Broken, EventReader
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Numbers

# A connection's kind: its handshake, then how its body comes. ODD: with a reader of its own.
NONE, SHAKING, PLAIN, CHUNKED, ODD = range(5)
ALIKE_MAX = 8  # different pieces in a tick that are compared with all others


class Stream:
    """What is unfinished of one stream of events, behind its head."""

    def __init__(self, event_max: int, *, is_chunked: bool) -> None:
        self.is_chunked = is_chunked
        self.is_over = False  # its last chunk has come
        self._body = Body(None, WIDE) if is_chunked else None
        self._unread = Unread()
        self._events = EventReader(event_max)

    def __bool__(self) -> bool:
        """Whether anything is unfinished."""
        is_cut = self._body is not None and (len(self._unread) or not self._body.is_between)
        return bool(self._events) or bool(is_cut)

    def take(self, piece: bytes) -> list[bytes]:
        """The data of the events that are whole with it. Raises Refused, Broken."""
        if self._body is None:
            return self._events.take(piece)
        self._unread.feed(piece)
        self.is_over = self._body.read(self._unread)
        content = bytes(self._body.data)
        self._body.data.clear()
        return self._events.take(content)


class EventsTransport(Transport):
    """Up to `count` streams of events from one target; `fields` are further ones of the GET.
    Both are templates."""

    def __init__(
        self,
        count: int,
        target: str,
        host: str,
        fields: Sequence[str] = (),
        *,
        seed: int = 0,
        first: int = 0,
        message_max: int = MESSAGE_MAX,
    ) -> None:
        lines = [
            f"GET {target} HTTP/1.1", f"Host: {host}", f"Accept: {CONTENT_TYPE}",
            "Cache-Control: no-cache", *fields,
        ]  # fmt: skip
        self._request = "\r\n".join([*lines, "", ""]).encode()
        self._places = Places(target, fields, count, seed, first)
        self._max = message_max
        self._kinds = np.zeros(count, np.uint8)
        self._heads: dict[int, ResponseReader] = {}  # of those of which a part of the head came
        self._streams: dict[int, Stream] = {}  # of those that are ODD
        self._good: tuple[bytes, int] = b"?", PLAIN  # the last good head, and the kind it makes

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: all of them ask for the stream."""
        self._kinds[numbers] = SHAKING
        return numbers, self._places.put_in(numbers, Ragged.repeat(self._request, len(numbers)))

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        taken, rows = Taken(), Rows()
        kinds = self._kinds.take(numbers)
        if not len(numbers):
            return taken
        slow = (kinds == SHAKING) | (kinds == ODD)
        events = [  # by kind: what pieces say, and which these are
            self._alike(data, np.flatnonzero(kinds == kind), kind) for kind in (PLAIN, CHUNKED)
        ]
        slow |= ~_any([which for found in events for _, which in found], len(numbers))
        if slow.any():
            slow |= np.isin(numbers, numbers[slow])  # the order within a connection
        for said, which in events[0] + events[1]:
            those = numbers[which & ~slow]
            taken.messages += [(those, Ragged.repeat(each, len(those))) for each in said]
        for row in np.flatnonzero(slow).tolist():
            number, piece = int(numbers[row]), data.piece(row)
            if self._kinds[number] == SHAKING:
                piece = self._shake(number, piece, taken, rows)
            if piece and self._kinds[number] > SHAKING:
                self._take_piece(number, piece, taken, rows)
        rows.into(taken)
        return taken

    def _alike(self, data: Ragged, left: Numbers, kind: int) -> list[tuple[list[bytes], Where]]:
        """Pieces that begin and end where events do, of those at `left`: the events of each kind
        of piece, and which these are, bool[n]."""
        found: list[tuple[list[bytes], Where]] = []
        while len(left) and len(found) < ALIKE_MAX:
            piece = data.piece(int(left[0]))
            stream = Stream(self._max, is_chunked=kind == CHUNKED)
            try:
                events = stream.take(piece)
            except (Refused, Broken):
                break
            if stream or stream.is_over:
                break
            same = equal_to(data.take(left), piece)
            which = np.zeros(len(data), np.bool_)
            which[left[same]] = True
            found.append((events, which))
            left = left[~same]
        return found

    def _shake(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> bytes:
        """A piece of a response; returns what came behind its head."""
        good, kind = self._good
        if piece == good and number not in self._heads:
            self._is_ready(number, kind, rows)
            return b""
        reader = self._heads.setdefault(number, ResponseReader(b"HEAD"))
        try:
            reader.feed(piece)
        except Refused:
            self._fail(number, NOT_HTTP, taken, piece)
            return b""
        head = reader.head
        if head is None:
            return b""
        rest = reader.rest()
        media = (head.get(b"content-type") or b"").partition(b";")[0].strip().lower()
        if head.status != 200:
            self._fail(number, HTTP_STATUS + head.status, taken, rest)
        elif media != CONTENT_TYPE.encode():
            self._fail(number, NOT_EVENTS, taken, media)
        else:
            kind = CHUNKED if head.get(b"transfer-encoding") is not None else PLAIN
            text = piece[: len(piece) - len(rest)]
            if text.startswith(b"HTTP/"):
                self._good = text, kind
            self._is_ready(number, kind, rows)
            return rest
        return b""

    def _is_ready(self, number: int, kind: int, rows: Rows) -> None:
        self._heads.pop(number, None)
        self._kinds[number] = kind
        rows.ready.append(number)

    def _take_piece(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> None:
        stream, kind = self._streams.get(number), int(self._kinds[number])
        if stream is None:
            stream = Stream(self._max, is_chunked=kind == CHUNKED)
            self._streams[number] = stream
            self._kinds[number] = ODD
        try:
            rows.messages += [(number, event) for event in stream.take(piece)]
        except (Refused, Broken):
            self._fail(number, NOT_A_STREAM, taken, piece)
            return
        if stream.is_over:
            self._fail(number, 0, taken, b"")  # as if the connection had ended: the stream has
        elif not stream:
            del self._streams[number]
            self._kinds[number] = CHUNKED if stream.is_chunked else PLAIN

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport. Nothing is said on a stream of events."""
        raise AssertionError("a plan that says something on a stream of events was not refused")

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: nobody."""
        return NOBODY, Ragged.empty()

    def _fail(self, number: int, reason: int, taken: Taken, said: bytes) -> None:
        self.gone(np.array([number]))
        taken.failed.append((number, reason))
        taken.said.setdefault(reason, said[:SAID_MAX].decode("utf-8", "replace").strip())

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        if self._heads or self._streams:
            for number in numbers.tolist():
                self._heads.pop(number, None)
                self._streams.pop(number, None)
        self._kinds[numbers] = NONE

    def is_idle(self, number: int) -> bool:
        """See Transport: it is to stay."""
        return False


def _any(masks: list[Where], count: int) -> Where:
    are = np.zeros(count, np.bool_)
    for mask in masks:
        are |= mask
    return are
