"""CPU quotas on a made-up tree of cgroups, read before a run and after it; and the verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from c1m.kernel import procfs
from c1m.loadgen.sampler import QuotaWatch
from c1m.results.histogram import Histogram
from c1m.results.record import Requests, Saturation, Throttling
from c1m.results.saturation import Facts, is_held_back, judge_limit

V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 1 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
# A container with a cgroup namespace of its own: it sees its group as the top.
INSIDE = "30 1 0:26 /docker/a /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def v2(quota: str, periods: int, throttled: int, usec: int, group: str = "a/b") -> dict[str, str]:
    stat = f"usage_usec 9\nnr_periods {periods}\nnr_throttled {throttled}\nthrottled_usec {usec}\n"
    at = f"sys/fs/cgroup/{group}/".replace("//", "/")
    return {at + "cpu.max": f"{quota} 100000\n", at + "cpu.stat": stat}


def v1(quota: str, periods: int, throttled: int, ns: int) -> dict[str, str]:
    stat = f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time {ns}\n"
    at = "sys/fs/cgroup/cpu/pod/"
    return {
        at + "cpu.cfs_quota_us": f"{quota}\n", at + "cpu.cfs_period_us": "50000\n",
        at + "cpu.stat": stat,
    }  # fmt: skip


SYSTEMS: dict[str, tuple[dict[str, str], dict[str, str], Throttling | None]] = {
    "v2": (
        {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2, **v2("20000", 10, 1, 500)},
        v2("20000", 60, 41, 2_000_500),
        Throttling("sys/fs/cgroup/a/b", 0.2, 0.1, 50, 40, 2.0),
    ),
    "v2, the group above": (
        {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2, **v2("max", 0, 0, 0),
         **v2("150000", 0, 0, 0, "a")},
        v2("150000", 50, 20, 1_000_000, "a"),
        Throttling("sys/fs/cgroup/a", 1.5, 0.1, 50, 20, 1.0),
    ),
    "v2, seen from inside": (
        {"proc/self/cgroup": "0::/docker/a\n", "proc/self/mountinfo": INSIDE,
         **v2("50000", 0, 0, 0, "")},
        v2("50000", 30, 30, 900_000, ""),
        Throttling("sys/fs/cgroup", 0.5, 0.1, 30, 30, 0.9),
    ),
    "v1": (
        {"proc/self/cgroup": "5:cpu,cpuacct:/pod\n0::/\n", "proc/self/mountinfo": V1,
         **v1("10000", 4, 0, 0)},
        v1("10000", 24, 15, 3_000_000_000),
        Throttling("sys/fs/cgroup/cpu/pod", 0.2, 0.05, 20, 15, 3.0),
    ),
    "a quota that was not used up": (
        {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2, **v2("20000", 1, 1, 5)},
        v2("20000", 90, 1, 5), None,
    ),
    "no quota": (
        {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2, **v2("max", 0, 0, 0)},
        {}, None,
    ),
    "v1 without a quota": (
        {"proc/self/cgroup": "5:cpu:/pod\n", "proc/self/mountinfo": V1, **v1("-1", 0, 0, 0)},
        v1("-1", 0, 0, 0), None,
    ),
    "files of an unknown form": (
        {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": V2,
         "sys/fs/cgroup/a/b/cpu.max": "", "sys/fs/cgroup/a/b/cpu.stat": "nr_periods x\n"},
        {}, None,
    ),
    "nothing there": ({}, {}, None),
}  # fmt: skip


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_quota_is_what_it_did_during_the_run(system: str, tmp_path: Path) -> None:
    before, after, expected = SYSTEMS[system]
    watch = QuotaWatch("self", tree(tmp_path, before))
    assert watch.found() is None, "nothing has happened yet"
    tree(tmp_path, after)
    found = watch.found()
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert found.group == str(tmp_path / expected.group)
    assert (found.cores, found.period_s, found.periods) == (
        expected.cores, expected.period_s, expected.periods,
    )  # fmt: skip
    assert (found.throttled, found.stopped_s) == (expected.throttled, expected.stopped_s)
    assert is_held_back(found)


def test_a_process_that_is_gone_at_the_end_is_still_looked_up(tmp_path: Path) -> None:
    mountinfo = {"proc/self/mountinfo": V2}
    root = tree(tmp_path, {"proc/7/cgroup": "0::/a/b\n", **mountinfo, **v2("20000", 0, 0, 0)})
    watch = QuotaWatch(7, root)
    (root / "proc/7/cgroup").unlink()
    tree(root, v2("20000", 10, 9, 1))
    found = watch.found()
    assert found is not None and found.throttled == 9
    assert QuotaWatch(None, root).found() is None
    assert procfs.cpu_groups(root, 7) == []


@pytest.mark.parametrize(("throttled", "is_held"), [(0, False), (5, False), (6, True), (100, True)])
def test_one_stop_in_twenty_periods_is_to_spare(throttled: int, is_held: bool) -> None:
    assert is_held_back(Throttling("g", 0.5, 0.1, 100, throttled, 1.0)) == is_held
    assert not is_held_back(None)


HELD = Throttling("/sys/fs/cgroup/pod", 0.2, 0.1, 50, 40, 2.0)
OTHER = Throttling("/sys/fs/cgroup/db", 1.0, 0.1, 50, 40, 2.0)
NAMED = "/sys/fs/cgroup/pod may use 20 ms of processor time each 100 ms (0.2 cores)"


def verdict(*, is_open: bool, late: int = 0, **quotas: Any) -> Saturation:
    lag = Histogram()
    lag.record(np.full(1_000, 1_000, np.int64))
    facts: dict[str, Any] = {
        "lag": lag, "generator_cpu": 0.2, "server_cpu": 0.3, "p99_ns": 1,
        "requests": Requests(sent=1_000, late=late), "rate_asked": 100.0, "rate_reached": 100.0,
        "is_open_loop": is_open,
    }  # fmt: skip
    return judge_limit(Facts(**facts, **quotas))


def test_a_saturated_generator_in_a_closed_loop_is_told_by_its_quota() -> None:
    limit = verdict(is_open=False, generator_quota=HELD)
    assert (limit.who, limit.is_lower_bound) == ("generator", True)
    assert NAMED in limit.sentences[0] and "in 40 of 50 such periods" in limit.sentences[0]
    assert limit.sentences[0].startswith("The generator was held back by a CPU quota")
    assert "cpu.max" in limit.sentences[1] and "limits.cpu" in limit.sentences[1]
    assert limit.generator_quota == HELD and limit.server_quota is None


def test_a_server_that_a_quota_held_back_was_the_limit() -> None:
    limit = verdict(is_open=False, server_quota=HELD)
    assert (limit.who, limit.is_lower_bound) == ("server", False)
    assert limit.sentences[0].startswith("The server was held back by a CPU quota")


def test_who_is_stopped_for_a_quota_did_not_wait_for_others() -> None:
    limit = verdict(is_open=False, server_quota=HELD, server_waited=0.7)
    assert limit.who == "server" and limit.server_waited == 0.7
    assert not any("waited for a CPU" in said for said in limit.sentences)


def test_both_in_one_cgroup_or_in_two() -> None:
    shared = verdict(is_open=False, generator_quota=HELD, server_quota=HELD)
    assert shared.who == "both"
    assert sum("CPU quota" in said for said in shared.sentences) == 1
    assert "with the server in its cgroup" in shared.sentences[0]
    apart = verdict(is_open=False, generator_quota=HELD, server_quota=OTHER)
    assert sum("CPU quota" in said for said in apart.sentences) == 2


@pytest.mark.parametrize(("late", "who", "place"), [(0, "neither", -2), (500, "generator", 0)])
def test_in_an_open_loop_it_is_the_reason_where_the_generator_was_late(
    late: int, who: str, place: int
) -> None:
    limit = verdict(is_open=True, late=late, generator_quota=HELD)
    assert limit.who == who
    assert NAMED in limit.sentences[place]
