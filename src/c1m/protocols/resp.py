"""RESP, Redis's protocol: commands, and where a reply ends. Pure.

A reply is a line that begins with its type: `+` a text, `-` an error, `:` an integer, `$` the
length of a bulk string that follows, `*` the count of replies that follow.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged

INTEGER_MAX = 22  # bytes of the longest: a sign, 19 digits and what is around them

_LENGTH = re.compile(rb"-?[0-9]{1,18}")  # what int() takes beyond that is no length: --5, 1_0


def bulk(text: bytes) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(text), text)


def command(*words: bytes) -> bytes:
    """A command and its arguments."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


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


def integers(data: Ragged) -> npt.NDArray[np.int64]:
    """The numbers that pieces of the form ":12\\r\\n" say; -1 for those that are not so: int64[n].

    The slow form: `int(p[1:-2]) if re.fullmatch(rb":[0-9]{1,18}\\r\\n", p) else -1`.
    """
    values = np.full(len(data), -1, np.int64)
    lengths = data.lengths
    for size in np.flatnonzero(np.bincount(np.clip(lengths, 0, INTEGER_MAX))).tolist():
        if not 4 <= size < INTEGER_MAX:
            continue
        which = np.flatnonzero(lengths == size)
        rows = data.memory[data.offsets[which, None] + np.arange(size)]
        digits = rows[:, 1:-2].astype(np.int64) - ord("0")
        fits = (rows[:, 0] == ord(":")) & (rows[:, -2] == 13) & (rows[:, -1] == 10)
        fits &= ((digits >= 0) & (digits <= 9)).all(axis=1)
        numbers = digits @ (10 ** np.arange(size - 4, -1, -1, dtype=np.int64))
        values[which[fits]] = numbers[fits]
    return values
