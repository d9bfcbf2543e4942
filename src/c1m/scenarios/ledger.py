"""The ledger of a run: which requests are in flight, what became of each, and what else came. Pure.

Connections are numbers 0 .. count - 1; a connection's requests are counted from 0 over the whole
run (`seq`), however often it is reopened. Every request is resolved once, as one of

    RIGHT      its reply came, on its connection, byte for byte
    GARBLED    something else came in its place
    CROSSED    its reply came on another connection
    REORDERED  its reply came, but after that of a later request
    STALE      what was right for an earlier request came in its place
    MOVED      the server said that another node of its cluster has the key
    MISSING    it was given up after the timeout, at the end, or with its connection

so sent = right + wrong + missing + in flight, at any time. What comes beyond that is counted
separately (`extras`): "doubled" replies, "late" ones (to requests that were given up, lost with
their connection or answered by something else before), bytes that are "unasked" for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.scenarios.messages import Numbers

Outcomes = npt.NDArray[np.uint8]
Where = npt.NDArray[np.bool_]

RIGHT, GARBLED, CROSSED, REORDERED, STALE, MOVED, MISSING = range(7)
OUTCOMES = ("right", "garbled", "crossed", "reordered", "stale", "moved", "missing")
FAULTS_KEPT = 10  # of each kind
FAULT_BYTES_MAX = 200
EARLIER_MAX = 1 << 18


@dataclass(slots=True)
class Pushes:
    """Copies of publications that came: `counts` int64[n] of publication (numbers, seqs)."""

    numbers: Numbers
    seqs: Numbers
    counts: Numbers


@dataclass(slots=True)
class Resolved:
    """Resolved requests: numbers, seqs int64[n], outcomes uint8[n] (None: all RIGHT)."""

    numbers: Numbers
    seqs: Numbers
    outcomes: Outcomes | None = None
    pushes: Pushes | None = None  # of a scenario in which one message goes to many

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True, slots=True)
class Fault:
    """One reply that was not right; bytes cut to FAULT_BYTES_MAX."""

    kind: str
    number: int  # the connection it was seen on
    seq: int
    expected: bytes
    received: bytes
    note: str = ""  # what a user's check says


class Ledger:
    """Requests of `count` connections, at most `depth` in flight on each.

    `sent` uint32[count] is the seq of a connection's next request, `oldest` the lowest that is not
    resolved. `is_odd` bool[count] marks connections that are not to be treated by arrays: with
    requests resolved out of order or, set by whoever matches replies, a part of a reply.
    `expected` returns the right reply to (number, seq), for faults.
    """

    def __init__(self, expected: Callable[[int, int], bytes], count: int, depth: int = 1) -> None:
        self.depth = depth
        self.sent = np.zeros(count, np.uint32)
        self.oldest = np.zeros(count, np.uint32)
        self.is_odd = np.zeros(count, np.bool_)
        # The same columns for who has one number: an element costs a fifth of an array's.
        self.sent_at, self.oldest_at = self.sent.data, self.oldest.data
        self.is_odd_at = self.is_odd.data
        self.in_flight = 0
        self.extras: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.given_up = GivenUp(count)
        self._expected = expected
        self._faults_kept: Counter[str] = Counter()
        # Seqs resolved above `oldest`, and whether their reply has come on their connection.
        self._beyond: dict[int, dict[int, bool]] = {}
        self._rows: list[tuple[int, int, int]] = []  # resolved since `resolved` was called

    # --- in flight ----------------------------------------------------------------------------

    def is_free(self, numbers: Numbers) -> Where:
        """Which of these connections have fewer than `depth` requests in flight: bool[n]."""
        free: Where = self.sent[numbers] - self.oldest[numbers] < self.depth
        return free

    def have_in_flight(self, numbers: Numbers) -> Where:
        """Which of these connections wait for a reply: bool[n]."""
        have: Where = self.sent.take(numbers) != self.oldest.take(numbers)
        return have

    def is_waiting(self, number: int, seq: int) -> bool:
        """Whether this request is in flight."""
        return int(self.oldest[number]) <= seq < int(self.sent[number]) and (
            seq not in self._beyond.get(number, ())
        )

    def expects(self, number: int) -> bool:
        """Whether a connection has any request in flight."""
        return int(self.oldest[number]) != int(self.sent[number])

    def asked(self, number: int) -> int:
        """The seq whose reply is to come next, or the last one's if none is."""
        seq = int(self.oldest[number])
        return seq if seq < int(self.sent[number]) else max(seq - 1, 0)

    def following(self, numbers: Numbers) -> Numbers:
        """The seqs of the next requests of these connections: int64[n]."""
        return self.sent.take(numbers).astype(np.int64)

    def send(self, numbers: Numbers) -> Numbers:
        """A request is sent on each of these (distinct) connections; their seqs int64[n]."""
        seqs = self.following(numbers)
        self.sent[numbers] += np.uint32(1)
        self.in_flight += len(numbers)
        return seqs

    def has_room(self, number: int) -> bool:
        """The scalar form of `is_free`."""
        return self.sent_at[number] - self.oldest_at[number] < self.depth

    def send_one(self, number: int) -> None:
        """The scalar form of `send`."""
        self.sent_at[number] += 1
        self.in_flight += 1

    # --- what became of them ------------------------------------------------------------------

    def answer(self, numbers: Numbers) -> None:
        """The oldest request of each of these (distinct) connections is answered."""
        self.oldest[numbers] += np.uint32(1)
        self.in_flight -= len(numbers)

    def answer_several(self, numbers: Numbers) -> None:
        """The same where a connection may be there several times."""
        np.add.at(self.oldest, numbers, np.uint32(1))
        self.in_flight -= len(numbers)

    def answer_one(self, number: int) -> None:
        """The scalar form of `answer`."""
        self.oldest_at[number] += 1
        self.in_flight -= 1

    def resolve(self, number: int, seq: int, outcome: int) -> None:
        """A request that is in flight is resolved; `resolved` returns it."""
        self._rows.append((number, seq, outcome))
        self.in_flight -= 1
        beyond = self._beyond.get(number)
        if seq != int(self.oldest[number]):
            self._beyond.setdefault(number, {})[seq] = outcome in (RIGHT, REORDERED)
            self.is_odd[number] = True
            return
        seq += 1
        if beyond is not None:
            while seq in beyond:
                del beyond[seq]
                seq += 1
            if not beyond:
                del self._beyond[number]
        self.oldest[number] = seq

    def miss(self, number: int, seq: int, came: bytes = b"") -> None:
        """A request that is in flight is given up; `came`: what there is of its reply."""
        self.fault("missing", number, number, seq, came)
        self.resolve(number, seq, MISSING)

    def has_beyond(self, number: int) -> bool:
        """Whether a request is resolved while an older one of its connection is in flight."""
        return number in self._beyond

    def is_overtaken(self, number: int) -> bool:
        """Whether a later request of this connection had its reply before the oldest."""
        return any(self._beyond.get(number, {}).values())

    def resolved(self, right: Sequence[tuple[Numbers, Numbers]] = ()) -> Resolved:
        """What `resolve` was called for since the last time, behind `right` (numbers, seqs)."""
        rows = np.array(self._rows, np.int64).reshape(-1, 3)
        self._rows.clear()
        made = Resolved(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8))
        parts = [Resolved(*each, np.full(len(each[0]), RIGHT, np.uint8)) for each in right]
        return joined([*parts, made]) if parts else made

    def abandon(self, numbers: Numbers) -> Resolved:
        """Connections that are gone: whatever they have in flight is MISSING."""
        first, end = self.oldest[numbers].astype(np.int64), self.sent[numbers].astype(np.int64)
        self.is_odd[numbers] = False
        counts = end - first
        if not counts.any():
            return self.resolved()
        owners = np.repeat(numbers, counts)
        starts = np.cumsum(counts) - counts
        seqs = np.repeat(first - starts, counts) + np.arange(len(owners))
        if self._beyond:
            open_ = [
                s not in self._beyond.get(n, ())
                for n, s in zip(owners.tolist(), seqs.tolist(), strict=True)
            ]
            owners, seqs = owners[open_], seqs[open_]
            for number in numbers.tolist():
                self._beyond.pop(number, None)
        self.oldest[numbers] = self.sent[numbers]
        self.in_flight -= len(owners)
        self.given_up.add(owners, seqs)
        lost = Resolved(owners, seqs, np.full(len(owners), MISSING, np.uint8))
        return joined([self.resolved(), lost]) if self._rows else lost

    # --- what was not right -------------------------------------------------------------------

    def extra(self, kind: str, seen_on: int, number: int, seq: int, reply: bytes) -> None:
        """Something came beyond what was due; (number, seq): the request that it is about."""
        self.extras[kind] += 1
        self.fault(kind, seen_on, number, seq, reply)

    def unasked(self, number: int, came: bytes) -> None:
        """These bytes came, and no request is there that they could answer."""
        self.extra("unasked", number, number, self.asked(number), came)

    def fault(
        self, kind: str, seen_on: int, number: int, seq: int, reply: bytes,
        expected: bytes | None = None, note: str = "",
    ) -> None:  # fmt: skip
        """Keep the first faults of each kind.

        `expected`, if it is not given, is what the request waits for; for a reply on another
        connection, what was due on that one.
        """
        if self._faults_kept[kind] >= FAULTS_KEPT:
            return
        self._faults_kept[kind] += 1
        if expected is not None:
            pass
        elif kind != "unasked" and seen_on == number:
            expected = self._expected(number, seq)
        elif kind != "unasked" and self.expects(seen_on):
            expected = self._expected(seen_on, int(self.oldest[seen_on]))
        cut = slice(0, FAULT_BYTES_MAX)
        self.faults.append(Fault(kind, seen_on, seq, (expected or b"")[cut], reply[cut], note))


