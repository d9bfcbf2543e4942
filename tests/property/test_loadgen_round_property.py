"""A round of echoes against a model that knows one connection at a time.

The model keeps what came on a connection as bytes: as long as that is a beginning of the message
the reply is waited for, when it is the message the reply is right, and anything else is wrong for
good, a right reply that goes on included.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.loadgen import echo_round
from c1m.loadgen.echo_round import FAILURES_KEPT, EchoRound
from c1m.loadgen.message import Message


@dataclass
class SlowConnection:
    """One connection of the model."""

    expected: bytes
    came: bytes = b""
    is_wrong: bool = False
    is_gone: bool = False
    was_sent: bool = False

    @property
    def is_right(self) -> bool:
        return self.was_sent and not self.is_wrong and self.came == self.expected

    def take(self, piece: bytes) -> bool:
        """Whether this piece completed a right reply."""
        self.came += piece
        if not self.expected.startswith(self.came):
            self.is_wrong = True
        return self.is_right


@dataclass
class Script:
    """What happens: requests, pieces in batches, connections that end."""

    template: str
    count: int
    steps: list[tuple[str, list[tuple[int, bytes]]]] = field(default_factory=list)


def cut(draw: st.DrawFn, reply: bytes) -> list[bytes]:
    """A reply in pieces of at least a byte."""
    places = sorted(draw(st.sets(st.integers(1, max(len(reply) - 1, 1)), max_size=3)))
    bounds = [0, *[p for p in places if p < len(reply)], len(reply)]
    return [reply[a:b] for a, b in itertools.pairwise(bounds) if b > a]


def reply_of(draw: st.DrawFn, message: Message, number: int, count: int) -> bytes:
    """Right, or wrong in one of the ways in which servers are."""
    right = message.one(number)
    kind = draw(st.sampled_from(["right"] * 5 + ["nothing", "twice", "part", "swapped", "other's"]
                                + ["more", "noise"]))  # fmt: skip
    if kind == "twice":
        return right * 2
    if kind == "part":
        return right[: draw(st.integers(0, len(right)))]
    if kind == "swapped":
        at = draw(st.integers(0, len(right) - 1))
        return right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :]
    if kind == "other's":
        return message.one(draw(st.integers(0, count - 1)))
    if kind == "more":
        return right + draw(st.binary(min_size=1, max_size=3))
    if kind == "noise":
        return draw(st.binary(max_size=8))
    return b"" if kind == "nothing" else right


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    """Each connection's own sequence (sent, pieces, perhaps its end), woven into batches."""
    count = draw(st.integers(1, 5))
    script = Script(draw(st.sampled_from(["{n}", "c{n}\n", "{n}{n}", "constant"])), count)
    message = Message(script.template, count)
    queues: list[list[tuple[str, bytes]]] = []
    for number in range(count):
        pieces = cut(draw, reply_of(draw, message, number, count))
        queue = [("send", b""), *[("data", piece) for piece in pieces]]
        queues.append(queue + ([("end", b"")] if draw(st.booleans()) else []))
    order = draw(st.permutations([n for n, queue in enumerate(queues) for _ in queue]))
    for number in order:
        action, piece = queues[number].pop(0)
        if script.steps and script.steps[-1][0] == action and draw(st.booleans()):
            script.steps[-1][1].append((number, piece))
        else:
            script.steps.append((action, [(number, piece)]))
    return script


