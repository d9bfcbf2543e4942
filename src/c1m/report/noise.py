"""What two sets of figures differ by, against what they vary by: the statistics of a comparison.

Methods, each textbook, written here because SciPy is no dependency:

- batch means with an autocorrelation correction, for the noise of a mean over a run's intervals
  (Schmeiser, "Batch size effects in the analysis of simulation output", Operations Research 30,
  1982: 10 to 30 batches; what correlation is left between them lowers their effective number as in
  a first-order autoregression, Law, "Simulation modeling and analysis", chapter 9);
- confidence intervals of quantiles by order statistics (David and Nagaraja, "Order statistics",
  chapter 7), with the count divided by a design effect (Kish, "Survey sampling", chapter 8),
  because the requests of one second share that second's fate;
- Welch's t; Holm's correction (Scandinavian Journal of Statistics 6, 1979) so that a table of many
  figures is not wrong in one of them by chance more often than a table of one;
- permutations with the largest t of all figures (Westfall and Young, "Resampling-based multiple
  testing", 1993), which does the same without assuming how runs vary.

Pure arithmetic; what is random has a fixed seed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.loadgen.histogram import RELATIVE_ERROR_MAX, Histogram

Floats = npt.NDArray[np.float64]

BATCHES_MAX = 20
INTERVALS_MIN = 10  # fewer values of a series say too little about its noise
_Z = 1.96  # of the intervals by order statistics
_PERMUTATIONS_MAX = 5_000  # all of them where they are no more, else so many drawn
_SEED = 7
# A bucket's width: below it two quantiles may differ for no other reason than the rounding.
_RESOLUTION = RELATIVE_ERROR_MAX / math.sqrt(12)


@dataclass(frozen=True, slots=True)
class Spread:
    """How well a run knows one of its figures: the standard error of its logarithm, with the
    degrees of freedom behind it."""

    se: float
    dof: float


def of_series(values: Floats, groups: npt.NDArray[np.int64] | None = None) -> Spread | None:
    """The spread of the mean of a series (float[n]); None where it is too short.

    `groups` int64[n] in rising order: the stage of each value; what stages differ by is not noise.
    Give logarithms of latencies, or a series divided by its mean (`relative`).
    """
    if groups is None:
        groups = np.zeros(len(values), np.int64)
    kinds, place = np.unique(groups, return_inverse=True)
    if len(values) - (len(kinds) - 1) < INTERVALS_MIN:
        return None
    means = np.bincount(place, values) / np.bincount(place)
    rest = values - means[place]
    length = math.ceil(len(rest) / BATCHES_MAX)
    batches = len(rest) // length
    blocks = rest[len(rest) - batches * length :].reshape(batches, length).mean(axis=1)
    blocks = blocks - blocks.mean()
    power = float(blocks @ blocks)
    if power == 0:
        return Spread(0.0, batches - 1)
    correlation = min(0.9, max(0.0, float(blocks[1:] @ blocks[:-1]) / power))
    effective = max(2.0, batches * (1 - correlation) / (1 + correlation))
    variance = power / max(1, batches - len(kinds))
    return Spread(math.sqrt(variance / effective), effective - 1)


def relative(values: Floats, groups: npt.NDArray[np.int64] | None = None) -> Floats:
    """Each value divided by the mean of its group: the spread of the result is that of a log."""
    if groups is None:
        groups = np.zeros(len(values), np.int64)
    _, place = np.unique(groups, return_inverse=True)
    means = np.bincount(place, values) / np.bincount(place)
    safe = np.where(means > 0, means, 1.0)
    result: Floats = values / safe[place]
    return result


def of_quantile(histogram: Histogram, q: float, design_effect: float = 1.0) -> Spread | None:
    """The spread of a quantile's logarithm by order statistics; None where the samples end first.

    `design_effect`: how many requests count as one, because they are not independent.
    """
    effective = histogram.count / design_effect
    if effective <= 0:
        return None
    half = _Z * math.sqrt(q * (1 - q) / effective)
    if q - half <= 0 or q + half > 1 - 1 / (2 * max(effective, 1)):
        return None
    low, high = histogram.quantiles(np.array([q - half, q + half])).tolist()
    width = math.log(max(high, 1) / max(low, 1)) / (2 * _Z)
    return Spread(max(width, _RESOLUTION), max(1.0, effective - 1))


def welch(difference: float, a: Spread, b: Spread) -> float:
    """The probability of such a difference of logarithms without a cause (two-sided)."""
    va, vb = a.se**2, b.se**2
    if va + vb == 0:
        return 0.0 if difference else 1.0
    # Welch and Satterthwaite's degrees of freedom
    dof = (va + vb) ** 2 / (va**2 / max(a.dof, 1) + vb**2 / max(b.dof, 1))
    return student(difference / math.sqrt(va + vb), dof)


def student(t: float, dof: float) -> float:
    """P(|T| >= |t|) of Student's distribution with `dof` degrees of freedom."""
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(dof / 2, 0.5, dof / (dof + t * t))


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Lentz's method)."""
    if x <= 0 or x >= 1:
        return min(1.0, max(0.0, x))
    if x > (a + 1) / (a + b + 2):  # it converges quickly below that
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    tiny = 1e-300
    c, d = 1.0, 1 / max(1 - (a + b) * x / (a + 1), tiny)
    fraction = d
    for m in range(1, 400):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            c = 1 + term / c
            d = 1 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            fraction *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return min(1.0, front * fraction / a)


