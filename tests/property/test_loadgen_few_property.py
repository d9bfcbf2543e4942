"""A few requests and replies go a way without arrays: it comes to the same, to the nanosecond."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.loadgen import traffic
from c1m.loadgen.arrivals import Spread
from c1m.scenarios.base import Scenario
from c1m.scenarios.matching import Matching
from c1m.scenarios.messages import Numbers
from c1m.scenarios.templates import Echo, LengthPrefixed, Lines, Ping, Templates
from generator_runs import SECOND, Engine, Run

STATE = ("sent", "oldest", "is_odd")
SCENARIOS: list[Callable[[], Templates]] = [
    Echo, Ping, Lines, LengthPrefixed,
    lambda: Templates("{n} {random:8} {seq}\n"), lambda: Templates("{n}\n", "{any:3} for {n}\n"),
]  # fmt: skip


def state_of(exchange: Matching) -> tuple[Any, ...]:
    ledger = exchange.ledger
    columns = [getattr(ledger, name).tolist() for name in STATE]
    return columns, ledger.in_flight, ledger.extras, ledger.faults


def as_rows(resolved: Any) -> list[tuple[int, int]]:
    return list(zip(resolved.numbers.tolist(), resolved.seqs.tolist(), strict=True))


@given(
    st.sampled_from(SCENARIOS), st.integers(1, 3), st.integers(0, 10**6),
    st.sampled_from((0.0, 0.0, 0.05, 0.4)),
)  # fmt: skip
def test_few_pieces_are_judged_as_many_are(
    made: Callable[[], Templates], depth: int, seed: int, trouble: float
) -> None:
    """What the scalar form takes resolves the same; what it leaves, it leaves as it was."""
    rng, count = random.Random(seed), 4
    few, many = (Matching(scenario, count, depth) for scenario in (made(), made()))
    for exchange in (few, many):
        exchange.scenario.begin(count, seed)
        assert exchange.has_scalars()
    for _ in range(12):
        for number in range(count):
            if rng.random() < 0.7 and many.has_room(number):
                assert few.has_room(number) and many.is_free(np.array([number]))[0]
                said, seqs = many.requests(np.array([number]))
                assert few.request(number) == (said.piece(0), int(seqs[0]))
        numbers = [rng.randrange(count) for _ in range(rng.randint(1, 3))]
        pieces = [(n, piece_for(many, n, rng, trouble)) for n in numbers]
        before = state_of(few)
        right = few.take_few(pieces)
        data = Ragged.of([piece for _, piece in pieces])
        resolved = many.take(np.array(numbers), data)
        if right is None:
            assert state_of(few) == before
            few.take(np.array(numbers), data)
        else:
            assert right == as_rows(resolved) and resolved.outcomes is None
        assert state_of(few) == state_of(many)


def piece_for(exchange: Matching, number: int, rng: random.Random, trouble: float) -> bytes:
    """Mostly the reply that the connection waits for."""
    if rng.random() < trouble:
        number = rng.randrange(4)
    piece = exchange.scenario.reply(number, exchange.ledger.asked(number))
    if rng.random() < trouble:
        return rng.choice([piece[:-1], piece * 2, b"x" + piece[1:], piece + b"x"])
    return piece


def test_who_changes_the_arrays_only_is_asked_by_arrays() -> None:
    class Backwards(Echo):
        def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
            return Ragged.of([piece[::-1] for piece in super().requests(numbers, seqs).pieces()])

    class Counts(Echo):
        def took(self, numbers: Numbers, seqs: Numbers, data: Ragged) -> None:
            """Only who is told of each can count."""

    class Own(Scenario):
        """Neither form is its own."""

    assert Echo().has_scalars()
    assert not any(kind().has_scalars() for kind in (Backwards, Counts, Own))


class InTurn(Spread):
    """Draws the same connections, in the same order, however many at once."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def one(self, below: int) -> int:
        return int(self._rng.random() * below)

    def draw(self, count: int, below: int) -> npt.NDArray[np.int64]:
        return np.array([self.one(below) for _ in range(count)], np.int64)


def result_of(stages: list[str], seed: int, trouble: float, **options: Any) -> dict[str, Any]:
    """What a run comes to, whose server leaves out replies, is slow and resets connections."""
    rng = random.Random(seed)

    def when(slot: int, data: bytes, now: int) -> int | None:
        if rng.random() < trouble / 4:
            return None
        return now + (rng.randrange(2 * SECOND) if rng.random() < trouble else 300_000)

    def script(engine: Engine) -> Any:
        is_near = run.phase == "hold" and engine.waits % 50 == 0
        if is_near and engine.open and rng.random() < trouble:
            return engine.lose(sorted(engine.open)[:1], 104)
        return None

    run = Run(stages, script, when, seed=seed, **options)
    run.generator.traffic._spread = InTurn(seed)
    record = asdict(run.record())
    names = "requests", "connections", "latencies", "stages", "series", "faults"
    return {name: record[name] for name in names} | {"lag": record["limit"]["schedule_lag"]}


@example(["ramp 5", "hold for 50ms at 2k/s"], 0, 0.0, "constant", 1, 0)
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(
        ["hold for 100ms at 100/s", "hold for 40ms at 5k/s", "hold for 100ms at 10/s..2k/s",
         "ramp 9", "hold for 100ms think 5ms", "hold for 20ms think 0s", "stampede", "drain to 3"]
    ), min_size=1, max_size=3), st.integers(0, 10**6), st.sampled_from((0.0, 0.02, 0.2)),
    st.sampled_from(("constant", "poisson")), st.sampled_from((1, 3)),
    st.sampled_from((0, 100_000)),
)  # fmt: skip
def test_a_run_is_the_same_without_the_short_way(
    stages: list[str], seed: int, trouble: float, arrivals: str, pipeline: int, awake_ns: int
) -> None:
    of: dict[str, Any] = {"arrivals": arrivals, "pipeline": pipeline, "awake_ns": awake_ns}
    quick = result_of(["ramp 5", *stages], seed, trouble, **of)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traffic, "FEW", 0)
        patch.setattr(Matching, "has_scalars", lambda self: False)
        slow = result_of(["ramp 5", *stages], seed, trouble, **of)
    assert quick == slow
