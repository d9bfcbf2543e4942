"""Comparisons: conditions first, what is more than noise and what is not, the command's status."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from c1m.cli.compare import compare as command
from c1m.cli.compare import sides
from c1m.errors import UsageError
from c1m.report.compare import (
    BETTER,
    NOT_COMPARABLE,
    NOT_JUDGED,
    SAME,
    WORSE,
    Comparison,
    compare,
    differing_conditions,
)
from c1m.report.compare_text import comparison_text, headline
from c1m.results.record import EngineUsed, FanOut, RunRecord, Saturation, Verdict
from measured_records import run
from report_records import METADATA, complete_record, short_record

GENERATOR = Saturation("generator", is_lower_bound=True)


def verdicts(result: Comparison) -> dict[str, str]:
    return {row.name: row.verdict for row in result.rows}


def one_each(a: RunRecord, b: RunRecord, tolerance: float | None = None) -> dict[str, str]:
    return verdicts(compare([a], [b], (), tolerance))


def test_a_record_is_the_same_as_itself() -> None:
    for record in (run(1), complete_record(20_000), short_record()):
        assert set(one_each(record, record).values()) <= {SAME, NOT_COMPARABLE}
    result = compare([run(1)], [run(1)])
    assert headline(result).startswith("NO DIFFERENCE beyond noise. ")
    assert result.conditions == [] == result.warnings


def test_two_runs_of_one_build_do_not_differ() -> None:
    for seed in range(20, 26):
        result = compare([run(seed)], [run(seed + 100)])
        assert result.having(WORSE) == result.having(BETTER) == []


def test_runs_of_one_build_that_differ_as_runs_do_are_not_judged_one_a_side() -> None:
    """Each is steady within, and a third from the other, as runs of one build can be."""
    for seed in range(40, 60, 2):
        a, b = run(seed, between=0.3), run(seed + 1, between=0.3)
        result = compare([a], [b])
        assert result.having(WORSE) == result.having(BETTER) == []
        assert compare([b], [a]).having(WORSE) == []


def test_what_differs_between_single_runs_is_told_and_not_judged() -> None:
    result = compare([run(1)], [run(2, rate=1_600, slower=1.25, cpu_us=13.0)])
    found = verdicts(result)
    for name in ("rate", "request.p90", "request.p99", "request.p99.9", "server_cpu"):
        assert found[name] == NOT_JUDGED, name
    assert found["lost"] == found["complete"] == SAME
    rows = {row.name: row for row in result.rows}
    assert rows["server_cpu"].change == pytest.approx(0.3, abs=0.05)
    assert headline(result).startswith("NOT JUDGED: so few runs cannot tell a change from noise. ")
    text = " ".join(comparison_text(result).split())
    assert "1 and 1 records can never show a change beyond chance" in text
    assert "Give three or more a side, made in turns" in text


def test_a_build_many_times_as_slow_is_found_by_one_run_a_side_with_a_tolerance() -> None:
    slow = run(2, rate=400, slower=6, cpu_us=40.0)
    found = one_each(run(1), slow, tolerance=2)
    for name in ("rate", "request.p50", "request.p90", "request.p99", "server_cpu"):
        assert found[name] == WORSE, name
    back = one_each(slow, run(1), tolerance=2)
    assert back["rate"] == back["request.p99"] == back["server_cpu"] == BETTER
    assert one_each(run(1), slow)["rate"] == NOT_JUDGED
    method = compare([run(1)], [slow], (), 2).method
    assert "Worse or better here: a change of more than 200 %, whatever its cause." in method


def test_two_records_a_side_are_judged_by_a_tolerance_too() -> None:
    a, slow = [run(1), run(2)], [run(3, slower=1.7), run(4, slower=1.7)]
    assert verdicts(compare(a, slow))["request.p50"] == NOT_JUDGED
    assert verdicts(compare(a, slow, (), 0.5))["request.p50"] == WORSE
    assert verdicts(compare(a[:1], slow, (), 0.5))["request.p50"] == WORSE
    assert verdicts(compare(a, slow, (), 1))["request.p50"] == SAME


def test_a_maximum_of_one_run_proves_nothing() -> None:
    found = {row.name: row for row in compare([run(1)], [run(2, tail=3)]).rows}
    row = found["request.max"]
    assert (row.verdict, row.change is not None) == (NOT_JUDGED, True)


def test_a_change_below_the_tolerance_is_none() -> None:
    a, b = run(1), run(2, cpu_us=22)
    (row,) = compare([a], [b], ["server_cpu"]).rows
    assert (row.verdict, row.tolerance, row.probability) == (NOT_JUDGED, 0.02, None)
    assert compare([a], [b], ["server_cpu"], 0.5).rows[0].verdict == WORSE
    assert compare([a], [b], ["server_cpu"], 1.5).rows[0].verdict == SAME
    a3 = [run(seed, seconds=12) for seed in range(4)]
    b3 = [run(seed, seconds=12, cpu_us=11) for seed in range(4, 8)]
    (row,) = compare(a3, b3, ["server_cpu"]).rows
    assert (row.verdict, row.tolerance) == (WORSE, 0.02)
    assert compare(a3, b3, ["server_cpu"], 0.2).rows[0].verdict == SAME


def test_a_run_too_short_for_a_series_is_not_judged() -> None:
    a, b = run(1, seconds=6), run(2, slower=3, cpu_us=30, seconds=6)
    assert one_each(a, b)["request.p50"] == one_each(a, b)["server_cpu"] == NOT_JUDGED


def test_memory_of_one_run_a_side_is_not_judged() -> None:
    def using(each: float) -> RunRecord:
        record = run(1, seconds=6)
        memory = replace(record.memory, server_user_bytes_per_connection=each)
        return replace(record, memory=memory)

    assert one_each(using(38.0), using(48.0))["server_bytes"] == NOT_JUDGED
    assert one_each(using(38.0), using(38.0))["server_bytes"] == SAME
    found = compare([using(v) for v in (38.0, 38.1, 38.2)], [using(v) for v in (48, 48.1, 48.2)])
    assert verdicts(found)["server_bytes"] == WORSE


@pytest.mark.parametrize("name", ["lost", "wrong", "missing", "unsent", "garbled", "doubled"])
def test_what_must_not_be_is_worse_as_soon_as_it_is(name: str) -> None:
    good, bad = run(1), run(2)
    if name == "lost":
        bad = replace(bad, connections=replace(bad.connections, lost=1))
    elif name in ("garbled", "doubled"):
        bad = replace(bad, requests=replace(bad.requests, faults={name: 1}))
    else:
        count: Any = {name: 1}
        bad = run(2, **count)
    assert one_each(good, bad)[name] == WORSE
    assert one_each(bad, good)[name] == BETTER
    assert one_each(bad, bad)[name] == SAME
    assert verdicts(compare([good] * 4, [good, good, good, bad]))[name] == WORSE


def test_more_of_what_must_not_be() -> None:
    """How such counts vary from run to run is not known from one: they come in bursts."""
    assert one_each(run(1, missing=10), run(2, missing=60))["missing"] == NOT_JUDGED
    few = [run(seed, missing=10 + seed) for seed in range(3)]
    many = [run(seed, missing=60 + seed) for seed in range(10, 13)]
    assert verdicts(compare(few, many, ["missing"])) == {"missing": WORSE}
    assert verdicts(compare(few, few, ["missing"])) == {"missing": SAME}


def test_a_run_that_is_not_complete_is_worse() -> None:
    short = replace(run(2), verdict=Verdict(False, ["3 connections were lost."]))
    result = compare([run(1)], [short])
    assert verdicts(result)["complete"] == WORSE
    assert result.warnings == ["In B not all was as asked: 3 connections were lost."]


def test_reach_is_compared_by_what_is_short_of_all() -> None:
    def reaching(share: float) -> RunRecord:
        fan_out = FanOut(10, 10_000, round(10_000 * share))
        return replace(run(1), fan_out=fan_out)

    assert one_each(reaching(1), reaching(1))["reach"] == SAME
    assert one_each(reaching(1), reaching(0.9999))["reach"] == WORSE
    assert one_each(reaching(0.999), reaching(1))["reach"] == BETTER
    assert one_each(reaching(0.999), reaching(0.990))["reach"] == NOT_JUDGED
    low, high = ([reaching(s + i / 1e5) for i in range(4)] for s in (0.990, 0.999))
    assert verdicts(compare(high, low, ["reach"])) == {"reach": WORSE}
    assert verdicts(compare(low, high, ["reach"])) == {"reach": BETTER}


@pytest.mark.parametrize(
    ("a_limit", "b_limit", "slower", "verdict"),
    [
        (GENERATOR, None, 6, WORSE),  # A does at least as well as it says, B is worse than that
        (None, GENERATOR, 6, NOT_COMPARABLE),
        (GENERATOR, GENERATOR, 6, NOT_COMPARABLE),
        (None, GENERATOR, 0.15, BETTER),
        (GENERATOR, None, 0.15, NOT_COMPARABLE),
        (GENERATOR, None, 1.0, NOT_COMPARABLE),
    ],
)
def test_where_the_generator_was_the_limit_only_what_follows_is_said(
    a_limit: Saturation | None, b_limit: Saturation | None, slower: float, verdict: str
) -> None:
    a = run(1, limit=a_limit)
    b = run(2, limit=b_limit, slower=slower, rate=2_000 / slower)
    result = compare([a], [b], (), 0.3)
    found = verdicts(result)
    assert found["rate"] == found["request.p99"] == verdict
    sentences = [w for w in result.warnings if "the generator was the limit: its rate" in w]
    assert len(sentences) == (a_limit is not None) + (b_limit is not None)


def test_what_a_generator_at_its_limit_did_not_send_is_not_the_servers() -> None:
    short = run(2, unsent=5, limit=GENERATOR)
    short = replace(short, verdict=Verdict(False, ["5 of 60,000 requests were not sent."]))
    found = one_each(run(1), short)
    assert found["unsent"] == found["complete"] == NOT_COMPARABLE
    lost = replace(short, connections=replace(short.connections, lost=2))
    assert one_each(run(1), lost)["lost"] == WORSE
    assert one_each(run(1, limit=GENERATOR), run(2, limit=GENERATOR))["complete"] == SAME
    assert one_each(run(1), replace(short, limit=Saturation("server")))["complete"] == WORSE


def test_several_records_a_side_are_judged_by_splitting_them_in_all_ways() -> None:
    a = [run(seed, between=0.03, seconds=12) for seed in range(4)]
    b = [run(seed, between=0.03, seconds=12) for seed in range(50, 54)]
    slow = [run(seed, between=0.03, seconds=12, rate=1_700, slower=1.2) for seed in range(60, 64)]
    same, worse, better = compare(a, b), compare(a, slow), compare(slow, a)
    assert same.having(WORSE) == same.having(BETTER) == []
    assert {"rate", "request.p50", "request.p99"} <= {row.name for row in worse.having(WORSE)}
    assert {"rate", "request.p50", "request.p99"} <= {row.name for row in better.having(BETTER)}
    assert worse.having(BETTER) == better.having(WORSE) == []
    assert "Of all ways to split these runs into 4 and 4" in worse.method


def test_three_records_a_side_tell_what_is_worse_and_what_is_better() -> None:
    a = [run(seed, between=0.01, seconds=12) for seed in range(3)]
    b = [run(seed, between=0.01, seconds=12, rate=1_000) for seed in range(50, 53)]
    worse, better = compare(a, b, ["rate"]), compare(b, a, ["rate"])
    assert verdicts(worse) == {"rate": WORSE}
    assert verdicts(better) == {"rate": BETTER}
    assert worse.rows[0].probability == better.rows[0].probability == 0.05


def test_a_figure_that_one_record_lacks_is_not_comparable() -> None:
    rows = {row.name: row for row in compare([run(1)], [complete_record(2_000)]).rows}
    assert rows["rate"].verdict == NOT_COMPARABLE
    assert rows["rate"].why == "In B: The run has no stage in which requests were due."
    assert rows["rate"].a is not None and rows["rate"].b is None
    assert "garbled" not in rows and "lost" in rows


def test_only_named_figures() -> None:
    result = compare([run(1)], [run(2)], ["p95", "rate", "saturated"])
    assert [row.name for row in result.rows] == ["request.p95", "rate", "saturated"]
    with pytest.raises(UsageError, match="did you mean 'rate'"):
        compare([run(1)], [run(2)], ["rte"])


def other_conditions(record: RunRecord) -> RunRecord:
    metadata = replace(
        METADATA,
        kernel="Linux 6.12.1",
        c1m="0.2.0",
        memory_bytes=(24 << 30) + (3 << 20),  # not another machine
        sysctls=METADATA.sysctls | {"net.core.somaxconn": "65535"},
        engine=EngineUsed("epoll"),
    )
    asked = replace(record.asked, connections=2_000, rate_per_s=50_000.0, seed=4, engine="epoll")
    return replace(record, metadata=metadata, asked=asked, target="tcp://10.0.0.7:8001")


def test_conditions_that_differ_are_told() -> None:
    found = differing_conditions([run(1)], [other_conditions(run(1))])
    assert {(one.name, one.a, one.b) for one in found if one.is_alarming} == {
        ("kernel", "Linux 6.18.5", "Linux 6.12.1"),
        ("engine", "uring", "epoll"),
        ("net.core.somaxconn", "4096", "65535"),
        ("target", "on this machine", "on the network"),
        ("asked.connections", "1,000", "2,000"),
        ("asked.rate_per_s", "-", "50,000"),
    }
    assert {one.name for one in found if not one.is_alarming} == {"c1m", "asked.seed"}
    assert [one.is_alarming for one in found] == [True] * 6 + [False] * 2


def test_conditions_that_differ_within_a_side_are_told() -> None:
    (one,) = differing_conditions(
        [run(1), replace(run(1), metadata=replace(METADATA, cores=4))], [run(1)]
    )
    assert (one.name, one.a, one.b) == ("cores", "2 | 4", "2")


def test_the_text_says_conditions_first_and_fits_a_terminal() -> None:
    slow = other_conditions(run(2, rate=1_500, slower=1.4, missing=3, limit=GENERATOR))
    for records in ([run(1), slow], [complete_record(20_000), short_record()]):
        result = replace(compare(records[:1], records[1:]), a=["a.json"], b=["b.json"])
        lines = comparison_text(result).splitlines()
        assert max(map(len, lines)) <= 100
        assert lines[:2] == ["A  a.json", "B  b.json"]
        assert not any(line != line.rstrip() for line in lines)
    text = " ".join(comparison_text(compare([run(1)], [slow])).split())
    first = "CONDITIONS DIFFER; figures compare only where these agree: kernel A: Linux 6.18.5 B:"
    assert text.startswith(first)
    assert text.index("but different: c1m A: 0.1.0 B: 0.2.0") < text.index("WORSE: missing.")
    for part in (
        "In B the generator was the limit",
        "missing 0 3 +3 WORSE",
        "connect.p50",
        "lost 0 0 same within noise",
        "1 and 1 records can never show a change beyond chance",
    ):
        assert part in text, part  # fmt: skip


def files(tmp_path: Path, **records: RunRecord) -> list[str]:
    paths = []
    for name, record in records.items():
        paths.append(str(tmp_path / f"{name}.json"))
        record.write(paths[-1])
    return paths


def called(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_the_commands_status(tmp_path: Path) -> None:
    a, same, slow = files(tmp_path, a=run(1), same=run(2), slow=run(3, rate=500, slower=5.0))
    assert called(a, same).exit_code == 0
    assert called(a, slow).exit_code == 0
    assert called(a, slow, "--tolerance", "100%").exit_code == 1
    assert called(slow, a, "--tolerance", "100%").exit_code == 0
    assert called(slow, a, "--tolerance", "100%", "--fail-on", "any").exit_code == 1
    assert called(a, same, "--fail-on", "any").exit_code == 0
    assert called(a, slow, "--metric", "lost").exit_code == 0
    quiet = called(a, slow, "--quiet", "--metric", "rate", "--tolerance", "5%")
    assert quiet.output == "WORSE: rate.\n"
    several = called(a, same, "vs", slow, slow)
    assert "A  2 records: " in several.output and "2 and 2 records can never" in several.output


def test_the_status_of_what_is_not_judged_is_0(tmp_path: Path) -> None:
    slower = run(3, rate=1_600, slower=1.25, cpu_us=13.0)
    a, b = files(tmp_path, a=run(1), b=slower)
    for words in ((a, b), (a, a, "vs", b, b), (b, a), (a, b, "--fail-on", "any")):
        done = called(*words)
        assert done.exit_code == 0 and "NOT JUDGED" in done.output, done.output
    several = [[run(seed, seconds=12) for seed in range(3)]]
    several.append([run(seed, seconds=12, slower=1.25) for seed in range(3, 6)])
    named = {f"{side}{i}": one for side, runs in zip("cd", several, strict=True)
             for i, one in enumerate(runs)}  # fmt: skip
    paths = files(tmp_path, **named)
    assert called(*paths[:3], "vs", *paths[3:]).exit_code == 1
    assert called(*paths[3:], "vs", *paths[:3]).exit_code == 0
    assert called(*paths[:3], "vs", *paths[:3]).exit_code == 0


def test_the_commands_json(tmp_path: Path) -> None:
    a, b = files(tmp_path, a=run(1), b=other_conditions(run(2, missing=2)))
    out = tmp_path / "out.json"
    assert called(a, b, "--json", str(out)).exit_code == 1
    data = json.loads(out.read_text())
    assert (data["schema"], data["a"], data["b"]) == ("c1m-compare/1", [a], [b])
    rows = {row["name"]: row for row in data["rows"]}
    assert rows["missing"]["verdict"] == "worse"
    assert rows["missing"]["a"] == 0 and rows["missing"]["b"] == 2
    assert data["conditions"][0]["name"] == "kernel"


@pytest.mark.parametrize(
    "words", [["a"], ["a", "b", "c"], ["a", "vs"], ["vs", "b"], ["a", "vs", "b", "vs", "c"]]
)
def test_sides_must_be_clear(words: Sequence[str]) -> None:
    with pytest.raises(UsageError, match="cannot tell which records belong to which"):
        sides(tuple(words))


@pytest.mark.parametrize(
    "option",
    [["--metric", "speed"], ["--tolerance", "much"], ["--tolerance", "500%"], ["--json", "/"]],
)
def test_bad_options_are_one_sentence(tmp_path: Path, option: list[str]) -> None:
    a, b = files(tmp_path, a=run(1), b=run(2))
    assert isinstance(called(a, b, *option).exception, UsageError)
