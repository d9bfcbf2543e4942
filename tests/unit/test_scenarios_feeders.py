"""Rows of files: what each way takes, and what is told of files and columns that are not right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from c1m.errors import ScenarioError, UsageError
from c1m.scenarios.feeders import Feeder, feeder, rewind

USERS = 'name,city\nAnn,"Ulm, old town"\nBob,Bonn\n\nCyd,Kiel\n'


def written(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return written(tmp_path, "users.csv", USERS)


def names(rows: Feeder, count: int) -> str:
    return "".join(rows.next(n)["name"][0] for n in range(count))


def test_rows_go_round(users: Path) -> None:
    rows = feeder(users)
    assert names(rows, 7) == "ABCABCA"
    assert rows.next() == {"name": "Bob", "city": "Bonn"}
    assert [row["city"] for row in rows] == ["Ulm, old town", "Bonn", "Kiel"]
    assert (len(rows), rows[-1]["name"], [row["name"] for row in rows[:2]]) == (
        3, "Cyd", ["Ann", "Bob"],
    )  # fmt: skip


def test_rows_at_random_are_the_seeds(users: Path) -> None:
    rows, others = feeder(users, how="random"), feeder(users, "random")
    drawn = []
    for seed in (7, 8, 7):
        rewind(seed)
        drawn.append(names(rows, 100))
        assert names(others, 100) == drawn[-1]
    assert drawn[0] == drawn[2] != drawn[1]
    assert set(drawn[0]) == set("ABC")


def test_rows_that_are_taken_once_are_used_up(users: Path) -> None:
    rows = feeder(users, how="once")
    for _ in range(2):
        assert names(rows, 3) == "ABC"
        with pytest.raises(ScenarioError, match=r"users.csv is used up: .* 3 rows .*connection 17"):
            rows.next(17)
        rewind(0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps([{"name": "Ann", "age": 7}, {"name": "Bob"}])),
        ("a.jsonl", '{"name": "Ann", "age": 7}\n\n{"name": "Bob"}\n'),
        ("A.JSON", "\ufeff" + json.dumps([{"name": "Ann", "age": 7}, {"name": "Bob"}])),
    ],
)
def test_rows_of_json_have_values_as_they_are(tmp_path: Path, name: str, text: str) -> None:
    rows = feeder(written(tmp_path, name, text))
    first = rows.next()
    assert first == {"name": "Ann", "age": 7}
    first["name"] = "changed"
    assert rows[0]["name"] == "Ann"
    with pytest.raises(ScenarioError, match="has no column 'age'"):
        rows.next()["age"]


def test_a_missing_column_is_told_with_the_nearest(users: Path) -> None:
    row = feeder(users).next()
    with pytest.raises(ScenarioError, match=r"users.csv has no column 'nmae'; did you mean 'name'"):
        row["nmae"]
    assert row.get("nmae") is None and "nmae" not in row
    with pytest.raises(ScenarioError, match=r"has no column 'street'\. It has: name, city"):
        feeder(users, columns=["name", "street"])
    feeder(users, columns=["name", "city"])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "name\n", "has no rows"),
        ("a.csv", "name,city\nAnn\n", "line 2, has 1 values for 2 columns"),
        ("a.csv", "name,name\nAnn,Bob\n", "columns without a name of their own"),
        ("a.csv", "name,\nAnn,Bob\n", "columns without a name of their own"),
        ("a.csv", 'name\n"Ann\n', "line 2: unexpected end of data"),
        ("a.json", "{}", "no list of objects"),
        ("a.json", "[1]", "no list of objects"),
        ("a.json", "[", "is no JSON"),
        ("a.jsonl", '{"a": 1}\n[2]\n', "line 2, is no object"),
        ("a.jsonl", '{"a": 1}\n{\n', "line 2: "),
        ("a.txt", "name\nAnn\n", "no file of rows"),
    ],
)
def test_a_file_that_is_not_right(tmp_path: Path, name: str, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        feeder(written(tmp_path, name, text))


def test_a_file_that_is_not_there_and_a_way_that_is_none(tmp_path: Path, users: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv"):
        feeder(tmp_path / "nowhere.csv")
    with pytest.raises(UsageError, match="how='twice'"):
        feeder(users, how="twice")


def test_a_file_is_looked_for_beside_who_asks() -> None:
    assert feeder("rows_beside.json")[0] == {"beside": True}


def test_what_is_not_held_any_more_does_not_begin_again(users: Path) -> None:
    rows = feeder(users)
    assert names(rows, 2) == "AB"
    del rows
    rewind(1)
