"""Records that were changed by hand or cut: each is shown and compared, or refused."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from c1m.errors import UsageError
from c1m.report import exports, html, text
from c1m.report.compare import compare
from c1m.report.compare_text import comparison_text
from c1m.results.record import RunRecord
from measured_records import run
from report_records import complete_record, short_record

RECORDS = [complete_record(2_000), short_record(), run(1, seconds=6)]
BASES = [json.loads(record.text()) for record in RECORDS]
ODD = [
    "null", "true", "0", "-0.0", "1", "-1", "-5", "1e15", "0.5", "1e-308", "1e308", "-1e308",
    "1e999", "NaN", "Infinity", "9223372036854775807", "9223372036854775808",
    "-9223372036854775807", "4611686018427387904", "1" * 400, "1" * 5000, '""', '"x"',
    '"<script>"', "[]", "{}", "[null]",
    "[1]", '["x"]', "[[]]", '{"a": 1}', '{"p50": -1}', "[" * 2000 + "]" * 2000,
]  # fmt: skip
MARK = "put something odd here"


def places(data: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Everything in a record that can be replaced, of long lists the first items."""
    yield place
    items: Iterable[tuple[Any, Any]] = data.items() if isinstance(data, dict) else []
    items = enumerate(data[:3]) if isinstance(data, list) else items
    for key, value in items:
        yield from places(value, (*place, key))


PLACES = [list(places(base)) for base in BASES]


def odd_text(base: Any, place: tuple[Any, ...], odd: str) -> str:
    """A record's JSON with something odd in one place."""
    if not place:
        return odd
    data = json.loads(json.dumps(base))
    at = data
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = MARK
    return json.dumps(data).replace(json.dumps(MARK), odd)


@settings(max_examples=150)
@given(st.data())
def test_an_odd_record(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    which = data.draw(st.integers(0, len(BASES) - 1))
    place = data.draw(st.sampled_from(PLACES[which]))
    path = tmp_path_factory.getbasetemp() / "odd.json"
    path.write_text(odd_text(BASES[which], place, data.draw(st.sampled_from(ODD))))
    show(path, RECORDS[which])


@given(st.integers(0, len(BASES) - 1), st.floats(0, 1))
def test_a_record_that_was_cut(
    tmp_path_factory: pytest.TempPathFactory, which: int, share: float
) -> None:
    whole = json.dumps(BASES[which])
    path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(whole[: int(share * (len(whole) - 1))])
    with pytest.raises(UsageError, match="is not JSON"):
        RunRecord.read(path)


def show(path: Path, other: RunRecord) -> None:
    """All that `c1m report` and `c1m compare` do. A refusal says what to do."""
    shown: list[Callable[[RunRecord], object]] = [
        text.summary,
        lambda record: html.render(record, ""),
        exports.csv,
        lambda record: exports.hgrm_files(record, "run.hgrm"),
        lambda record: comparison_text(compare([record], [other])),
        lambda record: comparison_text(compare([other, other], [record, record])),
    ]
    try:
        record = RunRecord.read(path)
    except UsageError as error:
        assert error.remedy
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for show_it in shown:
            try:
                assert show_it(record)
            except UsageError as error:  # a histogram of another layout, say
                assert error.remedy
