"""Which request a reply belongs to, by its bytes; and whether it is right. Pure.

A reply is compared with the one that its connection waits for; if it is another one and the
scenario can say whose (`identify`), it resolves the request it belongs to, wherever that was sent.
So two replies swapped between connections are two CROSSED and nothing is missing; a reply sent on
the wrong connection is one CROSSED; a lost one is one MISSING.

Where replies have no end of their own (echo: what is wrong with one may be its length), bytes that
are no reply are a part of none if the right one comes whole behind them: they are "unasked". So is
the beginning of a reply that was given up, if the next one's follows in the place of its rest; that
was reported when it was given up.

Nearly every batch consists of whole, right replies, one of each connection. A few operations over
the batch show that; only what fails them is looked at piece by piece.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.protocols.inbox import Inbox
from c1m.scenarios.base import Exchange, Scenario
from c1m.scenarios.ledger import (
    CROSSED,
    GARBLED,
    MISSING,
    OUTCOMES,
    REORDERED,
    RIGHT,
    Repeats,
    Resolved,
)
from c1m.scenarios.messages import Numbers

LOOK_BACK = 4  # requests of a connection that a reply which does not say whose it is may be of


def exchange_of(scenario: Scenario, count: int, depth: int) -> Exchange:
    """The scenario's own exchange, or the one of most."""
    own = scenario.exchange(count, depth)
    return Matching(scenario, count, depth) if own is None else own


