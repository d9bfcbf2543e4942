"""Is a difference between two sets of runs more than chance: what `compare` decides by. Pure.

If two builds do not differ, it is chance which of the runs are A's and which B's: any other split
of the same runs was as likely. So all splits are tried, and in each the figure that rises most from
A to B is found. A figure rises by more than chance if, in the actual split, it rose further than
any figure does in 19 of 20 splits. At most one split in twenty can be like that, for any of the
figures. So at most one in twenty comparisons of a build with itself finds a rise, however much runs
vary, however the figures are correlated, and however many there are.

(A permutation test on the largest standardised difference: Westfall and Young, "Resampling-based
multiple testing", 1993.) It takes twenty splits: three runs a side.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # of a false alarm, over all figures
_FLOOR = 0.02  # a figure whose runs deviate by less than this rises by so much less
_SPLITS_MAX = 5_000  # all splits where there are no more, else so many at random
_SEED = 7
_ROUNDING = 1e-9


def can_tell(n: int, m: int) -> bool:
    """Whether n and m runs can be split in enough ways for one to be as rare as LEVEL."""
    return math.comb(n + m, n) * LEVEL >= 1


def chances(runs: Floats, n: int) -> Floats:
    """For each figure: in which share of all splits some figure rises as far as this one did.

    runs float[runs, figures]; the first n are A, the others B. How far: the difference of the
    sides' means, in standard deviations of all the runs.
    """
    spread = runs.std(axis=0) + _FLOOR
    rises = _splits(len(runs), n) @ ((runs - runs.mean(axis=0)) / spread)
    largest = rises.max(axis=1)
    found: Floats = (largest[:, None] >= rises[0] - _ROUNDING).mean(axis=0)
    return found


def _splits(total: int, n: int) -> Floats:
    """float[splits, total]: weights that give the difference of means; the actual split first."""
    if math.comb(total, n) <= _SPLITS_MAX:
        in_a = list(itertools.combinations(range(total), n))
    else:
        random = np.random.default_rng(_SEED)
        drawn = (random.permutation(total)[:n] for _ in range(_SPLITS_MAX - 1))
        in_a = [tuple(range(n)), *map(tuple, drawn)]
    weights = np.full((len(in_a), total), 1 / (total - n))
    np.put_along_axis(weights, np.array(in_a), -1 / n, axis=1)
    return weights
