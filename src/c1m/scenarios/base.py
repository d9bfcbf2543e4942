"""What connections say and what they expect back: the batch form of a scenario. Pure.

A scenario answers for any of its connections what its seq-th request is and what reply is right. It
keeps no state a connection where it can say so from the numbers alone, and has no socket and no
clock: the generator decides when a request is sent, and the exchange what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.scenarios.matching import Exchange, Resolved
from c1m.scenarios.messages import Message, Numbers
from c1m.scenarios.outcomes import gathered

if TYPE_CHECKING:
    from c1m.results.requests import FanOut

NO_ENDS = (
    "Where a wrong reply ends cannot be told: these have no end of their own, as a line or a "
    "length gives one. So one that is cut off, too long or another's may count as garbled, "
    "missing, unasked for and late together."
)
NO_SEQS = (
    "Replies do not say which request they are for: one that comes after its time-out counts for "
    "the next request of its connection."
)


class Scenario:
    """Derive from this for a scenario of your own; give `requests` and `replies`.

    A connection is a number from 0, its requests are counted from 0 (`seq`). Where two connections
    or two requests have different replies, `identify` should tell whose a reply is: only then can
    replies be told that are another connection's, that come twice or in another order. Where the
    right reply cannot be said beforehand, give `accepts` and `frame` in the place of `replies`.
    """

    name = "own"
    is_silent = False  # says nothing: connections are only held
    reads = True  # False: nothing is read before the end of the last stage (a slow reader)
    wants_end = False  # the server is expected to end the connections (half-open peers)
    speakers: int | None = None  # only connections 0 .. speakers - 1 say anything; None: all do

    def begin(self, connections: int, seed: int) -> None:
        """Before anything is opened, perhaps more than once: how many connections at most."""

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """What connection numbers[i] says as its request seqs[i]: n pieces."""
        raise NotImplementedError(f"{type(self).__name__} has no requests(numbers, seqs)")

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """What is right as a reply to it: n pieces."""
        raise NotImplementedError(f"{type(self).__name__} has no replies(numbers, seqs)")

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Whether every piece is the whole right reply: asked for every batch."""
        return bool(self.which_right(numbers, seqs, data).all())

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Which pieces are the whole right reply: bool[n]."""
        if not len(numbers):
            return np.zeros(0, np.bool_)
        if self.has_replies():
            expected = self.replies(numbers, seqs).pieces()
            pairs = zip(data.pieces(), expected, strict=True)
            return np.fromiter((came == due for came, due in pairs), np.bool_, len(expected))
        rows = zip(numbers.tolist(), seqs.tolist(), data.pieces(), strict=True)
        right = [self.frame(n, s, p) == len(p) and self.accepts(n, s, p) for n, s, p in rows]
        return np.array(right, np.bool_)

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        """Right replies, each told once, those of a connection in the order in which they came."""

    def reply(self, number: int, seq: int) -> bytes:
        """One right reply; b"" where there is none but by `accepts`."""
        if not self.has_replies():
            return b""
        return self.replies(np.array([number]), np.array([seq])).piece(0)

    def has_replies(self) -> bool:
        """Whether it says beforehand which reply is right."""
        return type(self).replies is not Scenario.replies

    def judges(self) -> bool:
        """Whether it can tell a right reply when it sees one."""
        own = type(self)
        return own.accepts is not Scenario.accepts and own.frame is not Scenario.frame

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        """Whether this whole reply is right."""
        return reply == self.reply(number, seq)

    def reply_size(self, number: int, seq: int) -> int:
        """Bytes of the right reply, 0 where that is not known before it is there."""
        return len(self.reply(number, seq))

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32] | None:
        """The same of many, int32[n], where arrays can say it: for pipelines. None: they cannot."""
        return None

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        """Bytes of the first whole reply that `stream` begins with; 0: more must come.

        `seq` is the oldest request in flight. The default takes as many as the right reply has.
        """
        size = self.reply_size(number, seq)
        return size if len(stream) >= size else 0

    def has_ends(self) -> bool:
        """Whether `frame` knows where a wrong reply ends: by a line, a length, a protocol."""
        return type(self).frame is not Scenario.frame

    def doubts(self) -> list[str]:
        """What cannot be told of replies that are wrong, for whoever reads of such: sentences."""
        is_judged = not (self.is_silent or self.wants_end)
        return [NO_ENDS] if is_judged and not self.has_ends() else []

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        """(number, seq) of the request that a reply says it belongs to; None: it does not say.

        seq None: it says the connection only.
        """
        return None

    def notes(self) -> list[str]:
        """At the end: sentences about what does not add up over all connections; [] if all does."""
        return []

    def fan_out(self) -> FanOut | None:
        """At the end, for scenarios in which one message goes to many."""
        return None

    def exchange(self, count: int, depth: int) -> Exchange:
        """The bookkeeping of this scenario's requests."""
        return Exchange(self, count, depth)


