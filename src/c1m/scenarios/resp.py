"""Scenario resp: a key of its own for each connection, and a counter for all of them. Pure.

A connection's requests go round: SET of its key to a value that only it knows, GET of the same key,
INCR of a counter that all share. Replies to SET and GET are known to the byte. What an INCR
returns is not, but all of them together must be every number once: `notes` says where they are not.

Where several load clients take part in a run each has a counter of its own, so that all of its
numbers are heard in one place. Against a Redis Cluster there is one for each node, and keys have
the hash tag of their connection's slot.

Any server that speaks RESP2 will do. Keys begin with c1m: and the run's seed, so that two runs
with different seeds do not meet; nothing is deleted.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.protocols.framing import windows
from c1m.protocols.resp.replies import bulk, command, integers, line_sizes, reply_size
from c1m.protocols.resp.slots import REDIRECTIONS, slots_at, tags
from c1m.scenarios.base import Scenario
from c1m.scenarios.ledger import CROSSED, MOVED, STALE, Where
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Numbers, decimal, matches, random_letters

SET, GET, INCR = range(3)
OK = b"+OK\r\n"
NIL = b"$-1\r\n"
NEVER = -1
NO_TAG = b"{0000}"  # where that of a connection will be
TEXT = b"0000000000-0000000000-0123456789abcdef"  # connection, round, random letters
VALUE = bulk(TEXT)
NUMBER = slice(5, 15)  # of a value: the connection's
VALUES_KEPT = 1 << 16  # a counter's values that wait to be put into the runs

_VALUE = re.compile(rb"\$[0-9]+\r\n([0-9]{10})-([0-9]{10})-[A-Za-z0-9_-]{16}\r\n")
_INTEGER = re.compile(rb":([0-9]{1,18})\r\n")


class Resp(Scenario):
    """SET, GET, INCR: see the module. What each counter has said is in `counters`."""

    name = "resp"
    help = "SET and GET of a key of its own, INCR of a counter that all share; see below"
    schemes = ("tcp", "redis")
    sees_to_stretch = True

    def begin(self, connections: int, seed: int) -> None:
        self._seed = seed
        run = b"c1m:%08x:" % (seed & 0xFFFFFFFF)
        shards = self.session.shards
        run += b"" if shards is None else NO_TAG
        key = run + b"0000000000"
        get = command(b"GET", key)
        share = self.stretch.share
        counter = run + b"counter" + (b"" if share.is_whole else b":%d" % share.index)
        texts = command(b"SET", key, TEXT), get, command(b"INCR", counter)
        self._sizes = np.array([len(text) for text in texts], np.int32)
        padded = [text.ljust(int(self._sizes.max()), b"\0") for text in texts]
        self._blank = np.frombuffer(b"".join(padded), np.uint8).reshape(3, -1)
        self._key_at = get.index(b"0000000000")
        self.counters = [CountedValues() for _ in range(1 if shards is None else shards.count)]
        self.asked = 0  # INCR
        self._is_locked = False  # the server has asked for a password
        self._set = np.full(connections, NEVER, np.int64)  # the round whose SET was confirmed last
        self._kept = np.zeros((connections, len(VALUE)), np.uint8)  # what each has set its key to
        self._records = self._kept.view(f"V{len(VALUE)}").reshape(-1)
        self._rounds = np.full(connections, NEVER, np.int64)  # in which round that was
        self._counted: tuple[Ragged, Numbers] | None = None  # a batch, and what its INCRs said
        self._nodes: Numbers | None = None  # which of a cluster's nodes each connection is with
        if shards is not None:
            places = self.stretch.first + np.arange(connections)
            self._nodes, own = shards.nodes_at(places), tags()[slots_at(places)]
            self._tags = np.stack((own, tags()[shards.first_slots()[self._nodes]]))
            at = np.array([text.index(NO_TAG) for text in texts])
            self._tag_at = at[:, None] + np.arange(len(NO_TAG))

    # --- what is said -------------------------------------------------------------------------

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        kinds = seqs % 3
        self.asked += int(np.count_nonzero(kinds == INCR))
        rows = self._blank[kinds]
        if self._nodes is not None:
            self._put_tags(rows, kinds, numbers)
        is_set, is_get = np.flatnonzero(kinds == SET), np.flatnonzero(kinds == GET)
        key = slice(self._key_at, self._key_at + 10)
        who, rounds = numbers[is_set], seqs[is_set] // 3
        values = self._values(who, rounds)
        self._kept[who], self._rounds[who] = values, rounds
        rows[is_set, key] = values[:, NUMBER]
        rows[is_set, self._sizes[SET] - values.shape[1] : self._sizes[SET]] = values
        who = numbers[is_get]
        rows[is_get, key] = (
            self._kept[who, NUMBER]
            if (self._rounds[who] != NEVER).all()
            else decimal(who + self.stretch.first, 10)
        )
        offsets = np.arange(len(numbers), dtype=np.int64) * rows.shape[1]
        return Ragged(rows.reshape(-1), offsets, self._sizes[kinds])

    def _put_tags(self, rows: Bytes, kinds: Numbers, numbers: Numbers) -> None:
        """Of the connection's slot; of a counter, that of its node's."""
        own = self._tags[(kinds == INCR).view(np.uint8), numbers]
        rows[np.arange(len(rows))[:, None], self._tag_at[kinds]] = own

    def _values(self, numbers: Numbers, rounds: Numbers) -> Bytes:
        """What connections set their keys to, as bulk strings: uint8[n, 45]."""
        numbers = numbers + self.stretch.first
        blank = np.frombuffer(VALUE, np.uint8)
        rows = np.repeat(blank[None, :], len(numbers), axis=0)
        rows[:, NUMBER] = decimal(numbers, 10)
        rows[:, 16:26] = decimal(rounds, 10)
        rows[:, 27:43] = random_letters(numbers, rounds, 0, 16, self._seed)
        return rows

    # --- what is expected back ----------------------------------------------------------------

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        kinds = seqs % 3
        right = np.zeros(len(numbers), np.bool_)
        for kind in np.flatnonzero(np.bincount(kinds)).tolist():  # mostly only one is there
            which = np.flatnonzero(kinds == kind)
            pieces = data.take(which)
            if kind == SET:
                right[which] = equal_to(pieces, OK)
            elif kind == GET:
                right[which] = self._have_values(numbers[which], seqs[which] // 3, pieces)
            else:
                said = integers(pieces)
                right[which] = said >= 0
                self._counted = data, said
        return right

    def _have_values(
        self, numbers: Numbers, rounds: Numbers, pieces: Ragged
    ) -> npt.NDArray[np.bool_] | bool:
        """Which are the values of these rounds: bool[n], or True for all."""
        sizes = np.full(len(numbers), len(VALUE), np.int32)
        is_kept = (self._rounds.take(numbers) == rounds).all()
        if is_kept and pieces.lengths.tobytes() == sizes.tobytes():
            came = windows(pieces.memory, self._records.dtype)[pieces.offsets]
            if came.tobytes() == self._records[numbers].tobytes():
                return True
        return matches(pieces, self._values(numbers, rounds), sizes)

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        kinds = seqs % 3
        is_set, is_incr = kinds == SET, kinds == INCR
        np.maximum.at(self._set, numbers[is_set], seqs[is_set] // 3)
        counted, self._counted = self._counted, None
        if counted is not None and counted[0] is data:
            self._count(numbers, is_incr, counted[1])
        elif is_incr.any():
            self._count(numbers, is_incr, integers(data.take(is_incr)))

    def _count(self, numbers: Numbers, is_incr: Where, said: Numbers) -> None:
        """What INCRs have said, by counter."""
        if self._nodes is None:
            self.counters[0].add(said)
            return
        nodes = self._nodes[numbers[is_incr]]
        for node in np.flatnonzero(np.bincount(nodes)).tolist():
            self.counters[node].add(said[nodes == node])

    def reply(self, number: int, seq: int) -> bytes:
        """Of an INCR an example: which number it is nobody knows before."""
        kind = seq % 3
        if kind == GET:
            return self._values(np.array([number]), np.array([seq // 3])).tobytes()
        return OK if kind == SET else b":1\r\n"

    def accepts(self, number: int, seq: int, reply: bytes) -> bool:
        """Where a SET was not confirmed (its connection ended, say) the key may have its value,
        that of the last that was, or of one between them.
        """
        self._is_locked |= reply.startswith(b"-NOAUTH")
        if seq % 3 == INCR:
            return _INTEGER.fullmatch(reply) is not None
        if reply == self.reply(number, seq):
            return True
        first, last = int(self._set[number]), seq // 3
        if seq % 3 == SET or first >= last:
            return False
        match = _VALUE.fullmatch(reply)
        if match is None:
            return reply == NIL and first == NEVER
        asked = int(match[2])
        ours = int(match[1]) - self.stretch.first == number and max(first, 0) <= asked < last
        return ours and reply == self.reply(number, 3 * asked + GET)

    def reply_size(self, number: int, seq: int) -> int:
        return (len(OK), len(VALUE), 0)[seq % 3]

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32]:
        return np.array([len(OK), len(VALUE), 0], np.int32)[seqs % 3]

    def frames(self, streams: Ragged) -> npt.NDArray[np.int64]:
        return line_sizes(streams)  # an INCR's

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        return reply_size(stream)

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        match = _VALUE.fullmatch(reply)
        if match is None:
            return None
        return int(match[1]) - self.stretch.first, 3 * int(match[2]) + GET

    def mix_up(self, number: int, seq: int, reply: bytes) -> int | None:
        """A value in the place of another one. Redis answers in order: it is no other's reply."""
        if reply.startswith(REDIRECTIONS):
            return MOVED
        match = _VALUE.fullmatch(reply)
        if match is None or seq % 3 != GET:
            return None
        whose, asked = int(match[1]) - self.stretch.first, int(match[2])
        if reply != self.reply(whose, 3 * asked + GET):
            return None
        if whose != number:
            return CROSSED
        return STALE if asked < seq // 3 else None

    def notes(self) -> list[str]:
        found: list[str] = []
        if self._is_locked:
            found.append(
                "The server asks for a password (NOAUTH): give it in the target, as "
                "redis://:PASSWORD@HOST or redis://USER:PASSWORD@HOST."
            )
        unanswered = self.asked - sum(values.count for values in self.counters)
        for values in self.counters:
            if values.doubled:
                found.append(
                    f"INCR: {values.doubled:,} of {values.count:,} replies said a number that "
                    f"another one had said (the first: {values.first_doubled:,}); each should come "
                    "once."
                )
            if values.gaps > unanswered:
                found.append(
                    f"INCR: between {values.lowest:,} and {values.highest:,} {values.gaps:,} "
                    f"numbers were not said to anybody; only {unanswered:,} requests have no reply."
                )
        return found


