"""A user's scenario that raises in a run: it is told once, and the record's laws hold all the same.

`Run.record` looks at the laws, and at what is left open.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import c1m
from c1m.engine.contract import EventBatch
from c1m.engine.ragged import Ragged
from c1m.scenarios.loader import own_scenario
from c1m.scenarios.messages import Numbers
from generator_runs import SECOND, Engine, Run

METHODS = ("requests", "replies", "took", "frame", "identify", "accepts")
LOADS = (
    ["ramp 20"],
    ["ramp 20", "hold for 1s at 400/s"],
    ["ramp 20", "hold for 1s think 0"],
    ["ramp 20", "hold for 1s think 10ms"],
    ["ramp 20", "hold for 1s at 400/s churn 50/s", "storm 50%", "stampede"],
    ["ramp 20", "stampede", "drain to 5", "ramp 40", "stampede"],
)


class Raising(c1m.Scenario):
    """Lines; one of its methods raises from its `at`-th call on."""

    def __init__(self, method: str, at: int) -> None:
        self.calls = 0
        own = getattr(self, method)

        def raising(*arguments: Any) -> Any:
            self.calls += 1
            if self.calls > at:
                raise KeyError("a mistake")
            return own(*arguments)

        setattr(self, method, raising)

    def requests(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        pairs = zip(numbers.tolist(), seqs.tolist(), strict=True)
        return Ragged.of([b"%d %d\n" % pair for pair in pairs])

    def replies(self, numbers: Numbers, seqs: Numbers) -> Ragged:
        return Raising.requests(self, numbers, seqs)

    def frame(self, number: int, seq: int, stream: bytes) -> int:
        return stream.find(b"\n") + 1

    def identify(self, reply: bytes) -> tuple[int, int] | None:
        words = reply.split()
        return (int(words[0]), int(words[1])) if len(words) == 2 else None


def odd(seed: int) -> Any:
    """A server that answers after a while, sometimes not at all."""
    rng = np.random.default_rng(seed)

    def when(slot: int, data: bytes, now: int) -> int | None:
        return None if rng.random() < 0.03 else now + int(rng.integers(1, SECOND // 50))

    return when


def ends_some(seed: int) -> Any:
    """Connections end by and by, with a reset or without."""
    rng = np.random.default_rng(seed)

    def script(engine: Engine) -> EventBatch | None:
        if rng.random() < 0.99 or not engine.open:
            return None
        slot = int(rng.choice(sorted(engine.open)))
        return engine.lose([slot], int(rng.choice([0, 104])))

    return script


@pytest.mark.parametrize("stages", LOADS, ids=lambda stages: ", ".join(stages))
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("at", [0, 3, 30])
@pytest.mark.parametrize("pipeline", [1, 3])
def test_a_scenario_that_raises_ends_the_run_and_breaks_no_law(
    stages: list[str], method: str, at: int, pipeline: int
) -> None:
    raising = Raising(method, at)
    run = Run(
        stages, ends_some(at), odd(at), scenario=own_scenario(raising), message=None,
        pipeline=pipeline, window=16,
    )  # fmt: skip
    record = run.record()
    told = [text for text in record.verdict.shortfalls if "a mistake" in text]
    assert len(told) == (raising.calls > at)
    assert len(run.generator.phases) <= len(run.stages) + 2


@pytest.mark.parametrize("stages", LOADS, ids=lambda stages: ", ".join(stages))
@pytest.mark.parametrize("at", [0, 3, 30, 100])
def test_a_talk_that_raises_ends_the_run_and_breaks_no_law(stages: list[str], at: int) -> None:
    calls = 0

    def talk(number: int) -> Iterator[c1m.Say]:
        nonlocal calls
        for seq in itertools.count():
            calls += 1
            if calls > at:
                raise OSError("a mistake")  # not about a reply
            yield c1m.Say(b"%d %d\n" % (number, seq), expect=b"%d %d\n" % (number, seq))

    run = Run(stages, ends_some(at), odd(at), scenario=own_scenario(talk), message=None, window=16)
    record = run.record()
    told = [text for text in record.verdict.shortfalls if "a mistake" in text]
    assert len(told) == (calls > at)


def test_what_was_due_when_a_scenario_raised_is_unsent_and_nothing_is_asked_any_more() -> None:
    raising = Raising("requests", 30)
    record = Run(
        ["ramp 20", "hold for 1s think 0"], scenario=own_scenario(raising), message=None, window=1
    ).record()
    requests = record.requests
    assert requests.unsent > 0 and requests.due == requests.sent + requests.unsent
    assert raising.calls == 31