class Templates(Scenario):
    """Requests and replies by templates: echo, ping, lines, length-prefixed.

    `prefix`: bytes of a big-endian length before each request and reply (0: none). `by_line`: a
    reply ends with a newline, whatever is in it; otherwise it ends where the right one would.
    """

    def __init__(
        self,
        name: str,
        request: str | bytes,
        reply: str | bytes,
        *,
        by_line: bool = False,
        prefix: int = 0,
    ) -> None:
        self.name = name
        self._texts = request, reply
        self._by_line, self._prefix = by_line, prefix

    def begin(self, connections: int, seed: int) -> None:
        request, reply = self._texts
        size = self._prefix
        self._request = Message(request, connections, seed, prefix=size)
        if self._request.has_any:
            raise UsageError(
                "The message has {any:..}, which only what is expected can have.",
                "Use {random:N} for letters of any kind.",
            )
        self._reply = self._request
        if reply != request:
            self._reply = Message(reply, connections, seed, prefix=size)
        self._pattern = self._reply.pattern()
        self._ends = self._reply.ends

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._request.pieces(numbers, seqs)

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return self._reply.pieces(numbers, seqs)

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        return self._reply.equal(numbers, seqs, data)

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        return self._reply.matching(numbers, seqs, data)

    def reply(self, number: int, seq: int) -> bytes:
        return self._reply.one(number, seq)

    def reply_size(self, number: int, seq: int) -> int:
        return self._reply.size(number, seq)

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32] | None:
        return self._reply.lengths(numbers, seqs)

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        if len(reply) != self._reply.size(number, seq):
            return False
        return reply == self._reply.one(number, seq, reply)

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        if self._prefix:
            return self._prefixed(stream)
        if self._by_line:
            return stream.find(b"\n") + 1
        expected = self._reply.one(number, seq, stream)
        if stream.startswith(expected):
            found = self._pattern.match(stream) if self._reply.ends_in_number else None
            return found.end() if found else len(expected)  # "no 5" begins "no 50", too
        if expected.startswith(stream):
            return 0
        found = self._pattern.search(stream)
        if found is not None:
            return found.end() if found.start() == 0 else found.start()
        return self._garbage(stream, len(expected))

    def has_ends(self) -> bool:
        return self._by_line or self._prefix > 0

    def doubts(self) -> list[str]:
        tells_ends = self.has_ends() or self._ends[1]
        doubts = [] if tells_ends else [NO_ENDS + " End the message with \\n, or use lines."]
        return doubts if self._reply.has_seq else [*doubts, NO_SEQS]

    def _prefixed(self, stream: bytes) -> int:
        if len(stream) < self._prefix:
            return 0
        size = self._prefix + int.from_bytes(stream[: self._prefix], "big")
        if size > self._reply.size_max:  # no connection's reply: nobody knows where it ends
            return len(stream)
        return size if len(stream) >= size else 0

    def _garbage(self, stream: bytes, size: int) -> int:
        """No reply begins in `stream`, unless one of another connection that is not whole yet."""
        head, tail = self._ends
        end = stream.find(tail) + len(tail) if tail else 0
        if end > len(tail) or (tail and stream.startswith(tail)):
            return end
        is_other = stream.startswith(head[: len(stream)]) and len(stream) < self._reply.size_max
        return 0 if is_other or len(stream) < size else size

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        match = self._pattern.fullmatch(reply) if self._reply.has_n else None
        if match is None:
            return None
        groups = match.groupdict()
        return int(groups["n"]), int(groups["seq"]) if "seq" in groups else None


class Hold(Scenario):
    """Says nothing: opens connections and sees whether they stay open. What comes is not judged."""

    name = "hold"
    is_silent = True

    def exchange(self, count: int, depth: int) -> Exchange:
        return _Unheard(self, count)


class _Unheard(Exchange):
    """Nothing is asked and nothing heard."""

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        return np.zeros(len(numbers), np.bool_)

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        return gathered([])


DEFAULT_MESSAGE = "client {n} message {seq}\n"
