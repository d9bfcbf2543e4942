"""What a server says of itself: records of Python's logging, by the logger "c1m.server".

A record has the event's name and its fields as attributes: `record.event` is "limit-reached",
`record.reason` why, `record.connection` a slot, `record.peer` "10.0.0.7:50123". Of one event at
most MOST are said in a second. What is more is counted, and said in one record 10 s later: nothing
is lost silently, and a flood of events is no flood of lines.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from c1m.clock import Clock
from c1m.units import NS_PER_S, format_count

LOGGER = logging.getLogger("c1m.server")
MOST = 5  # records of one event in a second
SUMMARY_NS = 10 * NS_PER_S  # after the first that was not said


@dataclass(slots=True)
class _Kind:
    """What was said of one event: since when `said` counts, and what was not said."""

    since_ns: int = 0
    said: int = 0
    more: int = 0
    level: int = logging.INFO


class ServerLog:
    """`say` may be called from any thread; `later(when_ns, call)` calls in the server's."""

    def __init__(self, clock: Clock, later: Callable[[int, Callable[[], object]], object]) -> None:
        self._clock = clock
        self._later = later
        self._kinds: dict[str, _Kind] = {}

    def say(self, event: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
        """One record, unless there were too many of this event in this second.

        `fields` are known by the names `connection`, `connections`, `peer`, `reason`, `count`; an
        exception is given as `exc_info`.
        """
        if not LOGGER.isEnabledFor(level):
            return
        now_ns = self._clock.now_ns()
        kind = self._kinds.setdefault(event, _Kind())
        kind.level = level
        if now_ns - kind.since_ns >= NS_PER_S:
            kind.since_ns, kind.said = now_ns, 0
        if kind.said < MOST:
            kind.said += 1
            record(event, message, level, **fields)
            return
        kind.more += 1
        if kind.more == 1:
            self._later(now_ns + SUMMARY_NS, lambda: self._tell(event, kind))

    def flush(self) -> None:
        """Say what was only counted."""
        for event, kind in self._kinds.items():
            self._tell(event, kind)

    def _tell(self, event: str, kind: _Kind) -> None:
        count, kind.more = kind.more, 0
        if count:
            said = f"{event}: and {format_count(count)} more like it in the last 10 s"
            record(event, said, kind.level, count=count)


def record(event: str, message: str, level: int = logging.INFO, **fields: Any) -> None:
    """One record, whatever was said before."""
    exception = fields.pop("exc_info", None)
    LOGGER.log(level, "%s", message, exc_info=exception, extra={"event": event, **fields})


def time_of(seconds: float) -> str:
    """Seconds since 1970 as logs have them: 2026-01-31T12:00:00.000Z."""
    moment = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return moment.replace("+00:00", "Z")
