"""What servers answer: how a reply is encoded, and where one ends. Pure.

A reply is a line that begins with its type. RESP2: `+` a text, `-` an error, `:` an integer, `$`
the length of a bulk string that follows, `*` the count of replies that follow. RESP3 adds `_` null,
`#` a boolean, `,` a double, `(` a big number; of lengths `!` an error and `=` a verbatim string; of
counts `~` a set, `>` a push, `%` a map and `|` attributes, which stand before the reply proper.
Redis sends no streamed types, and they are not known here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged

INTEGER_MAX = 22  # bytes of the longest: a sign, 19 digits and what is around them

# What int() takes beyond this is no length: --5, 1_0; and no reply has more than ten digits' worth.
FEW = 64  # integers that are read one by one: measured, arrays are quicker from about here on
_INTEGER = re.compile(rb":([0-9]{1,18})\r\n")
_LENGTH = re.compile(rb"-?[0-9]{1,10}")
_REPLIES_PER_COUNT = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}

OK = b"+OK\r\n"
NIL = b"$-1\r\n"
NULL = b"_\r\n"
EMPTY = b"*0\r\n"
QUEUED = b"+QUEUED\r\n"
NULLS = (b"", b"", NIL, NULL)  # by protocol: 2 or 3
NULL_ARRAYS = (b"", b"", b"*-1\r\n", NULL)

_BULK_HEADS = [b"\r\n$%d\r\n" % size for size in range(1024)]


def bulk(text: bytes | bytearray) -> bytes:
    """A bulk string."""
    return b"$%d\r\n%b\r\n" % (len(text), bytes(text))


def integer(number: int) -> bytes:
    """An integer."""
    return b":%d\r\n" % number


def double(number: float, protocol: int) -> bytes:
    """A float with 17 significant digits: a double in RESP3, a bulk string in RESP2."""
    text = b"%.17g" % number
    return b",%b\r\n" % text if protocol == 3 else b"$%d\r\n%b\r\n" % (len(text), text)


def boolean(is_true: object, protocol: int) -> bytes:
    """Yes or no: a boolean in RESP3, 1 or 0 in RESP2."""
    if protocol == 3:
        return b"#t\r\n" if is_true else b"#f\r\n"
    return b":1\r\n" if is_true else b":0\r\n"


def error(text: bytes) -> bytes:
    """An error: its first word is what clients look at."""
    return b"-%b\r\n" % text


def array(replies: Sequence[bytes]) -> bytes:
    """An array of replies that are encoded already."""
    return b"*%d\r\n" % len(replies) + b"".join(replies)


def bulks(texts: Collection[bytes]) -> bytes:
    """An array of bulk strings. The slow form: `array([bulk(text) for text in texts])`."""
    return _run_of(b"*%d", len(texts), texts)


def mapping_of(texts: Collection[bytes], protocol: int) -> bytes:
    """Keys and values in turn, all bulk strings: a map in RESP3, a flat array in RESP2."""
    if protocol == 3:
        return _run_of(b"%%%d", len(texts) // 2, texts)
    return _run_of(b"*%d", len(texts), texts)


def _run_of(head: bytes, count: int, texts: Collection[bytes]) -> bytes:
    """Bulk strings, each behind the line end of what is before it: one join for all of them."""
    sizes = list(map(len, texts))
    if not sizes:
        return head % count + b"\r\n"
    if sizes.count(sizes[0]) == len(sizes):
        between = b"\r\n$%d\r\n" % sizes[0]
        return b"%b%b%b\r\n" % (head % count, between, between.join(texts))
    parts: list[bytes] = [b""] * (2 * len(sizes))
    if max(sizes) < len(_BULK_HEADS):
        parts[::2] = map(_BULK_HEADS.__getitem__, sizes)
    else:
        parts[::2] = [b"\r\n$%d\r\n" % size for size in sizes]
    parts[1::2] = texts
    return b"%b%b\r\n" % (head % count, b"".join(parts))


def nullable(text: bytes | None, protocol: int) -> bytes:
    """A bulk string, or the null of the protocol."""
    return NULLS[protocol] if text is None else b"$%d\r\n%b\r\n" % (len(text), text)


def mapping(replies: Sequence[bytes], protocol: int) -> bytes:
    """Keys and values in turn: a map in RESP3, a flat array in RESP2."""
    if protocol == 3:
        return b"%%%d\r\n" % (len(replies) // 2) + b"".join(replies)
    return array(replies)


def set_of(replies: Sequence[bytes], protocol: int) -> bytes:
    """A set in RESP3, an array in RESP2."""
    return b"%b%d\r\n" % (b"~" if protocol == 3 else b"*", len(replies)) + b"".join(replies)


def push(replies: Sequence[bytes], protocol: int) -> bytes:
    """What comes unasked: a push in RESP3, an array in RESP2."""
    return b"%b%d\r\n" % (b">" if protocol == 3 else b"*", len(replies)) + b"".join(replies)


def verbatim(text: bytes, protocol: int) -> bytes:
    """Text for people: a verbatim string in RESP3, a bulk string in RESP2."""
    return b"=%d\r\ntxt:%b\r\n" % (len(text) + 4, text) if protocol == 3 else bulk(text)


def command(*words: bytes) -> bytes:
    """A command and its arguments."""
    return b"*%d\r\n" % len(words) + b"".join(map(bulk, words))


def reply_size(stream: bytes) -> int:
    """Bytes of the first whole reply that `stream` begins with; 0: more must come.

    Attributes belong to the reply behind them. Nested replies are followed without recursion. A
    line of an unknown type is a reply of its own, and so is a length that is no number: what is
    garbled ends somewhere, too.
    """
    at, due = 0, 1
    while due:
        end = stream.find(b"\r\n", at)
        if end < 0:
            return 0
        kind, text = stream[at : at + 1], stream[at + 1 : end]
        at, due = end + 2, due - 1
        if kind in b":+-" or not _LENGTH.fullmatch(text):
            continue
        if kind in b"$!=":
            size = int(text)
            if size >= 0:
                at += size + 2
                if at > len(stream):
                    return 0
        elif kind in _REPLIES_PER_COUNT:
            due += max(int(text), 0) * _REPLIES_PER_COUNT[kind] + (kind == b"|")
    return at


def line_sizes(streams: Ragged) -> npt.NDArray[np.int64]:
    """Bytes of the line that each stream begins with, its end and all: int64[n].

    0: no end within INTEGER_MAX bytes. The slow form: `stream[:INTEGER_MAX].find(b"\\n") + 1`.
    """
    if not len(streams.memory):
        return np.zeros(len(streams), np.int64)
    at = streams.offsets[:, None] + np.arange(INTEGER_MAX)
    is_end = streams.memory.take(at, mode="clip") == ord("\n")
    sizes = np.argmax(is_end, axis=1) + 1  # 1 also where there is none
    is_there = is_end[np.arange(len(sizes)), sizes - 1] & (sizes <= streams.lengths)
    return np.where(is_there, sizes, 0)


def integers(data: Ragged) -> npt.NDArray[np.int64]:
    """The numbers that pieces of the form ":12\\r\\n" say; -1 for those that are not so: int64[n].

    The slow form: `int(p[1:-2]) if re.fullmatch(rb":[0-9]{1,18}\\r\\n", p) else -1`.
    """
    if len(data) <= FEW:
        found = map(_INTEGER.fullmatch, data.pieces())
        return np.array([-1 if said is None else int(said[1]) for said in found], np.int64)
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
