"""Scenario redis-subscribe: all subscribe to one channel of Redis's, and one publishes to it. Pure.

A connection's first request is SUBSCRIBE, and it is ready when the server has confirmed that. From
then on it should have every publication, once: see publish, of which this is a form. Publishers
(connections 0 .. publishers - 1) do not subscribe, since RESP2 forbids PUBLISH then; they PING.
"""

from __future__ import annotations

import re

import numpy as np

from c1m.engine.ragged import Ragged
from c1m.protocols.resp.replies import array, bulk, command, reply_size
from c1m.protocols.resp.replies import integer as an_integer
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import GARBLED, MISSING, RIGHT, Resolved, Where, joined
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Numbers
from c1m.scenarios.publish import FanOutExchange, Publish
from c1m.scenarios.templates import Templates

PUBLICATION = "client {n} publishes {seq}"
PUBLICATION_MIN = 64  # bytes: shorter ones are filled up with dots
PING, PONG = command(b"PING"), b"+PONG\r\n"

_PUSH = re.compile(rb"\*3\r\n\$7\r\nmessage\r\n\$[0-9]+\r\n[^\r]*\r\n\$[0-9]+\r\n(.*)\r\n", re.S)
_INTEGER = re.compile(rb":[0-9]{1,18}\r\n")


class Publications(Templates):
    """PUBLISH of what a template says, and what a subscriber is sent for it."""

    def begin(self, connections: int, seed: int) -> None:
        super().begin(connections, seed)
        self.channel = b"c1m:%08x" % (seed & 0xFFFFFFFF)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        pairs = zip(numbers.tolist(), seqs.tolist(), strict=True)
        return Ragged.of([command(b"PUBLISH", self.channel, self._text(*each)) for each in pairs])

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return Ragged.of(map(self.reply, numbers.tolist(), seqs.tolist()))

    def reply(self, number: int, seq: int) -> bytes:
        return command(b"message", self.channel, self._text(number, seq))

    def _text(self, number: int, seq: int) -> bytes:
        return self._reply.one(number, seq).ljust(PUBLICATION_MIN, b".")

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        return reply == self.reply(number, seq)

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        match = _PUSH.fullmatch(reply)
        if match is None:
            return None
        return super().identify(match[1]) or super().identify(match[1].rstrip(b"."))

    def doubts(self) -> list[str]:
        return []


class RedisSubscribe(Publish):
    """All but the publishers are subscribers of one channel; see the module."""

    name = "redis-subscribe"
    help = "all say SUBSCRIBE; connection 0 says PUBLISH, and every subscriber receives it"
    schemes = ("tcp", "redis")
    greets = True

    def __init__(self, message: str | bytes = PUBLICATION, publishers: int = 1) -> None:
        super().__init__(message, publishers=publishers)
        self.copies: Publications = Publications(message)

    def exchange(self, count: int, depth: int) -> Exchange:
        super().exchange(count, depth)  # it refuses what is too much
        self._fan = SubscribedExchange(self, count, depth)
        return self._fan


class SubscribedExchange(FanOutExchange):
    """Publications, and before them each connection's first request and its reply."""

    def __init__(self, scenario: RedisSubscribe, count: int, depth: int) -> None:
        super().__init__(scenario, count, depth)
        channel = bulk(scenario.copies.channel)
        self._subscribe = command(b"SUBSCRIBE", scenario.copies.channel)
        self._subscribed = array([bulk(b"subscribe"), channel, an_integer(1)])
        self._is_new = np.zeros(count, np.bool_)  # just opened
        self._greets = np.zeros(count, np.bool_)  # its first reply is awaited

    def opened(self, numbers: Numbers) -> None:
        """See Exchange: receivers only when they have subscribed."""
        self._is_new[numbers] = True

    def is_free(self, numbers: Numbers) -> Where:
        return super().is_free(numbers) & ~self._greets[numbers]

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        if not self._is_new[numbers].any():
            return super().requests(numbers)
        assert self._is_new[numbers].all(), "the first request of some, a later one of others"
        self._is_new[numbers] = False
        self._greets[numbers] = True
        both = Ragged.of([self._subscribe, PING])
        return both.take((numbers < self._publishers).astype(np.int64)), self.ledger.send(numbers)

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        is_plain = self._greets.take(numbers) & (numbers >= self._publishers)
        if not is_plain.any():
            return super().take(numbers, data)
        is_plain &= equal_to(data, self._subscribed) & ~self.ledger.is_odd.take(numbers)
        is_plain &= self._repeats.first(numbers)
        done = numbers[is_plain]
        seqs = self.ledger.oldest.take(done).astype(np.int64)
        self.ledger.answer(done)
        self._greets[done] = False
        self.listen(done, True)
        resolved = super().take(numbers[~is_plain], data.take(~is_plain))
        both = joined([Resolved(done, seqs, np.full(len(done), RIGHT, np.uint8)), resolved])
        both.pushes = resolved.pushes
        return both

    def _take_piece(self, number: int, piece: bytes) -> None:
        expected = 0  # bytes of a copy, where one is due: a long one is looked at when it is there
        if self._under_way and number >= self._publishers and not self._greets[number]:
            expected = len(self._under_way[0].copy)
        for reply in self._inbox.messages(number, piece, reply_size, expected=expected):
            if self._greets[number]:
                self._greeted(number, reply)
            elif number >= self._publishers:
                self._take_copy(number, reply)
            elif not _INTEGER.fullmatch(reply):  # PUBLISH says to how many
                self.ledger.unasked(number, reply)
        self.ledger.is_odd[number] = number in self._inbox

    def _greeted(self, number: int, reply: bytes) -> None:
        """The first reply on a connection."""
        seq, is_publisher = int(self.ledger.oldest[number]), number < self._publishers
        right = PONG if is_publisher else self._subscribed
        self._greets[number] = False
        self.listen(np.array([number]), reply == right and not is_publisher)
        if reply != right:
            self.ledger.fault("garbled", number, number, seq, reply, right)
        self.ledger.resolve(number, seq, RIGHT if reply == right else GARBLED)

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        waiting = numbers[self._greets[numbers]]
        self._is_new[numbers] = self._greets[numbers] = False
        lost = self.ledger.abandon(waiting)
        return joined([lost, super().gone(numbers, by_peer=by_peer)])

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        waits = self._greets[numbers]
        self._greets[numbers] = False
        for number, seq in zip(numbers[waits].tolist(), seqs[waits].tolist(), strict=True):
            self.ledger.fault("missing", number, number, seq, b"", self._subscribed)
            self.ledger.resolve(number, seq, MISSING)
        return super().give_up(numbers[~waits], seqs[~waits])
