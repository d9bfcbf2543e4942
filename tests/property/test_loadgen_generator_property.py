"""Whatever the plan and whatever goes wrong: the sums hold, and the run ends in time."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from c1m.engine.contract import EventBatch
from c1m.errors import UsageError
from c1m.loadgen.stages import Stage, parse_stages
from c1m.results.options import LoadOptions
from generator_runs import SECOND, Engine, Run, slots_of

ERRNOS = (111, 110, 104, 99)
LOADS = ("", " at 20/s", " at 300/s", " at 5/s..200/s", " think 0s", " think 300ms")


@dataclass
class Trouble:
    """What goes wrong, by its probability, from a seed."""

    seed: int
    refused: float
    stuck: float
    lost: float
    silent: float
    slow: float

    def script(self, get_run: Callable[[], Run]) -> Callable[[Engine], EventBatch | None]:
        """For Run: refuses connects and ends open connections at random."""
        rng = random.Random(self.seed)

        def script(engine: Engine) -> EventBatch | None:
            if get_run().phase in ("close", ""):
                return None
            refused = [
                s for s in engine.connecting if not engine.stuck(s) and rng.random() < self.refused
            ]
            if refused:
                return engine.refuse(refused, [rng.choice(ERRNOS) for _ in refused])
            if engine.open and rng.random() < self.lost:
                some = rng.sample(sorted(engine.open), min(len(engine.open), rng.randint(1, 3)))
                return engine.lose(some, rng.choice((0, 104)))
            return None

        return script

    def when(self) -> Callable[[int, bytes, int], int | None]:
        """For Run: no reply, or a slow one."""
        rng = random.Random(self.seed + 1)

        def when(slot: int, data: bytes, now: int) -> int | None:
            if rng.random() < self.silent:
                return None
            return now + (rng.randint(0, 2 * SECOND) if rng.random() < self.slow else 5_000_000)

        return when


shares = st.sampled_from((0.0, 0.0, 0.01, 0.1, 0.5))
troubles = st.builds(Trouble, st.integers(0, 10**6), shares, shares, shares, shares, shares)
counts = st.integers(0, 40)


@st.composite
def stages(draw: st.DrawFn) -> list[str]:
    """Plans that begin with some connections; those that are no plan are left out by the test."""
    texts = [f"ramp {draw(st.integers(1, 40))}{draw(st.sampled_from(('', ' in 1s', ' at 30/s')))}"]
    for _ in range(draw(st.integers(0, 5))):
        load = draw(st.sampled_from(LOADS))
        churn = draw(st.sampled_from(("", " churn 10/s", " churn 5k/s")))
        texts.append(
            draw(
                st.one_of(
                    st.builds("ramp {}".format, counts),
                    st.builds("ramp {} in 2s".format, counts),
                    st.builds(("hold {} for 1s" + load + churn).format, counts),
                    st.just("hold for 2s" + load + churn),
                    st.builds(("spike {} for 1s" + load).format, counts),
                    st.just("steps 10..40 by 10 every 1s" + load),
                    st.just("steps 10/s..50/s by 20/s every 1s"),
                    st.builds("drain to {}".format, counts),
                    st.sampled_from(("drain", "drain in 1s", "stampede", "storm", "storm 50%")),
                )
            )
        )
    return texts


def plan_of(texts: list[str]) -> list[Stage]:
    """The plan of these texts, without those that cannot follow what is before them."""
    kept: list[str] = []
    for text in texts:
        with contextlib.suppress(UsageError):
            parse_stages([*kept, text], LoadOptions())
            kept.append(text)
    return parse_stages(kept, LoadOptions())


def planned_s(plan: list[Stage], timeout_s: float) -> float:
    """The longest that a plan may take where anything may be silent until the timeout."""
    timed = sum(stage.duration_ns or 0 for stage in plan) / 1e9
    paced = sum(stage.connections_to / (stage.connect_rate or 1e9) for stage in plan)
    return timed + paced + 5.0 * timeout_s * (len(plan) + 2) + len(plan)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)  # fmt: skip
@given(
    stages(), troubles, st.sampled_from((1, 1, 3)),
    st.sampled_from(("constant", "poisson")), st.sampled_from(("uniform", "zipf", "zipf:2.5")),
    st.sampled_from((5, 64)), st.integers(0, 1000),
)  # fmt: skip
def test_the_sums_hold_and_the_run_ends(
    texts: list[str], trouble: Trouble, pipeline: int, arrivals: str, spread: str,
    window: int, interrupt_at: int,
) -> None:  # fmt: skip
    plan = plan_of(texts)

    def script(engine: Engine) -> EventBatch | None:
        if engine.waits == interrupt_at * 50:
            run.generator.loop.stop()
        return inner(engine)

    inner = trouble.script(lambda: run)
    run = Run(
        plan, script, trouble.when(), pipeline=pipeline, arrivals=arrivals, spread=spread,
        window=window, capacity=60, seed=trouble.seed,
    )  # fmt: skip
    run.engine.stuck = lambda slot: hash((slot, trouble.seed)) % 100 < trouble.stuck * 100
    record = run.record()  # which holds the laws to it
    event("interrupted" if run.generator.interrupted else "to its end")
    assert record.connections.attempted >= record.connections.opened
    assert record.phases[-1].end_s <= planned_s(plan, 1.0)
    _at_most_in_flight(run, pipeline)


def _at_most_in_flight(run: Run, pipeline: int) -> None:
    for group in run.generator.recorder.groups:
        assert group.requests.in_flight == 0
        assert group.requests.in_flight_peak <= run.generator.plan.asked.connections * pipeline
    assert run.generator.traffic.ledger.in_flight == 0
    assert len(slots_of(sorted(run.engine.open))) == 0