class GivenUp:
    """Requests (number, seq) that were given up, so that a reply that still comes is late.

    A run in which a million replies are late must not keep a Python object for each. So the last
    request that each connection gave up is a number in a column; only earlier ones of the same
    connection, whose replies rarely come, are kept in a set of at most EARLIER_MAX.
    """

    def __init__(self, count: int) -> None:
        self._last = np.zeros(count, np.uint32)  # seq + 1; 0: none
        self._earlier: set[int] = set()

    def add(self, numbers: Numbers, seqs: Numbers) -> None:
        """These are given up: int64[n] each, the same connection perhaps more than once."""
        if not len(numbers):
            return
        before = self._last[numbers]
        self._last[numbers] = seqs + 1
        had = before != 0
        if had.any():
            self._keep(numbers[had], before[had].astype(np.int64) - 1)
        is_other = self._last[numbers] != seqs + 1
        if is_other.any():
            self._keep(numbers[is_other], seqs[is_other])

    def _keep(self, numbers: Numbers, seqs: Numbers) -> None:
        room = max(EARLIER_MAX - len(self._earlier), 0)
        self._earlier.update((numbers[:room] << 32 | seqs[:room]).tolist())

    def __contains__(self, request: tuple[int, int]) -> bool:
        number, seq = request
        return int(self._last[number]) == seq + 1 or (number << 32 | seq) in self._earlier

    def discard(self, request: tuple[int, int]) -> None:
        """Its reply has come: another one would be a double."""
        number, seq = request
        if int(self._last[number]) == seq + 1:
            self._last[number] = 0
        self._earlier.discard(number << 32 | seq)


