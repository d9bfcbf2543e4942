"""HTTP/1.1 requests and responses on connections that are kept. Pure.

A scenario says whole requests. What it hears is whole responses: the head, names of fields in lower
case, an empty line, and the body without chunks.

Nearly every response is, byte for byte, one that was read a moment ago. Such ones are found by one
comparison of memory for a whole batch, and handed on as one memory for all: only what is new is
read. Of a page that stays as it is, that is one response a second, for its Date.
"""

from __future__ import annotations

from collections import Counter, deque

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import NOT_HTTP, PEER_EOF
from c1m.loadgen.transports.base import NOBODY, SAID_MAX, Rows, Taken, Transport, Where
from c1m.protocols.framing import windows
from c1m.protocols.http.messages import Bounds, Refused
from c1m.protocols.http.replies import WIDE, ReplyHead, ResponseReader
from c1m.scenarios.ledger import Repeats
from c1m.scenarios.message_rows import equal_at
from c1m.scenarios.messages import Numbers

BOUNDS = Bounds(body=1 << 28)  # of a response
FORMS_MAX = 64  # heads that are known again, with other bodies
READ_MAX = 7  # responses that are known again: of several paths, or of a second ago
KNOWN_MAX = 8  # of these, those that a batch is compared with
KNOWN_BYTES_MAX = 1 << 15  # a longer one is read every time

# The first four bytes of requests: of GET, of HEAD, and of those that may be said twice (RFC 9110,
# 9.2.2), as numbers.
_GET, _HEAD, *_OTHERS = np.frombuffer(b"GET HEADPUT DELEOPTITRAC", "<u4").tolist()
_END = b"\r\n\r\n"
_METHOD = {False: b"GET", True: b"HEAD"}  # what a response is read as the answer to
_TWICE = np.array([_GET, _HEAD, *_OTHERS], np.uint32)


class Known:
    """A response that came whole, and what the scenario hears of it."""

    __slots__ = ("_lengths", "_memory", "_places", "is_head", "message", "raw", "status")

    def __init__(self, raw: bytes, message: bytes, status: int, is_head: bool) -> None:
        self.raw, self.message, self.status, self.is_head = raw, message, status, is_head
        self._memory = np.frombuffer(message, np.uint8)
        self._places = np.zeros(0, np.int64)
        self._lengths = np.zeros(0, np.int32)

    def times(self, count: int) -> Ragged:
        """The message so often, held once."""
        if count > len(self._places):
            self._places = np.zeros(2 * count, np.int64)
            self._lengths = np.full(2 * count, len(self.message), np.int32)
        return Ragged(self._memory, self._places[:count], self._lengths[:count],
                      self._memory.ctypes.data)  # fmt: skip


