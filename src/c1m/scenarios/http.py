"""Scenario http: requests on connections that are kept, and what their responses must be. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.scenarios.base import NO_SEQS, Exchange, Scenario
from c1m.scenarios.expected import Expected
from c1m.scenarios.http_requests import HttpRequests
from c1m.scenarios.ledger import CROSSED, STALE
from c1m.scenarios.matching import Matching
from c1m.scenarios.messages import Numbers

KEPT_MAX = 32  # right responses that are known again
SEQ_MAX = (1 << 32) - 1  # of a request


class Http(Scenario):
    """Requests of one path or many; right is, unless more is said, a status below 400."""

    name = "http"
    schemes = ("http",)
    sees_to_stretch = True
    help = "over http://: asks for the URL; a status below 400 is right, or what --expect-... say"

    def __init__(self) -> None:
        self.ask(HttpRequests(), Expected())

    def ask(self, requests: HttpRequests, expected: Expected) -> None:
        """What to ask for, and what is right."""
        self._asked, self._expected = requests, expected
        self._right: dict[bytes, None] = {}  # the last responses that were judged so
        self._seen: dict[int, Bytes] = {}  # memories that are such a response, by their ids
        self._in_turn = True

    def begin(self, connections: int, seed: int) -> None:
        self._connections = connections
        self._requests = self._asked.begin(connections, seed, self.stretch.first)
        self._expected.begin(connections, seed, self.stretch.first)
        body = self._expected.body
        self._pattern = body.pattern() if body is not None and body.has_n else None

    def body_most(self) -> int | None:
        """How many bytes of a body have to be kept to judge it; None: all."""
        return self._expected.body_most

    def exchange(self, count: int, depth: int) -> Exchange:
        self._in_turn = depth == 1
        return Answers(self, count, depth)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._requests.pieces(numbers, seqs)

    def judges(self) -> bool:
        return True

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Where all are one memory, which was right a moment ago, nothing is compared."""
        is_one = not np.count_nonzero(data.lengths != len(data.memory))
        if is_one and id(data.memory) in self._seen:
            return True
        if not self.which_right(numbers, seqs, data).all():
            return False
        if is_one and self._expected.is_alike:
            _keep(self._seen, id(data.memory), data.memory)
        return True

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        rows = zip(numbers.tolist(), seqs.tolist(), data.pieces(), strict=True)
        return np.array([self.accepts(number, seq, piece) for number, seq, piece in rows], np.bool_)

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        """Where all requests expect the same, what is equal to a right one is right."""
        if reply in self._right:
            return True
        is_right = self._expected.wrong(number, seq, reply) is None
        if is_right and self._expected.is_alike:
            _keep(self._right, reply, None)
        return is_right

    def why_wrong(self, number: int, seq: int, reply: bytes) -> str:
        return self._expected.wrong(number, seq, reply) or ""

    def reply(self, number: int, seq: int) -> bytes:
        body = self._expected.body
        return b"" if body is None else body.one(number, seq)

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        """By the body, where what is expected says whose it is, and it is the right one there."""
        if self._pattern is None:
            return None
        match = self._pattern.fullmatch(reply.partition(b"\r\n\r\n")[2])
        if match is None:
            return None
        groups = match.groupdict()
        number = int(groups["n"]) - self.stretch.first
        seq = int(groups["seq"]) if "seq" in groups else None
        if not 0 <= number < self._connections or (seq is not None and seq > SEQ_MAX):
            return None
        is_right = seq is None or self.accepts(number, seq, reply)
        return (number, seq) if is_right else None

    def mix_up(self, number: int, seq: int, reply: bytes) -> int | None:
        """A response is that of the request whose turn it is (RFC 9112, 9.3.2), whatever it says:
        of another client, or of an earlier request, as out of a cache. In a pipeline the bytes
        decide, so that one response too many or too few does not count for all behind it."""
        owner = self.identify(reply) if self._in_turn else None
        if owner is None or owner == (number, seq):
            return None
        if owner[0] != number:
            return CROSSED
        return STALE if owner[1] is not None and owner[1] < seq else None

    def doubts(self) -> list[str]:
        body = self._expected.body
        return [] if body is not None and body.has_seq else [NO_SEQS]


def _keep(kept: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep the last few."""
    if len(kept) >= KEPT_MAX:
        del kept[next(iter(kept))]
    kept[key] = value


class Answers(Matching):
    """See Matching. What a request got that was given up is late, and nobody else's."""

    def _take_reply(self, number: int, reply: bytes) -> None:
        owner, ledger = self.scenario.identify(reply), self.ledger
        if owner is not None and owner[0] == number and owner[1] is not None:
            seq = owner[1]
            if (number, seq) in ledger.given_up and not ledger.is_waiting(number, seq):
                ledger.given_up.discard((number, seq))
                ledger.extra("late", number, number, seq, reply)
                return
        super()._take_reply(number, reply)
