"""What a server says of itself: how often, with what fields, in which form."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import c1m
from c1m.cli import logs
from c1m.cli.logs import HumanForm, JsonForm, Lines, Notes, logging_to
from c1m.server.logs import LOGGER, MOST, SUMMARY_NS, ServerLog, record
from c1m.server.news import _WORDS as WORDS_OF_NEWS
from c1m.server.news import OVER_NS, News, counted
from c1m.server.statistics import CloseReason, ServerStatistics
from c1m.testing.manual_clock import ManualClock
from c1m.tls.reasons import HTTP_TO_TLS
from c1m.units import NS_PER_S


class Kept(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def taken(self) -> list[tuple[str, str, int]]:
        """Event, level, count of each since the last time."""
        records, self.records = self.records, []
        return [(r.event, r.levelname, getattr(r, "count", 0)) for r in records]  # type: ignore[attr-defined]


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, before = Kept(), LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    yield handler
    LOGGER.removeHandler(handler)
    LOGGER.setLevel(before)


class Later:
    """What is to be called, and when."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, Callable[[], object]]] = []

    def __call__(self, when_ns: int, call: Callable[[], object]) -> None:
        self.calls.append((when_ns, call))

    def run(self) -> None:
        calls, self.calls = self.calls, []
        for _, call in calls:
            call()


def test_of_many_alike_some_are_said_and_all_are_counted(kept: Kept) -> None:
    clock, later = ManualClock(), Later()
    log = ServerLog(clock, later)
    for slot in range(1000):
        log.say("slow", "It is slow.", logging.WARNING, connection=slot)
    log.say("other", "Something else.")
    assert kept.taken() == [("slow", "WARNING", 0)] * MOST + [("other", "INFO", 0)]
    assert [when for when, _ in later.calls] == [clock.now_ns() + SUMMARY_NS]
    later.run()
    assert kept.taken() == [("slow", "WARNING", 1000 - MOST)]
    clock.advance(NS_PER_S)
    log.say("slow", "It is slow.", connection=1)
    assert kept.taken() == [("slow", "INFO", 0)] and not later.calls
    for _ in range(MOST + 2):
        log.say("slow", "It is slow.")
    kept.taken()
    log.flush()
    assert kept.taken() == [("slow", "INFO", 3)]


def test_limits_are_said_when_they_begin_to_act_and_when_it_is_over(kept: Kept) -> None:
    clock = ManualClock()
    news = News(ServerLog(clock, Later()), [])
    statistics = ServerStatistics()

    def look() -> list[tuple[str, str, int]]:
        clock.advance(NS_PER_S)
        news.look(statistics, clock.now_ns())
        return kept.taken()

    assert look() == []
    statistics.limited = {"per_source": 7, "idle_timeout": 2}
    assert sorted(look()) == [("limit", "INFO", 2), ("limit", "WARNING", 7)]
    statistics.limited = {"per_source": 1234, "idle_timeout": 2}
    assert look() == []
    clock.advance(OVER_NS - 2 * NS_PER_S)
    assert look() == [("limit-over", "INFO", 2)]
    assert look() == [("limit-over", "WARNING", 1234)]
    statistics.limited["per_source"] += 1
    assert look() == [("limit", "WARNING", 1)]
    statistics.refused, statistics.refusal = {"ring": 3}, "The kernel gives no ring."
    assert look() == [("refused", "ERROR", 3)]


def test_what_is_counted_as_news() -> None:
    statistics = ServerStatistics(
        never_opened={HTTP_TO_TLS: 2}, spoke_tls=3, refused={"file": 4}, limited={"deny": 5}
    )
    statistics.closed[CloseReason.NOT_READ] = 6
    assert counted(statistics) == {
        ("mixed-up", "plain HTTP"): 2, ("mixed-up", "TLS"): 3, ("refused", "file"): 4,
        ("limit", "--deny"): 5, ("not-read", ""): 6,
    }  # fmt: skip


def made(**fields: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "created": 0.25,
            "levelname": "WARNING",
            "levelno": 30,
            "msg": "It is %s.",
            "args": ("so",),
        }
        | {"event": "odd", **fields}
    )


def test_forms() -> None:
    shown = made(connection=17, reason="two words")
    assert HumanForm().format(shown) == (
        '1970-01-01T00:00:00.250Z warning odd: It is so. connection=17 reason="two words"'
    )
    assert HumanForm(is_journal=True).format(shown).startswith("<4>warning odd: It is so. ")
    assert json.loads(JsonForm().format(shown)) == {
        "time": "1970-01-01T00:00:00.250Z", "level": "warning", "event": "odd",
        "message": "It is so.", "connection": 17, "reason": "two words",
    }  # fmt: skip
    foreign = logging.makeLogRecord({"name": "asyncio", "msg": "x", "levelname": "ERROR"})
    assert json.loads(JsonForm().format(foreign))["event"] == "asyncio"
    try:
        raise ValueError("no")
    except ValueError as error:
        failed = made(exc_info=(ValueError, error, error.__traceback__))
    assert "ValueError: no" in json.loads(JsonForm().format(failed))["traceback"]
    assert HumanForm().format(failed).endswith("ValueError: no")


def test_lines_that_standard_error_does_not_take_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    takes = iter([False, False, True, True])
    monkeypatch.setattr(logs, "takes_a_line", lambda stream: next(takes))
    lines = Lines(JsonForm())
    for _ in range(3):
        lines.emit(made())
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["count"], second["event"]) == ("log-stalled", 2, "odd")


def test_who_looks_is_shown_notes(capsys: pytest.CaptureFixture[str]) -> None:
    out, left = io.StringIO(), []
    notes = Notes(out, lambda: left.append(True))
    notes.emit(made())
    notes.emit(logging.makeLogRecord({"msg": "It is bad.", "levelno": logging.ERROR}))
    assert out.getvalue() == "note: It is so.\n" and len(left) == 2
    assert capsys.readouterr().err == "c1m: It is bad.\n"


@pytest.mark.parametrize("form", [None, "human", "json"])
def test_nothing_is_left_behind(form: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    root, ours = logging.getLogger(), logging.getLogger("c1m")
    before = root.handlers[:], root.level, ours.handlers[:], ours.level, ours.propagate
    with logging_to(form, None, io.StringIO(), lambda: None):
        record("hello", "Hello.", peer="x")
    assert (root.handlers, root.level, ours.handlers, ours.level, ours.propagate) == before
    assert ("hello" in capsys.readouterr().err) == (form is not None)


def test_every_event_is_in_the_reference() -> None:
    root = Path(c1m.__file__).parent
    call = re.compile(r"(?:log\.say\(|partial\(record,)\s*f?\"([a-z-]+)\"")
    found = {name for path in root.rglob("*.py") for name in call.findall(path.read_text())}
    found |= set(WORDS_OF_NEWS) | {f"{kind}-over" for kind in WORDS_OF_NEWS}
    said = (root.parents[1] / "docs" / "reference" / "logs.md").read_text()
    assert len(found) > 15
    assert {name for name in found if f"`{name}`" not in said} == {"mixed-up-over"}


def test_what_an_exception_says_is_no_line_of_ours() -> None:
    try:
        raise ValueError("no\n2026-01-01T00:00:00.000Z info listening: forged")
    except ValueError as error:
        made = logging.LogRecord("c1m", logging.ERROR, "", 1, "failed", None, None)
        made.exc_info = (type(error), error, error.__traceback__)
    first, *others = HumanForm().format(made).splitlines()
    assert "failed" in first
    assert all(line.startswith(("Traceback", "  ")) for line in others)
