"""What becomes of requests, as arrays, and the replies that were not right. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.scenarios.messages import Numbers

RIGHT, GARBLED, CROSSED, REORDERED, MISSING = range(5)
OUTCOMES = ("right", "garbled", "crossed", "reordered", "missing")
FAULT_BYTES_MAX = 200

Outcomes = npt.NDArray[np.uint8]


@dataclass(slots=True)
class Resolved:
    """Requests that were resolved: numbers, seqs int64[n], outcomes uint8[n] (None: all RIGHT)."""

    numbers: Numbers
    seqs: Numbers
    outcomes: Outcomes | None = None

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(slots=True)
class Pushes:
    """Copies of publications that have come: `counts` int64[n] of publication (numbers, seqs)."""

    numbers: Numbers
    seqs: Numbers
    counts: Numbers


@dataclass(frozen=True, slots=True)
class Fault:
    """One reply that was not right; bytes cut to FAULT_BYTES_MAX."""

    kind: str
    number: int  # the connection it was seen on
    seq: int
    expected: bytes
    received: bytes
    note: str = ""  # what a user's check says


def joined(right: Sequence[Resolved], others: Resolved) -> Resolved:
    """All of them as one; those of `right` are all RIGHT."""
    outcomes = [np.full(len(each), RIGHT, np.uint8) for each in right]
    if others.outcomes is not None:
        outcomes.append(others.outcomes)
    return Resolved(
        np.concatenate([each.numbers for each in (*right, others)]),
        np.concatenate([each.seqs for each in (*right, others)]),
        np.concatenate(outcomes),
    )


def merged(first: Resolved, second: Resolved) -> Resolved:
    """Both, none of which is all RIGHT, as one: by number and seq."""
    if not len(first):
        return second
    assert first.outcomes is not None and second.outcomes is not None
    numbers = np.concatenate([first.numbers, second.numbers])
    seqs = np.concatenate([first.seqs, second.seqs])
    outcomes = np.concatenate([first.outcomes, second.outcomes])
    order = np.lexsort((seqs, numbers))
    return Resolved(numbers[order], seqs[order], outcomes[order])


def gathered(resolved: Sequence[tuple[int, int, int]]) -> Resolved:
    """From (number, seq, outcome) each."""
    rows = np.array(resolved, np.int64).reshape(-1, 3)
    return Resolved(rows[:, 0], rows[:, 1], rows[:, 2].astype(np.uint8))
