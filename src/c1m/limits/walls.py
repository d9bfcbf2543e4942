"""The numbers at which connections stop, or become slow and stay slow: recognised and named. Pure.

A run that stops short near one of these numbers has very likely met what is behind it. Near means:
as far below as that wall is known to be met (`Limit.near`), and never above it. The numbers of this
machine come first; those that many machines have explain a run only where its own do not.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from c1m.bounds import RAMP_STEP
from c1m.limits.catalogue import LIMITS, WALLS
from c1m.limits.limit import Evidence, Wall
from c1m.results.options import LoadOptions
from c1m.results.record import Explanation
from c1m.units import format_count

CLOSE = 64  # connections: a wall that fits so closely makes loose ones unlikely

KNEE_FACTOR = 3.0  # so many times slower after the knee than before it
KNEE_STAYS_SHARE = 0.9  # of the steps after it, at least twice as slow as before
KNEE_STEPS_LEAST = 4  # on either side: fewer are an accident


def recognise(
    peak: int, asked: LoadOptions, evidence: Evidence, errnos: Collection[str] = ()
) -> list[Explanation]:
    """The walls that a run stopped at (`peak` < asked) or became slow at; [] for other runs.

    `errnos`: names of those that connects failed with.
    """
    found = []
    if 0 < peak < asked.connections:
        count, what = asked.connections - peak, f"stopped at {format_count(peak)}"
        walls = _met(peak, evidence, errnos)
        found = [Explanation(count, what, wall.cause, wall.remedy) for wall in walls]
    knee = knee_of(evidence.ramp.per_1000_s)
    if knee is not None:
        found.append(_knee(knee, peak, evidence))
    return found


def _met(peak: int, evidence: Evidence, errnos: Collection[str]) -> list[Wall]:
    """This machine's own walls near `peak`, else the usual ones, the nearest first.

    Where one fits to within a few connections, those that fit only loosely are left out.
    """
    possible = [limit for limit in LIMITS if not limit.is_ruled_out(evidence)]
    named = [limit for limit in possible if limit.kind and limit.errnos.keys() & set(errnos)]
    kinds = {limit.kind for limit in named or possible}  # an errno says which
    own = [wall for limit in possible for wall in limit.own_walls(evidence)]
    for walls in (own, WALLS):
        near = [wall for wall in walls if wall.kind in kinds and wall.is_near(peak)]
        close = [wall for wall in near if wall.at - peak <= CLOSE]
        if near:
            return sorted(close or near, key=lambda wall: wall.at)
    return []


@dataclass(frozen=True, slots=True)
class Knee:
    """Where a ramp became slow for good: after `at` connections, `times` slower than before."""

    at: int
    times: float


def knee_of(per_1000_s: Sequence[float]) -> Knee | None:
    """The knee of a ramp (seconds for each 1,000 connections); None where it has none.

    The one cut that parts the logarithms of the times best, by least squares. It counts where the
    times jump there and nearly all of the later ones stay up: a pause is no knee, nor is a ramp
    that slows down little by little.
    """
    times = [max(t, 1e-6) for t in per_1000_s]
    if len(times) < 2 * KNEE_STEPS_LEAST:
        return None
    cut = _best_cut([math.log(t) for t in times])
    before, after = statistics.median(times[:cut]), statistics.median(times[cut:])
    beside = times[max(0, cut - 5) : cut], times[cut : cut + 5]
    jump = statistics.median(beside[1]) / statistics.median(beside[0])
    staying = sum(t >= 2 * before for t in times[cut:])
    stays = staying >= KNEE_STAYS_SHARE * (len(times) - cut)
    if min(jump, after / before) < KNEE_FACTOR or not stays:
        return None
    return Knee(cut * RAMP_STEP, after / before)


def _best_cut(values: Sequence[float]) -> int:
    """The position that leaves the least squared distance to the means of the two parts.

    The same as the most of `sum(left)**2 / len(left) + sum(right)**2 / len(right)`.
    """
    sums, count = np.cumsum(values), len(values)
    cuts = np.arange(KNEE_STEPS_LEAST, count - KNEE_STEPS_LEAST + 1)
    left, right = sums[cuts - 1], sums[-1] - sums[cuts - 1]
    return int(cuts[np.argmax(left**2 / cuts + right**2 / (count - cuts))])


def _knee(knee: Knee, peak: int, evidence: Evidence) -> Explanation:
    """The knee in words."""
    what = f"slow from connection {format_count(knee.at)} on ({knee.times:.0f} times slower)"
    count = max(0, peak - knee.at)
    for limit in LIMITS:
        if cause := limit.slows(knee.at, evidence):
            return Explanation(count, what, cause, limit.remedy)
    cause = "No known wall is at that number."
    remedy = (
        "See which kernel counters moved, and whether the server or the client ran out of CPU or "
        "memory from there on."
    )
    return Explanation(count, what, cause, remedy)
