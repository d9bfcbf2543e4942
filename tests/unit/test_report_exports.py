"""The .hgrm text against HdrHistogram itself, and the CSV of a run's series."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from c1m.cli.report import report
from c1m.errors import UsageError
from c1m.report import exports
from c1m.results.histogram import Histogram
from c1m.results.record import Latency, RunRecord
from measured_records import run
from report_records import complete_record

HEAD = "       Value     Percentile TotalCount 1/(1-Percentile)"


def latency(values: np.ndarray) -> Latency:
    histogram = Histogram()
    histogram.record(values.astype(np.int64))
    return Latency.of(histogram)


def test_a_small_one_worked_out_by_hand() -> None:
    """1 to 4 ms, one each: levels in steps of 10 %, from 50 % of 5 %; a value is its bucket's top,
    so 2 ms read as 2.001 (2,000,895 ns)."""
    text = exports.hgrm(latency(np.arange(1, 5) * 1_000_000))
    assert text.splitlines()[:6] == [
        HEAD,
        "",
        "       1.000 0.000000000000          1           1.00",
        "       1.000 0.100000000000          1           1.11",
        "       1.000 0.200000000000          1           1.25",
        "       2.001 0.300000000000          2           1.43",
    ]
    assert text.splitlines()[-5:] == [
        "       4.002 0.775000000000          4           4.44",
        "       4.002 1.000000000000          4",
        "#[Mean    =        2.500, StdDeviation   =        1.118]",
        "#[Max     =        4.002, Total count    =            4]",
        "#[Buckets =           43, SubBuckets     =         2048]",
    ]


def test_an_empty_one() -> None:
    for empty in (Latency(), Latency.of(Histogram())):
        lines = exports.hgrm(empty).splitlines()
        assert lines[:2] == [HEAD, ""] and lines[2].startswith("#[Mean    =        0.000,")


def test_one_value_many_times() -> None:
    rows = exports.hgrm(latency(np.full(1_000, 5))).splitlines()[2:-3]
    assert rows == [
        "       0.000 0.000000000000       1000           1.00",
        "       0.000 1.000000000000       1000",
    ]


def drawn(kind: str) -> np.ndarray:
    random = np.random.default_rng(4)
    return {
        "lognormal": np.exp(random.normal(14, 1, 20_000)),
        "two humps": np.concatenate([random.normal(1e5, 1e3, 5_000), random.normal(1e9, 1e7, 50)]),
        "small": random.integers(1, 3_000, 1_000),
        "huge": random.integers(1, 1 << 52, 300),
    }[kind].astype(np.int64)


@pytest.mark.parametrize("kind", ["lognormal", "two humps", "small", "huge"])
def test_it_is_what_hdrhistogram_prints(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hdrh = pytest.importorskip("hdrh.histogram", reason="hdrhistogram is not installed")
    iterators = pytest.importorskip("hdrh.iterators")

    def whole_halvings(self: object) -> None:
        """Java's and C's step; the Python port leaves out that halvings are whole."""
        level = self.percentile_to_iterate_to  # type: ignore[attr-defined]
        self.percentile_to_iterate_from = level  # type: ignore[attr-defined]
        if level < 100:
            halvings = int(math.log(100 / (100 - level)) / math.log(2)) + 1
            self.percentile_to_iterate_to += 100 / (5 * 2**halvings)  # type: ignore[attr-defined]

    monkeypatch.setattr(iterators.PercentileIterator, "increment_iteration_level", whole_halvings)
    values = drawn(kind)
    theirs = hdrh.HdrHistogram(1, (1 << 53) - 1, 3)
    for value in values.tolist():
        theirs.record_value(value)
    out = io.BytesIO()
    theirs.output_percentile_distribution(out, 1e6)
    expected = out.getvalue().decode().splitlines()
    found = exports.hgrm(latency(values)).splitlines()
    assert found[:-3] == expected[:-3]
    numbers = [[float(n) for n in re.findall(r"[0-9.]+", line)] for line in found[-3:]]
    mean, deviation = theirs.get_mean_value() / 1e6, theirs.get_stddev() / 1e6
    assert numbers[0] == pytest.approx([mean, deviation], rel=1e-3, abs=1e-3)
    assert numbers[1] == [pytest.approx(theirs.get_max_value() / 1e6, abs=1e-3), len(values)]
    assert numbers[2] == [theirs.bucket_count, theirs.sub_bucket_count]


def test_the_uncorrected_one_goes_beside_it() -> None:
    texts = exports.hgrm_files(run(1), "out/run.hgrm")
    assert list(texts) == ["out/run.hgrm", "out/run-uncorrected.hgrm"]
    texts = exports.hgrm_files(complete_record(2_000), "first.txt")
    assert list(texts) == ["first.txt"] and "2000\n" in texts["first.txt"]


def test_a_latency_without_its_histogram_is_refused() -> None:
    with pytest.raises(UsageError, match="no histogram of that latency"):
        exports.hgrm(replace(latency(np.array([5])), histogram={}))


def test_the_csv_has_a_row_an_interval() -> None:
    record = run(1, seconds=6)
    lines = exports.csv(record).splitlines()
    head = (
        "t_s,open,in_flight,opened,secured,failed,lost,closed,due,sent,right,bad,p50_ns,p99_ns,"
        "max_ns,lag_max_ns"
    )
    assert lines[0] == head
    assert len(lines) == 1 + 11
    last = dict(zip(head.split(","), lines[-1].split(","), strict=True))
    assert float(last["t_s"]) == 11 and int(last["right"]) == record.series.right[-1]
    assert exports.csv(RunRecord()) == head + "\n"


def called(*arguments: str) -> Result:
    return CliRunner().invoke(report, arguments)


def test_c1m_report_writes_them_again(tmp_path: Path) -> None:
    record, path = run(1, seconds=6), str(tmp_path / "run.json")
    record.write(path)
    hgrm, csv = str(tmp_path / "a.hgrm"), str(tmp_path / "a.csv")
    done = called(path, "--quiet", "--hgrm", hgrm, "--csv", csv)
    assert done.exit_code == 0, done.output
    other = str(tmp_path / "a-uncorrected.hgrm")
    assert done.output.splitlines() == [f"written: {hgrm}", f"written: {other}", f"written: {csv}"]
    assert Path(csv).read_text() == exports.csv(record)
    assert Path(hgrm).read_text() == exports.hgrm(record.latencies["request"])
    assert Path(other).is_file()


def test_c1m_report_says_what_cannot_be_written_before_it_writes(tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    run(1, seconds=6).write(path)
    done = called(path, "--hgrm", str(tmp_path / "a.hgrm"), "--csv", str(tmp_path / "no" / "a.csv"))
    assert isinstance(done.exception, UsageError)
    assert not (tmp_path / "a.hgrm").exists()


def test_c1m_report_wants_a_record_or_the_schema() -> None:
    assert isinstance(called().exception, UsageError)