class CountedValues:
    """Integers of which each should come once, kept as runs of neighbours.

    A counter's replies are nearly gapless, so the memory is that of the gaps, not of the values.
    The slow form: a Counter of all values; `doubled` is sum(count - 1), `gaps` how many integers
    between the lowest and the highest are not in it.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first_doubled: int | None = None
        self._doubled = 0
        self._starts = np.zeros(0, np.int64)
        self._ends = np.zeros(0, np.int64)  # behind the last of each run
        self._waiting: list[Numbers] = []
        self._waiting_count = 0

    def add(self, values: Numbers) -> None:
        """Values that came: int64[n]."""
        self.count += len(values)
        self._waiting.append(values)
        self._waiting_count += len(values)
        if self._waiting_count >= VALUES_KEPT:
            self.settle()

    def settle(self) -> None:
        """Put what waits into the runs."""
        if not self._waiting_count:
            return
        values, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting, self._waiting_count = [], 0
        run = np.searchsorted(self._starts, values, side="right") - 1
        is_known = run >= 0
        is_known[is_known] = values[is_known] < self._ends[run[is_known]]
        again, new = values[(counts > 1) | is_known], values[~is_known]
        self._doubled += int(counts.sum()) - len(new)
        if len(again) and self.first_doubled is None:
            self.first_doubled = int(again[0])
        # No two runs overlap, so their starts and ends are in one order; where they meet they join.
        starts = np.sort(np.concatenate((self._starts, new)))
        ends = np.sort(np.concatenate((self._ends, new + 1)))
        is_apart = starts[1:] != ends[:-1]
        self._starts = np.concatenate((starts[:1], starts[1:][is_apart]))
        self._ends = np.concatenate((ends[:-1][is_apart], ends[-1:]))

    @property
    def doubled(self) -> int:
        """How many came that had come already; the first that was seen is `first_doubled`."""
        self.settle()
        return self._doubled

    @property
    def gaps(self) -> int:
        """How many integers between the lowest and the highest did not come."""
        self.settle()
        return int((self._starts[1:] - self._ends[:-1]).sum())

    @property
    def lowest(self) -> int | None:
        """The lowest value; None: none came."""
        self.settle()
        return int(self._starts[0]) if len(self._starts) else None

    @property
    def highest(self) -> int | None:
        """The highest value; None: none came."""
        self.settle()
        return int(self._ends[-1]) - 1 if len(self._ends) else None
