"""Which connections that do not read are dropped, and why; with made-up amounts and times."""

from __future__ import annotations

import numpy as np

from c1m.apps.kv.output_limits import SETTING, limits_of, output_limits
from c1m.guard.unread import LOOK_NS, Limit
from c1m.kv.outbox import Outbox
from c1m.kv.rows import IS_SUBSCRIBER
from c1m.kv.settings import Settings
from c1m.units import NS_PER_S

MB = 1 << 20


class Made:
    """Limits over ten connections; those from 5 on are subscribers."""

    def __init__(self, total_max: int = 1000 * MB) -> None:
        self.out = Outbox(10)
        self.owed = dict.fromkeys(range(10), 0)
        states = np.zeros(10, np.uint8)
        states[5:] = IS_SUBSCRIBER
        self.asked: list[int] = []
        self.settings = Settings()
        self.monitors: list[int] = []
        self.limits = output_limits(self.out, self.unsent, states, self.settings, self.monitors)
        self.limits.total_max = total_max

    def enforce(self, now_ns: int) -> None:
        self.out.killed += self.limits.enforce(now_ns, sum(self.owed.values()))

    def unsent(self, slot: int) -> int:
        self.asked.append(slot)
        return self.owed[slot]


def test_limits_are_read_from_their_setting() -> None:
    limits = limits_of(Settings()[SETTING])
    assert limits["normal"] == Limit(0, 0, 0, in_total=False)
    assert limits["pubsub"] == Limit(32 * MB, 8 * MB, 60 * NS_PER_S)


def test_only_those_reported_are_asked_about() -> None:
    made = Made()
    made.owed[7] = 100 * MB
    made.enforce(0)
    made.limits.blocked([5, 6])
    made.limits.forget([6, 9])
    made.enforce(1)
    assert (made.asked, made.out.killed) == ([5], [])
    made.enforce(2)  # too soon
    assert made.asked == [5]


def test_who_said_monitor_is_bounded_as_a_subscriber() -> None:
    made = Made()
    made.monitors.append(0)
    made.limits.blocked([0, 1])
    made.owed |= {0: 32 * MB + 1, 1: 500 * MB}
    made.enforce(1)
    assert made.out.killed == [0]


def test_hard_limit_of_subscribers() -> None:
    made = Made()
    made.limits.blocked([0, 5, 6])
    made.owed |= {0: 500 * MB, 5: 32 * MB, 6: 32 * MB + 1}
    made.enforce(1)
    assert made.out.killed == [6]  # a usual client is not read from, which is enough
    assert made.out.dropped == {"hard": 1}
    made.enforce(1 + LOOK_NS)
    assert made.out.killed == [6]


def test_soft_limit_counts_the_time_over_it() -> None:
    made = Made()
    made.limits.blocked([5, 6])
    made.owed |= {5: 9 * MB, 6: 9 * MB}
    made.enforce(1)
    made.owed[6] = 8 * MB  # once below it, the time begins anew
    made.enforce(30 * NS_PER_S)
    made.owed[6] = 9 * MB
    made.enforce(60 * NS_PER_S)
    assert made.out.killed == []
    made.enforce(61 * NS_PER_S)
    assert (made.out.killed, made.out.dropped) == ([5], {"soft": 1})
    made.enforce(121 * NS_PER_S)
    assert (made.out.killed, made.out.dropped) == ([5, 6], {"soft": 2})


def test_other_limits() -> None:
    made = Made()
    made.settings.change([(SETTING.encode(), b"normal 1000 0 0 pubsub 0 0 0")])
    made.limits.blocked([0, 5])
    made.owed |= {0: 1001, 5: 900 * MB}
    made.enforce(1)
    assert made.out.killed == [0]


def test_all_subscribers_together() -> None:
    made = Made(total_max=40 * MB)
    made.limits.blocked([0, 5, 6, 7])
    made.owed |= {0: 900 * MB, 5: 10 * MB, 6: 14 * MB, 7: 16 * MB}
    made.enforce(1)
    assert made.out.killed == []
    made.owed[5] += 1
    made.enforce(1 + LOOK_NS)
    assert (made.out.killed, made.out.dropped) == ([7], {"total": 1})


def test_who_leaves_is_the_first_to_be_dropped_for_the_total() -> None:
    made = Made(total_max=40 * MB)
    made.limits.blocked([5, 6])
    made.limits.leave([7, 8])
    made.owed |= {5: 20 * MB, 6: 10 * MB, 7: 15 * MB}
    made.enforce(1)
    assert made.out.killed == [7]
    assert not made.out.dropped  # it was counted when it was told to leave


def test_more_than_the_total_is_looked_at_at_once() -> None:
    made = Made(total_max=40 * MB)
    made.limits.blocked([5, 6])
    made.owed |= {5: 1, 6: 20 * MB}
    made.enforce(1)
    made.owed[5] = 21 * MB
    made.enforce(2)
    assert made.out.killed == [5]


def test_where_others_hold_it_all_one_look_is_enough() -> None:
    made = Made(total_max=40 * MB)
    made.limits.blocked([0, 5])
    made.owed |= {0: 500 * MB, 5: 1}
    made.enforce(1)
    count = len(made.asked)
    made.enforce(LOOK_NS)
    assert len(made.asked) == count
    made.enforce(1 + LOOK_NS)
    assert len(made.asked) > count


def test_many_who_are_owed_little_are_found_by_what_is_sent_to_them() -> None:
    made = Made(total_max=40 * MB)
    made.owed |= {5: 1, 6: 20 * MB, 7: 21 * MB}
    slots = np.arange(5, 10, dtype=np.int32)
    made.limits.sent(slots, MB - 1, lambda: 41 * MB)
    assert not made.asked  # too little for a look
    made.limits.sent(slots, 1, lambda: 41 * MB)
    made.enforce(1)
    assert made.out.killed == [7]
