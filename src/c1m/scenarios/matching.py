"""Requests and replies of all connections: who has what in flight, and what became of it. Pure.

Connections are numbers 0 .. count - 1; a connection's requests are counted from 0 over the whole
run (`seq`), however often it is opened anew. Every request is resolved once, as one of

    RIGHT      its reply came, on its connection, byte for byte
    GARBLED    something else came in its place
    CROSSED    its reply came on another connection
    REORDERED  its reply came, but after that of a later request
    MISSING    it was given up after the time-out, at the end, or with its connection

so sent = right + wrong + missing + in flight, at any time. What comes beyond that is counted apart
(`extras`): "doubled" replies, "late" ones (to requests that were given up, lost with their
connection or answered by something else before), bytes "unasked" for.

Where replies have no end of their own (echo: what is wrong with one may be its length), bytes that
are no reply are a part of none if the right one comes whole behind them: they are "unasked". So is
the beginning of a reply that was given up, if the next one's follows in the place of its rest; that
was told when it was given up.

How a reply is known: by its bytes. It is compared with the reply that its connection waits for; if
it is another one and the scenario can tell whose (`identify`), it resolves the request it belongs
to, wherever that was sent. So two replies swapped between connections are two CROSSED and nothing
is missing; a reply sent on the wrong connection is one CROSSED; a lost one is one MISSING.

Nearly every batch consists of whole, right replies, one of each connection. Those are seen to be so
by a few operations over the batch; only what fails that is looked at piece by piece.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.scenarios import pipelined
from c1m.scenarios.expired import GivenUp
from c1m.scenarios.messages import Numbers
from c1m.scenarios.outcomes import (
    CROSSED,
    FAULT_BYTES_MAX,
    GARBLED,
    MISSING,
    OUTCOMES,
    REORDERED,
    RIGHT,
    Fault,
    Outcomes,
    Pushes,
    Resolved,
    gathered,
    joined,
    merged,
)

if TYPE_CHECKING:
    from c1m.scenarios.base import Scenario

__all__ = [
    "CROSSED",
    "GARBLED",
    "MISSING",
    "OUTCOMES",
    "REORDERED",
    "RIGHT",
    "Exchange",
    "Fault",
    "Outcomes",
    "Pushes",
    "Resolved",
]

FAULTS_KEPT = 10  # of each kind
LOOK_BACK = 4  # requests of a connection that a reply which does not say whose it is may be of
LONG_REPLY = 4096  # bytes: only looked at when they are all there
BEYOND_REPLY_MAX = 1 << 16  # bytes more than the right reply has in which none ends: garbage
UNKNOWN_REPLY_MAX = 1 << 24  # where the right one's size is not known


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
        self._begun: dict[int, int] = {}  # where these begin one that was given up: its seq
        self._has_ends = scenario.has_ends()
        # Seqs resolved above `oldest`, and whether their reply has come on their connection.
        self._beyond: dict[int, dict[int, bool]] = {}
        self._given_up = GivenUp(count)
        self._last = np.zeros(count, np.int32)  # scratch: each connection's last piece in a batch
        self._order = np.arange(64, dtype=np.int32)  # as long as the longest batch so far

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these connections may have another request sent: bool[n]."""
        free: npt.NDArray[np.bool_] = self.sent[numbers] - self.oldest[numbers] < self.depth
        return free

    def have_in_flight(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these connections wait for a reply: bool[n]."""
        have: npt.NDArray[np.bool_] = self.sent.take(numbers) != self.oldest.take(numbers)
        return have

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

    def opened(self, numbers: Numbers) -> None:
        """Connections that are open from now on, anew or for the first time."""

    def pushes(self) -> Pushes | None:
        """Copies that came since this was asked last, for fan-out: to be asked after each take."""
        return None

    def gone(self, numbers: Numbers) -> Resolved:
        """Connections that the generator closes: what they had in flight is MISSING, or GARBLED
        where bytes had come that begin no right reply.
        """
        begun = self._give_up_begun(numbers)
        self._drop_parts(numbers)
        return merged(begun, self._abandon(numbers))

    def ended(self, numbers: Numbers) -> Resolved:
        """Connections that the server ended, or that broke. The same, for most scenarios."""
        return self.gone(numbers)

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        """Requests that waited too long; GARBLED where bytes had come that begin no right reply."""
        resolved: list[tuple[int, int, int]] = []
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            if not self._is_waiting(number, seq):
                continue
            outcome, came = MISSING, b""
            if number in self._parts and seq == int(self.oldest[number]):
                came = b"".join(self._parts[number][1])
                if not self.scenario.reply(number, seq).startswith(came):
                    outcome = GARBLED
                    del self._parts[number]
                elif not self._has_ends:
                    self._begun.setdefault(number, seq)
            self._fault(OUTCOMES[outcome], number, number, seq, came)
            self._resolve(number, seq, outcome, resolved)
            self._see_odd(number)
        given_up = gathered(resolved)
        self._given_up.add(given_up.numbers, given_up.seqs)
        return given_up

    def _give_up_begun(self, numbers: Numbers) -> Resolved:
        """The requests of whose replies bytes have come: those bytes are kept with the fault."""
        odd = numbers[self._is_odd[numbers]] if self._parts else numbers[:0]
        begun = odd[self.have_in_flight(odd)]
        begun = begun[[number in self._parts for number in begun.tolist()]]
        resolved = self.give_up(begun, self.oldest[begun].astype(np.int64))
        for number in begun.tolist():
            self._parts.pop(number, None)
            self._begun.pop(number, None)
        return resolved

    def _forget(self, number: int, seq: int) -> None:
        """This request's reply is not waited for any more: should it come, it is late."""
        self._given_up.add(np.array([number]), np.array([seq]))

    def _abandon(self, numbers: Numbers) -> Resolved:
        first, end = self.oldest[numbers].astype(np.int64), self.sent[numbers].astype(np.int64)
        self._is_odd[numbers] = False
        counts = end - first
        if not counts.any():
            return gathered([])
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
        self._given_up.add(owners, seqs)
        return Resolved(owners, seqs, np.full(len(owners), MISSING, np.uint8))

    def _drop_parts(self, numbers: Numbers) -> None:
        for number in numbers[self._is_odd[numbers]].tolist() if self._parts else ():
            _, parts = self._parts.pop(number, (0, []))
            seq = int(self.oldest[number])
            if self._begun.pop(number, None) is not None:
                continue  # told when it was given up
            if parts and seq == int(self.sent[number]):
                self._extra("unasked", number, number, max(seq - 1, 0), b"".join(parts))

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
        if not self.scenario.are_right(numbers, seqs, data):
            return False
        self.scenario.took(numbers, seqs, data)
        return True

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
        quick = which[right]
        done = np.zeros(len(numbers), np.int64)  # bytes of each piece that are seen to
        done[quick] = data.lengths[quick]
        parts = [self._are_taken(numbers[quick], seqs[quick], data.take(quick))]
        if self.depth > 1:
            which = which[~right]
            waiting = self.sent[numbers[which]] - seqs[which]
            which, waiting = which[waiting > 1], waiting[waiting > 1]
            some = numbers[which], seqs[which], waiting, data.take(which)
            of, later, replies = pipelined.split(self.scenario, *some)
            of = which[of]
            right = self.scenario.which_right(numbers[of], later, replies)
            right &= ~np.isin(of, of[~right])  # one that is wrong: the piece is looked at in order
            of, later, replies = of[right], later[right], replies.take(right)
            np.add.at(done, of, replies.lengths)
            parts.append(self._are_taken(numbers[of], later, replies))
        resolved: list[tuple[int, int, int]] = []
        for i in np.flatnonzero(done < data.lengths).tolist():
            self._take_piece(int(numbers[i]), data.piece(i)[done[i] :], resolved)
        return joined(parts, gathered(resolved))

    def _are_taken(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> Resolved:
        """These replies are right and whole, and in order on each connection."""
        np.add.at(self.oldest, numbers, np.uint32(1))
        self.in_flight -= len(numbers)
        if len(numbers):
            self.scenario.took(numbers, seqs, data)
        return Resolved(numbers, seqs)

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
        begun = self._begun.pop(number, None) if self._begun else None
        if begun is not None:
            came = b"".join([*parts, piece])
            whole = self.scenario.reply(number, begun)
            if whole.startswith(came):  # it is only slow, and still not whole
                self._parts[number], self._begun[number] = (len(came), [came]), begun
                return
            if not came.startswith(whole):
                size, parts = 0, []  # its rest will not come
        parts.append(piece)
        size += len(piece)
        wanted = self.scenario.reply_size(number, self._asked(number))
        if wanted > LONG_REPLY and size < wanted:
            self._parts[number] = (size, parts)  # joining them every time would cost a square
        else:
            self._take_stream(number, b"".join(parts), wanted, resolved)
        self._see_odd(number)

    def _take_stream(
        self, number: int, stream: bytes, wanted: int, resolved: list[tuple[int, int, int]]
    ) -> None:
        """One reply after the other; what is left of the last is kept."""
        most = wanted + BEYOND_REPLY_MAX if wanted else UNKNOWN_REPLY_MAX
        at, look = 0, max(2 * wanted, LONG_REPLY)  # cutting a reply off all that follows: a square
        while at < len(stream):
            rest = stream[at : at + look]
            before = 0 if self._has_ends else self._before_the_reply(number, rest)
            if before:
                self._extra("unasked", number, number, self._asked(number), rest[:before])
                at += before
                continue
            length = self.scenario.frame(number, self._asked(number), rest)
            if not 0 <= length <= len(rest):
                raise ScenarioError(
                    f"The scenario's frame said that a reply has {length} bytes, of {len(rest)}.",
                    "It is to return the bytes of the first whole reply, or 0.",
                )
            if length == 0 and at + look < len(stream) and look < most:
                look *= 2
                continue
            if length == 0 and len(rest) <= most:
                self._parts[number] = (len(rest), [rest])
                return
            self._take_reply(number, rest[:length] if length else rest, resolved)
            at += length or len(rest)

    def _before_the_reply(self, number: int, stream: bytes) -> int:
        """Bytes before the one reply that is waited for here, if they are no reply themselves."""
        seq = int(self.oldest[number])
        if int(self.sent[number]) != seq + 1:
            return 0
        before = max(stream.find(self.scenario.reply(number, seq)), 0)
        return 0 if before and self.scenario.frame(number, seq, stream[:before]) else before

    def _asked(self, number: int) -> int:
        """The seq whose reply is to come next, or the last one's if none is."""
        seq = int(self.oldest[number])
        return seq if seq < int(self.sent[number]) else max(seq - 1, 0)

    def _see_odd(self, number: int) -> None:
        self._is_odd[number] = number in self._parts or number in self._beyond

    def _take_reply(self, number: int, reply: bytes, resolved: list[tuple[int, int, int]]) -> None:
        """One whole reply on a connection: find the request it belongs to."""
        seq = int(self.oldest[number])
        waits = seq < int(self.sent[number])
        if waits and self.scenario.accepts(number, seq, reply):
            is_overtaken = any(self._beyond.get(number, {}).values())
            outcome = REORDERED if is_overtaken else RIGHT
            self._belongs(number, seq, outcome, number, reply, resolved)
            return
        owner = self._owner_of(number, reply)
        if owner is None and waits:
            self._fault("garbled", number, number, seq, reply)
            self._forget(number, seq)
            self._resolve(number, seq, GARBLED, resolved)
        elif owner is None:
            self._extra("unasked", number, number, max(seq - 1, 0), reply)
        elif not self._is_waiting(*owner):
            kind = "late" if owner in self._given_up else "doubled"
            self._given_up.discard(owner)
            self._extra(kind, number, *owner, reply)
        else:  # ours, before an earlier one: that one is late if it still comes
            outcome = RIGHT if owner[0] == number else CROSSED
            self._belongs(*owner, outcome, number, reply, resolved)

    def _belongs(
        self, number: int, seq: int, outcome: int, seen_on: int, reply: bytes,
        resolved: list[tuple[int, int, int]],
    ) -> None:  # fmt: skip
        """A right reply that is not simply the next: its request is found, and resolved."""
        if outcome != RIGHT:
            self._fault(OUTCOMES[outcome], seen_on, number, seq, reply)
        self.scenario.took(np.array([number]), np.array([seq]), Ragged.of([reply]))
        self._resolve(number, seq, outcome, resolved)

    def _owner_of(self, number: int, reply: bytes) -> tuple[int, int] | None:
        """(number, seq) of the request that this reply answers, if its bytes tell."""
        named = self.scenario.identify(reply)
        if named is None:
            return self._own(number, reply)
        number, seq = named
        if not 0 <= number < len(self.sent):
            return None
        if seq is None:  # only whose it is: the one that waits, or the last
            seq = self._asked(number)
        if not 0 <= seq < int(self.sent[number]):
            return None
        return (number, seq) if self.scenario.accepts(number, seq, reply) else None

    def _own(self, number: int, reply: bytes) -> tuple[int, int] | None:
        """A reply that does not say whose it is: of another request here, by its bytes."""
        seq, sent = int(self.oldest[number]), int(self.sent[number])
        near = [*range(seq + 1, sent), *range(seq - 1, max(seq - 1 - LOOK_BACK, -1), -1)]
        fits = [(number, s) for s in near if self.scenario.accepts(number, s, reply)]
        waiting = [one for one in fits if self._is_waiting(*one)]
        given_up = [one for one in fits if one in self._given_up]
        return next(iter(waiting + given_up + fits), None)

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
            self._beyond.setdefault(number, {})[seq] = outcome in (RIGHT, REORDERED)
            self._is_odd[number] = True
            return
        seq += 1
        if beyond is not None:
            while seq in beyond:
                del beyond[seq]
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
        if kind == "unasked":
            pass
        elif seen_on == number:
            expected = self.scenario.reply(number, seq)
        elif int(self.oldest[seen_on]) < int(self.sent[seen_on]):
            expected = self.scenario.reply(seen_on, int(self.oldest[seen_on]))
        self.faults.append(
            Fault(kind, seen_on, seq, expected[:FAULT_BYTES_MAX], reply[:FAULT_BYTES_MAX])
        )
