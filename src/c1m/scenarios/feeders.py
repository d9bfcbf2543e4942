"""Data from files for users' scenarios: a row for each talk, from CSV, JSON or lines of JSON.

    USERS = c1m.feeder("users.csv", how="random")
    user = USERS.next(n)
    user["name"]

All rows are read when the feeder is made. When a run begins, every feeder begins anew, with the
run's seed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import sys
import weakref
from collections.abc import Container, Iterator, Sequence
from typing import Any

from c1m import files
from c1m.errors import ScenarioError, UsageError
from c1m.results.share import ALL, Stretch
from c1m.scenarios.mistakes import nearest

BYTES_MAX = 1 << 27  # of a file: it is held in memory
WAYS = ("round robin", "random", "once")

_feeders: weakref.WeakSet[Feeder] = weakref.WeakSet()
_root = ""  # where files that came along stand, with the whole paths that they had


class Row(dict[str, Any]):
    """Values by column. A column that is not there is a mistake of the scenario, no wrong reply."""

    __slots__ = ("_path",)

    def __init__(self, values: Any, path: str) -> None:
        super().__init__(values)
        self._path = path

    def __missing__(self, column: str) -> Any:
        raise ScenarioError(
            f"{self._path} has no column {column!r}{nearest(str(column), self)}.",
            f"It has: {', '.join(self)}.",
        )


class Feeder(Sequence[Row]):
    """Rows of a file. `next` takes one; all of them are there as of a sequence, too."""

    def __init__(
        self, path: str, rows: Sequence[Any], columns: Sequence[str], how: str, place: str = "",
        asker: str = "",
    ) -> None:  # fmt: skip
        self.path = path
        self.place, self.asker = place, asker  # where it was found, and by which file
        self._rows, self._columns, self._how = rows, columns, how
        self.begin(0)
        _feeders.add(self)

    def begin(self, seed: int, stretch: Stretch = ALL) -> None:
        """None is taken yet. Of several load clients each takes rows of its own: in round robin
        every so many-th, once as many as it has of the connections, at random by its own seed."""
        self._taken, share = 0, stretch.share
        self._random = random.Random(share.seed(seed))
        self._first, self._step, self._end = share.index, share.of, len(self._rows)
        if self._how == "once" and not share.is_whole:
            first, behind = (
                number * len(self._rows) // stretch.total
                for number in (stretch.first, stretch.first + stretch.count)
            )
            self._first, self._step, self._end = first, 1, behind

    def next(self, n: int | None = None) -> Row:
        """A row for connection `n`: the next one, or of all at random.

        Raises ScenarioError, which ends the run, where each was to be taken once and all are.
        """
        count, at = len(self._rows), self._first + self._taken * self._step
        if self._how == "random":
            return self._row(self._random.randrange(count))
        if at >= self._end and self._how == "once":
            who = "another was asked for" if n is None else f"connection {n} asked for another"
            raise ScenarioError(
                f"{self.path} is used up: each of its {self._taken:,} rows was taken once, and "
                f"{who}.",
                "Give it more rows, or another how=.",
            )
        self._taken += 1
        return self._row(at % count)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self._row(each) for each in range(*at.indices(len(self)))]
        return self._row(at)

    def _row(self, at: int) -> Row:
        row = self._rows[at]
        return Row(zip(self._columns, row, strict=True) if self._columns else row, self.path)


def feeder(
    path: str | os.PathLike[str], how: str = "round robin", columns: Sequence[str] = ()
) -> Feeder:
    """The rows of a file: .csv (its first line names the columns), .json (a list of objects) or
    .jsonl (an object a line). It is looked for beside the file that asks for it, then here.

    `how`: rows are taken in "round robin", at "random" by the run's seed, or each "once". Of the
    `columns` each must be there. Raises UsageError for what cannot be read.
    """
    if how not in WAYS:
        raise UsageError(f"how={how!r} is no way to take rows.", f"Use {' or '.join(WAYS)}.")
    path, asker = os.fspath(path), sys._getframe(1).f_globals.get("__file__", "")
    beside = os.path.join(os.path.dirname(asker), path)
    if _root and os.path.isabs(path):
        beside = _root + path
    place = beside if os.path.exists(beside) else path
    text = files.read_text(place, BYTES_MAX)
    kind = os.path.splitext(path)[1].lower()
    if kind not in _READERS:
        raise UsageError(f"{path} is no file of rows.", f"Give one as {', '.join(_READERS)}.")
    rows, named = _READERS[kind](path, text.removeprefix("\ufeff"))
    if not rows:
        raise UsageError(f"{path} has no rows.", "Give it at least one.")
    made = Feeder(path, rows, named, how, place, os.path.abspath(asker))
    for column in columns:
        made[0][column]
    return made


def files_of(askers: Container[str]) -> list[str]:
    """The files of feeders that these files (whole paths) have asked for."""
    return sorted({os.path.abspath(one.place) for one in _feeders if one.asker in askers})


def found_under(root: str) -> None:
    """From now on a feeder's file is looked for in there, too, where its whole path is given."""
    global _root
    _root = root


def rewind(seed: int, stretch: Stretch = ALL) -> None:
    """A run begins: every feeder does, too."""
    for each in list(_feeders):
        each.begin(seed, stretch)


def _from_csv(path: str, text: str) -> tuple[list[Any], Sequence[str]]:
    """Rows as tuples: a million take a tenth of what dicts would."""
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [name.strip() for name in next(lines, [])]
        rows = []
        for values in lines:
            if values and len(values) != len(columns):
                raise UsageError(
                    f"{path}, line {lines.line_num}, has {len(values)} values for {len(columns)} "
                    "columns.",
                    "Quote values with commas in them.",
                )
            if values:
                rows.append(tuple(values))
    except csv.Error as error:
        raise UsageError(f"{path}, line {lines.line_num}: {error}.", "It is no CSV.") from None
    if len(set(columns)) < len(columns) or not all(columns):
        raise UsageError(
            f"{path} has columns without a name of their own: {', '.join(columns)}.",
            "Its first line names each once.",
        )
    return rows, columns


def _from_json(path: str, text: str) -> tuple[list[Any], Sequence[str]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no JSON: {error}.", "Give a list of objects.") from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UsageError(f"{path} is no list of objects.", 'Give one as [{"name": "Ann"}].')
    return rows, ()


def _from_lines(path: str, text: str) -> tuple[list[Any], Sequence[str]]:
    def rows() -> Iterator[Any]:
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}, line {number}: {error}.", "It is no JSON.") from None
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number}, is no object.", 'As {"name": "Ann"}.')
                yield row

    return list(rows()), ()


_READERS = {".csv": _from_csv, ".json": _from_json, ".jsonl": _from_lines}
