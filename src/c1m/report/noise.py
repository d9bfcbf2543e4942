"""Is a difference between two sets of runs more than chance: what `compare` decides by. Pure.

If two builds do not differ, it is chance which of the runs are called A and which B: any other way
to deal the same runs to the two sides was as likely. So the runs are dealt in every way, and each
time the figure that rises most from A to B is found. A figure rises by more than chance if it rose,
in the deal that was, further than any figure does in 19 of 20 deals. Of all ways to deal the same
runs at most one in twenty can be such a deal, for any of the figures. So at most one in twenty
comparisons of a build with itself finds a rise, however runs vary, however the figures hang
together, and however many there are.

(A permutation test on the largest of the standardised differences: Westfall and Young,
"Resampling-based multiple testing", 1993.) It takes twenty deals: three runs a side.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # of a false alarm, over all figures
_FLOOR = 0.02  # a figure whose runs deviate by less than this rises by so much less
_DEALS_MAX = 5_000  # all of them where they are no more, else so many drawn
_SEED = 7
_ROUNDING = 1e-9


def can_tell(n: int, m: int) -> bool:
    """Whether n and m runs can be dealt in enough ways for one to be as rare as LEVEL."""
    return math.comb(n + m, n) * LEVEL >= 1


def chances(runs: Floats, n: int) -> Floats:
    """For each figure: in which share of all deals some figure rises as far as this one did.

    runs float[runs, figures]; the first n are A, the others B. How far: the difference of the
    sides' means, in standard deviations of all the runs.
    """
    spread = runs.std(axis=0) + _FLOOR
    rises = _deals(len(runs), n) @ ((runs - runs.mean(axis=0)) / spread)
    largest = rises.max(axis=1)
    found: Floats = (largest[:, None] >= rises[0] - _ROUNDING).mean(axis=0)
    return found


def _deals(total: int, n: int) -> Floats:
    """float[deals, total]: what a run counts in the difference of means. The first is as it was."""
    if math.comb(total, n) <= _DEALS_MAX:
        dealt_to_a = list(itertools.combinations(range(total), n))
    else:
        random = np.random.default_rng(_SEED)
        drawn = (random.permutation(total)[:n] for _ in range(_DEALS_MAX - 1))
        dealt_to_a = [tuple(range(n)), *map(tuple, drawn)]
    weights = np.full((len(dealt_to_a), total), 1 / (total - n))
    np.put_along_axis(weights, np.array(dealt_to_a), -1 / n, axis=1)
    return weights
