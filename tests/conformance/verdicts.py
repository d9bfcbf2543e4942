"""Judges results on c1m's loop beside those on asyncio's own: what the table counts."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from .protocol import Result

Verdict = Literal[
    "passed",
    "failed",
    "unsteady",
    "asyncio's fails too",
    "skipped",
    "excluded",
    "no loop",
]
EXCLUSIONS = Path(__file__).with_name("exclusions.toml")


@dataclass(frozen=True)
class Exclusion:
    """Tests that look at what c1m's loop does not have inside."""

    suite: str
    tests: tuple[str, ...]
    reason: str
    engines: tuple[str, ...] = ("uring", "epoll", "auto")

    def holds(self, suite: str, engine: str, test: str) -> bool:
        """Whether it is about this test on this engine."""
        is_here = suite == self.suite and engine in self.engines
        return is_here and any(fnmatchcase(test, name) for name in self.tests)


def exclusions(path: Path = EXCLUSIONS) -> list[Exclusion]:
    """The list, as the file has it."""
    read = tomllib.loads(path.read_text(encoding="utf-8"))
    entries: Iterable[Mapping[str, Any]] = read.get("exclusion", ())
    return [Exclusion(**{**each, "tests": tuple(each["tests"])}) for each in entries]


@dataclass(frozen=True)
class Judged:
    """One test's verdict, and what there is to say about it."""

    test: str
    verdict: Verdict
    text: str = ""


def judge(
    ours: Result, again: Result | None, theirs: Result | None, exclusion: Exclusion | None
) -> Judged:
    """A test's verdict.

    A test that did not pass was run `again`, and on asyncio's own loop (`theirs`).
    """
    if exclusion is not None:
        if ours.outcome == "passed" and ours.loops:
            return Judged(ours.test, "failed", "It is excluded, and passes: take it off the list.")
        return Judged(ours.test, "excluded", exclusion.reason)
    if ours.outcome == "passed":
        return Judged(ours.test, "passed" if ours.loops else "no loop")
    assert theirs is not None
    if ours.outcome == "skipped":
        if theirs.outcome == "passed":
            return Judged(ours.test, "failed", f"Skipped on this loop only: {ours.text}")
        return Judged(ours.test, "skipped", ours.text)
    if theirs.outcome == "failed":
        return Judged(ours.test, "asyncio's fails too", ours.text)
    if again is not None and again.outcome == "passed":
        return Judged(ours.test, "unsteady", ours.text)
    return Judged(ours.test, "failed", ours.text)
