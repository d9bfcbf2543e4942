"""Scenario publish: one connection says something, and all of them hear it. Pure.

A publication is a request of a publisher. It is RIGHT when every connection that was open when it
was sent has had its copy, once; GARBLED when all that came did come, but some as other bytes;
MISSING when it is given up before, or when its publisher ends. Its copies are made by one template
for all receivers, so most batches are whole copies of one publication, which one comparison of
memory shows.

A receiver that the load client closes is no longer waited for; one that the server ends is missing.
A connection that was opened after the publication may have a copy or not, and so may the publisher.

Where several load clients do the run together, all of their connections hear what any of them
publishes. What another one has published is known by its number, and compared byte for byte: from
the first copy on all connections here are waited for, but those that have just been opened. It is
nobody's request here, and has no latency, since the clock at its beginning is another one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.protocols.inbox import Inbox
from c1m.results.record import FanOut
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import (
    GARBLED,
    MISSING,
    RIGHT,
    Pushes,
    Repeats,
    Resolved,
    Where,
)
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Message, Numbers
from c1m.scenarios.templates import Templates
from c1m.units import format_number_of

PUBLICATION = "client {n} publishes {seq}\n"
STATES_MAX = 1 << 30  # bytes: a state for each receiver of each publication in flight
FEW = 8  # pieces of a batch that are looked at for what others have published
PAST_MAX = 4  # publications that are over whose receivers are remembered
OWN_MAX = 1 << 16  # publications whose publisher may still hear itself
OTHERS_BYTES = (
    1 << 27
)  # of states of others' publications under way; beyond that the oldest is over
NEW_NS = 500_000_000  # so long after it has opened a connection may miss what others publish

NOT_AWAITED, AWAITED, OPTIONAL, HAD, SPOILT = range(5)  # a receiver's state


class Publish(Scenario):
    """Connections 0 .. publishers - 1 publish; every open connection should receive it once.

    `expect`: a copy, where the server changes what it passes on ({n} and {seq} are the
    publication's). Raises UsageError for templates that make publications look alike.
    """

    name = "publish"
    help = "connection 0 says `client {n} publishes {seq}`; every open connection receives it"
    schemes: tuple[str, ...] = ("tcp", "ws", "sse", "mqtt")
    stampedes = False
    sees_to_stretch = True

    def __init__(
        self,
        message: str | bytes = PUBLICATION,
        expect: str | bytes | None = None,
        publishers: int = 1,
    ) -> None:
        if publishers < 1:
            raise UsageError(f"{publishers} publishers say nothing.", "Ask for at least one.")
        self.publishers = publishers  # of the run
        self.speakers: int = publishers  # of these here
        expect = message if expect is None else expect
        self.copies = Templates(message, expect)
        copy = Message(expect, 1)
        if not copy.has_seq or (publishers > 1 and not copy.has_n):
            raise UsageError(
                "With this message one publication looks like another.",
                "Put {seq} into it" + (" and {n}." if publishers > 1 else "."),
            )
        self._has_n = copy.has_n
        self._fan: FanOutExchange | None = None

    def begin(self, connections: int, seed: int) -> None:
        stretch = self.stretch
        total = max(stretch.total, connections)
        if self.publishers > total:
            raise UsageError(
                f"{self.publishers:,} publishers were asked for, of {total:,} connections.",
                "Ask for fewer, or for more connections.",
            )
        if not (stretch.share.is_whole or self._has_n):
            raise UsageError(
                "With this message nobody knows which load client has published it.",
                "Put {n} into it.",
            )
        self.speakers = stretch.share.count(self.publishers)
        self.copies.stretch = stretch
        self.copies.begin(total - stretch.first, seed)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self.copies.requests(numbers, seqs)

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """The copies of these publications."""
        return self.copies.replies(numbers, seqs)

    def doubts(self) -> list[str]:
        return self.copies.doubts()

    def exchange(self, count: int, depth: int) -> Exchange:
        if count * depth * self.speakers > STATES_MAX:
            raise UsageError(
                f"{self.speakers:,} publishers with {depth} publications under way to {count:,} "
                "connections are too many to keep count of.",
                f"Use at most {max(STATES_MAX // (count * depth), 1):,} publishers.",
            )
        self._fan = FanOutExchange(self, count, depth)
        return self._fan

    def fan_out(self) -> FanOut | None:
        """What was published and received."""
        fan = self._fan
        if fan is None:
            return None
        return FanOut(
            published=fan.published, expected=fan.expected, received=fan.received,
            doubled=fan.ledger.extras["doubled"], garbled=fan.garbled,
            elsewhere=fan.heard.count,
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Publication:
    """One that is under way: what a copy is, and each connection's state uint8[count]."""

    number: int
    seq: int
    copy: bytes
    states: npt.NDArray[np.uint8]
    left: int  # receivers that are awaited
    spoilt: int = 0
    lost: int = 0
    is_ours: bool = True  # published here, so there is a request of it


class Heard:
    """Which publications of others were heard of: of each publisher all below a seq, and some."""

    def __init__(self) -> None:
        self.count = 0
        self._below: dict[int, int] = {}
        self._beyond: dict[int, set[int]] = {}

    def has(self, number: int, seq: int) -> bool:
        """Whether a copy of it has come already."""
        return seq < self._below.get(number, 0) or seq in self._beyond.get(number, ())

    def add(self, number: int, seq: int) -> None:
        """The first copy of it has come."""
        self.count += 1
        below, beyond = self._below.get(number, 0), self._beyond.setdefault(number, set())
        beyond.add(seq)
        if len(beyond) > OWN_MAX:
            below = min(beyond)
        while below in beyond:
            beyond.remove(below)
            below += 1
        self._below[number] = below


class FanOutExchange(Exchange):
    """Publications under way, and who has had which: a request has many replies."""

    def __init__(self, publish: Publish, count: int, depth: int) -> None:
        super().__init__(publish, count, depth)
        self.published = self.expected = self.received = self.garbled = 0
        self._copies = publish.copies
        self._publishers = publish.speakers
        self._inbox = Inbox()
        self._repeats = Repeats(count)
        self._is_open = np.zeros(count, np.bool_)
        self._under_way: list[Publication] = []
        self._past: dict[tuple[int, int], Publication] = {}
        self._own_copies: dict[tuple[int, int], None] = {}  # over, and not heard by the publisher
        self._pushed: list[tuple[int, int, int]] = []
        self.heard = Heard()
        self._has_others = not publish.stretch.share.is_whole
        self._others_max = max(OTHERS_BYTES // count, PAST_MAX)
        self._opened_ns = np.zeros(count * self._has_others, np.int64)

    @property
    def awaited(self) -> int:
        """See Exchange: also what others have published."""
        return self.ledger.in_flight + sum(not each.is_ours for each in self._under_way)

    def opened(self, numbers: Numbers) -> None:
        """See Exchange: they are receivers of what is published from now on."""
        self.listen(numbers, True)

    def listen(self, numbers: Numbers, on: bool) -> None:
        """From the next publication on, these open connections are waited for, or are not."""
        self._is_open[numbers] = on
        if on and self._has_others:
            self._opened_ns[numbers] = self.now_ns

    def is_free(self, numbers: Numbers) -> Where:
        """See Exchange: publishers that may publish again."""
        return super().is_free(numbers) & (numbers < self._publishers)

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        said, seqs = super().requests(numbers)
        self.published += len(numbers)
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            states = self._is_open.astype(np.uint8)  # AWAITED is 1
            states[number] = OPTIONAL
            left = int(np.count_nonzero(states == AWAITED))
            copy = self.scenario.reply(number, seq)
            self._under_way.append(Publication(number, seq, copy, states, left))
            self.expected += left
        return said, seqs

    # --- a batch ------------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        copies = self._copies_in(data)
        slow = self.ledger.is_odd.take(numbers)
        is_copy = np.zeros(len(numbers), np.bool_)
        for _, which in copies:
            is_copy |= which
        if self._has_others:
            copies += self._first_copies_in(data, is_copy)
        slow |= ~is_copy
        if slow.any():
            slow |= np.isin(numbers, numbers[slow])
        for publication, which in copies:
            self._receive(publication, numbers[which & ~slow])
        for i in np.flatnonzero(slow).tolist():
            self._take_piece(int(numbers[i]), data.piece(i))
        resolved = self.ledger.resolved()
        rows = np.array(self._pushed, np.int64).reshape(-1, 3)
        self._pushed.clear()
        resolved.pushes = Pushes(rows[:, 0], rows[:, 1], rows[:, 2])
        return resolved

    def _copies_in(self, data: Ragged) -> list[tuple[Publication, Where]]:
        """Which pieces are whole copies of which publication under way; none is of two."""
        found: list[tuple[Publication, Where]] = []
        left = len(data)
        for publication in self._under_way:
            if not left:
                break
            which = equal_to(data, publication.copy)
            count = int(np.count_nonzero(which))
            if count:
                found.append((publication, which))
                left -= count
        return found

    def _first_copies_in(self, data: Ragged, is_copy: Where) -> list[tuple[Publication, Where]]:
        """The same of what others have published, and what nobody here has heard of before: some
        pieces are looked at. They are marked in `is_copy`."""
        found: list[tuple[Publication, Where]] = []
        for at in np.flatnonzero(~is_copy)[:FEW].tolist():
            publication = None if is_copy[at] else self._first_heard(data.piece(at))
            if publication is not None:
                which = equal_to(data, publication.copy)
                found.append((publication, which))
                is_copy |= which
        return found

    def _first_heard(self, copy: bytes) -> Publication | None:
        """What another load client has published, if this is its first copy here."""
        named = self._copies.identify(copy) if self._has_others else None
        if named is None or named[1] is None or 0 <= named[0] < len(self._is_open):
            return None
        number, seq = named[0], int(named[1])
        if self.heard.has(number, seq) or not self._copies.accepts(number, seq, copy):
            return None
        self.heard.add(number, seq)
        states = self._is_open.astype(np.uint8)  # AWAITED is 1
        states[self._is_open & (self._opened_ns > self.now_ns - NEW_NS)] = OPTIONAL
        left = int(np.count_nonzero(states == AWAITED))
        publication = Publication(number, seq, copy, states, left, is_ours=False)
        self._under_way.append(publication)
        self.expected += left
        others = [each for each in self._under_way if not each.is_ours]
        if len(others) > self._others_max:
            self._finish(others[0])
        return publication

    def _receive(self, publication: Publication, numbers: Numbers) -> None:
        """Whole copies that came to these connections."""
        if not len(numbers):
            return
        is_first = self._repeats.first(numbers)
        states = publication.states.take(numbers)
        is_due = is_first & (states == AWAITED)
        is_own = is_first & (states == OPTIONAL)
        publication.left -= int(np.count_nonzero(is_due))
        self.expected += int(np.count_nonzero(is_own))
        is_due |= is_own
        count = int(np.count_nonzero(is_due))
        if count < len(numbers):
            self._receive_more(publication, numbers[~is_due], states[~is_due])
        publication.states[numbers[is_due]] = HAD
        self.received += count
        if count and publication.is_ours:
            self._pushed.append((publication.number, publication.seq, count))
        self._see_whether_over(publication)

    def _receive_more(
        self, publication: Publication, numbers: Numbers, states: npt.NDArray[np.uint8]
    ) -> None:
        """Copies that were not due: mostly a server's mistake, so one by one."""
        said = publication.number, publication.seq, publication.copy
        for number, state in zip(numbers.tolist(), states.tolist(), strict=True):
            if state != NOT_AWAITED:  # opened since then: the server may have thought otherwise
                self.ledger.extra("late" if state == SPOILT else "doubled", number, *said)

    def _see_whether_over(self, publication: Publication) -> None:
        if publication.left == 0 and publication in self._under_way:
            self._finish(publication)

    def _finish(self, publication: Publication) -> None:
        key = publication.number, publication.seq
        self._under_way.remove(publication)
        self._past[key] = publication
        if len(self._past) > PAST_MAX:
            del self._past[next(iter(self._past))]
        if not publication.is_ours:
            return
        if publication.states[publication.number] == OPTIONAL:
            self._own_copies[key] = None
            if len(self._own_copies) > OWN_MAX:
                del self._own_copies[next(iter(self._own_copies))]
        outcome = RIGHT
        if publication.left or publication.lost:
            outcome = MISSING
        elif publication.spoilt:
            outcome = GARBLED
        self.ledger.resolve(*key, outcome)

    # --- one piece ----------------------------------------------------------------------------

    def _take_piece(self, number: int, piece: bytes) -> None:
        """A piece that is no whole copy of what is under way: a part, several, something else."""
        published = self._under_way or list(self._past.values())
        if not published and not self._has_others:
            self.ledger.unasked(number, piece)
            return
        frame, stray = partial(self._frame, number), partial(self._stray, number)
        if self.hears_messages:
            self._take_copy(number, piece)
            return
        expected = min((len(publication.copy) for publication in published), default=0)
        for copy in self._inbox.messages(number, piece, frame, stray, expected):
            self._take_copy(number, copy)
        self.ledger.is_odd[number] = number in self._inbox

    def _frame(self, number: int, stream: bytes) -> int:
        due = self._due(number)
        if due is None:
            return self._copies.frame(0, 0, stream)
        if stream.startswith(due.copy):
            return len(due.copy)
        return self._copies.frame(due.number, due.seq, stream)

    def _stray(self, number: int, stream: bytes) -> int:
        """Bytes before the whole copy that is due here and that are none themselves: unasked for,
        unless they begin one that was given up, which was reported then."""
        due = self._due(number)
        if due is None or due.states[number] != AWAITED:
            return 0
        before = max(stream.find(due.copy), 0)
        if not before or self._copies.frame(due.number, due.seq, stream[:before]):
            return 0
        rest, past = stream[:before], self._past.values()
        if not any(p.copy.startswith(rest) and p.states[number] == AWAITED for p in past):
            self.ledger.unasked(number, rest)
        return before

    def _due(self, number: int) -> Publication | None:
        """What this connection should hear next, or else what was published last."""
        last = [None, *(self._under_way or self._past.values())][-1]
        return next((p for p in self._under_way if p.states[number] == AWAITED), last)

    def _take_copy(self, number: int, copy: bytes) -> None:
        here = np.array([number])
        for publication in self._under_way:
            if publication.copy == copy:
                self._receive(publication, here)
                return
        if (others := self._first_heard(copy)) is not None:
            self._receive(others, here)
            return
        key = self._published(copy)
        due = next((p for p in self._under_way if p.states[number] == AWAITED), None)
        if key is not None and key[0] == number and key in self._own_copies:
            del self._own_copies[key]
            self.expected += 1
            self.received += 1  # after all others: its latency is not kept
        elif key is not None:
            past = self._past.get(key)
            state = HAD if past is None else int(past.states[number])
            if state != NOT_AWAITED:
                kind = "late" if state in (AWAITED, SPOILT) else "doubled"
                self.ledger.extra(kind, number, *key, copy)
            if past is not None and state == AWAITED:
                past.states[number] = HAD
        elif due is None:
            self.ledger.unasked(number, copy)
        else:
            self.ledger.fault("garbled", number, due.number, due.seq, copy)
            self.garbled += 1
            due.states[number] = SPOILT
            due.spoilt += 1
            due.left -= 1
            self._see_whether_over(due)

    def _published(self, copy: bytes) -> tuple[int, int] | None:
        """Which publication this is a copy of, if of any that was."""
        named = self._copies.identify(copy)
        if named is None or named[1] is None:
            known = (key for key, past in self._past.items() if past.copy == copy)
            return next(known, None)
        number, seq = named
        if seq is None:
            return None
        is_here = 0 <= number < len(self.ledger.sent)
        if seq >= int(self.ledger.sent[number]) if is_here else not self.heard.has(number, seq):
            return None
        return (number, seq) if self._copies.accepts(number, seq, copy) else None

    # --- ends ---------------------------------------------------------------------------------

    def unanswered(self, number: int) -> list[int]:
        """See Exchange: nothing is published twice."""
        return []

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange: what those that the server ended should have heard is missing; the others
        are no longer waited for."""
        for number in numbers[self.ledger.is_odd[numbers]].tolist():
            self._inbox.pop(number)  # half a copy is no copy
        self.ledger.is_odd[numbers] = False
        self._is_open[numbers] = False
        for publication in list(self._under_way):
            awaited = numbers[publication.states[numbers] == AWAITED]
            publication.states[awaited] = NOT_AWAITED
            publication.left -= len(awaited)
            if by_peer:
                publication.lost += len(awaited)
            else:
                self.expected -= len(awaited)
            if publication.left and bool((numbers == publication.number).any()):
                self._finish(publication)
            else:
                self._see_whether_over(publication)
        return self.ledger.resolved()

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        keys = set(zip(numbers.tolist(), seqs.tolist(), strict=True))
        for publication in list(self._under_way):
            if (publication.number, publication.seq) in keys:
                if publication.left:
                    self._miss(publication)
                self._finish(publication)
        return self.ledger.resolved()

    def _miss(self, publication: Publication) -> None:
        """A fault for the first that had no copy."""
        number, seq = publication.number, publication.seq
        first = int(np.argmax(publication.states == AWAITED))
        copies = format_number_of(publication.left, "copy", "copies")
        note = f"connection {number:,} published it; {copies} did not come"
        self.ledger.fault("missing", first, number, seq, b"", publication.copy, note)
