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

Numbers = npt.NDArray[np.int64]
MESSAGE_MAX = 1 << 20

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Message:
    """A template, ready for connections 0 .. `count` - 1. Raises UsageError for a bad one."""

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

    def one(self, number: int) -> bytes:
        """The message of one connection: the slow reference of `matrix`."""
        return str(number).encode().join(self._parts)

    def lengths(self, numbers: Numbers) -> npt.NDArray[np.int32]:
        """How long the messages of n connections are: int32[n]."""
        return (self._constant + self._places * _digits(numbers)).astype(np.int32)

    def matrix(self, numbers: Numbers) -> tuple[Bytes, npt.NDArray[np.int32]]:
        """The messages of n connections: uint8[n, size_max] padded with zeros, lengths int32[n]."""
        rows = np.zeros((len(numbers), self.size_max), np.uint8)
        digits = _digits(numbers)
        lengths = self.lengths(numbers)
        for width in np.unique(digits).tolist():
            which = np.flatnonzero(digits == width)
            rows[which, : self._constant + self._places * width] = self._fill(numbers[which], width)
        return rows, lengths

    def _fill(self, numbers: Numbers, width: int) -> Bytes:
        """Messages whose numbers have `width` digits."""
        template = np.frombuffer(("0" * width).encode().join(self._parts), np.uint8)
        rows = np.repeat(template[None, :], len(numbers), axis=0)
        at = 0
        for part in self._parts[:-1]:
            at += len(part)
            for column in range(width):
                rows[:, at + column] += (numbers // 10 ** (width - 1 - column) % 10).astype(
                    np.uint8
                )
            at += width
        return rows

    def pieces(self, numbers: Numbers) -> Ragged:
        """The messages as pieces to send."""
        rows, lengths = self.matrix(numbers)
        offsets = np.arange(len(numbers), dtype=np.int64) * self.size_max
        return Ragged(rows.reshape(-1), offsets, lengths)


def matches(data: Ragged, rows: Bytes, lengths: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Which pieces equal which rows, byte for byte: bool[n].

    The slow form: `data.piece(i) == rows[i, :lengths[i]].tobytes()`.
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
    powers = 10 ** np.arange(1, 19, dtype=np.int64)
    return np.searchsorted(powers, numbers, side="right").astype(np.int64) + 1


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
