"""An exchange against a model that knows one connection and one reply at a time.

The server of the model answers in lines, and can do everything wrong that a server can: it swaps
replies, drops, doubles or garbles them, answers on another connection, and cuts what it sends
anywhere. Connections end and are opened anew, requests are given up.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.scenarios import messages as message_module
from c1m.scenarios.ledger import OUTCOMES, Resolved
from c1m.scenarios.matching import LOOK_BACK, Matching
from c1m.scenarios.messages import Message
from c1m.scenarios.templates import Echo, LengthPrefixed, Lines

Key = tuple[int, int]
TEMPLATES = ["client {n} message {seq}\n", "{n}:{seq}:{n}\n", "number {n}\n", "pong\n"]


@dataclass
class Slow:
    """Each connection's requests in flight as a list, each reply as a line."""

    template: str
    count: int
    depth: int
    waiting: list[list[int]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    streams: list[bytes] = field(default_factory=list)
    outcomes: dict[Key, str] = field(default_factory=dict)
    here: set[Key] = field(default_factory=set)  # right replies that came on their connection
    given_up: set[Key] = field(default_factory=set)
    extras: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.waiting = [[] for _ in range(self.count)]
        self.sent = [0] * self.count
        self.streams = [b""] * self.count

    def reply(self, number: int, seq: int) -> bytes:
        return self.template.format(n=number, seq=seq).encode()

    def request(self, number: int) -> int:
        self.waiting[number].append(self.sent[number])
        self.sent[number] += 1
        return self.waiting[number][-1]

    def is_free(self, number: int) -> bool:
        waiting = self.waiting[number]
        return not waiting or self.sent[number] - waiting[0] < self.depth

    def resolve(self, number: int, seq: int, outcome: str) -> None:
        self.waiting[number].remove(seq)
        assert (number, seq) not in self.outcomes
        self.outcomes[number, seq] = outcome

    def is_plain(self, number: int) -> bool:
        """No part has come, and nothing is resolved behind what waits."""
        window = range(self.waiting[number][0], self.sent[number]) if self.waiting[number] else ()
        return not self.streams[number] and list(window) == self.waiting[number]

    def batch(self, pieces: list[tuple[int, bytes]]) -> None:
        """First what is right and simple, then the rest in order: as the exchange promises."""
        rest: list[tuple[int, bytes]] = []
        alone = Counter(number for number, _ in pieces)
        for number, piece in pieces:
            if alone[number] == 1 and self.is_plain(number):
                piece = self.right_ones(number, piece)
            if piece:
                rest.append((number, piece))
        for number, piece in rest:
            *lines, self.streams[number] = re.split(b"(?<=\n)", self.streams[number] + piece)
            for line in lines:
                self.line(number, line)

    def right_ones(self, number: int, piece: bytes) -> bytes:
        """Resolve the whole right replies that it begins with; the rest. All or none are right."""
        if len(self.waiting[number]) == 1 and piece != self.reply(number, self.waiting[number][0]):
            return piece  # only where several are due is a piece cut by arrays
        lines, at = [], 0
        for seq in list(self.waiting[number]):
            line = self.reply(number, seq)
            if at + len(line) > len(piece):
                break
            lines.append((seq, line))
            at += len(line)
        if b"".join(line for _, line in lines) != piece[:at]:
            return piece
        for seq, _ in lines:
            self.resolve(number, seq, "right")
            self.here.add((number, seq))
        return piece[at:]

    def line(self, number: int, line: bytes) -> None:
        seq = self.waiting[number][0] if self.waiting[number] else None
        if seq is not None and line == self.reply(number, seq):
            later = [s for s in range(seq, self.sent[number]) if (number, s) in self.here]
            self.resolve(number, seq, "reordered" if later else "right")
            self.here.add((number, seq))
            return
        owner = self.owner(number, line)
        if owner is None and seq is not None:
            self.resolve(number, seq, "garbled")
            self.given_up.add((number, seq))
        elif owner is None:
            self.extras["unasked"] += 1
        elif owner[1] in self.waiting[owner[0]]:
            self.resolve(*owner, "right" if owner[0] == number else "crossed")
            if owner[0] == number:
                self.here.add(owner)
        else:
            self.extras["late" if owner in self.given_up else "doubled"] += 1
            self.given_up.discard(owner)

    def owner(self, number: int, line: bytes) -> Key | None:
        if "{seq}" in self.template:
            all_of_them = ((n, s) for n in range(self.count) for s in range(self.sent[n]))
            return next((key for key in all_of_them if line == self.reply(*key)), None)
        if "{n}" in self.template:
            named = next((n for n in range(self.count) if line == self.reply(n, 0)), None)
            if named is None or not self.sent[named]:
                return None
            return named, self.waiting[named][0] if self.waiting[named] else self.sent[named] - 1
        last = self.sent[number] - 1
        if line != self.reply(number, 0) or last < 0:
            return None
        near = [(number, s) for s in range(last, max(last - LOOK_BACK, -1), -1)]
        return next((key for key in near if key in self.given_up), near[0])

    def gone(self, number: int) -> None:
        if self.streams[number] and self.waiting[number]:
            self.give_up(number, self.waiting[number][0])
        elif self.streams[number]:
            self.extras["unasked"] += 1
        self.streams[number] = b""
        for seq in list(self.waiting[number]):
            self.resolve(number, seq, "missing")
            self.given_up.add((number, seq))

    def give_up(self, number: int, seq: int) -> None:
        if seq not in self.waiting[number]:
            return
        outcome = "missing"
        is_next = seq == self.waiting[number][0]
        if is_next and not self.reply(number, seq).startswith(self.streams[number]):
            outcome, self.streams[number] = "garbled", b""
        self.resolve(number, seq, outcome)
        self.given_up.add((number, seq))


class Pair:
    """Both see the same, and are compared after every step."""

    def __init__(self, template: str, count: int, depth: int) -> None:
        self.slow = Slow(template, count, depth)
        scenario = Lines(template)
        scenario.begin(count, 0)
        self.fast = Matching(scenario, count, depth)
        self.resolved: dict[Key, str] = {}
        self.took: list[Key] = []
        scenario.took = lambda numbers, seqs, data: self.took.extend(  # type: ignore[method-assign]
            zip(numbers.tolist(), seqs.tolist(), strict=True)
        )

    def add(self, resolved: Resolved) -> None:
        outcomes = np.zeros(len(resolved), np.uint8)
        if resolved.outcomes is not None:
            outcomes = resolved.outcomes
        rows = zip(resolved.numbers.tolist(), resolved.seqs.tolist(), outcomes, strict=True)
        for number, seq, outcome in rows:
            assert (number, seq) not in self.resolved
            self.resolved[number, seq] = OUTCOMES[outcome]

    def check(self) -> None:
        fast, slow = self.fast.ledger, self.slow
        assert self.resolved == slow.outcomes
        assert fast.extras == slow.extras
        assert fast.sent.tolist() == slow.sent
        assert int(fast.sent.sum()) == len(self.resolved) + fast.in_flight
        assert fast.in_flight == sum(map(len, slow.waiting))
        oldest = [(w or [s])[0] for w, s in zip(slow.waiting, slow.sent, strict=True)]
        assert fast.oldest.tolist() == oldest
        numbers = np.arange(slow.count)
        assert self.fast.is_free(numbers).tolist() == [slow.is_free(n) for n in numbers.tolist()]
        told = {key for key, what in self.resolved.items() if what not in ("missing", "garbled")}
        assert sorted(self.took) == sorted(told)


def answers(dice: Random, slow: Slow, due: list[Key], bad: float) -> list[tuple[int, bytes]]:
    """What the server sends for requests: mostly the replies, each on its connection."""
    sent: list[tuple[int, bytes]] = []
    for number, seq in due:
        right = slow.reply(number, seq)
        how = dice.choice(["drop", "double", "garble", "cross"]) if dice.random() < bad else "right"
        if how == "garble":
            noise = [b"?\n", b"client x\n", right[:-2] + b"!\n", right[:3], b"\n"]
            sent.append((number, dice.choice(noise)))
        elif how == "cross":
            sent.append((dice.randrange(slow.count), right))
        else:
            sent += [(number, right)] * {"right": 1, "drop": 0, "double": 2}[how]
    if dice.random() < bad:
        at = dice.randrange(len(sent) + 1)
        sent[at:] = dice.sample(sent[at:], len(sent) - at)
    return sent


def cut(dice: Random, sent: list[tuple[int, bytes]]) -> list[list[tuple[int, bytes]]]:
    """The replies as batches of pieces: joined and cut anywhere, each connection's in order."""
    batches: list[list[tuple[int, bytes]]] = [[]]
    how = dice.choice(["whole", "joined", "cut", "one"])
    for number, piece in sent:
        if how == "one":
            batches.append([(number, piece)])
        elif how == "joined" and batches[-1] and batches[-1][-1][0] == number:
            batches[-1][-1] = (number, batches[-1][-1][1] + piece)
        elif how == "cut" and dice.random() < 0.4:
            at = dice.randint(0, len(piece))
            for part in (piece[:at], piece[at:]):
                if part:
                    batches[-1].append((number, part))
                    if dice.random() < 0.5:
                        batches.append([])
        else:
            batches[-1].append((number, piece))
    return [batch for batch in batches if batch]


@settings(max_examples=150)
@given(
    st.integers(0, 2**32), st.sampled_from(TEMPLATES), st.sampled_from([1, 2, 5, 12]),
    st.integers(1, 4), st.sampled_from([0.02, 0.2, 0.7]), st.sampled_from([1, 1 << 18]),
)  # fmt: skip
def test_any_replies_in_any_pieces(
    seed: int, template: str, count: int, depth: int, bad: float, compared_max: int
) -> None:
    pair, dice = Pair(template, count, depth), Random(seed)
    due: list[Key] = []  # what the server has not answered yet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(message_module, "COMPARED_MAX", compared_max)
        for _ in range(40):
            step(dice, pair, due, bad)
            pair.check()
        pair.add(pair.fast.gone(np.arange(count), by_peer=True))
        for number in range(count):
            pair.slow.gone(number)
        pair.check()
        assert pair.fast.ledger.in_flight == 0


def step(dice: Random, pair: Pair, due: list[Key], bad: float) -> None:
    fast, slow = pair.fast, pair.slow
    some = dice.sample(range(slow.count), dice.randint(0, slow.count))
    action = dice.choice(["ask"] * 6 + ["answer"] * 6 + ["end", "give up"])
    if action == "ask":
        numbers = [n for n in some if slow.is_free(n)]
        sent, seqs = fast.requests(np.array(numbers, np.int64))
        assert seqs.tolist() == [slow.request(n) for n in numbers]
        keys = list(zip(numbers, seqs.tolist(), strict=True))
        assert sent.pieces() == [slow.reply(*key) for key in keys]
        due += keys
    elif action == "answer":
        some_due = due[: dice.randint(0, len(due))]
        del due[: len(some_due)]
        if dice.random() < 0.5:
            some_due.sort()
        for batch in cut(dice, answers(dice, slow, some_due, bad)):
            numbers_of = np.array([n for n, _ in batch], np.int64)
            pair.add(fast.take(numbers_of, Ragged.of([piece for _, piece in batch])))
            slow.batch(batch)
            pair.check()
    elif action == "end":
        pair.add(fast.gone(np.array(some[:2], np.int64)))
        for number in some[:2]:
            slow.gone(number)
    else:
        old = [(n, s) for n in some[:3] for s in slow.waiting[n] if dice.random() < 0.6]
        dice.shuffle(old)
        keys_of = np.array(old, np.int64).reshape(-1, 2)
        pair.add(fast.give_up(keys_of[:, 0], keys_of[:, 1]))
        for number, seq in old:
            slow.give_up(number, seq)


@given(
    st.data(), st.sampled_from(["{n};", "a{seq}b{n};", "<{random:5}>", "{n}.{random:3}", "same"]),
    st.sampled_from([0, 4]), st.integers(1, 4),
)  # fmt: skip
def test_right_replies_are_right_however_they_are_cut(
    data: st.DataObject, template: str, prefix: int, depth: int
) -> None:
    count = 12
    scenario = (LengthPrefixed if prefix else Echo)(template)
    scenario.begin(count, 3)
    exchange = Matching(scenario, count, depth)
    message = Message(template, count, 3, prefix=prefix)
    right = 0
    for _ in range(3):
        streams: dict[int, bytes] = {}
        for _ in range(depth):
            numbers = np.array(data.draw(st.lists(st.integers(0, count - 1), unique=True)))
            numbers = numbers[exchange.is_free(numbers.astype(np.int64))].astype(np.int64)
            _, seqs = exchange.requests(numbers)
            for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
                streams[number] = streams.get(number, b"") + message.one(number, seq)
        while streams:
            batch = []
            for number in data.draw(st.permutations(sorted(streams))):
                stream = streams.pop(number)
                at = data.draw(st.sampled_from([len(stream), 1, len(stream) // 2 or 1]))
                batch.append((number, stream[:at]))
                if stream[at:]:
                    streams[number] = stream[at:]
            numbers = np.array([n for n, _ in batch], np.int64)
            resolved = exchange.take(numbers, Ragged.of([piece for _, piece in batch]))
            assert resolved.outcomes is None or not resolved.outcomes.any()
            right += len(resolved)
        assert exchange.ledger.in_flight == 0 and right == int(exchange.ledger.sent.sum())
    assert not exchange.ledger.extras and not exchange.ledger.faults