class Repeats:
    """Connections that are in a batch more than once, found with a scratch column, not by sorting.

    Gathers are compared as `bytes`: see message_rows for why.
    """

    def __init__(self, count: int) -> None:
        self._place = np.zeros(count, np.int32)  # where a connection is in the batch
        self._order = np.arange(64, dtype=np.int32)  # as long as the longest batch so far

    def none(self, numbers: Numbers) -> bool:
        """Whether each is there once."""
        order = self._placed(numbers)
        return self._place.take(numbers).tobytes() == order.tobytes()

    def several(self, numbers: Numbers) -> Where:
        """Which are of a connection that is there more than once: bool[n]."""
        earlier = self._placed(numbers) != self._place.take(numbers)
        return np.isin(numbers, numbers[earlier]) if earlier.any() else earlier

    def first(self, numbers: Numbers) -> Where:
        """Which are the first of their connection: bool[n]."""
        is_first: Where = self._placed(numbers[::-1])[::-1] == self._place.take(numbers)
        return is_first

    def _placed(self, numbers: Numbers) -> npt.NDArray[np.int32]:
        count = len(numbers)
        if count > len(self._order):
            self._order = np.arange(count * 2, dtype=np.int32)
        order = self._order[:count]
        self._place[numbers] = order
        return order


def joined(parts: Sequence[Resolved]) -> Resolved:
    """All of them as one; each has its outcomes."""
    outcomes = [each.outcomes for each in parts if each.outcomes is not None]
    return Resolved(
        np.concatenate([each.numbers for each in parts]),
        np.concatenate([each.seqs for each in parts]),
        np.concatenate(outcomes),
    )
