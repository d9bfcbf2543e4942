"""The batch form of requests: a tick's pieces that all hold the same simple command. Pure.

What clients send at the same time is mostly alike: fifty times GET with some key. `uniform` finds
that out without a step of Python for each command, and gives the arguments as columns. Whatever is
not so is for the plain form (`requests`); a property test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.protocols.resp.requests import LINES, SHORT_MAX, SIZES

ARRAYS_MIN = 24  # commands from which on arrays are quicker than lists

Column = list[bytes]


@dataclass(slots=True)
class Uniform:
    """Commands of one name and one number of arguments, in the order in which they came."""

    name: bytes  # as it was sent
    columns: list[Column]  # one for each argument behind the name, with its value in each command
    counts: list[int] | None  # commands of each piece; None: one each
    total: int  # commands in all


def uniform(pieces: list[bytes]) -> Uniform | None:
    """What pieces say that hold nothing but whole commands of one kind; None: they do not.

    None of the pieces may be empty or follow on something unfinished. A name in another case is
    another kind, and so is an argument longer than SHORT_MAX: no bound needs to be looked at.
    """
    step = LINES.get(pieces[0].partition(b"\r\n")[0])
    if step is None:
        return _inline(pieces)
    words = pieces[0].split(b"\r\n", step)
    head = b"\r\n".join(words[:3])
    if len(words) <= step or not pieces[-1].startswith(head):
        return None
    if words[step] and pieces[0].count(b"\r\n") != step * pieces[0].count(head):
        return None  # a pipeline of several kinds: seen before all the others are looked at
    try:
        return _alike(pieces, words[:step]) or _by_lines(pieces, step)
    except IndexError:  # of SIZES
        return None


def _inline(pieces: list[bytes]) -> Uniform | None:
    """Where each line is the same single word."""
    line, end, _ = pieces[0].partition(b"\n")
    word, size = line.removesuffix(b"\r"), len(line) + 1
    if not (end and word.isalpha() and size <= SHORT_MAX):
        return None
    count, rest = divmod(sum(map(len, pieces)), size)
    counts = [len(piece) // size for piece in pieces]
    if rest or sum(counts) != count or b"".join(pieces) != (line + end) * count:
        return None
    return Uniform(word, [], None if len(counts) == count else counts, count)


def _alike(pieces: list[bytes], words: list[bytes]) -> Uniform | None:
    """Where all arguments are as long as those of the first command, whose lines are `words`.

    The commands are the rows of one array then, and the same but for their arguments.
    """
    size = sum(map(len, words)) + 2 * len(words)
    sizes = list(map(len, pieces))
    count, rest = divmod(sum(sizes), size)
    if rest or count < ARRAYS_MIN or any(SIZES[len(w)] != s for s, w in _pairs(words)):
        return None
    counts = None
    if sizes.count(size) != len(sizes):
        counts = [each // size for each in sizes]
        if sum(counts) != count:
            return None
    rows = np.frombuffer(b"".join(pieces), np.uint8).reshape(count, size)
    differs = rows ^ rows[0]
    parts: list[npt.NDArray[np.uint8]] = []
    at = sum(map(len, words[:3])) + 6
    for length, word in _pairs(words[2:]):
        at += len(length) + 2
        differs[:, at : at + len(word)] = 0
        parts.append(rows[:, at : at + len(word)])
        at += len(word) + 2
    if differs.any():
        return None
    return Uniform(words[2], [_column(part) for part in parts], counts, count)


def _pairs(words: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The arguments of a command's lines, each behind its length."""
    return zip(words[1::2], words[2::2], strict=True)


def _column(part: npt.NDArray[np.uint8]) -> Column:
    count, size = part.shape
    if not size:
        return [b""] * count
    column: Column = part.copy().view(f"V{size}").ravel().tolist()
    return column


def _by_lines(pieces: list[bytes], step: int) -> Uniform | None:
    """Where arguments differ in length: if each is as long as it says, no line end is its own."""
    lines = b"".join(pieces).split(b"\r\n")
    last = lines.pop()
    count, rest = divmod(len(lines), step)
    if last or rest or lines[1] != SIZES[len(lines[2])]:
        return None
    if any(lines[i::step].count(lines[i]) != count for i in range(3)):
        return None
    columns = [lines[i::step] for i in range(4, step, 2)]
    for i, column in enumerate(columns):
        if list(map(SIZES.__getitem__, map(len, column))) != lines[3 + 2 * i :: step]:
            return None
    ends = [piece.count(b"\r\n") for piece in pieces]
    if any(count % step for count in ends) or not all(piece[-1] == 10 for piece in pieces):
        return None  # a piece ends within a command, whose lines are not whole there
    counts = None if ends.count(step) == len(ends) else [count // step for count in ends]
    return Uniform(lines[2], columns, counts, count)
