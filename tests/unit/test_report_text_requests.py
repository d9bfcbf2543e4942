"""The terminal summary of a run with requests: its order, its sums, what it leaves out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from c1m.report import text
from c1m.report.request_sections import sentence
from c1m.results.record import (
    Connections,
    Explanation,
    FaultSeen,
    Latency,
    Requests,
    RunRecord,
    Saturation,
    StageResult,
)
from laws import broken_laws
from report_records import complete_record, latency
from report_request_records import hour_record, publish_record, request_record


def squeezed(record: RunRecord) -> list[str]:
    """The lines, with every run of blanks as one."""
    return [" ".join(line.split()) for line in text.summary(record).splitlines()]


def test_the_made_up_records_obey_the_laws() -> None:
    for record in (request_record(), publish_record(), hour_record()):
        assert broken_laws(record) == []
        r = record.requests
        assert r.due == r.sent + r.unsent and r.sent == r.right + r.wrong + r.missing


def test_the_order_of_the_sections() -> None:
    lines = text.summary(request_record()).splitlines()
    starts = (
        "thresholds: 1 of 3 hold",
        "SHORT: 99,990 of 100,000",
        "LOWER BOUND: the generator was saturated",
        "target    tcp://",
        "connections  ",
        "what is missing, and why",
        "requests  ",
        "stages   ",
        "latency of requests",
        "other latencies   ",
        "first faults",
        "notes",
        "limit     The generator was the limit.",
        "ramp   ",
        "memory and CPU",
        "kernel    Tcp",
    )
    places = [
        next(i for i, line in enumerate(lines) if line.startswith(start) and i >= after)
        for start, after in zip(starts, [0] * 6 + [20] * 10, strict=True)
    ]
    assert places == sorted(places)


def test_what_a_run_with_requests_says() -> None:
    lines = squeezed(request_record())
    for line in (
        "FAIL p99 < 50ms 1.2 s p99 of request, corrected.",
        "ok lost <= 20 17",
        "FAIL p99.999 < 2s not measured it takes 1,000,000 samples.",
        "attempted (150,009 again) 250,009",
        "connected 250,000 99.9964 % -9",
        "ready: first reply right 249,980 99.9920 % -20",
        "closed by the plan 249,983",
        "8 x ETIMEDOUT while connecting: the accept queue overflowed 9 times.",
        "-> Raise net.core.somaxconn and the server's backlog.",
        "hold for 30s at 50k/s churn 5k/s 100,000 50k/s 49.9k/s 5 303 us 567 ms 1.40 s",
        "max 1.40 s 1.40 s",
        "count 2,000,040 2,000,040",
        "4 x garbled: bytes that are not the reply",
        "at 40.5 s, connection 99,001, request 2:",
        r"expected b'ping 99001 2\n'",
        "INCR totals add up: 5,000 keys, 2,500,000 increments.",
    ):
        assert line in lines, line
    whole = " ".join(lines)
    for part in (
        "stages ramp 0..100k in 20s; hold 100k for 30s at 10k/s..50k/s; spike",
        "open loop of 50,000/s, arrivals poisson, spread zipf:1.1, churn 5k/s, timeout 10.0 s",
        "They differ from p99 on: corrected counts from when a request was due",
        "1,103 were late because the generator was behind",
        "server 41 % of a core; generator behind its schedule p99 162 us",
        "wrong: crossed 2 < 0.01 % the reply came on another connection",
    ):
        assert part in whole, part
    assert "uncorrected" not in [line.split()[0] for line in lines if line]


def test_the_lag_stands_once() -> None:
    record = request_record()
    behind = "The generator was behind its schedule: p99 of its lag is 162 us, at most 1 ms."
    record = replace(record, limit=replace(record.limit, sentences=[behind]))
    assert " ".join(squeezed(record)).count("behind its schedule") == 1


def test_what_publish_says() -> None:
    lines = squeezed(publish_record())
    for line in (
        "received 499,990 99.9980 % reach 0.99998",
        "pushes expected 500,000 one for each subscriber",
        "push, last of each 5,000 8.02 ms 17.3 ms 32.3 ms - - 63.4 ms",
        "limit The server was the limit.",
    ):
        assert line in lines, line
    assert not any(line.startswith(("requests count", "latency of", "first f")) for line in lines)


@pytest.mark.parametrize("make", [request_record, publish_record, hour_record])
def test_it_fits_a_terminal(make: object) -> None:
    record = make()  # type: ignore[operator]
    long = [StageResult("hold", "hold 1M " * 30, 0, 5, requests=Requests(due=9, sent=9))]
    for one in (record, replace(record, stages=long), replace(record, stages=record.stages * 4)):
        lines = text.summary(one).splitlines()
        assert max(map(len, lines)) <= 100
        assert not any(line != line.rstrip() for line in lines)


def test_a_plain_run_has_no_sections_about_requests() -> None:
    """A ramp, a hold and a stampede: the funnel says it all."""
    lines = text.summary(complete_record(2_000)).splitlines()
    heads = [line.split()[0] for line in lines if line and line[0] != " "]
    assert heads == [
        "COMPLETE:", "target", "engine", "machine", "versions", "connections", "failures", "ramp",
        "latency", "memory", "kernel",
    ]  # fmt: skip
    assert squeezed(complete_record(2_000))[7:14] == [
        "connections count share short",
        "asked 2,000 100 %",
        "attempted 2,000 100 %",
        "connected 2,000 100 %",
        "ready: first reply right 2,000 100 %",
        "still open at the end 2,000 100 %",
        "stampede reply right 2,000 100 %",
    ]


def test_the_funnel_of_a_run_that_was_stopped_early_and_of_one_that_only_holds() -> None:
    counts = Connections(attempted=60, opened=50, peak_open=50, open_at_end=50, unfinished=10)
    base = complete_record(1_000)
    stopped = replace(
        base,
        stages=[StageResult("ramp"), StageResult("stampede")],  # nobody was there to be asked
        connections=counts,
        first=Requests(),
        stampede=Requests(),
        latencies={},
    )
    lines = squeezed(stopped)
    at = lines.index("connections count share short")
    assert lines[at + 1 : lines.index("", at)] == [
        "asked 1,000 100 %",
        "attempted 60 6.00 % -940",
        "connected 50 83.33 % -10",
        "still open at the end 50 100 %",
    ]


def test_failures_that_no_explanation_names_are_told_too() -> None:
    base = request_record()
    lines = squeezed(replace(base, explanations=[Explanation(0, "stopped at 28,232", "ports", "")]))
    assert "stopped at 28,232: ports." in lines
    assert any(line.startswith("17 x ECONNRESET while open") for line in lines)
    lines = squeezed(replace(base, explanations=[Explanation(12, "no answer", "dropped.", "")]))
    assert "12: no answer: dropped." in lines


def test_equal_spectra_say_so_and_unlike_ones_why() -> None:
    base = request_record()
    same = latency(3, 1e6, 5_000)
    agreed = squeezed(replace(base, latencies={"request": same, "uncorrected": same}))
    assert "Both agree: requests were sent when they were due." in agreed
    assert "count 5,000 5,000" in agreed
    slower = replace(same, max_ns=5 * same.max_ns)
    lines = squeezed(replace(base, latencies={"request": slower, "uncorrected": same}))
    assert any(line.startswith("They differ at the max: corrected counts") for line in lines)
    assert any(line.startswith("max ") and line.endswith(" 5 x") for line in lines)
    alone = squeezed(replace(base, latencies={"request": same, "uncorrected": Latency()}))
    assert "count 5,000" in alone
    assert not any("differ" in line for line in alone)


def test_few_requests_have_no_percentiles_that_they_do_not_carry() -> None:
    few = latency(3, 1e6, 15)
    made = replace(request_record(), latencies={"request": few, "uncorrected": few})
    rows = [line.split()[0] for line in squeezed(made) if line]
    assert "max" in rows and "p50" not in rows


def test_a_note_says_what_was_expected_where_no_bytes_were() -> None:
    noted = FaultSeen("missing", 1.0, 1, 0, "b''", "b''", "the server should have ended it")
    lines = squeezed(
        replace(request_record(), faults=[noted, replace(noted, kind="unasked", note="")])
    )
    assert "at 1.00 s, connection 1, request 0: the server should have ended it." in lines
    assert lines.count("expected nothing") == 1 and lines.count("received nothing") == 2


def test_faults_of_a_kind_that_this_version_does_not_know() -> None:
    one = FaultSeen("sideways", 1.0, 1, 1, "b'a'", "")
    lines = squeezed(replace(request_record(), faults=[one]))
    assert lines[lines.index("first faults") + 1] == "sideways"
    assert "received nothing" in lines


def test_at_most_three_faults_of_a_kind_are_shown() -> None:
    many = [FaultSeen("garbled", i, i, 1, "b'a'", "b'b'") for i in range(20)]
    lines = squeezed(replace(request_record(), faults=many))
    assert sum(line.startswith("expected b'a'") for line in lines) == 3


@pytest.mark.parametrize(
    ("limit", "says"),
    [
        (Saturation("server", sentences=["Busy"]), ["limit The server was the limit.", "Busy."]),
        (Saturation("neither", sentences=["Kept."]), ["limit Neither was the limit.", "Kept."]),
        (
            Saturation("both", server_cpu=2.5),
            ["Measured while requests ran: server 250 % of a core."],
        ),
        (
            Saturation(generator_cpu=0.3, generator_waited=0.04, server_cpu=0.2, server_waited=0.8),
            ["Measured while requests ran: generator 30 % of a core; server 20 %", "waiting for"],
        ),
        (Saturation(generator_cpu=0.5), ["limit What the limit was is not known."]),
    ],
)
def test_who_the_limit_was(limit: Saturation, says: list[str]) -> None:
    lines = squeezed(replace(request_record(), limit=limit))
    assert all(any(line.startswith(part) for line in lines) for part in says)
    assert not any("LOWER BOUND" in line for line in lines)


def test_of_a_limit_of_which_nothing_is_known_nothing_is_said() -> None:
    lines = squeezed(replace(request_record(), limit=Saturation()))
    assert not any(line.startswith("limit ") for line in lines)


def test_a_sentence_ends() -> None:
    assert [sentence(t) for t in ("", "a", "a.", "a!")] == ["", "a.", "a.", "a!"]


def test_a_stage_of_many_words_is_cut() -> None:
    long = StageResult(
        "hold", "hold 1M for 30s at 10k/s..50k/s churn 5k/s", requests=Requests(due=9)
    )
    lines = squeezed(replace(request_record(), stages=[long]))
    assert any(line.startswith("hold 1M for 30s at 10k/s..50k... 0") for line in lines)
