"""Scenario publish where publishers speak on connections of their own, and hear answers. Pure.

Publishers POST; each is answered with a status, and no publication comes to them. All other
connections are subscribers: see publish, of which this is a form. A publication that is refused is
GARBLED, and nobody waits for it.
"""

from __future__ import annotations

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import GARBLED, Resolved, joined
from c1m.scenarios.messages import Numbers
from c1m.scenarios.publish import NOT_AWAITED, FanOutExchange, Publish


class Posted(Publish):
    """Connections 0 .. publishers - 1 POST; all others should receive it once."""

    def exchange(self, count: int, depth: int) -> Exchange:
        super().exchange(count, depth)  # it refuses what is too much
        self._fan = PostedExchange(self, count, depth)
        return self._fan

    def notes(self) -> list[str]:
        fan = self._fan
        left = fan.without_answer if isinstance(fan, PostedExchange) else 0
        return [f"{left:,} publications had no answer."] if left else []


class PostedExchange(FanOutExchange):
    """Answers to publishers, and copies to all others."""

    def __init__(self, scenario: Posted, count: int, depth: int) -> None:
        super().__init__(scenario, count, depth)
        self._asked: dict[int, list[int]] = {}  # by publisher: seqs without an answer, in order

    @property
    def without_answer(self) -> int:
        """Publications without an answer."""
        return sum(map(len, self._asked.values()))

    @property
    def awaited(self) -> int:
        """See Exchange: also answers to what all have heard already."""
        return self.ledger.in_flight + self.without_answer

    def opened(self, numbers: Numbers) -> None:
        """See Exchange."""
        super().opened(numbers[numbers >= self._publishers])

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        said, seqs = super().requests(numbers)
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            self._asked.setdefault(number, []).append(seq)
        for publication in self._under_way[-len(numbers) :]:
            publication.states[publication.number] = NOT_AWAITED
        return said, seqs

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        is_answer = numbers < self._publishers
        if not is_answer.any():
            return super().take(numbers, data)
        for row in np.flatnonzero(is_answer).tolist():
            self._answered(int(numbers[row]), data.piece(row))
        return super().take(numbers[~is_answer], data.take(~is_answer))

    def _answered(self, number: int, answer: bytes) -> None:
        seqs = self._asked.get(number)
        if not seqs:
            self.ledger.unasked(number, answer)
            return
        seq = seqs.pop(0)
        if not answer.startswith(b"2"):
            self._refused(number, seq, answer)

    def _refused(self, number: int, seq: int, answer: bytes) -> None:
        note = "the server did not take the publication"
        self.ledger.fault("garbled", number, number, seq, answer, b"200", note)
        for publication in self._under_way:
            if (publication.number, publication.seq) == (number, seq):
                self.expected -= publication.left
                publication.left = 0
                self._under_way.remove(publication)
                self.ledger.resolve(number, seq, GARBLED)
                return

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """See Exchange. What a publisher has had answered goes on without it."""
        publishers = numbers[numbers < self._publishers].tolist()
        lost = {(number, seq) for number in publishers for seq in self._asked.pop(number, ())}
        resolved = super().gone(numbers[numbers >= self._publishers], by_peer=by_peer)
        if not lost:
            return resolved
        keys = np.array(sorted(lost), np.int64)
        return joined([resolved, self.give_up(keys[:, 0], keys[:, 1])])
