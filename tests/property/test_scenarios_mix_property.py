"""Several scenarios that are all the same are as one of them, whatever happens to whom."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.scenarios.base import Exchange
from c1m.scenarios.ledger import OUTCOMES, Resolved
from c1m.scenarios.matching import exchange_of
from c1m.scenarios.mix import Mix, pattern
from c1m.scenarios.templates import Lines

COUNT = 12

_some = st.lists(st.integers(0, COUNT - 1), min_size=1, max_size=COUNT, unique=True)
_step = st.tuples(
    st.sampled_from(["ask", "right", "wrong", "other", "half", "gone", "late"]), _some
)


def told(resolved: Resolved) -> Counter[tuple[int, int, str]]:
    """What was resolved, in any order."""
    names = [OUTCOMES[o] for o in (resolved.outcomes if resolved.outcomes is not None else ())]
    names = names or ["right"] * len(resolved)
    rows = zip(resolved.numbers.tolist(), resolved.seqs.tolist(), names, strict=True)
    return Counter(rows)


def come(exchange: Exchange, what: str, some: list[int]) -> list[bytes]:
    """What comes on each of these."""
    pieces = []
    for number in some:
        of = (number + 1) % COUNT if what == "other" else number
        line = b"client %d message %d\n" % (of, int(exchange.ledger.oldest[of]))
        pieces.append({"wrong": b"nonsense\n", "half": line[:-3]}.get(what, line))
    return pieces


def act(exchange: Exchange, what: str, some: list[int]) -> object:
    """One step; what is to be seen of it."""
    numbers = np.array(some)
    if what == "ask":
        numbers = numbers[exchange.is_free(numbers)]
        said, seqs = exchange.requests(numbers)
        return said.pieces(), seqs.tolist()
    if what == "gone":
        return told(exchange.gone(numbers))
    if what == "late":
        return told(exchange.give_up(numbers, exchange.ledger.oldest[numbers].astype(np.int64)))
    return told(exchange.take(numbers, Ragged.of(come(exchange, what, some))))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.lists(_step, max_size=30))
def test_a_mix_of_the_same_is_the_same(
    weights: list[int], steps: list[tuple[str, list[int]]]
) -> None:
    weights = weights if sum(weights) <= COUNT else [1]
    mix, alone = Mix([Lines() for _ in weights], weights), Lines()
    mix.begin(COUNT, 0)
    alone.begin(COUNT, 0)
    one, other = exchange_of(mix, COUNT, 1), exchange_of(alone, COUNT, 1)
    asked = 0
    for what, some in steps:
        if what == "other":  # the order between scenarios is not kept within a batch
            some = some[:1]
        seen = act(one, what, some)
        assert seen == act(other, what, some)
        asked += len(seen[1]) if what == "ask" and isinstance(seen, tuple) else 0
    assert one.awaited == other.awaited
    assert one.ledger.extras == other.ledger.extras
    assert (one.ledger.sent == other.ledger.sent).all()
    kinds = [Counter(fault.kind for fault in each.ledger.faults) for each in (one, other)]
    assert kinds[0] == kinds[1]
    shares = mix.shares()
    assert sum(share.sent for share in shares) == asked
    assert sum(share.connections for share in shares) == COUNT
    for share in shares:
        assert share.sent == share.right + share.wrong + share.missing


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_every_run_of_connections_has_its_shares(weights: list[int]) -> None:
    owners = pattern(weights)
    least = sum(weights) // len(owners)
    assert np.bincount(owners).tolist() == [weight // least for weight in weights]
    for part, weight in enumerate(weights):
        had = np.cumsum(owners == part)
        due = np.arange(1, len(owners) + 1) * weight / sum(weights)
        assert np.abs(had - due).max() <= len(weights)
