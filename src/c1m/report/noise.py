"""Is a difference between two sets of runs more than noise: what `compare` decides by. Pure.

If two builds do not differ, it is chance which of the runs are called A and which B: any other way
to deal the same runs to the two sides was as likely. So they are dealt in every way, and each time
one looks at the figure that stands out most. A figure that stands out in the deal that was, as none
does in 19 of 20 deals, is more than noise. That holds however runs vary, and for all figures
together: a build compared with itself is called worse or better at most once in twenty times. (The
method is Westfall and Young's, "Resampling-based multiple testing", 1993.)

It takes twenty deals: three runs a side. Fewer runs are told apart by their intervals only, where
these lie so far apart that no change from one run to the next is known to do that.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LEVEL = 0.05  # of a false alarm, over all figures and both directions
# By so much a figure must stand out: machines drift, and taking turns makes up for it in part only.
MARGIN = 1.2
_DEALS_MAX = 5_000  # all of them where they are no more, else so many drawn
_SEED = 7
_ROUNDING = 1e-9


def levels(n: int, m: int) -> tuple[float, float]:
    """How rare "worse" and "better" must be among the deals of n and m runs; 0: cannot be told.

    Both have half of LEVEL. Where that is less than one deal, as with three runs a side, "worse"
    has all of it.
    """
    deals = math.comb(n + m, n)
    if deals * LEVEL / 2 >= 1:
        return LEVEL / 2, LEVEL / 2
    return (LEVEL if deals * LEVEL >= 1 else 0.0), 0.0


def shares(a: Floats, b: Floats, floor: float) -> Floats:
    """For each figure: in which share of the deals some figure rises as far from A to B as it did.

    a float[n, figures], b float[m, figures], one row a run. How far: the difference of the means
    over its standard error, to which `floor` is added, so that figures that hardly vary do not
    stand out by nothing.
    """
    runs, n = np.concatenate([a, b]), len(a)
    runs = runs - runs.mean(axis=0)
    rises = _rises(runs, _deals(len(runs), n), n, floor)
    largest = MARGIN * rises[1:].max(axis=1)
    found: Floats = (1 + (largest[:, None] >= rises[0] - _ROUNDING).sum(axis=0)) / len(rises)
    return found


def _deals(total: int, n: int) -> Floats:
    """float[deals, total]: 1 where a run is dealt to A. The first is as it was."""
    if math.comb(total, n) <= _DEALS_MAX:
        dealt = np.array(list(itertools.combinations(range(total), n)))
    else:
        random = np.random.default_rng(_SEED)
        drawn = [np.sort(random.permutation(total)[:n]) for _ in range(_DEALS_MAX - 1)]
        dealt = np.array([np.arange(n), *drawn])
    is_a = np.zeros((len(dealt), total))
    np.put_along_axis(is_a, dealt, 1.0, axis=1)
    return is_a


def _rises(runs: Floats, is_a: Floats, n: int, floor: float) -> Floats:
    """How far each figure rises in each deal: float[deals, figures]."""
    m = len(runs) - n
    sums, squares = is_a @ runs, is_a @ (runs * runs)
    mean_a, mean_b = sums / n, (runs.sum(axis=0) - sums) / m
    va = np.maximum(squares / n - mean_a**2, 0) * n / max(1, n - 1)
    vb = np.maximum(((runs * runs).sum(axis=0) - squares) / m - mean_b**2, 0) * m / max(1, m - 1)
    result: Floats = (mean_b - mean_a) / (np.sqrt(va / n + vb / m) + floor)
    return result


def apart(a: Floats, b: Floats) -> float:
    """How far the ranges of two sets are apart, in widths of the wider one; 0: they overlap.

    The slow form: sort all; the gap between the last of one set and the first of the other.
    """
    gap = max(b.min() - a.max(), a.min() - b.max())
    width = max(a.max() - a.min(), b.max() - b.min())
    if gap <= 0:
        return 0.0
    return float(gap / width) if width else math.inf
