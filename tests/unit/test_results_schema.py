"""The published schema of records: the generated one, and true of records, real and made up."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from c1m.cli.report import report
from c1m.errors import UsageError
from c1m.results import record_1, thresholds
from c1m.results.record import (
    Explanation,
    Failure,
    FanOut,
    FaultSeen,
    Ramp,
    RunRecord,
    Threshold,
)
from c1m.results.schema import field_comments, schema, schema_text
from measured_records import run
from report_records import complete_record, short_record

ROOT = Path(__file__).parent.parent.parent
REAL = sorted((ROOT / "bench" / "results").glob("*-million-[0-9].json"))


def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    made = schema()
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


def full() -> RunRecord:
    """A record in which every part is there."""
    return dataclasses.replace(
        run(1, seconds=6),
        thresholds=[Threshold("p99 < 1s", "request.p99", 5e6, "5 ms", True), Threshold("x < 1")],
        faults=[FaultSeen("crossed", 1.5, 7, 0, "b'a'", "b'b'")],
        explanations=[Explanation(3, "3 x ECONNREFUSED", "nothing listens")],
        fan_out=FanOut(1, 2, 2),
        notes=["INCR totals add up"],
    )


def test_c1m_report_prints_it() -> None:
    done = CliRunner().invoke(report, ["--schema"])
    assert (done.exit_code, done.output) == (0, schema_text())


@pytest.mark.parametrize(
    "record",
    [complete_record(2_000), short_record(), RunRecord(), run(1, seconds=6), full(),
     RunRecord(ramp=Ramp(seconds=float("nan")))],
    ids=["whole", "short", "new", "requests", "full", "nan"],
)  # fmt: skip
def test_records_are_valid(record: RunRecord) -> None:
    validator().validate(json.loads(json.dumps(record.to_json())))


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name)
def test_real_records_of_this_and_of_earlier_builds_are_valid(path: Path) -> None:
    data = json.loads(path.read_text())
    validator().validate(record_1.upgraded(data) if data["schema"] == record_1.SCHEMA else data)


def test_there_are_real_records() -> None:
    assert REAL


def test_a_field_of_a_later_c1m_is_valid() -> None:
    data = run(1, seconds=6).to_json()
    data["of_tomorrow"] = data["requests"]["also"] = 1
    validator().validate(data)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), "c1m-run/3"),
        (("started",), 5),
        (("connections", "opened"), "many"),
        (("connections", "opened"), 1.5),
        (("connections", "opened"), None),
        (("series", "right"), [1, "2"]),
        (("latencies", "request", "percentiles_ns"), {"p50": "fast"}),
        (("verdict", "complete"), 1),
        (("samples", "server"), 1),
        (("stages",), {}),
    ],
)
def test_what_the_reader_refuses_the_schema_refuses(place: tuple[str, ...], value: object) -> None:
    data = json.loads(json.dumps(run(1, seconds=6).to_json()))
    at = data
    for name in place[:-1]:
        at = at[name]
    at[place[-1]] = value
    assert not validator().is_valid(data)
    with pytest.raises(UsageError):
        RunRecord.from_json(data)


def test_what_must_be_there() -> None:
    check = validator()
    assert not check.is_valid({})
    assert check.is_valid({"schema": "c1m-run/2"})
    assert not check.is_valid({"schema": "c1m-run/2", "failures": [{"phase": "connect"}]})


def test_everything_is_described() -> None:
    made = schema()
    for name, one in {"RunRecord": made, **made["$defs"]}.items():
        assert len(one["description"]) > 20, name
        assert one["properties"], name
    asked = made["$defs"]["LoadOptions"]["properties"]
    assert asked["connect_rate_per_s"] == {
        "type": ["number", "null"],
        "description": "Open this many connections a second, e.g. 50k/s.",
        "default": None,
    }
    assert made["properties"]["fan_out"]["anyOf"][0] == {"$ref": "#/$defs/FanOut"}


def test_comments_behind_fields() -> None:
    comments = field_comments(Failure)
    assert comments["text"] == "the kernel's reason in words"
    assert "count" not in comments


def test_examples_of_thresholds_in_the_reference_are_understood() -> None:
    reference = (ROOT / "docs" / "reference" / "record.md").read_text()
    examples = re.findall(r"--require '([^']+[0-9%os])'", reference)
    assert len(examples) == 9
    for text in examples:
        thresholds.parse(text)
