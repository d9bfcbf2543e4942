"""Who was the limit: a table of runs, and the CPU share of a window of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.results.histogram import Histogram
from c1m.results.record import KernelColumns, Pause, ProcessColumns, Requests, Saturation
from c1m.results.samples import cpu_share, idle_cores
from c1m.results.saturation import Facts, judge_limit, lag_bound_ns, pause_sentence, waited_part

MS = 1_000_000


def lag(*values_ms: float) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array([int(value * MS) for value in values_ms], np.int64))
    return histogram


IN_TIME = lag(*[0.1] * 10_000)
# Behind in 5 % of its requests: p99 is 50 ms.
BEHIND = lag(*[0.1] * 9_500, *[50] * 500)

OPEN_LOOP: dict[str, Any] = {
    "lag": IN_TIME, "is_open_loop": True, "generator_cpu": 0.5, "server_cpu": 0.6, "late": 0,
    "sent": 10_000, "unsent": 0, "waited": 0, "softnet_drops": 0, "p99_ns": 2 * MS,
    "rate_asked": 1000.0, "rate_reached": 999.0,
}  # fmt: skip
CLOSED_LOOP: dict[str, Any] = {
    **OPEN_LOOP, "lag": Histogram(), "is_open_loop": False, "rate_asked": None,
}  # fmt: skip


def judged(base: dict[str, Any], **changes: Any) -> Saturation:
    facts = {**base, **changes}
    counts = {name: facts.pop(name) for name in ("late", "sent", "unsent", "waited")}
    return judge_limit(Facts(requests=Requests(**counts), **facts))


SHORT: dict[str, Any] = {"rate_reached": 500.0, "generator_cpu": 0.96, "service_p50_ns": 200_000}
CROWDED: dict[str, Any] = {"cores": 2, "idle": 0.05}
STARVED: dict[str, Any] = {"server_cpu": 0.18, "server_waited": 0.8, "cores": 2, "idle": 0.3}

# what changes in an open loop that kept its plan, who it was, a lower bound, a sentence's part
OPEN_CASES = [
    ({}, "neither", False, "both had time to spare"),
    ({"server_cpu": None}, "neither", False, "The plan was kept."),
    ({"generator_cpu": None}, "neither", False, "The plan was kept."),
    ({"generator_cpu": 0.97}, "neither", False, "a higher rate the generator may not keep"),
    ({"server_cpu": 0.96}, "server", False, "The server had no CPU to spare."),
    ({"lag": BEHIND}, "generator", True, "p99 of its lag is 50"),
    ({"lag": BEHIND, "server_cpu": None}, "generator", True, "lower bound"),
    ({"lag": BEHIND, "server_cpu": 0.99}, "both", True, "no CPU to spare either"),
    ({"lag": BEHIND, "p99_ns": 600 * MS}, "neither", False, "within 50"),  # the server is slower
    ({"lag": BEHIND, "p99_ns": 400 * MS}, "generator", True, "the bound here is 40 ms"),
    ({"late": 11}, "generator", True, "11 of 10,000 requests went out more than 10 ms late"),
    ({"late": 10}, "neither", False, ""),
    ({"rate_reached": 700.0, "waited": 9}, "server", False, "700/s of 1,000/s were reached"),
    ({"unsent": 500, "waited": 9}, "server", False, "500 requests were due and never sent"),
    ({"unsent": 500, "server_cpu": None}, "server", False, "take too long"),
    ({"unsent": 5}, "neither", False, ""),
    ({"sent": 0, "unsent": 7, "lag": Histogram()}, "unknown", False, "None of 7 requests"),
    ({"softnet_drops": 3}, "neither", False, "dropped 3 packets"),
    ({"softnet_drops": 11}, "generator", True, "netdev_max_backlog"),
    ({"softnet_drops": 11, "server_cpu": 0.96}, "both", True, "lower bound"),
    ({"server_cpu": 2.5}, "neither", False, "both had time to spare"),  # has several threads
    ({"server_cpu": 3.4, "cores": 4}, "server", False, "The server had no CPU to spare."),
    ({"server_cpu": 2.5, "cores": 4}, "neither", False, ""),
    # short of its rate, the generator busy: is it the time to a reply?
    ({**SHORT}, "generator", True, "wait until it gets to them"),
    ({**SHORT, "server_cpu": 0.92}, "both", True, "lower bound"),
    ({**SHORT, "server_cpu": None}, "generator", True, "lower bound"),
    ({**SHORT, "service_p50_ns": None}, "generator", True, "lower bound"),
    ({**SHORT, "service_p50_ns": 5 * MS}, "server", False, "the server had CPU to spare"),
    ({**SHORT, "generator_cpu": 0.9}, "server", False, "would carry more"),
    ({**SHORT, "rate_reached": 1000.0}, "neither", False, "may not keep"),
    # no core idle, 0.85 of one with others: nobody's CPU share says anything
    ({**CROWDED, "rate_reached": 700.0}, "both", True, "85 % of one went to others"),
    ({**CROWDED}, "neither", False, "measure again on a quiet machine"),
    ({**CROWDED, "idle": 0.5, "rate_reached": 700.0}, "server", False, "CPU to spare"),
    ({**CROWDED, "lag": BEHIND}, "generator", True, ""),
    # ready to run without a CPU: none to spare, however little was used, and a core may be idle
    ({**STARVED, "unsent": 700}, "both", True, "The server waited for a CPU 80 % of the time"),
    ({**STARVED}, "neither", False, "The server waited for a CPU 80 % of the time"),
    ({**STARVED, "lag": BEHIND}, "both", True, "no CPU to spare either"),
    ({**STARVED, **SHORT}, "both", True, "wait until it gets to them"),
    ({**STARVED, "is_autogrouped": True}, "neither", False, "kernel.sched_autogroup_enabled=0"),
    ({"server_waited": 0.1, "unsent": 700}, "server", False, "the server had CPU to spare"),
    (
        {"server_cpu": 0.96, "server_waited": 0.5},
        "server",
        False,
        "",
    ),  # its threads, for each other
    ({"server_cpu": 2.5, "server_waited": 2.5}, "neither", False, "both had time to spare"),
    ({"server_cpu": None, "server_waited": 0.8}, "neither", False, "The plan was kept."),
    (
        {"generator_waited": 0.5, "lag": BEHIND},
        "generator",
        True,
        "generator waited for a CPU 50 %",
    ),
    ({"generator_waited": 0.5}, "neither", False, "a higher rate the generator may not keep"),
]
CLOSED_CASES = [
    ({}, "neither", False, "Neither was short of CPU"),
    ({"generator_cpu": 0.95}, "generator", True, "could not have asked for more"),
    ({"generator_cpu": 0.99, "server_cpu": None}, "generator", True, "could not have"),
    ({"generator_cpu": 0.99, "server_cpu": 0.89}, "generator", True, "lower bound"),
    ({"generator_cpu": 0.99, "server_cpu": 0.90}, "both", True, "lower bound"),
    ({"server_cpu": 0.95}, "server", False, "the server had none"),
    ({"server_cpu": 0.92}, "neither", False, ""),
    ({"server_cpu": None}, "unknown", False, "The generator had time to spare"),
    ({"generator_cpu": None}, "unknown", False, "not known whether the generator"),
    ({"generator_cpu": None, "server_cpu": None}, "unknown", False, "Without its CPU time"),
    ({"generator_cpu": 0.99, "server_cpu": 2.9, "cores": 4}, "both", True, ""),
    ({"softnet_drops": 11, "server_cpu": None}, "generator", True, "dropped 11 packets"),
    ({**CROWDED}, "both", True, "85 % of one went to others"),
    ({**CROWDED, "server_cpu": None}, "unknown", False, ""),  # it may itself be the others
    ({**CROWDED, "generator_cpu": 0.93, "server_cpu": 0.94}, "neither", False, ""),
    ({"is_open_loop": True, "server_cpu": 0.97}, "server", False, ""),  # its lag is not known
    ({**STARVED}, "both", True, "Have less run on this machine"),
    ({"server_waited": 0.19}, "neither", False, "Neither was short of CPU"),
    ({"generator_waited": 0.4}, "generator", True, "could not have asked for more"),
    ({**STARVED, "generator_waited": 0.4}, "both", True, "Neither had CPU to spare."),
]


@pytest.mark.parametrize(
    ("base", "changes", "who", "is_lower_bound", "says"),
    [(OPEN_LOOP, *case) for case in OPEN_CASES] + [(CLOSED_LOOP, *case) for case in CLOSED_CASES],
)
def test_who_was_the_limit(
    base: dict[str, Any], changes: dict[str, Any], who: str, is_lower_bound: bool, says: str
) -> None:
    limit = judged(base, **changes)
    assert (limit.who, limit.is_lower_bound) == (who, is_lower_bound), limit.sentences
    text = " ".join(limit.sentences)
    assert says in text
    assert ("lower bound" in text) == is_lower_bound
    assert all(one.endswith(".") for one in limit.sentences)


def test_the_figures_are_in_the_verdict() -> None:
    limit = judged(OPEN_LOOP, softnet_drops=2)
    assert (limit.generator_cpu, limit.server_cpu, limit.kernel_drops) == (0.5, 0.6, 2)
    assert limit.schedule_lag.count == 10_000
    assert limit.schedule_lag.percentiles_ns["p99"] == pytest.approx(0.1 * MS, rel=0.001)


def test_waiting_of_several_threads_is_a_part_of_the_time_in_which_they_wanted_a_cpu() -> None:
    assert waited_part(0.18, 0.8) == pytest.approx(0.8)  # one thread: of all the time
    assert waited_part(0.6, 2.4) == pytest.approx(0.8)
    assert waited_part(None, 0.8) == waited_part(0.18, None) == waited_part(0.95, 0.8) == 0.0


def test_only_who_gets_little_is_told_of_sessions() -> None:
    more = {"is_autogrouped": True, "server_cpu": 0.5, "server_waited": 0.4}
    text = " ".join(judged(OPEN_LOOP, **more).sentences)
    assert "waited for a CPU 40 %" in text and "autogroup" not in text


def test_the_bound_of_the_lag() -> None:
    assert lag_bound_ns(None) == lag_bound_ns(100 * MS) == 10 * MS
    assert lag_bound_ns(1_000 * MS) == 100 * MS


shares = st.none() | st.floats(0, 8)


@given(
    is_open_loop=st.booleans(), generator_cpu=shares, server_cpu=shares,
    late=st.integers(0, 100), sent=st.integers(0, 10_000), unsent=st.integers(0, 10_000),
    waited=st.integers(0, 100), softnet_drops=st.integers(0, 20), p99_ns=st.none(),
    rate_reached=st.none() | st.floats(0, 1000), cores=st.none() | st.integers(1, 8),
    behind=st.booleans(), idle=st.none() | st.floats(0, 8),
    service_p50_ns=st.none() | st.integers(0, 10**9), server_waited=shares,
    generator_waited=shares, is_autogrouped=st.booleans(),
)  # fmt: skip
def test_any_run_has_a_verdict_in_words(behind: bool, **facts: Any) -> None:
    limit = judged(facts, lag=BEHIND if behind else IN_TIME, rate_asked=1000.0)
    assert limit.who in ("generator", "server", "both", "neither", "unknown")
    assert limit.is_lower_bound == (limit.who in ("generator", "both"))
    assert limit.sentences


def columns(*cpu_s: float | None) -> ProcessColumns:
    half = [None if one is None else one / 2 for one in cpu_s]
    return ProcessColumns(rss_bytes=[1] * len(half), user_s=half, system_s=list(half))


def test_columns_that_early_records_lack_are_not_known() -> None:
    t_s = [0.0, 1.0, 2.0]
    whole: list[float | None] = [0.0, 0.5, 1.0]
    assert cpu_share(ProcessColumns(user_s=whole, system_s=whole), t_s, 0.0, 2.0) == 1.0
    for columns in (ProcessColumns(user_s=whole), ProcessColumns(system_s=whole)):
        assert cpu_share(columns, t_s, 0.0, 2.0) is None
    assert cpu_share(ProcessColumns(user_s=whole, system_s=whole), [], 0.0, 2.0) is None
    assert idle_cores(KernelColumns(idle_s=whole), [], 0.0, 2.0) is None


def test_cpu_share_of_a_window() -> None:
    process, t_s = columns(10.0, 10.0, 11.0, 11.5, 11.5), [0.0, 1.0, 2.0, 3.0, 4.0]
    assert cpu_share(process, t_s, 1.0, 2.0) == 1.0
    assert cpu_share(process, t_s, 0.0, 4.0) == 0.375
    assert cpu_share(process, t_s, 1.5, 2.5) == 0.75  # between samples it grows evenly
    assert cpu_share(process, t_s, 3.0, 99.0) == 0.0  # cut to what was sampled
    assert cpu_share(process, t_s, -5.0, 1.0) == 0.0


def test_idle_cores_of_a_window() -> None:
    kernel = KernelColumns(idle_s=[100.0, 102.0, 102.5, None])
    assert idle_cores(kernel, [0.0, 1.0, 2.0, 3.0], 0.0, 1.0) == 2.0
    assert idle_cores(kernel, [0.0, 1.0, 2.0, 3.0], 1.0, 3.0) == 0.5
    assert idle_cores(KernelColumns(), [0.0, 1.0], 0.0, 1.0) is None  # an older record


def test_cpu_share_that_cannot_be_known() -> None:
    process, t_s = columns(10.0, 11.0, None), [0.0, 1.0, 2.0]
    assert cpu_share(process, t_s, 0.5, 0.55) is None  # shorter than ticks can tell
    assert cpu_share(process, t_s, 1.5, 2.0) is None  # the process was gone
    assert cpu_share(process, t_s, 2.0, 1.0) is None
    assert cpu_share(process, t_s, 0.0, 2.0) == 1.0
    assert cpu_share(columns(None, 1.0), t_s[:2], 0.0, 1.0) is None
    assert cpu_share(ProcessColumns(), [], 0.0, 1.0) is None


@given(st.lists(st.floats(0.001, 2), min_size=1, max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_a_steady_process_has_the_same_share_in_every_window(
    steps: list[float], first: float, last: float
) -> None:
    t_s = [0.0, *np.cumsum(steps).tolist()]
    process = columns(*(5 + 0.7 * t for t in t_s))
    start, end = sorted((first * t_s[-1], last * t_s[-1]))
    share = cpu_share(process, t_s, start, end)
    assert share is None if end - start < 0.1 else share == pytest.approx(0.7, abs=1e-3)


def test_the_sentence_of_a_pause() -> None:
    begun = pause_sentence([Pause("server", 0.0, 2.0, waiting=1, cpu=0.5)])
    assert "from the start: no reply" in begun and "at its end 1 request was waiting." in begun
    later = pause_sentence([Pause("server", 1.0, 2.0, waiting=2, cpu=0.5)])
    assert "from 1.00 s after the start on" in later and "2 requests were waiting." in later
