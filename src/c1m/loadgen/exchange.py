"""Requests and replies of all connections: who has what in flight, and what became of it. Pure.

Connections are numbers 0 .. count - 1; a connection's requests are counted from 0 over the whole
run (`seq`), however often it is opened anew. Every request is resolved once, as one of

    RIGHT      its reply came, on its connection, byte for byte
    GARBLED    something else came in its place
    CROSSED    its reply came on another connection
    REORDERED  its reply came, but after that of a later request
    MISSING    it was given up after the time-out, at the end, or with its connection

so sent = right + wrong + missing + in flight, at any time. What comes beyond that is counted apart
(`extras`): "doubled" replies, "late" ones (to requests given up before), bytes "unasked" for.

How a reply is known: by its bytes. It is compared with the reply that its connection waits for; if
it is another one and the scenario can tell whose (`identify`), it resolves the request it belongs
to, wherever that was sent. So two replies swapped between connections are two CROSSED and nothing
is missing; a reply sent on the wrong connection is one CROSSED; a lost one is one MISSING.

Nearly every batch consists of whole, right replies, one of each connection. Those are seen to be so
by a few operations over the batch; only what fails that is looked at piece by piece.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.loadgen.message import Numbers

if TYPE_CHECKING:
    from c1m.loadgen.scenario import Scenario

RIGHT, GARBLED, CROSSED, REORDERED, MISSING = range(5)
OUTCOMES = ("right", "garbled", "crossed", "reordered", "missing")

FAULTS_KEPT = 10  # of each kind
FAULT_BYTES_MAX = 200
GIVEN_UP_MAX = 1 << 20  # requests given up that are remembered, to know their late replies
LONG_REPLY = 4096  # bytes: only looked at when they are all there

Outcomes = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Resolved:
    """Requests that were resolved: numbers, seqs int64[n], outcomes uint8[n] (None: all RIGHT)."""

    numbers: Numbers
    seqs: Numbers
    outcomes: Outcomes | None = None

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


class Exchange:
    """Bookkeeping of `count` connections with at most `depth` requests in flight on each."""

    def __init__(self, scenario: Scenario, count: int, depth: int = 1) -> None:
        self.scenario = scenario
        self.depth = depth
        self.sent = np.zeros(count, np.uint32)  # the seq of the next request
        self.oldest = np.zeros(count, np.uint32)  # the lowest seq that is not resolved
        self.in_flight = 0
        self.extras: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self._kept: Counter[str] = Counter()
        self._is_odd = np.zeros(count, np.bool_)  # has an entry in one of the next two
        self._parts: dict[int, tuple[int, list[bytes]]] = {}  # bytes of a reply not whole yet
        self._beyond: dict[int, set[int]] = {}  # seqs resolved above `oldest`
        self._given_up: set[tuple[int, int]] = set()
        self._last = np.zeros(count, np.int32)  # scratch: each connection's last piece in a batch
        self._order = np.arange(64, dtype=np.int32)  # as long as the longest batch so far

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these connections may have another request sent: bool[n]."""
        free: npt.NDArray[np.bool_] = self.sent[numbers] - self.oldest[numbers] < self.depth
        return free

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        """What to send now on these connections, each once and free; and their seqs int64[n]."""
        seqs = self.sent.take(numbers).astype(np.int64)
        self.sent[numbers] += np.uint32(1)
        self.in_flight += len(numbers)
        return self.scenario.requests(numbers, seqs), seqs

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        """Pieces that came, in order; returns the requests that they resolve."""
        seqs = self.oldest.take(numbers).astype(np.int64)
        if self._are_right(numbers, seqs, data):
            self.oldest[numbers] += np.uint32(1)
            self.in_flight -= len(numbers)
            return Resolved(numbers, seqs)
        return self._take_some(numbers, seqs, data)

    def gone(self, numbers: Numbers) -> Resolved:
        """Connections that ended: what they had in flight is MISSING."""
        self._drop_parts(numbers)
        return self._abandon(numbers)

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        """Requests that waited too long; GARBLED where bytes had come that were no reply."""
        resolved: list[tuple[int, int, int]] = []
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            if not self._is_waiting(number, seq):
                continue
            size, parts = self._parts.pop(number, (0, []))
            outcome = GARBLED if size and seq == int(self.oldest[number]) else MISSING
            self._fault(OUTCOMES[outcome], number, number, seq, b"".join(parts))
            if len(self._given_up) < GIVEN_UP_MAX:
                self._given_up.add((number, seq))
            self._resolve(number, seq, outcome, resolved)
            self._see_odd(number)
        return _gathered(resolved)

    def _abandon(self, numbers: Numbers) -> Resolved:
        first, end = self.oldest[numbers].astype(np.int64), self.sent[numbers].astype(np.int64)
        counts = end - first
        if not counts.any():
            return _gathered([])
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
        self._is_odd[numbers] = False
        self.in_flight -= len(owners)
        return Resolved(owners, seqs, np.full(len(owners), MISSING, np.uint8))

    def _drop_parts(self, numbers: Numbers) -> None:
        if self._parts:
            for number in numbers[self._is_odd[numbers]].tolist():
                self._parts.pop(number, None)

    # --- a batch ------------------------------------------------------------------------------

    def _are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Whether each piece is the whole, right and only one of a connection that waits for it.

        Gathers are compared as `bytes`: see message_rows for why.
        """
        waiting = self.sent.take(numbers) != seqs
        if np.count_nonzero(waiting) != len(numbers) or self._is_odd.take(numbers).any():
            return False
        order = self._order_of(len(numbers))
        self._last[numbers] = order
        if self._last.take(numbers).tobytes() != order.tobytes():
            return False
        return self.scenario.are_right(numbers, seqs, data)

    def _order_of(self, count: int) -> npt.NDArray[np.int32]:
        if count > len(self._order):
            self._order = np.arange(count * 2, dtype=np.int32)
        return self._order[:count]

    def _take_some(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> Resolved:
        """A batch in which not all is as it mostly is."""
        whole = self.sent[numbers] != seqs
        whole &= ~self._is_odd[numbers]
        whole &= ~self._several(numbers)
        which = np.flatnonzero(whole)
        right = self.scenario.which_right(numbers[which], seqs[which], data.take(which))
        whole[which[~right]] = False
        quick, at = numbers[whole], seqs[whole]
        self.oldest[quick] += np.uint32(1)
        self.in_flight -= len(quick)
        resolved: list[tuple[int, int, int]] = []
        for i in np.flatnonzero(~whole).tolist():
            self._take_piece(int(numbers[i]), data.piece(i), resolved)
        return _joined(Resolved(quick, at), _gathered(resolved))

    def _several(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which pieces are from a connection that has several in this batch."""
        order = self._order_of(len(numbers))
        self._last[numbers] = order
        earlier = self._last[numbers] != order
        return np.isin(numbers, numbers[earlier]) if earlier.any() else earlier

    # --- one piece ----------------------------------------------------------------------------

    def _take_piece(self, number: int, piece: bytes, resolved: list[tuple[int, int, int]]) -> None:
        """A piece that is not simply the whole reply: a part, several, something wrong."""
        size, parts = self._parts.pop(number, (0, []))
        parts.append(piece)
        size += len(piece)
        wanted = self.scenario.reply_size(number, int(self.oldest[number]))
        if wanted > LONG_REPLY and size < wanted:
            self._parts[number] = (size, parts)  # joining them every time would cost a square
        else:
            stream = b"".join(parts)
            at = 0
            while at < len(stream):
                rest = stream[at:] if at else stream
                length = self.scenario.frame(number, int(self.oldest[number]), rest)
                if length == 0:
                    self._parts[number] = (len(rest), [rest])
                    break
                self._take_reply(number, rest[:length], resolved)
                at += length
        self._see_odd(number)

    def _see_odd(self, number: int) -> None:
        self._is_odd[number] = number in self._parts or number in self._beyond

    def _take_reply(self, number: int, reply: bytes, resolved: list[tuple[int, int, int]]) -> None:
        """One whole reply on a connection: find the request it belongs to."""
        seq = int(self.oldest[number])
        waits = seq < int(self.sent[number])
        accepts = self.scenario.accepts
        if waits and accepts(number, seq, reply):
            outcome = REORDERED if number in self._beyond else RIGHT
            if outcome == REORDERED:
                self._fault("reordered", number, number, seq, reply)
            self._resolve(number, seq, outcome, resolved)
            return
        owner = self._owner_of(reply)
        if owner is None:
            if waits:
                self._fault("garbled", number, number, seq, reply)
                self._resolve(number, seq, GARBLED, resolved)
            elif seq > 0 and accepts(number, seq - 1, reply):
                self._extra("doubled", number, number, seq - 1, reply)
            else:
                self._extra("unasked", number, number, max(seq - 1, 0), reply)
        elif not self._is_waiting(*owner):
            kind = "late" if owner in self._given_up else "doubled"
            self._given_up.discard(owner)
            self._extra(kind, number, *owner, reply)
        elif owner[0] != number:
            self._fault("crossed", number, *owner, reply)
            self._resolve(*owner, CROSSED, resolved)
        else:  # ours, before an earlier one: that one is late if it still comes
            self._resolve(*owner, RIGHT, resolved)

    def _owner_of(self, reply: bytes) -> tuple[int, int] | None:
        """(number, seq) of the request that this reply answers, if its bytes tell."""
        named = self.scenario.identify(reply)
        if named is None or not 0 <= named[0] < len(self.sent):
            return None
        number, seq = named
        if seq is None:  # only whose it is: the one that waits, or the last
            seq = int(self.oldest[number])
            if seq == int(self.sent[number]):
                seq -= 1
        if not 0 <= seq < int(self.sent[number]):
            return None
        return (number, seq) if self.scenario.accepts(number, seq, reply) else None

    def _is_waiting(self, number: int, seq: int) -> bool:
        return int(self.oldest[number]) <= seq < int(self.sent[number]) and (
            seq not in self._beyond.get(number, ())
        )

    def _resolve(
        self, number: int, seq: int, outcome: int, resolved: list[tuple[int, int, int]]
    ) -> None:
        resolved.append((number, seq, outcome))
        self.in_flight -= 1
        beyond = self._beyond.get(number)
        if seq != int(self.oldest[number]):
            self._beyond.setdefault(number, set()).add(seq)
            self._is_odd[number] = True
            return
        seq += 1
        if beyond is not None:
            while seq in beyond:
                beyond.remove(seq)
                seq += 1
            if not beyond:
                del self._beyond[number]
        self.oldest[number] = seq

    def _extra(self, kind: str, seen_on: int, number: int, seq: int, reply: bytes) -> None:
        self.extras[kind] += 1
        self._fault(kind, seen_on, number, seq, reply)

    def _fault(self, kind: str, seen_on: int, number: int, seq: int, reply: bytes) -> None:
        """Keep the first of each kind. `expected` is what the request it belongs to waits for,
        but for what came on another connection: what was due on the one it came on."""
        if self._kept[kind] >= FAULTS_KEPT:
            return
        self._kept[kind] += 1
        expected = b""
        if seen_on == number:
            expected = self.scenario.reply(number, seq)
        elif int(self.oldest[seen_on]) < int(self.sent[seen_on]):
            expected = self.scenario.reply(seen_on, int(self.oldest[seen_on]))
        self.faults.append(
            Fault(kind, seen_on, seq, expected[:FAULT_BYTES_MAX], reply[:FAULT_BYTES_MAX])
        )


def _joined(quick: Resolved, slow: Resolved) -> Resolved:
    outcomes: list[Outcomes] = [np.full(len(quick), RIGHT, np.uint8)]
    if slow.outcomes is not None:
        outcomes.append(slow.outcomes)
    return Resolved(
        np.concatenate((quick.numbers, slow.numbers)),
        np.concatenate((quick.seqs, slow.seqs)),
        np.concatenate(outcomes),
    )


def _gathered(resolved: list[tuple[int, int, int]]) -> Resolved:
    rows = np.array(resolved, np.int64).reshape(-1, 3)
    return Resolved(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8))
