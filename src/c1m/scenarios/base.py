"""What connections say and what they expect back: a scenario, and the exchange of a run. Pure.

A scenario answers for any of its connections what its seq-th request is and what reply is right. It
keeps no state for a connection where the numbers alone say it, and has no socket and no clock. The
load client decides when a request is sent; the exchange finds out what became of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.errors import ScenarioError
from c1m.results.share import ALL
from c1m.scenarios.asks import Session
from c1m.scenarios.ledger import Ledger, Resolved
from c1m.scenarios.messages import Numbers

if TYPE_CHECKING:
    from c1m.results.outcomes import Check, FanOut, Share

NO_ENDS = (
    "Where a wrong reply ends is unknown: these have no end of their own, as a line or a length "
    "gives one. So one that is cut off, too long or another's may count as garbled, missing, "
    "unasked for and late together."
)
NO_SEQS = (
    "Replies do not say which request they are for: one that comes after its timeout counts for "
    "the next request of its connection."
)


class Scenario:
    """Derive from this for a scenario of your own; give `requests` and `replies`.

    A connection is a number from 0, its requests are counted from 0 (`seq`). Where two connections
    or two requests have different replies, `identify` should say whose a reply is: only then are
    replies recognised that are another connection's, that come twice or in another order. Where the
    right reply is not known beforehand, give `accepts` and `frame` in the place of `replies`.
    """

    name = "own"
    help = ""  # a line for the list of scenarios
    schemes: tuple[str, ...] = ()  # over which it can be spoken; (): all, or it finds out itself
    is_silent = False  # says nothing: connections are only held
    reads = True  # False: nothing is read before the end of the last stage (a slow reader)
    wants_end = False  # the server is expected to end the connections (half-open peers)
    speakers: int | None = None  # only connections 0 .. speakers - 1 say anything; None: all do
    greets = False  # the others say a first request, too, when they open
    takes_turns = False  # has at most one request in flight on a connection
    pipeline = 1  # requests in flight on a connection, unless more are asked for
    # What a plan without stages and without a load does; see docs/reference/stages.md.
    stampedes = True  # all connections say something at the same moment
    storms = False  # all connections are dropped and reopened in the middle
    hears_messages = False  # over ws:// and the like: what comes are messages, no parts of a stream
    session = Session()  # what is spoken on its connections; set when the run is planned
    stretch = ALL  # which of the run's connections they are, where others take part; set then, too
    sees_to_stretch = False  # its numbers begin with 0, and it says those of the whole run itself
    keeps_asking = False  # each connection asks again after its reply, for as long as they are held

    def begin(self, connections: int, seed: int) -> None:
        """Before anything is opened, perhaps more than once: how many connections at most."""

    def set_up(self) -> None:
        """Once a run, before anything is opened."""

    def tear_down(self) -> None:
        """Once, at the run's end; also where it was interrupted, or ended by a mistake."""

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """What connection numbers[i] says as its request seqs[i]: n pieces."""
        raise ScenarioError(f"{type(self).__name__} has no requests(numbers, seqs).")

    def request(self, number: int, seq: int) -> bytes:
        """The scalar form of `requests`."""
        return self.requests(np.array([number]), np.array([seq])).piece(0)

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """What is right as a reply to it: n pieces."""
        raise ScenarioError(f"{type(self).__name__} has no replies(numbers, seqs).")

    def are_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> bool:
        """Whether every piece is the whole right reply: asked for every batch."""
        return bool(self.which_right(numbers, seqs, data).all())

    def is_right(self, number: int, seq: int, piece: bytes) -> bool:
        """The scalar form of `are_right`."""
        return self.are_right(np.array([number]), np.array([seq]), Ragged.of([piece]))

    def has_scalars(self) -> bool:
        """Whether the scalar forms are quicker than arrays, and say the same: whoever derives from
        such a scenario may have changed the arrays only."""
        kind = type(self)
        own = [
            next(each for each in kind.__mro__ if name in vars(each))
            for name in ("requests", "request", "are_right", "is_right", "took")
        ]
        return own[0] is own[1] is own[2] is own[3] is not Scenario and own[4] is Scenario

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        """Which pieces are the whole right reply: bool[n]."""
        if not len(numbers):
            return np.zeros(0, np.bool_)
        if self.has_replies():
            expected = self.replies(numbers, seqs).pieces()
            pairs = zip(data.pieces(), expected, strict=True)
            return np.fromiter((came == due for came, due in pairs), np.bool_, len(expected))
        rows = zip(numbers.tolist(), seqs.tolist(), data.pieces(), strict=True)
        is_whole = self.hears_messages and not self.has_ends()
        right = [
            (is_whole or self.frame(n, s, p) == len(p)) and self.accepts(n, s, p)
            for n, s, p in rows
        ]
        return np.array(right, np.bool_)

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        """Right replies, each given once, those of a connection in the order in which they came."""

    def reply(self, number: int, seq: int) -> bytes:
        """One right reply; b"" where there is none but by `accepts`."""
        if not self.has_replies():
            return b""
        return self.replies(np.array([number]), np.array([seq])).piece(0)

    def has_replies(self) -> bool:
        """Whether it says beforehand which reply is right."""
        return type(self).replies is not Scenario.replies

    def judges(self) -> bool:
        """Whether it knows a right reply when it sees one."""
        own = type(self)
        has_ends = self.hears_messages or own.frame is not Scenario.frame
        return own.accepts is not Scenario.accepts and has_ends

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        """Whether this whole reply is right."""
        return reply == self.reply(number, seq)

    def why_wrong(self, number: int, seq: int, reply: bytes) -> str:
        """What was expected of a wrong reply, and what came, where its bytes do not say it."""
        return ""

    def reply_size(self, number: int, seq: int) -> int:
        """Bytes of the right reply, 0 where that is not known before it is there."""
        return len(self.reply(number, seq))

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32] | None:
        """The same of many, int32[n], where arrays can say it: for pipelines. None: they cannot."""
        return None

    def frames(self, streams: Ragged) -> npt.NDArray[np.int64]:
        """Of many streams whose first reply `reply_sizes` does not know how many bytes it has, for
        pipelines: int64[n]. 0: more must come, or arrays cannot say."""
        return np.zeros(len(streams), np.int64)

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
        """What is uncertain about wrong replies, for whoever reads of such: sentences."""
        is_judged = not (self.is_silent or self.wants_end or self.hears_messages)
        return [NO_ENDS] if is_judged and not self.has_ends() else []

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        """(number, seq) of the request that a reply says it belongs to; None: it does not say.

        seq None: it says the connection only.
        """
        return None

    def mix_up(self, number: int, seq: int, reply: bytes) -> int | None:
        """Where a wrong reply can be no other request's than this one, whose turn it is: what it
        is, CROSSED (it says what another connection should hear) or STALE (what was right before).

        None: it is the reply of whom `identify` names, wherever it came.
        """
        return None

    def notes(self) -> list[str]:
        """At the end: sentences about what does not add up over all connections; [] if all does."""
        return []

    def fan_out(self) -> FanOut | None:
        """At the end, for scenarios in which one message goes to many."""
        return None

    def checks(self) -> list[Check]:
        """At the end: what was checked by name, and how often it held."""
        return []

    def shares(self) -> list[Share]:
        """At the end, where several scenarios are in the run: what each had of it."""
        return []

    def exchange(self, count: int, depth: int) -> Exchange | None:
        """How the replies of a run find their requests: `count` connections, `depth` at once.

        None: each request has one reply, which is known by its bytes (see `matching`).
        """
        return None


