"""The order of a run by many workers: what is told to whom, and what is said when it fails."""

from __future__ import annotations

from c1m.cluster import conductor as c
from c1m.cluster.conductor import Act, Conductor, Start, Tell
from c1m.cluster.part import LEASE_NS, NS_PER_S, Lease, News, Order

S = NS_PER_S
AWAY = 7 * S  # a worker's clock less ours


class Told:
    """A conductor, and what it wanted done, by parts."""

    def __init__(
        self, stages: list[int | None], parts: int = 2, policy: str = "degrade", ready_s: int = 60
    ) -> None:
        self.now = 100 * S
        self.mute: set[int] = set()
        self.conductor = Conductor(stages, parts, policy, ready_s * S)
        self.take(self.conductor.begin(self.now))
        for part, one in enumerate(self.conductor.standings):
            one.worker = f"tcp://10.0.0.{part}:1"

    def take(self, acts: list[Act]) -> None:
        """Who is asked whether it is there says so, unless it is mute."""
        kept = [act for act in acts if not is_go_on(act)]
        for act in acts:
            if is_go_on(act) and act.part not in self.mute:
                asked_ns = self.now
                self.say(act.part, "alive", asked_ns, asked_ns + AWAY)
                kept += self.acts
        self.acts: list[Act] = kept

    def say(self, part: int, kind: str, number: int = 0, data: object = None, at: int = -1) -> None:
        attempt = self.conductor.standings[part].attempt if at < 0 else at
        self.take(self.conductor.hear(News(part, attempt, kind, number, data), self.now))

    def after(self, seconds: float) -> list[Act]:
        self.now += round(seconds * S)
        self.take(self.conductor.due(self.now))
        return self.acts

    def begin(self) -> None:
        for part in range(self.conductor.parts):
            self.say(part, "ready")
        self.after(0.1)


def is_go_on(act: Act) -> bool:
    return isinstance(act, Tell) and act.order.kind == "go on"


def begins(number: int, when: int, parts: int = 2) -> list[Act]:
    return [Tell(part, 0, Order("begin", number, when + AWAY)) for part in range(parts)]


def test_all_are_ready_then_all_begin_at_one_time_by_their_clocks() -> None:
    run = Told([None, 5 * S])
    run.say(0, "ready")
    assert run.after(1) == []
    run.say(1, "ready")
    assert run.after(1) == begins(0, run.now + c.AHEAD_NS + 2 * c.AHEAD_EACH_NS)


def test_a_stage_with_a_time_is_followed_without_waiting_and_others_with() -> None:
    run = Told([5 * S, None, None])
    run.begin()
    first = run.conductor.starts_ns[0]
    assert run.after(2) == begins(1, first + 5 * S)  # a few seconds ahead
    run.say(0, "ended", 1)
    assert run.after(1) == []
    run.say(1, "ended", 1)
    assert [act.order.number for act in run.after(1) if isinstance(act, Tell)] == [2, 2]
    for part in (0, 1):
        run.say(part, "ended", 2)
    assert [act.order.number for act in run.after(1) if isinstance(act, Tell)] == [3, 3]
    for part in (0, 1):
        run.say(part, "record", 0, f"of {part}")
    assert run.conductor.is_over
    assert [one.record for one in run.conductor.standings] == ["of 0", "of 1"]


def test_how_late_a_worker_began_is_kept() -> None:
    run = Told([5 * S])
    run.begin()
    when = run.conductor.starts_ns[0]
    run.say(0, "begun", 0, when + AWAY + 1_234)
    run.say(1, "begun", 0, when + AWAY - 5)
    errors = [one.start_errors_ns for one in run.conductor.standings]
    assert errors == [{0: 1_234}, {0: -5}]


def test_who_is_not_ready_in_time_ends_the_start_for_all() -> None:
    run = Told([5 * S], parts=3, ready_s=6)
    run.say(1, "ready")
    told = run.after(6.1)
    assert [act.part for act in told if isinstance(act, Tell)] == [0, 1, 2]
    assert {act.order.kind for act in told if isinstance(act, Tell)} == {"stop"}
    assert run.conductor.aborted == (
        "Of those asked, 2 of 3 workers were not ready within 6.00 s: "
        "tcp://10.0.0.0:1, tcp://10.0.0.2:1. Are they busy with others' tasks?"
    )
    assert not run.conductor.is_over  # one has prepared something
    run.say(1, "record", 0, "{}")
    assert run.conductor.is_over
    run.say(0, "ready")  # a late one
    assert run.acts == [Tell(0, 0, Order("stop"))]


def test_what_a_worker_cannot_do_ends_the_start_with_its_words() -> None:
    run = Told([5 * S], policy="respawn")
    run.say(0, "failed", 0, "No such file.")
    assert run.conductor.aborted == "The worker tcp://10.0.0.0:1 could not begin: No such file."


