"""Log records of `c1m serve` as lines: for people, or as JSON; see server/logs.py for what is said.

Without --log a server is started by somebody who looks: what is said is shown between its progress,
and nothing below a warning. With --log it is a service: every line is a record, on standard error.

Facts. systemd sets JOURNAL_STREAM to the device and inode of standard error where that goes to the
journal, which takes "<4>" at the beginning of a line as its priority, and has a time of its own.
A line that standard error does not take at once (a stalled pipe) would stop the server: it is
counted, and the number is in the next one that is taken.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

from c1m.cli.streams import on_one_line, say, takes_a_line
from c1m.server.logs import time_of

FORMS = ("human", "json")
LEVELS = ("debug", "info", "warning", "error")
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "event"}


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What was given as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


class HumanForm(logging.Formatter):
    """TIME level event: message field=value."""

    def __init__(self, is_journal: bool = False) -> None:
        super().__init__()
        self._is_journal = is_journal

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        start = f"{time_of(record.created)} {level}"
        if self._is_journal:
            start = f"<{_PRIORITIES.get(level, 5)}>{level}"
        parts = [start, on_one_line(f"{_event(record)}: {record.getMessage()}")]
        parts += [f"{name}={_shown(value)}" for name, value in fields_of(record).items()]
        if record.exc_info:
            # Indented: what an exception says may look like a line of ours.
            parts.append("\n  " + self.formatException(record.exc_info).replace("\n", "\n  "))
        return " ".join(parts)


class JsonForm(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        made = {
            "time": time_of(record.created),
            "level": record.levelname.lower(),
            "event": _event(record),
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            made["traceback"] = self.formatException(record.exc_info)
        return json.dumps(made, default=str)


def _event(record: logging.LogRecord) -> str:
    return str(getattr(record, "event", record.name))


def _shown(value: Any) -> str:
    text = str(value)
    is_plain = text.isprintable() and not any(c in text for c in ' "=')
    return text if text and is_plain else json.dumps(text)


class Lines(logging.Handler):
    """Writes records to standard error, never waiting for it."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(form)
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        if not takes_a_line(sys.stderr):
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            said = f"{lost:,} lines were lost: standard error did not take them."
            self.emit(
                logging.makeLogRecord(
                    {"msg": said, "levelname": "WARNING", "event": "log-stalled", "count": lost}
                    | {"created": record.created}
                )
            )
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


class Notes(logging.Handler):
    """Shows them to somebody who looks: "note: ...", errors on standard error."""

    def __init__(self, stream: TextIO, before: Callable[[], object]) -> None:
        super().__init__()
        self._stream = stream
        self._before = before  # the line that stays in place is left

    def emit(self, record: logging.LogRecord) -> None:
        self._before()
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        if record.levelno >= logging.ERROR:
            say(f"c1m: {text}", sys.stderr)
        else:
            say(f"note: {text}", self._stream)


def is_journal() -> bool:
    """Whether standard error goes to systemd's journal."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


@contextlib.contextmanager
def logging_to(
    form: str | None, level: str | None, stream: TextIO, before: Callable[[], object]
) -> Iterator[None]:
    """Show what is logged in this form while it lasts; None: to somebody who looks."""
    handler: logging.Handler
    if form is None:
        logger, handler = logging.getLogger("c1m"), Notes(stream, before)
    else:  # also what others say: asyncio's of protocols that fail, a program's own
        logger = logging.getLogger()
        handler = Lines(JsonForm() if form == "json" else HumanForm(is_journal()))
    was, propagated = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel((level or ("warning" if form is None else "info")).upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(was)
        logger.propagate = propagated