class Exchange:
    """All requests and replies of a run: what the load client asks of a scenario.

    It has a ledger of requests, and finds out which request a reply belongs to.
    """

    now_ns = 0  # when what it is told happens
    says_nothing_at_times = False  # a request may be without a byte: it only waits for its reply

    def __init__(self, scenario: Scenario, count: int, depth: int = 1) -> None:
        self.scenario = scenario
        self.hears_messages = scenario.hears_messages
        self.ledger = Ledger(scenario.reply, count, depth)

    @property
    def awaited(self) -> int:
        """How many things are still to come, for who waits for all of them."""
        return self.ledger.in_flight

    def opened(self, numbers: Numbers) -> None:
        """Connections that are open from now on, anew or for the first time."""

    def is_free(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Which of these connections may have another request sent: bool[n]."""
        return self.ledger.is_free(numbers)

    def has_room(self, number: int) -> bool:
        """The scalar form of `is_free`."""
        return bool(self.is_free(np.array([number]))[0])

    def requests(self, numbers: Numbers) -> tuple[Ragged, Numbers]:
        """What to send now on these connections, each once and free; and their seqs int64[n]."""
        said = self.scenario.requests(numbers, self.ledger.following(numbers))
        return said, self.ledger.send(numbers)  # once it has said so: it may have raised

    def has_scalars(self) -> bool:
        """Whether there are `request` and `take_few`."""
        return False

    def request(self, number: int) -> tuple[bytes, int]:
        """The scalar form of `requests`."""
        said, seqs = self.requests(np.array([number]))
        return said.piece(0), int(seqs[0])

    def take_few(self, pieces: list[tuple[int, bytes]]) -> list[tuple[int, int]] | None:
        """The scalar form of `take`: requests (number, seq) that were right. None, with nothing
        taken, where there is anything else in these pieces: `take` is for that."""
        return None

    def pauses(self, numbers: Numbers) -> Numbers | None:
        """In a closed loop: by how much (ns) the next request of these is due later, int64[n].
        None: none is."""
        return None

    def take(self, numbers: Numbers, data: Ragged) -> Resolved:
        """Pieces that came, in order; returns the requests that they resolve."""
        raise NotImplementedError

    def gone(self, numbers: Numbers, *, by_peer: bool = False) -> Resolved:
        """Connections that the load client closes, or that the server ended or that broke: what
        they had in flight is resolved."""
        return self.ledger.abandon(numbers)

    def give_up(self, numbers: Numbers, seqs: Numbers) -> Resolved:
        """Requests that waited too long; those still in flight are resolved."""
        for number, seq in zip(numbers.tolist(), seqs.tolist(), strict=True):
            if self.ledger.is_waiting(number, seq):
                self.miss(number, seq)
        return self.ledger.resolved()

    def unanswered(self, number: int) -> list[int]:
        """Seqs of what is to be said once more where the server has ended a connection between
        requests, and another one has opened in its place."""
        seqs = range(int(self.ledger.oldest[number]), int(self.ledger.sent[number]))
        return [seq for seq in seqs if self.ledger.is_waiting(number, seq)]

    def again(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        """The same requests once more: seqs[i] of the (distinct) connection numbers[i]."""
        return self.scenario.requests(numbers, seqs)

    def miss(self, number: int, seq: int) -> None:
        """One request that is given up."""
        self.ledger.miss(number, seq)
