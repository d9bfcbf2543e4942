"""The terminal summary: what must be in it, and its shape."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from c1m.report import text
from c1m.results.options import LoadOptions
from c1m.results.record import Ramp, RunRecord, Threshold
from report_records import complete_record, short_record


def squeezed(record: RunRecord) -> list[str]:
    """The lines, with every run of blanks as one."""
    return [" ".join(line.split()) for line in text.summary(record).splitlines()]


def test_the_summary_of_a_complete_run() -> None:
    lines = squeezed(complete_record())
    assert lines[0].startswith("COMPLETE: 1,000,000 of 1,000,000 connections open at the same time")
    for line in (
        "asked 1,000,000 100 %",
        "attempted 1,000,000 100 %",
        "connected 1,000,000 100 %",
        "ready: first reply right 1,000,000 100 %",
        "still open at the end 1,000,000 100 %",
        "stampede reply right 1,000,000 100 %",
        "failures none",
        "engine uring: io_uring with direct descriptors (Linux 6.18)",
        "latency count p50 p90 p99 p99.9 p99.99 p99.999 max",
        "memory and CPU at start highest /connection CPU time",
        "kernel no retransmission, overflow or drop",
    ):
        assert line in lines
    for start in (
        "all 34.0 s 29,",
        "first 50,000 1.",
        "second 50,000 1.",
        "last 50,000 1.",
        "connect 1,000,000 ",
        "first 1,000,000 ",
        "stampede 1,000,000 ",
        "server (resident) 26.7 MiB 42.0 MiB 16 B user ",
        "client (resident) 26.7 MiB 42.0 MiB 16 B user ",
        "kernel (sockets, both ends) 6,5",
    ):
        assert any(line.startswith(start) for line in lines), start
    assert any(line.endswith("x the second") for line in lines)


def test_the_summary_of_a_run_with_failures() -> None:
    lines = squeezed(short_record())
    whole = " ".join(lines)
    assert lines[0] == "SHORT: 18,760 of 20,000 connections open at the same time, 15 lost."
    short = (
        "1,235 of 20,000 connections did not open: 1,200 refused, 30 timed out, 5 failed for "
        "another reason."
    )
    assert short in whole
    for part in (
        "connected 18,765 93.83 % -1,235",
        "1,200 x ECONNREFUSED while connecting: the peer answered with a reset",
        "-> Start the server, and compare its --listen with the target's ports.",
        "30 x ETIMEDOUT while connecting",
        "Raise net.core.somaxconn",
        "11 x ECONNRESET while open",
        "4 x EOF while open: closed by the peer",
        r"connection 17, request 0: expected b'client connections 17\n' "
        r"received b'</script><b>18\n'",
        r"connection 18,001, request 0: expected b'client connections 18001\n' received nothing",
        "kernel Tcp.RetransSegs 122, TcpExt.ListenOverflows 44",
        "connects 5,000/s",
    ):
        assert part in whole, part
    assert "server (resident)" not in whole
    assert "both ends" not in whole


@pytest.mark.parametrize("connections", [1, 19, 999, 60_000, 1_000_000])
def test_it_fits_a_terminal(connections: int) -> None:
    for record in (complete_record(connections), short_record()):
        assert max(map(len, text.summary(record).splitlines())) <= 100
        assert not any(line != line.rstrip() for line in text.summary(record).splitlines())


def test_it_fits_a_narrower_terminal() -> None:
    for record in (complete_record(999), short_record()):
        lines = text.summary(record, 80).splitlines()
        assert max(map(len, lines)) <= 80
        words = text.summary(record).split()
        assert text.summary(record, 80).split() == words


def test_the_conditions_say_how_long_a_run_held() -> None:
    asked = replace(complete_record(999).asked, stages=["ramp 999", "hold for 10.0 s", "stampede"])
    said = squeezed(replace(complete_record(999), asked=asked))
    assert "stages ramp 999; hold for 10.0 s; stampede" in said
    asked = replace(asked, stages=["ramp 999", "stampede"])
    said = squeezed(replace(complete_record(999), asked=asked))
    assert not any(line.startswith("stages ramp") for line in said)


@pytest.mark.parametrize(
    ("marks", "said"),
    [
        ([True], "the one threshold holds"), ([False], "0 of 1 hold"),
        ([True, True], "all 2 hold"), ([True, False], "1 of 2 hold"),
    ],
)  # fmt: skip
def test_the_title_of_thresholds(marks: list[bool], said: str) -> None:
    each = [Threshold("lost == 0", holds=holds) for holds in marks]
    shown = text.summary(replace(complete_record(999), thresholds=each))
    assert shown.startswith(f"thresholds: {said} ")


def test_an_empty_record_has_a_summary() -> None:
    assert text.summary(RunRecord()).startswith("SHORT: 0 of 0")
    assert "  all " in text.summary(
        RunRecord(asked=LoadOptions(connections=5), ramp=Ramp(seconds=1.0))
    )


def test_percentiles_that_only_one_distribution_carries() -> None:
    few = replace(complete_record(20_000), latencies={})
    mixed = replace(
        few,
        latencies={
            "first": short_record().latencies["first"],
            "stampede": complete_record(20_000).latencies["stampede"],
        },
    )
    lines = squeezed(mixed)
    at = lines.index("latency count p50 p90 p99 p99.9 max")
    assert re.fullmatch("first 500 [^-]* - - .*", lines[at + 1])
    assert not any(line.startswith("latency") for line in squeezed(few))