class HttpTransport(Transport):
    """Requests on up to `count` connections, and their responses.

    `body_most`: of a body that is longer than KNOWN_BYTES_MAX so many bytes are kept and handed on;
    None: all of it, within BOUNDS.
    """

    def __init__(self, count: int, body_most: int | None = None) -> None:
        self._body_most = body_most
        self._bounds = BOUNDS if body_most is None else WIDE
        self._bodies: dict[int, bytearray] = {}  # what is kept of long ones that are not whole
        self._statuses: Counter[int] = Counter()  # of all responses
        self._waiting = np.zeros(count, np.int32)  # requests without a response
        self._once = np.zeros(count, np.bool_)  # among them is one that may not be said twice
        self._has_once = False  # any ever was
        self._heads: dict[int, deque[bool]] = {}  # where HEAD waits: of each that waits, whether
        self._readers: dict[int, ResponseReader] = {}  # of what is not whole
        self._begun: dict[int, bytes] = {}  # all bytes of what is not whole, where they are few
        self._over: set[int] = set()  # the server has said that it will end them
        self._is_odd = np.zeros(count, np.bool_)  # is in one of these
        self._forms: dict[bytes, tuple[ReplyHead, int]] = {}  # heads, and the size of their bodies
        self._read: list[Known] = []  # the last ones that were read, the last one first
        self._known: list[Known] = []  # of these, what has come again: a batch may be of them
        self._repeats = Repeats(count)

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: ready at once."""
        return NOBODY, Ragged.empty()

    # --- what comes ---------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport. More responses than were asked for are handed on, too."""
        taken = Taken()
        at = self._take_known(numbers, data, taken)
        if at is None:
            return taken
        rows, done, broken = Rows(), at - data.offsets, set[int]()
        for row in np.flatnonzero(done < data.lengths).tolist():
            number, piece = int(numbers[row]), data.piece(row)[int(done[row]) :]
            # RFC 9112, 9.6: nothing is asked behind the last response; and each fails once.
            if number in self._over or number in broken:
                continue
            reason = self._take_piece(number, piece, rows)
            self._see_odd(number)
            if reason is not None:
                taken.failed.append((number, reason))
                if reason == NOT_HTTP:
                    broken.add(number)
                    taken.said[reason] = piece[:SAID_MAX].decode("latin-1")
        rows.into(taken)
        return taken

    def _take_known(self, numbers: Numbers, data: Ragged, taken: Taken) -> Numbers | None:
        """Take responses that pieces begin with, as long as they are known ones; returns where
        what is left of each piece begins. None: nothing is."""
        waiting = self._waiting.take(numbers)
        is_plain = self._are_plain(numbers)
        if self._known and is_plain is None and np.count_nonzero(waiting) == len(waiting):
            known = self._known[0]
            is_long = bool(np.count_nonzero(data.lengths != len(known.raw)))
            if not is_long and equal_at(data.memory, data.offsets, known.raw) is None:
                self._hand_on(known, numbers, waiting, taken)
                return None
        at, ends = data.offsets.copy(), data.offsets + data.lengths
        rows = np.arange(len(numbers)) if is_plain is None else np.flatnonzero(is_plain)
        for known in self._known:
            live, size = rows, len(known.raw)
            while True:
                live = live[(ends[live] - at[live] >= size) & (waiting[live] > 0)]
                same = equal_at(data.memory, at[live], known.raw) if len(live) else None
                live = live if same is None else live[same]
                if not len(live):
                    break
                self._hand_on(known, numbers[live], waiting[live], taken)
                at[live] += size
                waiting[live] -= 1
        return at

    def _are_plain(self, numbers: Numbers) -> Where | None:
        """Which of these have one piece and nothing unfinished, and wait for no HEAD; None: all."""
        plain = None if self._repeats.none(numbers) else ~self._repeats.several(numbers)
        if self._readers or self._begun or self._heads or self._over:
            is_odd = self._is_odd.take(numbers)
            if is_odd.any():
                plain = ~is_odd if plain is None else plain & ~is_odd
        return plain

    def _see_odd(self, number: int) -> None:
        odd = self._readers, self._begun, self._heads, self._over
        self._is_odd[number] = any(number in each for each in odd)

    def _hand_on(
        self, known: Known, numbers: Numbers, waiting: npt.NDArray[np.int32], taken: Taken
    ) -> None:
        self._waiting[numbers] = waiting - 1
        self._statuses[known.status] += len(numbers)
        taken.messages.append((numbers, known.times(len(numbers))))

    def _take_piece(self, number: int, piece: bytes, rows: Rows) -> int | None:
        """A piece that is no known response, or more; returns why the connection ends, if so."""
        begun = self._begun.pop(number, b"")
        while piece:
            heads, reader = self._heads.get(number), self._readers.get(number)
            is_head = heads is not None and heads[0]
            whole, is_kept = begun + piece, reader is None or bool(begun)
            begun = b""
            if reader is None:
                known = self._found(whole, is_head)
                if known is not None:
                    self._answered(number, known.status, known.message, rows)
                    piece = whole[len(known.raw) :]
                    continue
                if not is_head and (form := self._form(whole)) is not None:
                    known_head, end = form
                    if len(whole) >= end:
                        body = whole[whole.index(_END) + 4 : end]
                        message = self._message(known_head, body)
                        self._answered(number, known_head.status, message, rows)
                        piece = whole[end:]
                        continue
                    if len(whole) <= KNOWN_BYTES_MAX:
                        self._begun[number] = whole
                        return None
                elif self._may_be_known(whole, is_head):
                    self._begun[number] = whole
                    return None
                reader = self._readers[number] = ResponseReader(_METHOD[is_head], self._bounds)
                piece = whole
            try:
                reader.feed(piece)
            except Refused:
                return NOT_HTTP
            head = reader.head
            if head is not None and head.status == 101:  # nobody has asked for that
                return NOT_HTTP
            if not reader.is_whole or head is None:
                if is_kept and len(whole) <= KNOWN_BYTES_MAX:
                    self._begun[number] = whole
                elif self._body_most is not None:
                    self._keep_body(number, reader.body(), self._body_most)
                return None
            del self._readers[number]
            piece = reader.rest()
            body = self._body(number, reader)
            message = self._message(head, body)
            self._answered(number, head.status, message, rows)
            if not _stays(head):
                self._over.add(number)
                return PEER_EOF
            if is_kept:
                raw = whole[: len(whole) - len(piece)]
                if not is_head:
                    self._keep_form(raw, head, body)
                self._read = [Known(raw, message, head.status, is_head), *self._read[:READ_MAX]]
        return None

    def _keep_body(self, number: int, part: bytes, most: int) -> None:
        kept = self._bodies.setdefault(number, bytearray())
        kept += part[: max(most - len(kept), 0)]

    def _body(self, number: int, reader: ResponseReader) -> bytes:
        """Of a response that is whole now."""
        if number not in self._bodies:
            return reader.body()
        self._keep_body(number, reader.body(), self._body_most or 0)
        return bytes(self._bodies.pop(number))

    def _found(self, piece: bytes, is_head: bool) -> Known | None:
        """The response that a piece begins with, where it was read before."""
        for known in self._read:
            if piece.startswith(known.raw) and known.is_head == is_head:
                if not is_head and known not in self._known:
                    self._known = [known, *self._known[: KNOWN_MAX - 1]]
                return known
        return None

    def _form(self, piece: bytes) -> tuple[ReplyHead, int] | None:
        """The head that a piece begins with, where it was read before, and where its body ends."""
        end = piece.find(_END) + 4
        form = self._forms.get(piece[:end]) if end >= 4 else None
        return None if form is None else (form[0], end + form[1])

    def _keep_form(self, raw: bytes, head: ReplyHead, body: bytes) -> None:
        """A response with this head has as many bytes, whatever its body is: not behind an interim
        one, and not in chunks."""
        end = raw.find(_END) + 4
        is_sized = head.get(b"transfer-encoding") is None and raw[9:12] == b"%d" % head.status
        if is_sized and len(raw) == end + len(body):
            if len(self._forms) >= FORMS_MAX:
                del self._forms[next(iter(self._forms))]
            self._forms[raw[:end]] = head, len(body)

    def _may_be_known(self, piece: bytes, is_head: bool) -> bool:
        return any(one.raw.startswith(piece) and one.is_head == is_head for one in self._read)

    def _answered(self, number: int, status: int, message: bytes, rows: Rows) -> None:
        self._statuses[status] += 1
        if self._waiting[number]:
            self._waiting[number] -= 1
        heads = self._heads.get(number)
        if heads is not None:
            heads.popleft()
            if not heads:
                del self._heads[number]
        rows.messages.append((number, message))

    def _message(self, head: ReplyHead, body: bytes) -> bytes:
        """What the scenario hears of a response."""
        return head.text + body

    # --- what is said -------------------------------------------------------------------------

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: they are whole requests."""
        words = windows(messages.memory, "<u4")[messages.offsets]
        self._ask(numbers, words)
        return messages

    def _ask(self, numbers: Numbers, words: npt.NDArray[np.uint32]) -> None:
        """Requests that begin with these four bytes are said."""
        waiting = self._waiting.take(numbers)
        if self._has_once or np.count_nonzero(words != _GET):
            once = ~np.isin(words, _TWICE)
            self._has_once |= bool(once.any())
            self._once[numbers] = once | (self._once[numbers] & (waiting > 0))
        if self._heads or np.count_nonzero(words == _HEAD):
            each = zip(numbers.tolist(), (words == _HEAD).tolist(), waiting.tolist(), strict=True)
            for number, is_head, before in each:
                if is_head and number not in self._heads:
                    self._heads[number] = deque([False] * before)
                if number in self._heads:
                    self._heads[number].append(is_head)
                    self._is_odd[number] = True
        self._waiting[numbers] = waiting + 1

    # --- ends ---------------------------------------------------------------------------------

    def ended(self, numbers: Numbers) -> list[tuple[Numbers, Ragged]]:
        """See Transport: a body of which nothing says how long it is ends with its connection."""
        rows, taken = Rows(), Taken()
        for number in numbers.tolist() if self._readers else ():
            reader = self._readers.get(number)
            try:
                if reader is None:
                    continue
                reader.end()
            except Refused:
                continue
            assert reader.head is not None
            del self._readers[number]
            message = self._message(reader.head, self._body(number, reader))
            self._answered(number, reader.head.status, message, rows)
            self._over.add(number)
            self._see_odd(number)
        rows.into(taken)
        return taken.messages

    def statuses(self) -> Counter[int]:
        """See Transport: of all, also those that are wrong."""
        return self._statuses

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: nobody."""
        return NOBODY, Ragged.empty()

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        self._waiting[numbers] = 0
        if self._readers or self._begun or self._heads or self._over:
            self._is_odd[numbers] = False
            for number in numbers.tolist():
                self._readers.pop(number, None)
                self._begun.pop(number, None)
                self._bodies.pop(number, None)
                self._heads.pop(number, None)
                self._over.discard(number)

    def is_idle(self, number: int) -> bool:
        """See Transport: no response has begun, and what waits for one may be said twice (RFC 9112,
        9.3.1) or came behind the server's last word (9.6)."""
        is_once = bool(self._waiting[number] and self._once[number])
        has_begun = number in self._readers or number in self._begun
        return number in self._over or not (has_begun or is_once)


def _stays(head: ReplyHead) -> bool:
    """Whether the connection goes on behind this response (RFC 9112, 9.3)."""
    options = head.tokens(b"connection")
    return b"close" not in options and (head.minor == 1 or b"keep-alive" in options)
