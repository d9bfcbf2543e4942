"""Known walls are named where a run stopped or became slow at them, and nowhere else."""

from __future__ import annotations

import math
import random
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.limits import walls
from c1m.limits.catalogue import WALLS
from c1m.limits.limit import Evidence
from c1m.limits.walls import knee_of, recognise
from c1m.results.options import LoadOptions
from c1m.results.record import EngineUsed, Explanation, Metadata, Ramp

RANGE = "net.ipv4.ip_local_port_range"
RESERVED = "net.ipv4.ip_local_reserved_ports"
URING = Metadata(
    nofile_soft=20_000, sysctls={RANGE: "32768 60999"}, engine=EngineUsed(name="uring")
)
EPOLL = replace(URING, engine=EngineUsed(name="epoll"))
WIDE = replace(URING, sysctls={RANGE: "1024 65535"})
MANY = 1_000  # triples: this machine's own ports are then no wall anywhere near


def stopped(
    peak: int,
    asked: int = 2_000_000,
    metadata: Metadata = URING,
    triples: int | None = MANY,
    errnos: Collection[str] = (),
    **more: Any,
) -> list[Explanation]:
    evidence = Evidence(metadata=metadata, triples=triples, **more)
    return recognise(peak, LoadOptions(connections=asked), evidence, errnos)


# peak, conditions, what the first explanation's cause has in it
STOPS = [
    (1_003, {}, "1,024 is a usual RLIMIT_NOFILE"),
    (1_017, {}, "soft default"),
    (4_090, {}, "4,096 is a usual RLIMIT_NOFILE"),
    (14_110, {}, "half of the default ephemeral range"),
    (19_994, {}, "20,000 is a usual RLIMIT_NOFILE"),
    (28_231, {}, "28,232 is the default ephemeral range"),
    (32_256, {}, "32,256 is half of the range 1024-65535"),
    (64_511, {}, "64,512 is the range 1024-65535"),
    (65_500, {}, "65,535 ports are all that one source address has"),
    (131_000, {}, "131,072 is a usual nf_conntrack_max"),
    (262_094, {}, "262,144 is a usual nf_conntrack_max"),
    (250_000, {}, "262,144 is a usual nf_conntrack_max"),
    (524_273, {}, "systemd's hard default"),
    (967_680, {}, "30 x 32,256"),
    (1_048_566, {}, "default of fs.nr_open"),
    # what is known of this machine comes first
    (19_990, {"metadata": EPOLL}, "RLIMIT_NOFILE of this process is 20,000"),
    (9_975, {"metadata": EPOLL}, "with client and server in one process it is two"),
    (28_232, {"triples": 1}, "the whole ephemeral range (32768-60999)"),
    (28_200, {"triples": None}, "the whole ephemeral range (32768-60999)"),
    (14_116, {"triples": 1}, "from there on connect() searches"),
    (282_320, {"triples": 10}, "10 pairs of source and target with the whole"),
    (967_680, {"triples": 30, "metadata": WIDE}, "30 pairs of source and target with half"),
    (64_512, {"triples": 1, "metadata": WIDE}, "the whole ephemeral range (1024-65535)"),
    # errnos say which kind of wall it was
    (65_500, {"errnos": {"EMFILE"}}, "65,536 is a usual RLIMIT_NOFILE"),
    (65_500, {"errnos": {"EADDRNOTAVAIL", "ETIMEDOUT"}}, "65,535 ports"),
]


@pytest.mark.parametrize(("peak", "conditions", "says"), STOPS)
def test_a_run_that_stopped_at_a_wall(peak: int, conditions: dict[str, Any], says: str) -> None:
    found = stopped(peak, **conditions)
    assert found
    assert says in found[0].cause
    assert found[0].remedy
    assert found[0].count == 2_000_000 - peak
    assert found[0].what == f"stopped at {peak:,}"


UNSUSPICIOUS = [
    (1_100, {}),
    (10_000, {}),
    (9_990, {}),  # half of nofile: but the uring engine takes no descriptor a connection
    (50_000, {}),
    (100_000, {}),
    (28_233, {}),  # above the wall
    (28_100, {}),
    (500_000, {}),
    (1_000_000, {}),
    (1_048_577, {}),
    (0, {}),
    (262_094, {"gauges": {"Conntrack.count": 0}, "is_server_here": True}),  # nothing is tracked
    (262_094, {"errnos": {"EMFILE"}}),
    (20_000, {"errnos": {"EADDRNOTAVAIL"}}),
    (28_232, {"asked": 28_232, "triples": 1}),  # stopped nowhere: it is what was asked
    (19_990, {"asked": 19_990, "metadata": EPOLL}),
    (1_000_000, {"asked": 1_000_000}),
]


@pytest.mark.parametrize(("peak", "conditions"), UNSUSPICIOUS)
def test_a_run_that_stopped_at_no_wall(peak: int, conditions: dict[str, Any]) -> None:
    assert stopped(peak, **conditions) == []


