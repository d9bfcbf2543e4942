"""The run record: JSON there and back, what it refuses, the pieces that follow from others."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from c1m.errors import UsageError
from c1m.limits import reasons
from c1m.loadgen import metadata
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import (
    Connections,
    KernelColumns,
    Latency,
    MemoryPerConnection,
    ProcessColumns,
    Ramp,
    Requests,
    RunRecord,
    Samples,
    StageResult,
)
from c1m.results.samples import memory_of
from c1m.results.verdict import judge
from laws import broken_laws
from report_records import METADATA, complete_record, one_each, short_record


@pytest.mark.parametrize(
    "record", [complete_record(60_000), short_record(), RunRecord()], ids=["whole", "short", "new"]
)
def test_json_there_and_back(record: RunRecord, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    record.write(path)
    again = RunRecord.read(path)
    assert again == record
    assert again.to_json() == record.to_json() == json.loads(path.read_text())


def test_the_histogram_comes_back_whole() -> None:
    record = complete_record(2_000)
    again = RunRecord.from_json(json.loads(json.dumps(record.to_json())))
    histogram = Histogram.from_json(again.latencies["first"].histogram)
    assert Latency.of(histogram) == record.latencies["first"]


def test_numpy_values_become_plain_ones() -> None:
    record = RunRecord(
        connections=Connections(opened=np.int64(3)),  # type: ignore[arg-type]
        samples=Samples(t_s=np.array([0.5]), open=[np.int32(3)]),  # type: ignore[arg-type, list-item]
    )
    data = json.loads(json.dumps(record.to_json()))
    assert data["connections"]["opened"] == 3
    assert data["samples"]["t_s"] == [0.5]


def test_a_figure_that_is_not_finite_does_not_cost_the_record(tmp_path: Path) -> None:
    RunRecord(ramp=Ramp(seconds=float("nan"))).write(tmp_path / "run.json")
    assert np.isnan(RunRecord.read(tmp_path / "run.json").ramp.seconds)


def test_unknown_fields_are_passed_over_and_absent_ones_take_their_default() -> None:
    data = {"schema": "c1m-run/2", "asked": {"connections": 5, "colour": "blue"}, "more": []}
    assert RunRecord.from_json(data) == RunRecord(asked=LoadOptions(connections=5))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ([], "no schema"),
        ({}, "no schema"),
        ({"schema": "c1m-run/3"}, "'c1m-run/3'"),
        ({"schema": "c1m-run/2", "asked": {"connections": "many"}}, "asked.connections is 'many'"),
        ({"schema": "c1m-run/2", "asked": {"connections": True}}, "not an integer"),
        ({"schema": "c1m-run/2", "asked": []}, "not an object"),
        ({"schema": "c1m-run/2", "phases": [{"name": "x"}]}, "phases[0].start_s is missing"),
        ({"schema": "c1m-run/1", "rounds": [{"name": 3}]}, "rounds[0].name is '3', not a text"),
        ({"schema": "c1m-run/2", "command": "c1m"}, "command is 'c1m', not a list"),
        ({"schema": "c1m-run/2", "verdict": {"complete": 1}}, "not true or false"),
        ({"schema": "c1m-run/2", "ramp": {"seconds": "1"}}, "ramp.seconds is '1', not a number"),
        ({"schema": "c1m-run/2", "latencies": {"first": 1}}, "latencies.first is '1'"),
    ],
)
def test_other_schemas_and_damage_are_told(data: object, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunRecord.from_json(data)
    assert says in caught.value.message
    assert caught.value.remedy


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    absent, broken, binary = (tmp_path / name for name in ("absent", "broken", "binary"))
    broken.write_text('{"schema":')
    binary.write_bytes(b"\xff\xfe\x00")
    for path, says in ((absent, "no such file"), (broken, "not JSON"), (binary, "not text")):
        with pytest.raises(UsageError, match=says) as caught:
            RunRecord.read(path)
        assert str(path) in caught.value.message
    with pytest.raises(UsageError, match="is a directory"):
        RunRecord().write(tmp_path)


def test_the_made_up_records_obey_the_laws() -> None:
    assert broken_laws(complete_record(5_000)) == []
    assert broken_laws(short_record()) == []
    broken = broken_laws(
        replace(
            short_record(),
            connections=Connections(attempted=9, opened=5, peak_open=6, open_at_end=1, lost=2),
            first=Requests(due=3, sent=3, right=1),
        )
    )
    assert len(broken) == 6


def test_connections_are_sorted_by_errno() -> None:
    errnos = {errno.ECONNREFUSED: 1, errno.EPIPE: 2, errno.ECONNRESET: 3, errno.ETIMEDOUT: 4}
    errnos |= {errno.ENETUNREACH: 5, errno.EHOSTUNREACH: 6, errno.EMFILE: 7, 4095: 8}
    counts = Connections(attempted=146, opened=10, unfinished=100)
    reasons.count_failures(counts, errnos)
    assert counts == Connections(
        attempted=146,
        opened=10,
        refused=1,
        reset=5,
        timed_out=4,
        unreachable=11,
        failed_otherwise=15,
        unfinished=100,
    )


@pytest.mark.parametrize("phase", ["connect", "open"])
@pytest.mark.parametrize(
    "code",
    [
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ETIMEDOUT,
        errno.EADDRNOTAVAIL,
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EACCES,
        errno.EPIPE,
        errno.EIO,
        reasons.PEER_EOF,
        4095,
    ],
)
def test_every_errno_has_words_and_a_remedy(code: int, phase: str) -> None:
    text, remedy = reasons.explain(code, phase)
    assert text and not text.endswith(".")
    assert remedy.endswith((".", "list ruleset", "`"))


def test_failures_come_most_frequent_first() -> None:
    failures = reasons.failures_of("open", {104: 2, 0: 7, 4095: 1, 32: 0})
    assert [(f.errno, f.count) for f in failures] == [
        ("EOF", 7),
        ("ECONNRESET", 2),
        ("errno 4095", 1),
    ]


def test_memory_is_the_growth_at_full_number() -> None:
    n = 10_000
    server = ProcessColumns(rss_bytes=[1000, 5000, 1000 + 80 * n, 1000 + 100 * n, 1])
    client = ProcessColumns(rss_bytes=[2000, 3000, 2000 + 20 * n, 2000 + 20 * n, None])
    kernel = KernelColumns(
        used_bytes=[0, 0, 1100 * n, 2120 * n, 0], slab_bytes=[0, 0, 900 * n, 1000 * n, 0]
    )
    is_open = [0, 50, n, n, 0]
    made = memory_of(Samples([0, 1, 2, 3, 4], is_open, server, client, kernel))
    assert made.server_user_bytes_per_connection == 100  # the higher of the two full samples
    assert made.client_user_bytes_per_connection == 20
    assert made.kernel_bytes_per_connection == (1000 + 2000) / 2
    assert made.slab_bytes_per_connection == 950


@pytest.mark.parametrize(
    ("connections", "used", "says"),
    [
        (10_000, 50_000_000, 5_000),
        (10_000, 10_000_000, None),  # less than the slab: others gave memory back
        (10_000, -50_000_000, None),
        (9_999, 50_000_000, None),  # too few to be seen among what else the machine does
    ],
)
def test_kernel_memory_is_told_only_where_it_stands_out(
    connections: int, used: int, says: float | None
) -> None:
    kernel = KernelColumns(used_bytes=[10**9, 10**9 + used], slab_bytes=[0, 30_000_000])
    made = memory_of(Samples([0, 1], [0, connections], None, kernel=kernel))
    assert made.kernel_bytes_per_connection == says
    assert made.slab_bytes_per_connection == pytest.approx(3_000, rel=1e-3)


def test_memory_of_a_run_that_opened_nothing_or_knows_no_process() -> None:
    assert memory_of(Samples()) == MemoryPerConnection()
    kernel = KernelColumns(used_bytes=[0, 10], slab_bytes=[0, 0])
    for is_open in ([0, 0], [0, 10]):
        assert memory_of(Samples([0, 1], is_open, None, kernel=kernel)) == MemoryPerConnection()


def test_the_verdict() -> None:
    asked = LoadOptions(connections=10)
    whole = Connections(attempted=10, opened=10, peak_open=10, open_at_end=10)
    right = one_each(10)
    stampede = StageResult("stampede", requests=right)
    record = RunRecord(asked=asked, connections=whole, first=right, stages=[stampede])
    assert judge(record).complete
    assert not judge(record, also=["It was stopped by SIGINT."]).complete
    few = replace(stampede, requests=one_each(4))
    for changed, says in (
        ({"connections": replace(whole, opened=9, refused=1)},
         "1 of 10 connections did not open: 1 refused"),
        ({"connections": replace(whole, opened=9)}, "did not open."),
        ({"connections": replace(whole, peak_open=8)}, "At most 8 of 10"),
        ({"connections": replace(whole, open_at_end=7, lost=3)},
         "3 of 10 open connections were lost"),
        ({"first": one_each(10, missing=2, garbled=1)},
         "First requests: 7 of 10 replies were right; wrong: 1, missing: 2"),
        ({"stages": [few]}, "Stampede: only 4 of 10 opened"),
        ({"stages": [stampede, few]}, "Stampede: only 4 of 10 opened"),
    ):  # fmt: skip
        verdict = judge(replace(record, **changed))
        assert not verdict.complete
        assert len(verdict.shortfalls) == 1
        assert says in verdict.shortfalls[0]


def test_metadata_of_this_machine_and_of_one_that_tells_nothing(tmp_path: Path) -> None:
    here = metadata.collect("epoll", "asked for", {"fds": 3})
    assert here.kernel.startswith("Linux ")
    assert here.cores > 0
    assert here.memory_bytes > 0
    assert here.c1m != ""
    assert here.nofile_soft <= here.nofile_hard
    assert here.engine.extra == {"fds": 3}
    hidden = metadata.collect("epoll", "asked for", root=tmp_path)
    assert (hidden.memory_bytes, hidden.nofile_soft, hidden.sysctls) == (0, 0, {})
    assert METADATA.sysctls.keys() <= set(metadata.SYSCTLS)


def test_started_is_iso_8601() -> None:
    assert metadata.started_text(0) == "1970-01-01T00:00:00Z"
    assert metadata.started_text() > "2024"
