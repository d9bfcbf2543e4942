"""Messages with the connection's number in them, made and compared by whole batches. Pure.

A message is a template: text in which every `{n}` stands for the number of the connection (from 0).
`{{` and `}}` stand for braces.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged
from c1m.errors import UsageError
from c1m.loadgen.message_rows import MessageRows, stride_of

Numbers = npt.NDArray[np.int64]
MESSAGE_MAX = 1 << 20
KEPT_BYTES_MAX = 1 << 27  # four million messages of the usual size, 131,072 of 1 KiB
BLOCK_ROWS = 1 << 12  # kept messages are made in blocks: so many, or fewer
BLOCK_BYTES = 1 << 20  # of long ones

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_POWERS = 10 ** np.arange(1, 19, dtype=np.int64)
_FOUR = 10_000
_TEXTS = (np.arange(_FOUR)[:, None] // [1000, 100, 10, 1] % 10 + ord("0")).astype(np.uint8)


class Message:
    """A template, ready for connections 0 .. `count` - 1. Raises UsageError for a bad one.

    The messages are kept, made block by block when first asked for, if those of all connections
    take at most KEPT_BYTES_MAX; otherwise they are made every time.
    """

    def __init__(self, template: str, count: int) -> None:
        self.template = template
        self._parts = _parse(template)  # constant bytes; between two of them stands the number
        self._places = len(self._parts) - 1
        self._constant = sum(len(p) for p in self._parts)
        self.size_max = self._constant + self._places * len(str(max(count - 1, 0)))
        if self.size_max == 0:
            raise UsageError("The message is empty.", "Give at least one byte to echo.")
        if self.size_max > MESSAGE_MAX:
            raise UsageError(
                f"The message has {self.size_max:,} bytes; at most {MESSAGE_MAX:,} can be sent.",
                "Use a shorter one.",
            )
        self._size_min = self._constant + self._places
        # One without a number in it is the same for all: a single row.
        kept = max(count, 1) if self._places else 1
        stride = stride_of(self._size_min, self.size_max)
        self._kept: MessageRows | None = None
        if kept * stride <= KEPT_BYTES_MAX:
            self._kept = MessageRows(kept, self._size_min, self.size_max)
        self._block = max(min(BLOCK_ROWS, BLOCK_BYTES // stride), 1)
        self._is_made = np.zeros(-(-kept // self._block), np.bool_)
        self._to_make = len(self._is_made)

    def one(self, number: int) -> bytes:
        """The message of one connection: the slow reference of all that follows."""
        return str(number).encode().join(self._parts)

    def lengths(self, numbers: Numbers) -> npt.NDArray[np.int32]:
        """How long the messages of n connections are: int32[n]."""
        return (self._constant + self._places * _digits(numbers)).astype(np.int32)

    def matrix(self, numbers: Numbers) -> tuple[Bytes, npt.NDArray[np.int32]]:
        """The messages of n connections: uint8[n, size_max] padded with zeros, lengths int32[n]."""
        made = self._make(numbers)
        return made.rows[:, : self.size_max], made.lengths

    def pieces(self, numbers: Numbers) -> Ragged:
        """The messages as pieces to send."""
        rows, index = self._ready(numbers)
        return rows.pieces(index)

    def equal(self, numbers: Numbers, data: Ragged) -> bool:
        """Whether piece i is the message of connection numbers[i], for all i.

        The slow form: `data.pieces() == [self.one(n) for n in numbers.tolist()]`.
        """
        rows, index = self._ready(numbers)
        return rows.equal(index, data)

    def _ready(self, numbers: Numbers) -> tuple[MessageRows, Numbers]:
        """Rows with these connections' messages in them, and which rows these are."""
        if self._kept is None:
            return self._make(numbers), np.arange(len(numbers))
        if not self._places:
            numbers = np.zeros(len(numbers), np.int64)
        if self._to_make and len(numbers):
            self._keep(numbers // self._block)
        return self._kept, numbers

    def _keep(self, blocks: Numbers) -> None:
        """Make the blocks of kept messages that are not there yet."""
        assert self._kept is not None
        for block in sorted(set(blocks[~self._is_made[blocks]].tolist())):
            first = block * self._block
            numbers = np.arange(first, min(first + self._block, len(self._kept.lengths)))
            self._write(self._kept, numbers, numbers)
            self._is_made[block] = True
            self._to_make -= 1

    def _make(self, numbers: Numbers) -> MessageRows:
        """Rows with just these connections' messages."""
        rows = MessageRows(len(numbers), self._size_min, self.size_max)
        self._write(rows, np.arange(len(numbers)), numbers)
        return rows

    def _write(self, rows: MessageRows, index: Numbers, numbers: Numbers) -> None:
        """Write messages into rows: numbers of the same number of digits at a time."""
        digits = _digits(numbers)
        widths = np.flatnonzero(np.bincount(digits)).tolist() if self._places else [0]
        for width in widths:
            is_all = len(widths) == 1
            which = slice(None) if is_all else np.flatnonzero(digits == width)
            rows.put(index[which], self._fill(numbers[which], width))

    def _fill(self, numbers: Numbers, width: int) -> Bytes:
        """Messages whose numbers have `width` digits."""
        template = np.frombuffer(("0" * width).encode().join(self._parts), np.uint8)
        rows = np.repeat(template[None, :], len(numbers), axis=0)
        text = _decimal(numbers, width)
        at = 0
        for part in self._parts[:-1]:
            at += len(part)
            rows[:, at : at + width] = text
            at += width
        return rows


def matches(data: Ragged, rows: Bytes, lengths: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which pieces equal which rows, byte for byte: bool[n].

    For batches that are not all right: `Message.equal` is far quicker for those that are. The slow
    form: `data.piece(i) == rows[i, :lengths[i]].tobytes()`.
    """
    same: npt.NDArray[np.bool_] = data.lengths == lengths
    if not len(rows) or not len(data.memory):
        return same
    width = rows.shape[1]
    columns = np.arange(width)
    index = data.offsets[:, None] + columns[None, :]
    np.minimum(index, len(data.memory) - 1, out=index)
    equal = data.memory[index] == rows
    equal |= columns[None, :] >= lengths[:, None]
    same &= equal.all(axis=1)
    return same


def _digits(numbers: Numbers) -> npt.NDArray[np.int64]:
    """Decimal digits of each number."""
    return np.searchsorted(_POWERS, numbers, side="right").astype(np.int64) + 1


def _decimal(numbers: Numbers, width: int) -> Bytes:
    """The numbers as text of `width` digits, by a table of all texts of four."""
    groups = -(-width // 4)
    text = np.empty((len(numbers), groups, 4), np.uint8)
    for group in range(groups - 1, -1, -1):
        text[:, group] = _TEXTS[numbers % _FOUR]
        numbers = numbers // _FOUR
    return text.reshape(len(numbers), groups * 4)[:, groups * 4 - width :]


def _parse(template: str) -> list[bytes]:
    parts = [""]
    at = 0
    for token in _TOKEN.finditer(template):
        parts[-1] += template[at : token.start()]
        at = token.end()
        if token[0] in ("{{", "}}"):
            parts[-1] += token[0][0]
        elif token[1] == "n":
            parts.append("")
        else:
            raise UsageError(
                f"The message has {token[0]!r}, which stands for nothing.",
                "Use {n} for the connection's number, {{ and }} for braces.",
            )
    parts[-1] += template[at:]
    return [part.encode() for part in parts]
