"""What a report says about the workers of a cluster: a row each, of many the extremes; losses."""

from __future__ import annotations

from dataclasses import replace

from c1m.report import sections
from c1m.report.compare import compare, differing_conditions
from c1m.report.plots import plots
from c1m.report.text import summary
from c1m.report.workers import PLOTTED_MAX
from c1m.results.record import RunRecord
from report_records import cluster_record, complete_record


def section_of(record: RunRecord) -> str:
    (found,) = [one for one in summary(record).split("\n\n") if one.startswith("workers: ")]
    return found


def test_each_of_a_few_workers_has_a_row() -> None:
    record = cluster_record()
    lines = section_of(record).split("\n")
    assert lines[0].split() == ["workers:", "4", "peak", "right", "bad", "p99", "CPU", "time",
                                "start", "error"]  # fmt: skip
    assert lines[1].split() == ["10.0.0.0:40001", "250,000", "25,000,000", "0", "17", "ms",
                                "18.5", "s", "1.1", "ms"]  # fmt: skip
    assert " ".join(lines[2:4]).split()[-5:] == ["1", "of", "33", "frames", "missing"]
    told = " ".join(" ".join(lines[-2:]).split())
    assert told.endswith(
        "Stages began within 1.2 ms of their common time; clocks are known within 200 us; 1 frame "
        "did not come."
    )
    assert summary(record).startswith("COMPLETE: 1,000,000 of 1,000,000 connections")


def test_a_lost_worker_is_said_first_and_in_its_row() -> None:
    record = cluster_record(lost=[3])
    text = " ".join(summary(record).split())
    assert text.startswith("DEGRADED: 1 of 4 workers was lost, at 31.2 s. SHORT: ")
    assert (
        "The worker 10.0.0.3:40001 was lost at 31.2 s with 250,000 connections open: it was "
        "silent for 8 s." in text
    )
    assert not record.verdict.complete
    assert "FAIL 10.0.0.3:40001" in text and "lost at 31.2 s: it was silent for 8 s" in text
    assert summary(cluster_record(lost=[1, 3])).startswith(
        "DEGRADED: 2 of 4 workers were lost, the first at 31.2 s. "
    )


def test_a_part_that_was_taken_over_counts_once() -> None:
    record = cluster_record(lost=[3])
    further = replace(record.workers[0], part=3, attempt=1, name="10.0.0.0:40001")
    record = replace(record, workers=[*record.workers, further])
    assert summary(record).startswith("DEGRADED: 1 of 4 workers was lost")
    assert section_of(record).startswith("workers: 4 ") and "attempt 2" in section_of(record)


def test_of_many_workers_the_extremes_are_told_and_whose_they_are() -> None:
    record = cluster_record(1000, lost=range(100, 112))
    lines = section_of(record).split("\n")
    assert lines[0].split() == ["workers:", "1,000", "lowest", "middle", "highest"]
    assert [line.split()[0] for line in lines[1:9]] == [
        f"10.0.0.{n}:40001" for n in range(100, 108)
    ]
    assert lines[9].strip() == "and 4 more lost"
    (right,) = [line for line in lines if line.strip().startswith("right replies")]
    assert right.split()[2:] == ["99,001", "99,500", "100,000", "10.0.0.999:40001", "to",
                                 "10.0.0.0:40001"]  # fmt: skip
    assert len(lines) < 25
    text = summary(record)
    assert "4 further workers were lost." in text


def test_workers_are_plotted_each_or_the_extremes() -> None:
    few = {one["id"]: one for one in plots(cluster_record(lost=[3]))}
    for name in ("workers-open", "workers-right", "workers-cpu"):
        traces = few[name]["traces"]
        assert [one["name"] for one in traces] == [f"10.0.0.{n}:40001" for n in range(4)]
        assert len(traces[3]["x"]) < len(traces[0]["x"])  # until it was lost
    many = {one["id"]: one for one in plots(cluster_record(1000))}
    names = [one["name"] for one in many["workers-right"]["traces"]]
    assert len(names) == PLOTTED_MAX
    assert (names[0], names[-1]) == ("10.0.0.999:40001", "10.0.0.0:40001")
    assert "Of 1,000 workers" in many["workers-right"]["note"]


def test_a_run_without_a_cluster_has_none_of_it() -> None:
    record = complete_record(2_000)
    titles = [one.title for one in sections.findings(record) if one.blocks]
    assert not any("workers" in title for title in titles)
    assert not any(one["id"].startswith("workers") for one in plots(record))


def test_how_many_workers_is_a_condition_and_where_the_scheduler_is_none() -> None:
    four, two = cluster_record(4), cluster_record(2)
    (found,) = differing_conditions([four], [two])
    assert (found.name, found.a, found.b, found.is_alarming) == ("workers", "4", "2", True)
    (found,) = differing_conditions([four], [complete_record()])
    assert (found.name, found.a, found.b) == ("workers", "4", "-")
    elsewhere = replace(
        four,
        asked=replace(
            four.asked, cluster="tcp://10.0.0.9:8786", on_worker_loss="abort",
            cluster_dir="/var/tmp/runs", ready_timeout_ns=5 * 10**9,
        ),
    )  # fmt: skip
    assert differing_conditions([four], [elsewhere]) == []
    said = compare([four], [cluster_record(4, lost=[3])]).warnings
    assert said[0].startswith("In B not all was as asked: The worker 10.0.0.3:40001 was lost")
