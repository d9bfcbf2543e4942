"""Several processes of a server: how new connections are shared out, and counts added up."""

from __future__ import annotations

import bisect
import itertools
import random
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.server import sums
from c1m.server.child import PAUSE_MAX_NS, pause_ns
from c1m.server.spread import AHEAD_LEAST, ALL, SHARE_LEAST, bounds, shares_of, weights
from c1m.server.statistics import CloseReason, ServerStatistics

HELD = st.lists(st.integers(0, 2_000_000), min_size=1, max_size=12)


def poured(there: list[float], ahead: float) -> list[float]:
    """How much each gets, when it is given drop by drop to the lowest: slow, and near enough."""
    found = [0.0] * len(there)
    drop = ahead / 2000
    for _ in range(2000):
        at = min(range(len(there)), key=lambda i: there[i] + found[i])
        found[at] += drop
    return found


@given(HELD, st.randoms(use_true_random=False), st.floats(0, 1e6))
def test_shares_of_new_connections(held: list[int], rng: random.Random, came: float) -> None:
    takes = [rng.random() < 0.7 for _ in held]
    found = weights(held, takes, came)
    assert abs(found.sum() - 1) < 1e-9 and (found >= 0).all()
    is_open = takes if any(takes) else [True] * len(held)
    count = sum(is_open)
    for share, is_it in zip(found.tolist(), is_open, strict=True):
        assert (share >= SHARE_LEAST / count * 0.999) if is_it else share == 0
    # Who holds less never gets less.
    pairs = sorted((h, s) for h, s, o in zip(held, found.tolist(), is_open, strict=True) if o)
    assert all(a[1] >= b[1] - 1e-9 for a, b in itertools.pairwise(pairs))


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=6))
def test_water_is_poured_as_drop_by_drop(held: list[int]) -> None:
    ahead = max(float(sum(held)), AHEAD_LEAST)
    slow = poured([float(each) for each in held], ahead)
    least = SHARE_LEAST / len(held)
    wanted = [least + part / ahead * (1 - SHARE_LEAST) for part in slow]
    assert np.allclose(weights(held, [True] * len(held)), wanted, atol=0.005)


@given(HELD, st.randoms(use_true_random=False))
def test_bounds_choose_as_the_shares_are(held: list[int], rng: random.Random) -> None:
    takes = [rng.random() < 0.6 for _ in held]
    shares = weights(held, takes)
    found = bounds(shares)
    assert len(found) == len(held) - 1 and found == sorted(found)
    assert all(0 <= each < ALL for each in found)
    ends = [*found, ALL]
    for number, share in enumerate(shares.tolist()):
        width = ends[number] - (ends[number - 1] if number else 0)
        assert abs(width / ALL - share) < 1e-8
    drawn = [bisect.bisect_right(found, rng.randrange(ALL - 1)) for _ in range(50)]
    assert all(shares[number] > 0 for number in drawn)


def test_an_uneven_spread_is_mended_by_new_connections() -> None:
    rng = np.random.default_rng(17)
    held = np.array([0, 50_000, 50_000])
    for _ in range(60):
        held += rng.multinomial(5_000, weights(held.tolist(), [True] * 3, 5_000))
    assert max(shares_of(held.tolist())) < 0.35


def test_a_small_difference_and_a_count_that_lags_shift_little() -> None:
    assert np.abs(weights([100, 102], [True, True]) - 0.5).max() < 0.01
    assert np.abs(weights([500, 0], [True, True], 500) - 0.5).max() < 0.05


COUNTS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 1000))


@st.composite
def reports(draw: st.DrawFn) -> dict[str, Any]:
    closed = {str(int(r)): draw(st.integers(0, 50)) for r in CloseReason}
    live = draw(st.integers(0, 1000))
    opened = live + sum(closed.values())
    values = {"connections.closed": {"peer_eof": 3}, "connections.peak": live,
              "connections.live": live, "messages": draw(st.integers(0, 9)),
              "limited": draw(COUNTS)}  # fmt: skip
    metrics = {"connections.closed": "x_total", "messages": "m_total", "limited": "l_total"}
    return {
        "statistics": {"opened": opened, "live": live, "peak": live, "closed": closed,
                       "never_opened": {"104": draw(st.integers(0, 9))}, "limited": draw(COUNTS),
                       "refusal": draw(st.sampled_from(["", "It is full."]))},
        "tls": draw(COUNTS),
        "process": {"rss_bytes": 5, "peak_rss_bytes": draw(st.integers(0, 9)), "threads": 1},
        "figures": values,
        "about": {name: (metrics.get(name, "gauge"), "", "") for name in values},
    }  # fmt: skip


@given(st.lists(reports(), min_size=1, max_size=5))
def test_sums_are_those_of_the_parts(parts: list[dict[str, Any]]) -> None:
    whole = sums.statistics_of(sums.total(parts)["statistics"])
    each = [sums.statistics_of(part["statistics"]) for part in parts]
    assert whole.opened == sum(s.opened for s in each)
    assert whole.opened == whole.live + sum(whole.closed.values())
    for reason in CloseReason:
        assert whole.closed[reason] == sum(s.closed[reason] for s in each)
    assert whole.never_opened[104] == sum(s.never_opened[104] for s in each)
    for name in "abc":
        assert whole.limited.get(name, 0) == sum(s.limited.get(name, 0) for s in each)


@given(st.lists(reports(), min_size=2, max_size=6))
def test_counters_go_on_where_a_process_dies(lives: list[dict[str, Any]]) -> None:
    before: dict[str, Any] = {}
    messages = lost = 0
    for report in lives:
        whole = sums.with_before(report, before) if before else report
        messages += report["figures"]["messages"]
        assert whole["figures"]["messages"] == messages
        assert whole["statistics"]["live"] == report["statistics"]["live"]
        assert whole["statistics"]["peak"] >= report["statistics"]["peak"]
        lost += report["statistics"]["live"]
        before = sums.ended(whole)
        left = sums.statistics_of(before["statistics"])
        assert left.live == 0 and left.opened == sum(left.closed.values())
        assert before["figures"]["connections.closed"]["process"] == lost
        assert "connections.live" not in before["figures"]
    assert before["statistics"]["peak"] == max(r["statistics"]["peak"] for r in lives)


def test_statistics_travel_as_they_are() -> None:
    made = ServerStatistics(opened=5, live=2, never_opened={104: 1}, limited={"turn": 3})
    made.closed[CloseReason.RESET] = 3
    assert sums.statistics_of(sums.plain(made)) == made
    assert sums.statistics_of({}) == ServerStatistics()


def test_pauses_grow_to_a_bound() -> None:
    found = [pause_ns(deaths) for deaths in range(100)]
    assert found[:2] == [0, 0] and found == sorted(found) and found[-1] == PAUSE_MAX_NS