def test_silence_is_a_loss_and_the_others_go_on() -> None:
    run = Told([None, None])
    run.begin()
    run.mute.add(1)
    for _ in range(7):
        assert run.after(1) == []
    assert run.after(1) == [Tell(1, 0, Order("stop"))]
    (loss,) = run.conductor.losses
    assert (loss.part, loss.stage, loss.at_ns, loss.worker) == (1, 0, run.now, "tcp://10.0.0.1:1")
    assert "silent" in loss.why
    run.say(1, "frame")  # it comes back
    assert run.acts == [Tell(1, 0, Order("stop"))]
    run.say(0, "ended", 0)
    assert [act.part for act in run.after(0.1) if isinstance(act, Tell)] == [0]


def test_a_loss_ends_all_where_that_was_asked_for() -> None:
    run = Told([None], policy="abort")
    run.begin()
    run.take(run.conductor.gone(0, 0, "its process was killed", run.now))
    assert Tell(1, 0, Order("stop")) in run.acts
    assert run.conductor.aborted == (
        "The worker tcp://10.0.0.0:1 was lost: its process was killed."
    )
    run.say(1, "record", 0, "{}")
    assert run.conductor.is_over


def test_a_place_is_taken_when_nothing_of_the_lost_one_can_be_left() -> None:
    run = Told([None, 60 * S], policy="respawn")
    run.begin()
    for part in (0, 1):
        run.say(part, "ended", 0)
    run.after(1)
    run.take(run.conductor.gone(1, 0, "it left.", run.now))
    assert run.acts == [Tell(1, 0, Order("kill")), Start(1, 1)]
    run.say(1, "ready")
    for _ in range(14):
        assert run.after(1) == []
    assert run.after(1) + run.after(1) == [
        Tell(1, 1, Order("join", 1, run.conductor.starts_ns[0] + AWAY))
    ]
    run.say(1, "frame", at=0)  # the older one
    assert run.acts == [Tell(1, 0, Order("kill"))]
    run.say(1, "ended", 0)  # as many connections as the other one
    until = run.conductor.starts_ns[1] + 60 * S
    when = run.now + c.AHEAD_NS
    assert run.acts == [Tell(1, 1, Order("begin", 1, when + AWAY, until + AWAY))]


def test_whose_client_failed_leaves_nothing_and_is_replaced_at_once() -> None:
    run = Told([None, 60 * S], policy="respawn")
    run.begin()
    run.say(1, "failed", 0, "A bug.")
    assert run.acts == [Tell(1, 0, Order("kill")), Start(1, 1)]
    run.say(1, "ready")
    assert [act.order.kind for act in run.after(0.1) if isinstance(act, Tell)] == ["join"]


def test_a_part_is_not_begun_for_ever() -> None:
    run = Told([60 * S], policy="respawn")
    run.begin()
    for attempt in range(c.ATTEMPTS_MAX):
        run.take(run.conductor.gone(1, attempt, "it left.", run.now))
    assert run.conductor.standings[1].state == c.LOST
    assert len(run.conductor.losses) == c.ATTEMPTS_MAX


def test_an_interrupt_ends_in_good_order_and_a_second_one_at_once() -> None:
    run = Told([60 * S])
    run.begin()
    run.take(run.conductor.interrupt(run.now))
    assert run.acts == [Tell(part, 0, Order("stop")) for part in (0, 1)]
    run.say(0, "record", 0, "{}")
    run.take(run.conductor.interrupt(run.now))
    assert run.acts == [Tell(1, 0, Order("kill"))]
    assert run.conductor.is_over
    assert [one.state for one in run.conductor.standings] == [c.FINISHED, c.ABORTED]


def test_who_does_not_end_is_ended() -> None:
    run = Told([1 * S])
    run.begin()
    for part in (0, 1):
        run.say(part, "ended", 0)
    run.after(1)
    run.say(0, "record", 0, "{}")
    for _ in range(c.END_NS // S):
        assert run.after(1) == []
    assert run.after(1) == [Tell(1, 0, Order("kill"))]
    assert run.conductor.is_over


def test_without_the_scheduler_it_is_over_at_once() -> None:
    run = Told([60 * S])
    run.begin()
    run.conductor.cut_off("The scheduler is gone.", run.now)
    assert run.conductor.is_over
    assert {one.state for one in run.conductor.standings} == {c.LOST}
    assert run.conductor.aborted == "The scheduler is gone."


def test_a_lease_is_renewed_by_what_was_sent_lately() -> None:
    lease = Lease(0)
    assert not lease.is_over(LEASE_NS - 1)
    assert lease.is_over(LEASE_NS)
    lease.renew(sent_ns=1_000 * S, now_ns=2 * S)  # the controller's clock is another one
    assert lease.until_ns == 2 * S + LEASE_NS
    lease.renew(sent_ns=1_002 * S, now_ns=9 * S)  # five seconds on its way
    assert lease.until_ns // S == (4 * S + LEASE_NS) // S
