"""Scenario resp: a key of its own for each connection, and a counter for all of them. Pure.

A connection's requests go round: SET of its key to a value that only it knows, GET of the same key,
INCR of a counter that all share. Replies to SET and GET are known to the byte. What an INCR
returns is not, but all of them together must be every number once: `notes` says where they are not.

Any server that speaks RESP2 will do. Keys begin with c1m: and the run's seed, so that two runs
with different seeds do not meet; nothing is deleted.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.scenarios.base import Scenario
from c1m.scenarios.messages import Numbers, decimal, random_letters
from c1m.scenarios.resp_values import CountedValues

SET, GET, INCR = range(3)
OK = b"+OK\r\n"
NIL = b"$-1\r\n"
INTEGER_MAX = 22  # bytes of the longest: a sign, 19 digits and what is around them
NEVER = -1

_VALUE = re.compile(rb"\$[0-9]+\r\n([0-9]{10})-([0-9]{10})-[A-Za-z0-9_-]{16}\r\n")
_INTEGER = re.compile(rb":([0-9]{1,18})\r\n")
_LENGTH = re.compile(rb"-?[0-9]{1,18}")  # what int() takes beyond that is no length: --5, 1_0


def reply_size(stream: bytes) -> int:
    """Bytes of the first whole RESP2 reply that `stream` begins with; 0: more must come.

    Nested arrays are followed without recursion. A line of an unknown type is a reply of its own,
    and so is a length that is no number: what is garbled ends somewhere, too.
    """
    at, due = 0, 1
    while due:
        end = stream.find(b"\r\n", at)
        if end < 0:
            return 0
        kind, text = stream[at : at + 1], stream[at + 1 : end]
        at, due = end + 2, due - 1
        if kind not in b"$*" or not _LENGTH.fullmatch(text):
            continue
        size = int(text)
        if kind == b"*":
            due += max(size, 0)
        elif size >= 0:
            at += size + 2
            if at > len(stream):
                return 0
    return at


class Resp(Scenario):
    """SET, GET, INCR: see the module. The counter's values are in `values`."""

    name = "resp"

    def begin(self, connections: int, seed: int) -> None:
        """See Scenario."""
        run = f"{seed & 0xFFFFFFFF:08x}"
        self._seed = seed
        key = "$23\r\nc1m:%b:0000000000\r\n".replace("%b", run)
        value = "$38\r\n0000000000-0000000000-0123456789abcdef\r\n"
        incr = f"*2\r\n$4\r\nINCR\r\n$20\r\nc1m:{run}:counter\r\n"
        texts = (f"*3\r\n$3\r\nSET\r\n{key}{value}", f"*2\r\n$3\r\nGET\r\n{key}", incr)
        self._requests = [np.frombuffer(text.encode(), np.uint8) for text in texts]
        self._value = np.frombuffer(value.encode(), np.uint8)
        self._key_at = texts[GET].index(":0000000000") + 1
        self.values = CountedValues()
        self.asked = 0  # INCR
        self._set = np.full(connections, NEVER, np.int64)  # the round whose SET was confirmed last

    # --- what is said -------------------------------------------------------------------------

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        kinds = seqs % 3
        self.asked += int(np.count_nonzero(kinds == INCR))
        sizes = np.array([len(text) for text in self._requests], np.int32)
        stride = int(sizes.max())
        rows = np.zeros((len(numbers), stride), np.uint8)
        for kind, text in enumerate(self._requests):
            which = np.flatnonzero(kinds == kind)
            made = np.repeat(text[None, :], len(which), axis=0)
            if kind != INCR:
                made[:, self._key_at : self._key_at + 10] = decimal(numbers[which], 10)
            if kind == SET:
                values = self._values(numbers[which], seqs[which] // 3)
                made[:, -values.shape[1] :] = values
            rows[which, : len(text)] = made
        offsets = np.arange(len(numbers), dtype=np.int64) * stride
        return Ragged(rows.reshape(-1), offsets, sizes[kinds])

    def _values(self, numbers: Numbers, rounds: Numbers) -> Bytes:
        """What connections set their keys to, as bulk strings: uint8[n, 45]."""
        rows = np.repeat(self._value[None, :], len(numbers), axis=0)
        rows[:, 5:15] = decimal(numbers, 10)
        rows[:, 16:26] = decimal(rounds, 10)
        rows[:, 27:43] = random_letters(numbers, rounds, 0, 16, self._seed)
        return rows

    # --- what is expected back ----------------------------------------------------------------

    def which_right(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        kinds = seqs % 3
        right = np.zeros(len(numbers), np.bool_)
        checks = (self._are_ok, self._are_values, self._are_integers)
        for kind, check in enumerate(checks):
            which = np.flatnonzero(kinds == kind)
            if len(which):
                right[which] = check(numbers[which], seqs[which], data.take(which))
        return right

    def _are_ok(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        ok = np.frombuffer(OK, np.uint8)
        return _equal(data, np.repeat(ok[None, :], len(numbers), axis=0))

    def _are_values(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        return _equal(data, self._values(numbers, seqs // 3))

    def _are_integers(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> npt.NDArray[np.bool_]:
        return _integers(data) >= 0

    def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
        kinds = seqs % 3
        is_set, is_incr = kinds == SET, kinds == INCR
        np.maximum.at(self._set, numbers[is_set], seqs[is_set] // 3)
        if is_incr.any():
            self.values.add(_integers(data.take(is_incr)))

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
        ours = int(match[1]) == number and max(first, 0) <= asked < last
        return ours and reply == self.reply(number, 3 * asked + GET)

    def reply_size(self, number: int, seq: int) -> int:
        return (len(OK), len(self._value), 0)[seq % 3]

    def reply_sizes(self, numbers: Numbers, seqs: Numbers) -> npt.NDArray[np.int32]:
        return np.array([len(OK), len(self._value), 0], np.int32)[seqs % 3]

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        return reply_size(stream)

    def identify(self, reply: bytes) -> tuple[int, int | None] | None:
        match = _VALUE.fullmatch(reply)
        return None if match is None else (int(match[1]), 3 * int(match[2]) + GET)

    def notes(self) -> list[str]:
        values = self.values
        told: list[str] = []
        if values.doubled:
            told.append(
                f"INCR: {values.doubled:,} of {values.count:,} replies said a number that another "
                f"one had said (the first: {values.first_doubled:,}); each should come once."
            )
        unanswered = self.asked - values.count
        if values.gaps > unanswered:
            told.append(
                f"INCR: between {values.lowest:,} and {values.highest:,} {values.gaps:,} numbers "
                f"were not said to anybody; only {unanswered:,} requests have no reply."
            )
        return told


def _gathered(data: Ragged, which: Numbers, width: int) -> Bytes:
    """The first `width` bytes of some pieces, which have as many: uint8[m, width]."""
    rows: Bytes = data.memory[data.offsets[which, None] + np.arange(width)]
    return rows


def _equal(data: Ragged, rows: Bytes) -> npt.NDArray[np.bool_]:
    """Which pieces are these rows: bool[n]."""
    same: npt.NDArray[np.bool_] = data.lengths == rows.shape[1]
    which = np.flatnonzero(same)
    if len(which):
        same[which] = (_gathered(data, which, rows.shape[1]) == rows[which]).all(axis=1)
    return same


def _integers(data: Ragged) -> Numbers:
    """The numbers that pieces of the form ":12\\r\\n" say; -1 for those that are not so: int64[n].

    The slow form: `int(p[1:-2]) if re.fullmatch(rb":[0-9]{1,18}\\r\\n", p) else -1`.
    """
    values = np.full(len(data), -1, np.int64)
    lengths = data.lengths
    for size in np.flatnonzero(np.bincount(np.clip(lengths, 0, INTEGER_MAX))).tolist():
        if not 4 <= size < INTEGER_MAX:
            continue
        which = np.flatnonzero(lengths == size)
        rows = _gathered(data, which, size)
        digits = rows[:, 1:-2].astype(np.int64) - ord("0")
        fits = (rows[:, 0] == ord(":")) & (rows[:, -2] == 13) & (rows[:, -1] == 10)
        fits &= ((digits >= 0) & (digits <= 9)).all(axis=1)
        numbers = digits @ (10 ** np.arange(size - 4, -1, -1, dtype=np.int64))
        values[which[fits]] = numbers[fits]
    return values
