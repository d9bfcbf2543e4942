"""The files that a command was asked to write: checked before the run, written before its summary.

If one of the files is `-`, standard output gets that and nothing else, and the text for people goes
to standard error.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from c1m import files
from c1m.errors import C1mError, UsageError

if TYPE_CHECKING:
    from c1m.results.record import RunRecord

_COLUMNS_MIN = 80  # of the summary: in a narrower terminal its lines are broken by the terminal

Paths = Mapping[str, str | None]  # an option's name without dashes -> the file it was given


def check_outputs(paths: Paths) -> TextIO:
    """The stream for people. Raises UsageError for what cannot be written, before the run."""
    given = {name: path for name, path in paths.items() if path is not None}
    for path in given.values():
        files.check_writable(path)
    if given.keys() & {"report", "html"}:
        from c1m.report import html

        html.check_available()
    standard = [f"--{name} -" for name, path in given.items() if path == files.STANDARD]
    if len(standard) > 1:
        raise UsageError(
            f"Standard output cannot have all of {', '.join(standard)}.",
            "Name files for all but one.",
        )
    return sys.stderr if standard else sys.stdout


def summary(record: RunRecord) -> str:
    """The summary, in a terminal no wider than it."""
    from c1m.report import text

    columns = shutil.get_terminal_size((text.COLUMNS_MAX, 0)).columns
    return text.summary(record, max(_COLUMNS_MIN, min(columns, text.COLUMNS_MAX)))


class Writing:
    """Writes files after a run. One that cannot be written stops neither the others nor the
    summary: `end` reports it."""

    def __init__(self) -> None:
        self.written: dict[str, str] = {}  # file -> what it is
        self._failures: list[C1mError] = []

    def text(self, path: str | None, text: str) -> None:
        """Write a text, if a file was asked for."""
        if path is not None:
            self._write(path, "figures", lambda path: {path: text})

    def record(self, record: RunRecord, paths: Paths) -> None:
        """Write a record in the forms that were asked for."""
        from c1m.report import exports, html

        def page(path: str) -> dict[str, str]:
            return {path: html.render(record, html.plotly_javascript())}

        forms: dict[str, tuple[str, Callable[[str], dict[str, str]]]] = {
            "json": ("record", lambda path: {path: record.text()}),
            "report": ("report", page),
            "html": ("report", page),
            "hgrm": ("spectrum", lambda path: exports.hgrm_files(record, path)),
            "csv": ("series", lambda path: {path: exports.csv(record)}),
        }
        for name, path in paths.items():
            if path is not None:
                self._write(path, *forms[name])

    def _write(self, path: str, what: str, texts: Callable[[str], dict[str, str]]) -> None:
        try:
            for name, text in texts(path).items():
                files.write_text(name, text)
                if name != files.STANDARD:
                    self.written[name] = what
        except C1mError as error:
            self._failures.append(error)

    def end(self) -> None:
        """Raise C1mError if a file could not be written."""
        if self._failures:
            messages = " ".join(failure.message for failure in self._failures)
            raise C1mError(messages, self._failures[-1].remedy)
