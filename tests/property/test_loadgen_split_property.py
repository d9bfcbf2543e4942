"""All parts of a run together are the whole, exactly: connections, rates, turns, seeds."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.loadgen.arrivals import Arrivals
from c1m.loadgen.split import Split, zipf_weight
from c1m.loadgen.stages import Stage, most_connections
from c1m.results.share import Share, shares_of

COUNTS = st.one_of(st.integers(0, 40), st.integers(0, 10**8))
RATES = st.one_of(st.none(), st.floats(0.01, 1e9))


@st.composite
def stages(draw: st.DrawFn) -> list[Stage]:
    """Some stages in a row; what they ask for may be nonsense."""
    made, now = [], 0
    for _ in range(draw(st.integers(1, 5))):
        to = draw(COUNTS)
        rate = draw(RATES) if to else None
        made.append(
            Stage(
                draw(st.sampled_from(["ramp", "hold", "spike", "drain"])), "x", now, to, 10**9,
                draw(RATES), rate, rate,
                None if rate or not to else draw(st.sampled_from([None, 0, 5])),
                draw(RATES),
            )
        )  # fmt: skip
        now = to
    return made


@given(
    stages(),
    st.integers(1, 1100),
    st.one_of(st.none(), st.integers(1, 50)),
    st.one_of(st.none(), st.sampled_from([0.5, 1.0, 1.7])),
)
def test_parts_together_are_the_whole(
    whole: list[Stage], of: int, publishers: int | None, zipf: float | None
) -> None:
    splits = [Split(Share(index, of), publishers, zipf) for index in range(of)]
    parts = [split.stages(whole) for split in splits]
    for at, stage in enumerate(whole):
        ours = [part[at] for part in parts]
        for name in ("connections_from", "connections_to"):
            assert sum(getattr(one, name) for one in ours) == getattr(stage, name)
        for name in ("connect_rate", "rate_from", "rate_to", "churn_rate"):
            there = [getattr(one, name) for one in ours]
            asked = getattr(stage, name)
            some = [rate for rate in there if rate is not None]
            assert all(rate > 0 for rate in some)
            if asked is None or not some:
                assert not some and (asked is None or not stage.connections_to)
            else:
                assert math.isclose(math.fsum(some), asked, rel_tol=1e-9)
        if stage.connections_to >= stage.connections_from:
            assert all(one.connections_to >= one.connections_from for one in ours)
        for one in ours:  # nobody is to ask who has nobody to ask with
            assert not one.has_load or one.connections_to
        if stage.think_ns is not None and publishers is None:
            with_some = [one for one in ours if one.connections_to]
            assert all(one.think_ns == stage.think_ns for one in with_some)
    total = most_connections(whole)
    stretches = [split.stretch(total) for split in splits]
    assert [each.first for each in stretches] == np.cumsum(
        [0, *(each.count for each in stretches)]
    )[:-1].tolist()
    assert sum(each.count for each in stretches) == total
    if publishers is not None and total >= publishers:
        share = [Share(index, of).count(publishers) for index in range(of)]
        assert all(few <= each.count for few, each in zip(share, stretches, strict=True))
        if total - publishers >= of:  # see Outline.parts
            assert all(each.count > few for few, each in zip(share, stretches, strict=True))


@given(st.integers(1, 40), st.integers(1, 50), st.floats(1, 5000), st.integers(1, 3 * 10**9))
def test_parts_take_turns(of: int, each: int, rate: float, duration_ns: int) -> None:
    """Requests due by all parts are those due by the whole, at the same times."""
    stage = Stage("hold", "x", of * each, of * each, duration_ns, None, rate, rate)
    together = []
    for index in range(of):
        (part,) = Split(Share(index, of)).stages([stage])
        assert part.rate_from is not None and part.rate_to is not None
        arrivals = Arrivals(7, duration_ns, part.rate_from, part.rate_to, phase=part.phase)
        together.append(arrivals.until(7 + duration_ns))
    times = np.sort(np.concatenate(together))
    whole = Arrivals(7, duration_ns, rate, rate).until(7 + duration_ns)
    shorter = min(len(times), len(whole))  # the last one may be at the very end, by rounding
    assert abs(len(times) - len(whole)) <= 1
    assert np.abs(times[:shorter] - whole[:shorter]).max(initial=0) <= 2


@given(st.integers(1, 9), st.integers(1, 100_000), st.sampled_from([0.3, 1.0, 1.2, 2.5]))
def test_the_weight_of_a_part_is_that_of_its_ranks(of: int, total: int, exponent: float) -> None:
    for index in range(of):
        share = Share(index, of)
        ranks = np.arange(share.count(total)) * float(of) + index + 1
        due = float((ranks**-exponent).sum())
        assert math.isclose(zipf_weight(share, total, exponent), due, rel_tol=1e-6)


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.integers(0, 1 << 53))
def test_shares_by_machine(machines: list[str], seed: int) -> None:
    shares = shares_of(machines)
    assert [share.index for share in shares] == list(range(len(machines)))
    for name in set(machines):
        own = [share for share, machine in zip(shares, machines, strict=True) if machine == name]
        assert [share.here for share in own] == list(range(len(own)))
        assert {share.here_of for share in own} == {len(own)}
    seeds = {share.seed(seed) for share in shares}
    assert len(seeds) == len(shares)
    assert Share().seed(seed) == seed
