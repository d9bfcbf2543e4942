"""Records of schema 1 are read as those of schema 2: real ones, early and late."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from c1m.errors import UsageError
from c1m.report import text
from c1m.report.html import render
from c1m.results import catalogue, record_1
from c1m.results.record import FaultSeen, RunRecord
from laws import broken_laws
from one_each import right_of_each

ROOT = Path(__file__).parent.parent.parent
LAST = ROOT / "tests" / "data" / "record-1.json"  # 60 connections: two stampedes, load between them
EARLY = sorted((ROOT / "bench" / "results").glob("2026-11-23-*million-[0-9].json"))


def data() -> dict[str, Any]:
    read: dict[str, Any] = json.loads(LAST.read_text())
    assert read["schema"] == record_1.SCHEMA
    return read


def test_rounds_are_the_first_requests_and_those_of_each_stampede() -> None:
    old, record = data(), RunRecord.read(LAST)
    assert right_of_each(record) == [(r["name"], r["sent"], r["right"]) for r in old["rounds"]]
    first, *stampedes = old["rounds"]
    assert record.first.in_flight_peak == first["in_flight_peak"]
    assert record.first.seconds == first["seconds"]
    assert (record.stampede.due, record.stampede.sent, record.stampede.right) == (120, 120, 118)
    assert (record.stampede.wrong, record.stampede.missing) == (1, 1)
    assert record.stampede.faults == {"garbled": 1}
    assert record.stampede.seconds == sum(r["seconds"] for r in stampedes)


def test_nothing_else_is_changed() -> None:
    old, new = data(), RunRecord.read(LAST).to_json()
    hold = old["stages"][2]
    assert new["requests"]["seconds"] == hold["end_s"] - hold["start_s"]
    assert new["requests"].items() >= old["requests"].items()
    old["connections"]["failed_otherwise"] = old["connections"].pop("failed")
    for count in ("handshake_failed", "connected", "secured", "tls_failed", "renewed"):
        assert new["connections"].pop(count) == 0  # there were none, or nobody had counted
    assert new["series"].pop("secured") == []
    assert new["metadata"].pop("redis_nodes") == 0
    assert [new["samples"][end].pop("waited_s") for end in ("server", "client")] == [[], []]
    said = old["limit"]["sentences"]
    assert new["limit"]["sentences"] == [one for one in said if not one.startswith("CPU while")]
    same = old.keys() - {"schema", "rounds", "requests", "stages", "asked", "limit"}
    assert {name: new[name] for name in same} == {name: old[name] for name in same}


def test_explanations_name_the_errno_of_their_failure() -> None:
    whats = ("1,200 x ETIMEDOUT while connecting", "4 x EOF while open", "stopped at 28,232")
    old = data() | {"explanations": [{"count": 1, "what": what, "cause": ""} for what in whats]}
    found = [one.errno for one in RunRecord.from_json(old).explanations]
    assert found == ["ETIMEDOUT", "EOF", ""]


def test_what_was_asked_has_its_times_in_nanoseconds() -> None:
    old = data()
    old["asked"] |= {"hold_s": 0.25, "think_s": None, "timeout_s": None}
    asked = RunRecord.from_json(old).asked
    assert (asked.hold_ns, asked.think_ns) == (250_000_000, None)
    same = old["asked"].keys() - {"hold_s", "think_s", "timeout_s"}
    assert {name: getattr(asked, name) for name in same} == {n: old["asked"][n] for n in same}
    assert (asked.scenario, asked.targets) == (old["scenario"], [old["target"]])


def test_options_that_only_the_command_has_are_read_from_it() -> None:
    command = "c1m load 127.0.0.1:1 --source 127.0.0.9 --connect-window=5 --publishers 2k"
    asked = RunRecord.from_json(data() | {"command": command.split()}).asked
    assert (asked.sources, asked.connect_window, asked.publishers) == (["127.0.0.9"], 5, 2_000)
    storm = RunRecord.from_json(data() | {"command": ["--scenario", "reconnect-storm"]})
    assert (storm.scenario, storm.asked.scenario) == ("reconnect-storm",) * 2
    assert RunRecord.from_json(data() | {"command": ["--publishers", "x"]}).asked.publishers is None


def test_what_early_records_did_not_say_is_empty() -> None:
    asked = RunRecord.from_json(data() | {"asked": {}}).asked
    assert (asked.timeout_ns, asked.arrivals, asked.spread) == (0, "", "")


def test_a_record_of_schema_1_obeys_the_laws_and_is_shown(tmp_path: Path) -> None:
    record = RunRecord.read(LAST)
    assert broken_laws(record) == []
    assert text.summary(record).count("stampede reply right         59") == 2
    assert "garbled" in render(record, "")
    rate = catalogue.measure(record, catalogue.find("rate")).value
    assert rate is not None and round(rate, 2) == 146.88
    record.write(tmp_path / "again.json")
    assert RunRecord.read(tmp_path / "again.json") == record


def test_what_is_upgraded_is_not_changed() -> None:
    old = data()
    assert record_1.upgraded(old)["schema"] == "c1m-run/2"
    assert old == data()


@pytest.mark.parametrize("path", EARLY, ids=lambda path: path.name)
def test_early_records_have_stages_and_ready_connections(path: Path) -> None:
    record = RunRecord.read(path)
    assert broken_laws(record) == []
    assert [s.name for s in record.stages][:2] == ["ramp", "hold"]
    assert record.connections.ready == record.first.right == 1_000_000
    assert re.search("ready: first reply right +1,000,000 +100 %", text.summary(record))


def test_wrong_replies_of_early_records_are_faults() -> None:
    failures = [
        {"connection": 17, "expected": "b'no 17'", "received": "b'no 18'"},
        {"connection": 18, "expected": "b'no 18'", "received": ""},
    ]
    one = {"name": "first", "sent": 3, "right": 1, "wrong": 1, "missing": 1}
    record = RunRecord.from_json(
        {"schema": "c1m-run/1", "rounds": [one | {"first_failures": failures}]}
    )
    assert record.faults == [
        FaultSeen("garbled", 0.0, 17, 0, "b'no 17'", "b'no 18'"),
        FaultSeen("missing", 0.0, 18, 0, "b'no 18'", ""),
    ]
    assert record.first.faults == {"garbled": 1}
    assert broken_laws(record) == []


def test_replies_beyond_those_due_stay_with_their_stage() -> None:
    old = data()
    old["stages"][1]["requests"]["faults"] = {"doubled": 2}
    old["requests"]["faults"]["doubled"] = 2
    record = RunRecord.from_json(old)
    assert record.stampede.faults == {"garbled": 1, "doubled": 2}
    assert "doubled" not in record.requests.faults
    assert broken_laws(record) == []


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"rounds": [{"name": 3}]}, "rounds[0].name is '3', not a text"),
        ({"rounds": {}}, "rounds is '{}', not a list"),
        ({"stages": [{"requests": {"due": -1}}]}, "stages[0].name is missing"),
        ({"requests": {"due": -1}}, "requests.due is '-1', not a count"),
        ({"connections": 5}, "connections is '5', not an object"),
        ({"asked": {"hold_s": 10**400}}, "asked.hold_s is not in range"),
        ({"asked": {"think_s": -1e300}}, "asked.think_s is not in range"),
    ],
)
def test_damage_is_reported(part: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        RunRecord.from_json({"schema": record_1.SCHEMA, **part})
    assert says in caught.value.message
