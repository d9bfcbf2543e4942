"""A run by many workers, whatever happens to them: the laws of the conductor, in a world without
sockets in which everything may be cut, killed, late and interrupted."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from c1m.cluster import conductor as c
from c1m.cluster.conductor import Conductor
from c1m.cluster.part import GRACE_NS, LEASE_NS, NS_PER_S
from c1m.loadgen.stages import Stage, parse_stages
from c1m.results.options import LoadOptions

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
try:
    from cluster_world import WAY_NS, World
finally:
    sys.path.remove(str(BENCH))

PLANS = [
    ["ramp 100", "hold for 20s"],
    ["ramp 100", "hold for 3s at 10/s", "hold for 1s at 20/s", "storm 50%", "stampede"],
    ["hold 100 for 30s", "drain in 3s"],
    ["ramp 100 in 5s", "spike 200 for 4s", "steps 100..300 by 100 every 2s"],
]


def stages_of(plan: list[str]) -> list[Stage]:
    return parse_stages(plan, LoadOptions())


class Run(RuleBasedStateMachine):
    """A run in which things go wrong."""

    @initialize(
        parts=st.integers(1, 4),
        plan=st.sampled_from(PLANS),
        policy=st.sampled_from(["degrade", "abort", "respawn"]),
        seed=st.integers(0, 1000),
    )
    def begin(self, parts: int, plan: list[str], policy: str, seed: int) -> None:
        stages = stages_of(plan)
        durations = [one.duration_ns if one.is_timed else None for one in stages]
        self.conductor = Conductor(durations, parts, policy, ready_ns=10 * NS_PER_S)
        self.world = World(self.conductor, stages, seed)
        self.ends: dict[int, str] = {}

    @rule(ms=st.integers(1, 12_000))
    def time_passes(self, ms: int) -> None:
        self.world.run(ms * 1_000_000)

    @rule(data=st.data())
    def a_worker_is_killed(self, data: st.DataObject) -> None:
        self.world.kill(data.draw(st.integers(0, self.conductor.parts - 1)))

    @rule(data=st.data(), is_cut=st.booleans())
    def a_worker_is_cut_off_or_comes_back(self, data: st.DataObject, is_cut: bool) -> None:
        part = data.draw(st.integers(0, self.conductor.parts - 1))
        for one in [one for (of, _), one in self.world.attempts.items() if of == part]:
            one.is_cut = is_cut

    @rule(data=st.data())
    def a_worker_is_said_to_be_gone(self, data: st.DataObject) -> None:
        part = data.draw(st.integers(0, self.conductor.parts - 1))
        attempt = self.conductor.standings[part].attempt
        acts = self.conductor.gone(part, attempt, "it has left.", self.world.now_ns)
        self.world.do(acts)

    @rule(data=st.data())
    def a_load_client_fails(self, data: st.DataObject) -> None:
        part = data.draw(st.integers(0, self.conductor.parts - 1))
        one = self.world.attempts[part, self.conductor.standings[part].attempt]
        if not one.has_ended:
            one.say("failed", 0, "An exception.")
            one.end()

    @precondition(lambda self: not self.conductor.is_interrupted)
    @rule()
    def it_is_interrupted(self) -> None:
        self.world.do(self.conductor.interrupt(self.world.now_ns))

    @invariant()
    def laws_hold(self) -> None:
        if hasattr(self, "world"):
            check_one_attempt_at_a_time(self.world)
            check_stages_begin_together(self.world)
            for part, one in enumerate(self.conductor.standings):
                if one.is_over:
                    assert self.ends.setdefault(part, one.state) == one.state

    def teardown(self) -> None:
        """Whatever happened, the run ends, and nothing stays open."""
        if not hasattr(self, "world"):
            return
        longest_ns = 4 * (self.conductor.ready_ns + c.END_NS) + 100 * NS_PER_S
        self.world.run(longest_ns)
        assert self.conductor.is_over
        assert {one.state for one in self.conductor.standings} <= {c.FINISHED, c.LOST, c.ABORTED}
        self.laws_hold()
        assert all(one.has_ended for one in self.world.attempts.values())
        for one in self.conductor.standings:
            assert one.why or one.state == c.FINISHED
            assert (one.record is not None) or one.state != c.FINISHED


def check_one_attempt_at_a_time(world: World) -> None:
    """No two attempts of a part had connections open at the same time."""
    opens = [*world.opens]
    opens += [
        (one.part, one.attempt, one.opened_ns, world.now_ns)
        for one in world.attempts.values()
        if one.opened_ns is not None and not one.has_ended
    ]
    spans = sorted((part, begin, end) for part, _, begin, end in opens)
    for (part, _, end), (of, begin, _) in pairwise(spans):
        assert of != part or begin >= end


def check_stages_begin_together(world: World) -> None:
    """At the common time by their own clocks, as far as these are known; or when it was told."""
    for (part, attempt), one in world.attempts.items():
        standing = world.conductor.standings[part]
        if attempt != standing.attempt:
            continue
        for number, begun_ns in one.begun.items():
            told_ns = standing.begins_ns[number]
            if attempt == 0:
                assert told_ns == world.conductor.starts_ns[number]
            assert begun_ns >= told_ns - WAY_NS[1]
            if number in standing.start_errors_ns:
                error_ns = standing.start_errors_ns[number]
                assert abs(begun_ns - told_ns - error_ns) <= WAY_NS[1]


Run.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestRun = Run.TestCase


def run_of(plan: list[str], parts: int = 3, policy: str = "degrade", seed: int = 1) -> World:
    stages = stages_of(plan)
    durations = [one.duration_ns if one.is_timed else None for one in stages]
    return World(Conductor(durations, parts, policy), stages, seed)


def test_when_the_controller_is_gone_everything_ends_by_its_lease() -> None:
    world = run_of(["ramp 100", "hold for 10m"])
    world.run(20 * NS_PER_S)
    assert all(one.opened_ns is not None for one in world.attempts.values())
    world.lose()
    world.run(LEASE_NS + GRACE_NS + NS_PER_S)
    assert all(one.has_ended for one in world.attempts.values())


def test_a_run_of_many_hours_does_not_end_by_a_lease() -> None:
    world = run_of(["ramp 100", "hold for 12h"], parts=1)
    world.run(13 * 3600 * NS_PER_S)
    assert [one.state for one in world.conductor.standings] == [c.FINISHED]
    assert not world.conductor.losses
