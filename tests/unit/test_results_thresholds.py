"""Thresholds: what they understand, what they refuse, how strictly a record is judged by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from c1m.errors import UsageError
from c1m.results import catalogue as metrics
from c1m.results.histogram import Histogram
from c1m.results.record import (
    FanOut,
    FaultSeen,
    Latency,
    Requests,
    RunRecord,
    Saturation,
    StageResult,
    Threshold,
)
from c1m.results.thresholds import evaluate, parse
from report_records import complete_record, one_each, short_record


def latency(*values_ms: float, times: int = 1) -> Latency:
    histogram = Histogram()
    histogram.record(np.repeat(np.array(values_ms) * 1e6, times).astype(np.int64))
    return Latency.of(histogram)


def with_requests(**changes: object) -> RunRecord:
    """100,000 requests in 10 s: 99,000 replies of 1 ms, 1,000 of 100 ms."""
    histogram = Histogram()
    histogram.record(np.repeat([1_000_000, 100_000_000], [99_000, 1_000]))
    both = {"request": Latency.of(histogram), "uncorrected": latency(1, times=100_000)}
    requests = Requests(due=100_000, sent=100_000, right=100_000, seconds=10.0)
    stages = [StageResult("ramp", end_s=5), StageResult("hold", "", 5, 15, requests=requests)]
    record = replace(complete_record(1_000), requests=requests, stages=stages)
    return replace(record, latencies=record.latencies | both, **changes)  # type: ignore[arg-type]


def judged(record: RunRecord, *texts: str) -> list[Threshold]:
    return evaluate(record, [parse(text) for text in texts])


@pytest.mark.parametrize(
    ("text", "name", "op", "bound"),
    [
        ("p99 < 50ms", "p99", "<", 50e6),
        ("p99.9<=1.5s", "p99.9", "<=", 1.5e9),
        (" P95 < 800us ", "p95", "<", 800e3),
        ("connect.max < 2m", "connect.max", "<", 120e9),
        ("lost == 0", "lost", "==", 0),
        ("opened >= 1M", "opened", ">=", 1e6),
        ("rate > 50k/s", "rate", ">", 50e3),
        ("rate > 0", "rate", ">", 0),
        ("connect_rate >= 300/m", "connect_rate", ">=", 5),
        ("right_share >= 99.9%", "right_share", ">=", 0.999),
        ("reach >= 0.999", "reach", ">=", 0.999),
        ("server_bytes < 38.5", "server_bytes", "<", 38.5),
        ("kernel_bytes < 4KiB", "kernel_bytes", "<", 4096),
        ("saturated == no", "saturated", "==", 0),
        ("complete != false", "complete", "!=", 0),
    ],
)
def test_what_is_understood(text: str, name: str, op: str, bound: float) -> None:
    required = parse(text)
    assert (required.metric.name, required.op) == (name, op)
    assert required.bound == pytest.approx(bound)
    assert required.text == text.strip()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("p99 < 50", r"'p99 < 50': 50 of what\? p99 is measured as a time, with its unit"),
        ("p50 < 1,5s", r"'1,5s' is not a duration: decimals stand behind a point, commas"),
        ("p99 < 1,000", r"1,000 of what\?"),
        ("p99.9 < 5%", r"p99.9 is measured as a time"),
        ("lst == 0", r"no figure 'lst': did you mean 'lost'\? There are: p50 .* lost "),
        ("conect.p99 < 1ms", r"did you mean 'connect.p99'\?"),
        ("p100 < 1s", r"no figure 'p100'"),
        ("p0 < 1s", r"no figure 'p0'"),
        ("zebra.quux < 1s", r"no figure 'zebra.quux'. There are"),
        ("lost = 0", r"'lost = 0' is no threshold. Write METRIC OP VALUE"),
        ("p99 => 5ms", r"is no threshold"),
        ("p99 < 50ms and lost == 0", r"give --require once for each"),
        ("", r"is no threshold"),
        ("p99 <", r"is no threshold"),
        ("lost < 5%", r"'5%' is not a count. lost is measured as a count"),
        ("lost == -1", r"'-1' is not a count"),
        ("reach > 99", r"99 is too much. reach is measured as a share"),
        ("reach > most", r"'most' is not a share"),
        ("rate > fast", r"rate is measured as a rate: 50k/s"),
        ("server_bytes < 5ms", r"measured as a size in bytes"),
        ("saturated < yes", r"yes or no, it has no order. Write 'saturated == no'"),
        ("saturated == maybe", r"'maybe' is neither yes nor no"),
    ],
)
def test_what_is_refused_in_one_sentence(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        parse(text)
    assert "\n" not in str(refused.value)


def test_requests_are_the_default_and_the_corrected_ones() -> None:
    p99, p999, uncorrected = judged(
        with_requests(), "p99 < 50ms", "p99.9 < 50ms", "uncorrected.p99.9 < 50ms"
    )
    assert (p99.holds, p99.metric, p99.value, p99.why) == (True, "request.p99", 1_000_447, "")
    assert (p999.holds, p999.shown) == (False, "100 ms")
    assert (uncorrected.holds, uncorrected.metric) == (True, "uncorrected.p99.9")


def test_a_run_without_requests_is_judged_by_its_first_replies_and_says_so() -> None:
    record = complete_record(60_000)
    (one,) = judged(record, "p99 < 1s")
    assert (one.metric, one.holds) == ("first.p99", True)
    assert one.why == "The run had no requests to send; this is of the first replies."
    assert one.value == record.latencies["first"].percentiles_ns["p99"]


def test_a_run_whose_requests_all_went_unanswered_is_not_judged_by_its_first_replies() -> None:
    record = replace(complete_record(60_000), requests=Requests(due=10, sent=10, missing=10))
    (one,) = judged(record, "p99 < 1s")
    assert (one.metric, one.holds, one.value) == ("request.p99", False, None)
    assert "measured no latencies of requests" in one.why
    (one,) = judged(record, "lag.p99 < 1s")
    assert one.why == "The run did not measure how late the generator was."


def test_a_publish_run_is_judged_by_its_pushes() -> None:
    fan_out = FanOut(10, 1000, 1000)
    record = replace(complete_record(1_000), fan_out=fan_out)
    record.latencies.update(push=latency(3, times=1000), push_last=latency(9, times=10))
    p90, last, reach, missing = judged(
        record, "p90 < 5ms", "push_last.max < 10ms", "reach == 100%", "missing == 0"
    )
    assert (p90.metric, p90.holds, p90.why.endswith("this is of the pushes.")) == (
        "push.p90", True, True,
    )  # fmt: skip
    assert (last.metric, last.holds) == ("push_last.max", True)
    assert reach.holds and reach.shown == "100 %" and missing.holds
    short = replace(record, fan_out=replace(fan_out, received=999))
    assert [one.holds for one in judged(short, "reach == 100%", "missing == 0")] == [False, False]


@pytest.mark.parametrize(
    ("figure", "count", "needed"),
    [("p50", 19, "20"), ("p95", 199, "200"), ("p99", 999, "1,000"), ("p5", 199, "200"),
     ("p99.9", 9_999, "10,000"), ("p99.99", 99_999, "100,000")],
)  # fmt: skip
def test_a_percentile_that_the_samples_do_not_carry_does_not_hold(
    figure: str, count: int, needed: str
) -> None:
    for times, is_carried in ((count, False), (count + 1, True)):
        record = with_requests(requests=Requests(due=times, sent=times, right=times))
        record.latencies["request"] = latency(2, times=times)
        (one,) = judged(record, f"{figure} < 1s")
        assert one.holds == is_carried
        said = f"{figure} needs {needed} samples; there were only {times:,} (requests, from the"
        assert is_carried or (one.value is None and one.why.startswith(said))


def test_any_percentile_comes_from_the_histogram() -> None:
    record = with_requests()
    (p995,) = judged(record, "p99.5 > 50ms")
    assert p995.holds
    without = replace(record.latencies["request"], histogram={})
    record.latencies["request"] = without
    (p995, p99) = judged(record, "p99.5 > 50ms", "p99 < 50ms")
    assert not p995.holds and "no histogram" in p995.why
    assert p99.holds


def test_what_never_came_is_slower_than_any_bound() -> None:
    """Of 102,041 requests 2 % have no reply: the 99th of 100 is one of these."""
    record = with_requests()
    requests = Requests(due=102_041, sent=102_000, right=100_000, missing=2_000, unsent=41)
    record = replace(record, requests=requests)
    p99, p90, top, uncorrected = judged(
        record, "p99 < 50ms", "p90 < 50ms", "max < 1s", "uncorrected.p99 < 50ms"
    )
    assert (p99.holds, p90.holds, top.holds, uncorrected.holds) == (False, True, False, False)
    assert p99.value == 1_000_447  # the value is still that of the replies
    assert "of the 100,000 that came; 2,041 never did" in p99.why
    assert judged(record, "p99 > 50us")[0].holds  # a lower bound has nothing to fear from it
    fine = replace(record, requests=replace(requests, missing=900, unsent=0))
    assert judged(fine, "p99 < 50ms")[0].holds


def test_first_replies_and_connects_count_what_never_came_as_well() -> None:
    record = replace(complete_record(1_000), first=one_each(1_000, missing=100))
    record.latencies["first"] = latency(1, times=900)
    assert [one.holds for one in judged(record, "first.p90 < 5ms", "first.p95 < 5ms")] == [
        True, False,
    ]  # fmt: skip
    short = short_record()
    short.latencies["connect"] = latency(1, times=18_765)
    assert [one.holds for one in judged(short, "connect.p90 < 5ms", "connect.p95 < 5ms")] == [
        True, False,
    ]  # fmt: skip


def test_counts_of_a_short_run() -> None:
    record = short_record()
    texts = {"failed": 1_235, "lost": 15, "wrong": 1, "missing": 3, "attempted": 20_000,
             "opened": 18_765, "open": 18_750, "sent": 37_515, "right": 37_511}  # fmt: skip
    for name, value in texts.items():
        (one,) = judged(record, f"{name} == {value}")
        assert one.holds, one
    (share,) = judged(record, "opened_share >= 99%")
    assert (share.holds, share.shown) == (False, "93.825 %")


def test_rates_and_shares_are_of_the_time_and_the_number_due() -> None:
    record = with_requests()
    rate, connect_rate, share = judged(
        record, "rate == 10k/s", "connect_rate > 1/s", "right_share == 100%"
    )
    assert rate.holds and rate.shown == "10,000/s"
    assert connect_rate.holds
    assert share.holds
    unsent = replace(record, requests=replace(record.requests, due=101_000, unsent=1_000))
    (share,) = judged(unsent, "right_share == 100%")
    assert not share.holds and share.shown.startswith("99.02")
    (none,) = judged(complete_record(1_000), "rate > 0")
    assert not none.holds and "no stage in which requests were due" in none.why


def test_a_fault_that_was_seen_counts_wherever_it_was() -> None:
    requests = Requests(due=5, sent=5, right=3, wrong=2, faults={"crossed": 2, "late": 4})
    seen = [FaultSeen("garbled", 1.0, 7, 0, "b'a'", "b'b'")]
    record = replace(complete_record(1_000), requests=requests, faults=seen)
    for name, count in {"crossed": 2, "late": 4, "garbled": 1, "doubled": 0, "wrong": 2}.items():
        assert judged(record, f"{name} == {count}")[0].holds, name


def test_saturation_must_be_known() -> None:
    for limit, holds in (
        (Saturation("server"), True),
        (Saturation("generator", is_lower_bound=True), False),
        (Saturation(), False),
    ):
        (one,) = judged(replace(complete_record(1_000), limit=limit), "saturated == no")
        assert one.holds == holds
    assert "does not say" in one.why


def test_a_value_beside_its_bound_does_not_look_like_it() -> None:
    record = with_requests()
    record.latencies["request"] = latency(50.01, times=2_000)
    (one,) = judged(record, "max < 50ms")
    assert (one.holds, one.shown) == (False, "50.010000 ms")


def test_every_metric_is_found_and_measured_on_every_record() -> None:
    figures = [f"{d}.{f}" for d in metrics.DISTRIBUTIONS for f in metrics.LATENCY_FIGURES]
    for record in (complete_record(1_000), short_record(), RunRecord(), with_requests()):
        for name in (*metrics.PLAIN, *metrics.LATENCY_FIGURES, *figures):
            figure = metrics.measure(record, metrics.find(name))
            assert (figure.value is None) == bool(figure.why) or figure.value is not None, name
            if figure.value is not None:
                assert metrics.KINDS[metrics.find(name).kind].show(figure.value)


def test_faults_of_first_requests_count() -> None:
    first = Requests(10, 10, 8, 2, faults={"garbled": 1, "crossed": 1})
    record = replace(complete_record(1_000), first=first)
    assert [one.holds for one in judged(record, "garbled == 1", "crossed == 0")] == [True, False]
