"""What a scenario cannot tell of wrong replies is said where they are named, and only there."""

from __future__ import annotations

import re

import pytest

from c1m.report import html
from c1m.report.text import summary
from c1m.scenarios.base import Scenario
from c1m.scenarios.conversation import Talking
from generator_runs import Engine, Run
from made_scenarios import make_scenario

NO_ENDS, NO_SEQS = "Where a wrong reply ends is unknown", "Replies do not say which request"


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        ("echo", None, []),
        ("echo", "no {n} {seq};", []),
        ("echo", "client {n}", [NO_ENDS, NO_SEQS]),
        ("echo", "{seq} of {n}", [NO_ENDS]),
        ("lines", "client {n}", [NO_SEQS]),
        ("lines", None, []),
        ("length-prefixed", "{seq} of {n}", []),
        ("ping", None, [NO_ENDS, NO_SEQS]),
        ("resp", None, []),
        ("publish", None, []),
        ("slow-reader", None, []),
        ("half-open", None, []),
        ("hold", None, []),
    ],
)
def test_what_the_built_in_ones_cannot_tell(
    name: str, message: str | None, expected: list[str]
) -> None:
    made = make_scenario(name, message=message, expect=None, connections=20, seed=0)
    doubts = made.doubts()
    assert [doubt.startswith(begin) for doubt, begin in zip(doubts, expected, strict=True)] == [
        True
    ] * len(expected)


def test_what_ones_own_cannot_tell() -> None:
    class Framed(Scenario):
        def frame(self, number: int, seq: int, stream: bytes) -> int:
            return 0

    assert Framed().doubts() == []
    assert Scenario().doubts()[0].startswith(NO_ENDS)
    assert "begins anew" in Talking(lambda n: iter(())).doubts()[0]  # type: ignore[arg-type,return-value]


def swapped(message: str) -> Run:
    """A server that gives connections 1 and 10, 2 and 11, ... each other's replies in the hold."""
    run = Run(["ramp 20", "hold for 3s at 100/s"], message=message)

    def script(engine: Engine) -> None:
        for i, (slot, _) in enumerate(engine.sends):  # a slot is a connection here
            if run.phase == "hold" and 1 <= slot < 19:
                other = slot + 9 if slot < 10 else slot - 9
                engine.sends[i] = (slot, message.format(n=other).encode())

    run.engine.script = script
    return run


@pytest.mark.parametrize("message", ["client {n}", "client {n};"])
def test_the_rows_say_so_where_it_is_so(message: str) -> None:
    record = swapped(message).record()
    r = record.requests
    assert r.wrong + r.missing > 10
    said = summary(record)
    if message.endswith(";"):
        assert record.doubts and not record.doubts[0].startswith(NO_ENDS)
        return
    assert record.doubts[0].startswith(NO_ENDS)
    whole = " ".join(said.split())
    rows = re.findall(r"(?:wrong: \w+|missing) [\d,]+ [\d.]+ % ([^)]*\))", whole)
    assert len(rows) > 1 and all(row.endswith("(or another: see faults)") for row in rows)
    assert "first faults\n  Where a wrong reply ends is unknown" in said
    assert NO_ENDS in html.render(record, "")


def test_nothing_is_doubted_where_nothing_is_wrong() -> None:
    record = Run(["ramp 20", "hold for 1s at 100/s"], message="client {n}").record()
    assert record.doubts == [] and "see faults" not in summary(record)