@settings(deadline=None)
@given(scripts(), st.sampled_from([1, 5, 1 << 22]))
def test_any_replies_in_any_pieces(script: Script, compared_max: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(echo_round, "COMPARED_MAX", compared_max)
        follow(script)


def follow(script: Script) -> None:
    """Let both see what the script says, and compare them after every step."""
    message = Message(script.template, script.count)
    fast = EchoRound("first", message, script.count)
    slow = [SlowConnection(message.one(n)) for n in range(script.count)]
    for action, batch in script.steps:
        numbers = np.array([n for n, _ in batch], np.int64)
        if action == "send":
            sent = fast.requests(numbers)
            for n in numbers.tolist():
                slow[n].was_sent = True
            assert sent.pieces() == [slow[n].expected for n in numbers.tolist()]
        elif action == "end":
            fast.lost(numbers)
            for n in numbers.tolist():
                slow[n].is_gone = True
        else:
            done = fast.take(numbers, Ragged.of([piece for _, piece in batch]))
            assert done.tolist() == [slow[n].take(piece) for n, piece in batch]
        check(fast, slow)


def check(fast: EchoRound, slow: list[SlowConnection]) -> None:
    """Counts and first failures agree, and the law holds."""
    sent = [c for c in slow if c.was_sent]
    wrong = [n for n, c in enumerate(slow) if c.is_wrong]
    right = sum(c.is_right for c in sent)
    assert (fast.sent, fast.right, fast.wrong) == (len(sent), right, len(wrong))
    assert fast.missing() == len(sent) - right - len(wrong)
    assert fast.sent == fast.right + fast.wrong + fast.missing()
    assert fast.in_flight == sum(not (c.is_right or c.is_wrong or c.is_gone) for c in sent)
    assert fast.in_flight <= fast.in_flight_peak <= len(slow)
    named = [number for number, _, _ in fast.failures]
    assert set(named) <= set(wrong) and len(set(named)) == len(named)
    assert len(named) == min(len(wrong), FAILURES_KEPT)
    for number, expected, came in fast.failures:
        assert expected == slow[number].expected
        assert slow[number].came.startswith(came) and not expected.startswith(came)


@settings(deadline=None)
@given(st.data(), st.sampled_from(["{n}", "c{n}\n", "constant"]), st.sampled_from([1, 1 << 18]))
def test_a_closed_loop_of_any_replies(data: st.DataObject, template: str, compared: int) -> None:
    count = data.draw(st.sampled_from([1, 2, 11]))
    message = Message(template, count)
    loop = EchoRound("closed", message, count)
    loop.requests(np.arange(count))
    slow = [SlowConnection(message.one(n), was_sent=True) for n in range(count)]
    right = sent = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(echo_round, "COMPARED_MAX", compared)
        for _ in range(data.draw(st.integers(1, 6))):
            batch: list[tuple[int, bytes]] = []
            for n in data.draw(st.lists(st.integers(0, count - 1), unique=True)):
                rest = slow[n].expected[len(slow[n].came) :]
                batch += [(n, piece) for piece in cut_of(data.draw, rest)]
            numbers = np.array([n for n, _ in batch], np.int64)
            which, requests = loop.again(numbers, Ragged.of([piece for _, piece in batch]))
            for n, piece in batch:
                slow[n].take(piece)
            done = [n for n in dict.fromkeys(numbers.tolist()) if slow[n].is_right]
            assert sorted(numbers[which].tolist()) == sorted(done)
            asked = dict(zip(numbers[which].tolist(), requests.pieces(), strict=True))
            assert asked == {n: slow[n].expected for n in done}
            for n in done:
                slow[n].came = b""
            right, sent = right + len(done), sent + len(done)
            wrong = sum(c.is_wrong for c in slow)
            assert (loop.sent, loop.right, loop.wrong) == (count + sent, right, wrong)
            assert loop.in_flight == count - wrong


def cut_of(draw: st.DrawFn, rest: bytes) -> list[bytes]:
    """What comes of a reply: mostly all that is missing, or a part, too much, something else."""
    kind = draw(st.sampled_from(["whole"] * 6 + ["cut", "part", "more", "twice", "other"]))
    if kind == "cut":
        return cut(draw, rest) if rest else []
    if kind == "part":
        return [rest[:1]] if rest else []
    if kind == "more":
        return [rest + b"?"]
    if kind == "twice":
        return [rest, rest or b"?"]
    return [rest[:-1] + b"?"] if kind == "other" else [rest] if rest else [b"?"]