def test_a_full_conntrack_table_of_this_machine() -> None:
    sysctls = {**URING.sysctls, "net.netfilter.nf_conntrack_max": "100000"}
    metadata = replace(URING, sysctls=sysctls)
    (found,) = stopped(98_000, metadata=metadata, gauges={"Conntrack.count": 100_000})
    assert "100,000 were taken" in found.cause
    assert stopped(98_000, metadata=metadata, gauges={"Conntrack.count": 5}) == []


def test_a_machine_that_tells_nothing_still_has_the_known_walls() -> None:
    (found,) = stopped(28_230, metadata=Metadata(), triples=None)
    assert "proxy" in found.remedy


@given(st.integers(0, 1 << 21), st.integers(1, 1 << 21), st.sampled_from([URING, EPOLL, WIDE]))
def test_named_walls_are_never_below_the_peak_nor_far_above(
    peak: int, asked: int, metadata: Metadata
) -> None:
    found = stopped(peak, asked, metadata)
    own = {metadata.nofile_soft, metadata.nofile_soft // 2}
    limits = {wall.at for wall in WALLS} | own
    if found:
        assert 0 < peak < asked
        assert any(peak <= at <= peak * 1.06 + 64 for at in limits)
    assert len(found) <= 3


def slow_from(step: int, times: float, steps: int, seed: int = 1) -> list[float]:
    """Seconds for each 1,000: 25 ms with noise, and so many times that from `step` on."""
    noise = random.Random(seed)
    return [
        0.025 * noise.lognormvariate(0, 0.2) * (times if i >= step else 1) for i in range(steps)
    ]


# the ramp, and where its knee is
KNEES = [
    (slow_from(64, 138, 80), 64),
    (slow_from(14, 10, 40), 14),
    (slow_from(967, 5, 1_000), 967),
    (slow_from(4, 100, 8), 4),
    ([0.025] * 28 + [0.7] + [2.9] * 10, 28),  # a step of both kinds
    (slow_from(0, 1, 1_000), None),
    (slow_from(500, 2, 1_000), None),  # twice as slow is memory and caches
    ([0.02 + 0.0002 * i for i in range(1_000)], None),  # slower little by little, to 11 times
    ([0.025] * 100 + [3.0] * 3 + [0.025] * 100, None),  # a pause
    ([0.025] * 197 + [3.0] * 3, None),  # too short to know
    ([30.0 if i % 10 == 9 else 0.2 for i in range(100)], None),  # a plan of steps
    ([3.0] * 20 + [0.025] * 100, None),  # faster, not slower
    ([0.025] * 7, None),
    ([], None),
    ([0.0] * 50, None),
]


@pytest.mark.parametrize(("times", "at"), KNEES)
def test_where_a_ramp_has_its_knee(times: list[float], at: int | None) -> None:
    knee = knee_of(times)
    assert (knee.at if knee else None) == (None if at is None else at * 1000)


def test_how_much_slower_it_is() -> None:
    knee = knee_of([0.025] * 64 + [3.0] * 20)
    assert knee is not None and knee.at == 64_000
    assert knee.times == pytest.approx(120)


@given(st.lists(st.floats(1e-3, 10), min_size=8, max_size=60))
def test_the_cut_is_that_of_the_least_squares(times: list[float]) -> None:
    logs = [math.log(t) for t in times]

    def squares(part: list[float]) -> float:
        mean = sum(part) / len(part)
        return sum((value - mean) ** 2 for value in part)

    least = min(squares(logs[:cut]) + squares(logs[cut:]) for cut in range(4, len(logs) - 3))
    cut = walls._best_cut(logs)
    assert squares(logs[:cut]) + squares(logs[cut:]) == pytest.approx(least, abs=1e-6)


def ramped(
    times: list[float],
    asked: LoadOptions,
    triples: int | None = 2,
    metadata: Metadata = WIDE,
) -> list[Explanation]:
    evidence = Evidence(metadata=metadata, ramp=Ramp(times), triples=triples)
    return recognise(asked.connections, asked, evidence)


def test_a_ramp_that_becomes_slow_at_half_the_range_of_its_triples() -> None:
    asked = LoadOptions(connections=80_000, stages=["ramp 80k"])
    (found,) = ramped(slow_from(64, 138, 80), asked)
    assert found.what.startswith("slow from connection 64,000 on (1")
    assert "2 x 32,256 = 64,512" in found.cause
    assert found.count == 16_000
    (unknown,) = ramped(slow_from(64, 138, 80), asked, None)
    assert "2 x 32,256 = 64,512" in unknown.cause
    (thirty,) = ramped(slow_from(967, 138, 1_000), LoadOptions(connections=10**6), None)
    assert "30 x 32,256 = 967,680" in thirty.cause
    reserving = replace(WIDE, sysctls={**WIDE.sysctls, RESERVED: "1024-5535"})
    (reserved,) = ramped(slow_from(60, 138, 80), asked, 2, reserving)
    assert "2 x 30,000 = 60,000" in reserved.cause


def test_a_knee_at_no_wall_is_told_without_a_name() -> None:
    times = slow_from(50, 10, 80)
    (found,) = ramped(times, LoadOptions(connections=80_000, stages=["ramp 80k", "hold for 10s"]))
    assert found.cause.startswith("No known wall")
