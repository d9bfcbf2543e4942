"""The files that a command was asked to write: checked before the run, written before its summary.

If one of the files is `-`, standard output gets that and nothing else, and the text for people goes
to standard error.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from c1m import files
from c1m.errors import C1mError, UsageError

if TYPE_CHECKING:
    from c1m.results.record import RunRecord

_COLUMNS_MIN = 80  # of the summary: in a narrower terminal its lines are broken by the terminal


def summary(record: RunRecord) -> str:
    """The summary, in a terminal no wider than it."""
    from c1m.report import text

    columns = shutil.get_terminal_size((text.COLUMNS_MAX, 0)).columns
    return text.summary(record, max(_COLUMNS_MIN, min(columns, text.COLUMNS_MAX)))


class Outputs:
    """Writes to `paths`: an option's name without dashes -> the file it was given, if any.

    `stream` is the one for people, `written` the files (path -> what it is). A file that cannot be
    written stops neither the others nor the summary: `end` reports it. Raises UsageError, before
    the run, for what cannot be written.
    """

    def __init__(self, paths: Mapping[str, str | None]) -> None:
        self._paths = {name: path for name, path in paths.items() if path is not None}
        self.written: dict[str, str] = {}
        self._failures: list[C1mError] = []
        for path in self._paths.values():
            files.check_writable(path)
        if self._paths.keys() & {"report", "html"}:
            from c1m.report import html

            html.check_available()
        standard = [f"--{name} -" for name, path in self._paths.items() if path == files.STANDARD]
        if len(standard) > 1:
            raise UsageError(
                f"Standard output cannot have all of {', '.join(standard)}.",
                "Name files for all but one.",
            )
        self.stream = sys.stderr if standard else sys.stdout

    def write_text(self, text: str) -> None:
        """Write a text to all of the files."""
        for path in self._paths.values():
            self._write(path, "figures", lambda path: {path: text})

    def write_record(self, record: RunRecord) -> None:
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
        for name, path in self._paths.items():
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
