"""Which of several processes a new connection is for: counts -> weights -> bounds. Pure.

Each new connection is drawn at random, with weights that are set anew every second by how many
each process holds. Even weights alone keep a spread as uneven as it is: a process that was started
again would have few connections for hours. So the next ones (as many as there are, or as come in
some seconds) are given as if water were poured in: those that hold least get them until all are
level. Each has a part of an even share at least: no process gets all that comes, with all the work
that new connections are, and none waits for its first.

Counts are a second old at most, and not all as old. In the middle of a storm a process that is busy
with it seems to hold few: so many are looked ahead that such a difference shifts little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

AHEAD = 1.0  # of all connections: the spread is level when so many more have come
AHEAD_S, AHEAD_LEAST = 8.0, 1000.0  # or as many as come in this time; or these
SHARE_LEAST = 0.25  # of an even share
PROCESSES_MAX = 256
ALL = 1 << 32  # a random number is below this


def weights(
    held: Sequence[int], takes: Sequence[bool], came: float = 0.0
) -> npt.NDArray[np.float64]:
    """How the next connections are shared out: float64[n], whose sum is 1.

    `held[i]` connections are with process i, which `takes` new ones or does not; `came` in the last
    second. Where none takes any, all are treated alike.
    """
    counts, is_open = np.asarray(held, np.float64), np.asarray(takes, np.bool_)
    if not is_open.any():
        is_open = np.ones(len(counts), np.bool_)
    found = np.zeros(len(counts))
    there = counts[is_open]
    ahead = max(AHEAD_S * came, AHEAD * there.sum(), AHEAD_LEAST)
    poured = np.maximum(_level(there, ahead) - there, 0.0) / ahead
    least = SHARE_LEAST / len(there)
    found[is_open] = least + poured * (1.0 - SHARE_LEAST)
    shares: npt.NDArray[np.float64] = found / found.sum()
    return shares


def _level(there: npt.NDArray[np.float64], ahead: float) -> float:
    """Where water stands on ground of these heights, when so much was poured."""
    ground = np.sort(there)
    levels = (np.cumsum(ground) + ahead) / np.arange(1, len(ground) + 1)
    # With the lowest k under water the level is levels[k - 1]: right for the last that is above it.
    return float(levels[np.flatnonzero(levels >= ground)[-1]])


def bounds(shares: npt.NDArray[np.float64]) -> list[int]:
    """For `choose_below`: int[n - 1], rising, of a random number below 2**32.

    A process with no share has no number, also where it is the last one.
    """
    last = int(np.flatnonzero(shares)[-1])
    ends = np.cumsum(shares)
    ends[last:] = 1.0
    # Below `ALL - 1`: the program compares with 32 bits, and with one more for who has the last.
    found = np.minimum(np.rint(ends * ALL), ALL - 1).astype(np.int64)
    return [int(each) for each in found[:-1]]


def shares_of(held: Sequence[int]) -> list[float]:
    """Each one's part of all connections; 0 where there are none."""
    total = sum(held)
    return [round(count / total, 4) if total else 0.0 for count in held]