def holm(ps: Sequence[float]) -> list[float]:
    """Probabilities raised so that all of them together are wrong no more often than one."""
    adjusted = [1.0] * len(ps)
    highest = 0.0
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, ps[i] * (len(ps) - rank)))
        adjusted[i] = highest
    return adjusted


def between_runs(a: Floats, b: Floats) -> Floats:
    """Welch's t for each figure: a float[n, figures], b float[m, figures] -> probabilities.

    With one run on a side, the other side's variance is taken for both. Needs two on one side.
    """
    n, m = len(a), len(b)
    assert n + m >= 3, "a variance takes two runs on one side"
    va = a.var(axis=0, ddof=1) if n > 1 else b.var(axis=0, ddof=1)
    vb = b.var(axis=0, ddof=1) if m > 1 else va
    ps = []
    for i, difference in enumerate((b.mean(axis=0) - a.mean(axis=0)).tolist()):
        if min(n, m) > 1:
            left = Spread(math.sqrt(va[i] / n), n - 1)
            right = Spread(math.sqrt(vb[i] / m), m - 1)
            ps.append(welch(difference, left, right))
        elif va[i] == 0:
            ps.append(0.0 if difference else 1.0)
        else:
            ps.append(student(difference / math.sqrt(va[i] * (1 / n + 1 / m)), max(n, m) - 1))
    return np.array(ps)


def least_permuted(n: int, m: int) -> float:
    """The smallest probability that permuting n and m runs can give (two-sided)."""
    return (2 if n == m else 1) / math.comb(n + m, n)


def permuted(a: Floats, b: Floats, floor: float) -> Floats:
    """Adjusted probabilities by permuting runs: a float[n, figures], b float[m, figures].

    The share of all ways to deal the runs to both sides in which the largest t of all figures is at
    least as large as this figure's own. `floor` is added to each standard error, so that figures
    that hardly vary do not make the largest t out of nothing.
    """
    runs, n = np.concatenate([a, b]), len(a)
    total = len(runs)
    if math.comb(total, n) <= _PERMUTATIONS_MAX:
        dealt = np.array(list(itertools.combinations(range(total), n)))
    else:
        random = np.random.default_rng(_SEED)
        drawn = [np.sort(random.permutation(total)[:n]) for _ in range(_PERMUTATIONS_MAX - 1)]
        dealt = np.array([np.arange(n), *drawn])  # as they were: never a probability of 0
    is_a = np.zeros((len(dealt), total))
    np.put_along_axis(is_a, dealt, 1.0, axis=1)
    ts = _ts(runs - runs.mean(axis=0), is_a, n, floor)
    own = _ts(runs - runs.mean(axis=0), is_a[:1], n, floor)[0]  # the first: as they were
    largest = ts.max(axis=1)
    shares: Floats = (largest[:, None] >= own - 1e-9).mean(axis=0)
    return shares


def _ts(runs: Floats, is_a: Floats, n: int, floor: float) -> Floats:
    """|t| of each figure for each way of dealing: float[ways, figures]."""
    m = len(runs) - n
    sums, squares = is_a @ runs, is_a @ (runs * runs)
    mean_a, mean_b = sums / n, (runs.sum(axis=0) - sums) / m
    va = np.maximum(squares / n - mean_a**2, 0) * n / max(1, n - 1)
    vb = np.maximum((runs * runs).sum(axis=0) / m - squares / m - mean_b**2, 0) * m / max(1, m - 1)
    result: Floats = np.abs(mean_b - mean_a) / (np.sqrt(va / n + vb / m) + floor)
    return result