class Matching(Exchange):
    """The exchange of most scenarios: each request has one reply, on its connection."""

    def __init__(self, scenario: Scenario, count: int, depth: int = 1) -> None:
        super().__init__(scenario, count, depth)
        self._inbox = Inbox()
        self._begun: dict[int, int] = {}  # where pending bytes begin one that was given up: its seq
        self._has_ends = scenario.has_ends()
        self._repeats = Repeats(count)

    def has_scalars(self) -> bool:
        """See Exchange."""
        return self.scenario.has_scalars()

    def has_room(self, number: int) -> bool:
        """See Exchange."""
        return self.ledger.has_room(number)

    def request(self, number: int) -> tuple[bytes, int]:
        """See Exchange."""
        seq: int = self.ledger.sent_at[number]
        said = self.scenario.request(number, seq)
        self.ledger.send_one(number)
        return said, seq

    def take_few(self, pieces: list[tuple[int, bytes]]) -> list[tuple[int, int]] | None:
        """See Exchange."""
        ledger, is_right = self.ledger, self.scenario.is_right
        sent, oldest, is_odd = ledger.sent_at, ledger.oldest_at, ledger.is_odd_at
        right: list[tuple[int, int]] = []
        for number, piece in pieces:
            seq = oldest[number]
            if seq == sent[number] or is_odd[number] or not is_right(number, seq, piece):
                return None
            right.append((number, seq))
        if len(right) > 1 and len(dict(right)) < len(right):
            return None
        for number, _ in right:
            ledger.answer_one(number)
        return right

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        seqs = self.ledger.oldest.take(numbers).astype(np.int64)
        if self._are_right(numbers, seqs, data):
            self.ledger.answer(numbers)
            return Resolved(numbers, seqs)
        return self._take_some(numbers, seqs, data)

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange: what was in flight is MISSING, or GARBLED where bytes had come that begin
        no right reply."""
        ledger = self.ledger
        for number in numbers[ledger.is_odd[numbers]].tolist() if len(self._inbox) else ():
            was_reported = number in self._begun
            if number in self._inbox and ledger.expects(number):
                seq, was_reported = int(ledger.oldest[number]), True
                self.miss(number, seq)
                self._forget(number, seq)
            came = self._inbox.pop(number)
            if came and not was_reported:
                ledger.unasked(number, came)
            self._begun.pop(number, None)
        return ledger.abandon(numbers)

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        given_up = super().give_up(numbers, seqs)
        self.ledger.given_up.add(given_up.numbers, given_up.seqs)
        return given_up

    def miss(self, number: int, seq: int) -> None:
        """See Exchange: GARBLED where bytes had come that begin no right reply."""
        outcome, came = MISSING, b""
        if number in self._inbox and seq == int(self.ledger.oldest[number]):
            came = self._inbox.peek(number)
            if not self.scenario.reply(number, seq).startswith(came):
                outcome = GARBLED
                self._inbox.pop(number)
            elif not self._has_ends:
                self._begun.setdefault(number, seq)
        self.ledger.fault(OUTCOMES[outcome], number, number, seq, came)
        self.ledger.resolve(number, seq, outcome)
        self._see_odd(number)

    def _forget(self, number: int, seq: int) -> None:
        """This request's reply is not waited for any more: should it come, it is late."""
        self.ledger.given_up.add(np.array([number]), np.array([seq]))

    def _see_odd(self, number: int) -> None:
        self.ledger.is_odd[number] = number in self._inbox or self.ledger.has_beyond(number)

    # --- a batch ------------------------------------------------------------------------------

    def _are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Whether each piece is the whole, right and only one of a connection that waits for it."""
        waiting = self.ledger.sent.take(numbers) != seqs
        if np.count_nonzero(waiting) != len(numbers) or self.ledger.is_odd.take(numbers).any():
            return False
        if not self._repeats.none(numbers) or not self.scenario.are_right(numbers, seqs, data):
            return False
        self.scenario.took(numbers, seqs, data)
        return True

    def _take_some(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> Resolved:
        """A batch that is not what most are: by arrays what can be, the rest piece by piece."""
        ledger = self.ledger
        whole = ledger.sent[numbers] != seqs
        whole &= ~ledger.is_odd[numbers]
        whole &= ~self._repeats.several(numbers)
        which = np.flatnonzero(whole)
        right = self.scenario.which_right(numbers[which], seqs[which], data.take(which))
        quick = which[right]
        done = np.zeros(len(numbers), np.int64)  # bytes of each piece that are seen to
        done[quick] = data.lengths[quick]
        parts = [self._answered(numbers[quick], seqs[quick], data.take(quick))]
        if ledger.depth > 1 and not self.hears_messages:
            which = which[~right]
            waiting = ledger.sent[numbers[which]] - seqs[which]
            which, waiting = which[waiting > 1], waiting[waiting > 1]
            some = numbers[which], seqs[which], waiting, data.take(which)
            of, later, replies = split(self.scenario, *some)
            of = which[of]
            right = self.scenario.which_right(numbers[of], later, replies)
            right &= ~np.isin(of, of[~right])  # one that is wrong: the piece is looked at in order
            of, later, replies = of[right], later[right], replies.take(right)
            np.add.at(done, of, replies.lengths)
            parts.append(self._answered(numbers[of], later, replies))
        for i in np.flatnonzero(done < data.lengths).tolist():
            self._take_piece(int(numbers[i]), data.piece(i)[done[i] :])
        return ledger.resolved(right=parts)

    def _answered(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> tuple[Numbers, Numbers]:
        """These replies are right and whole, and in order on each connection."""
        if len(numbers):
            self.ledger.answer_several(numbers)
            self.scenario.took(numbers, seqs, data)
        return numbers, seqs

    # --- one piece ----------------------------------------------------------------------------

    def _take_piece(self, number: int, piece: bytes) -> None:
        """A piece that is not simply the whole reply: a part, several, something wrong."""
        if self.hears_messages and not self._has_ends:  # a message is a reply
            self._take_reply(number, piece)
            return
        begun = self._begun.pop(number, None) if self._begun else None
        if begun is not None:
            came = self._inbox.pop(number) + piece
            whole = self.scenario.reply(number, begun)
            if whole.startswith(came):  # it is only slow, and still not whole
                self._inbox.keep(number, came)
                self._begun[number] = begun
                return
            if came.startswith(whole):
                piece = came
            # Otherwise its rest will not come: the piece begins another.
        expected = self.scenario.reply_size(number, self.ledger.asked(number))
        frame, stray = partial(self._frame, number), partial(self._stray, number)
        for reply in self._inbox.messages(number, piece, frame, stray, expected):
            self._take_reply(number, reply)
        self._see_odd(number)

    def _frame(self, number: int, stream: bytes) -> int:
        length = self.scenario.frame(number, self.ledger.asked(number), stream)
        if not 0 <= length <= len(stream):
            raise bad_frame(length, len(stream))
        return length

    def _stray(self, number: int, stream: bytes) -> int:
        """Bytes before the one reply that is waited for here, if they are no reply themselves."""
        seq = int(self.ledger.oldest[number])
        if self._has_ends or int(self.ledger.sent[number]) != seq + 1:
            return 0
        before = max(stream.find(self.scenario.reply(number, seq)), 0)
        if not before or self.scenario.frame(number, seq, stream[:before]):
            return 0
        self.ledger.unasked(number, stream[:before])
        return before

    def _take_reply(self, number: int, reply: bytes) -> None:
        """One whole reply on a connection: find the request it belongs to."""
        ledger = self.ledger
        seq, waits = int(ledger.oldest[number]), ledger.expects(number)
        if waits and self.scenario.accepts(number, seq, reply):
            outcome = REORDERED if ledger.is_overtaken(number) else RIGHT
            self._belongs(number, seq, outcome, number, reply)
            return
        wrong = self.scenario.mix_up(number, seq, reply) if waits else None
        owner = self._owner_of(number, reply) if wrong is None else None
        if owner is None and waits:
            wrong = GARBLED if wrong is None else wrong
            note = self.scenario.why_wrong(number, seq, reply)
            ledger.fault(OUTCOMES[wrong], number, number, seq, reply, note=note)
            self._forget(number, seq)
            ledger.resolve(number, seq, wrong)
        elif owner is None:
            ledger.unasked(number, reply)
        elif not ledger.is_waiting(*owner):
            kind = "late" if owner in ledger.given_up else "doubled"
            ledger.given_up.discard(owner)
            ledger.extra(kind, number, *owner, reply)
        else:  # ours, before an earlier one: that one is late if it still comes
            outcome = RIGHT if owner[0] == number else CROSSED
            self._belongs(*owner, outcome, number, reply)

    def _belongs(self, number: int, seq: int, outcome: int, seen_on: int, reply: bytes) -> None:
        """A right reply that is not simply the next: its request is found, and resolved."""
        if outcome != RIGHT:
            self.ledger.fault(OUTCOMES[outcome], seen_on, number, seq, reply)
        self.scenario.took(np.array([number]), np.array([seq]), Ragged.of([reply]))
        self.ledger.resolve(number, seq, outcome)

    def _owner_of(self, number: int, reply: bytes) -> tuple[int, int] | None:
        """(number, seq) of the request that this reply answers, if its bytes say so."""
        named = self.scenario.identify(reply)
        if named is None:
            return self._own(number, reply)
        number, seq = named
        if not 0 <= number < len(self.ledger.sent):
            return None
        if seq is None:  # only whose it is: the one that waits, or the last
            seq = self.ledger.asked(number)
        if not 0 <= seq < int(self.ledger.sent[number]):
            return None
        return (number, seq) if self.scenario.accepts(number, seq, reply) else None

    def _own(self, number: int, reply: bytes) -> tuple[int, int] | None:
        """A reply that does not say whose it is: of another request here, by its bytes."""
        ledger = self.ledger
        seq, sent = int(ledger.oldest[number]), int(ledger.sent[number])
        near = [*range(seq + 1, sent), *range(seq - 1, max(seq - 1 - LOOK_BACK, -1), -1)]
        fits = [(number, s) for s in near if self.scenario.accepts(number, s, reply)]
        waiting = [one for one in fits if ledger.is_waiting(*one)]
        given_up = [one for one in fits if one in ledger.given_up]
        return next(iter(waiting + given_up + fits), None)


def bad_frame(length: int, size: int) -> ScenarioError:
    """A scenario's frame returned what no frame can."""
    return ScenarioError(
        f"The scenario's frame said that a reply has {length} bytes, of {size}.",
        "It must return the number of bytes of the first whole reply, or 0.",
    )


def split(
    scenario: Scenario, numbers: Numbers, seqs: Numbers, waiting: Numbers, data: Ragged
) -> tuple[Numbers, Numbers, Ragged]:
    """Cut each piece where whole right replies would end, as many as its connection waits for.

    Piece i is of connection numbers[i], whose oldest request is seqs[i] of waiting[i]; each
    connection has one piece. Returns the m parts: which piece int64[m] it is of, its seq int64[m],
    its bytes; those of one piece are in order. The slow form, for each piece:

        at = 0
        for seq in range(seqs[i], seqs[i] + waiting[i]):
            size = scenario.reply_size(numbers[i], seq) or scenario.frame(..., piece[at:])
            if not 0 < size <= len(piece) - at:
                break
            yield i, seq, piece[at : at + size]
            at += size
    """
    live = np.arange(len(numbers))
    at = np.zeros(len(numbers), np.int64)
    index: list[Numbers] = []
    later: list[Numbers] = []
    starts: list[Numbers] = []
    lengths: list[Numbers] = []
    for ahead in range(int(waiting.max(initial=0))):
        live = live[waiting[live] > ahead]
        known = scenario.reply_sizes(numbers[live], seqs[live] + ahead)
        if known is None:
            break
        sizes = known.astype(np.int64)
        unknown = np.flatnonzero(sizes == 0)
        if len(unknown):
            these = live[unknown]
            left = (data.lengths[these] - at[these]).astype(np.int32)
            streams = Ragged(data.memory, data.offsets[these] + at[these], left, data.address)
            sizes[unknown] = scenario.frames(streams)
        fits = (sizes > 0) & (at[live] + sizes <= data.lengths[live])
        live, sizes = live[fits], sizes[fits]
        if not len(live):
            break
        index.append(live)
        later.append(seqs[live] + ahead)
        starts.append(data.offsets[live] + at[live])
        lengths.append(sizes)
        at[live] += sizes
    if not index:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), Ragged.empty()
    of = np.concatenate(index)
    order = np.argsort(of, kind="stable")
    parts = Ragged(
        data.memory,
        np.concatenate(starts)[order],
        np.concatenate(lengths)[order].astype(np.int32),
        data.address,
    )
    return of[order], np.concatenate(later)[order], parts
