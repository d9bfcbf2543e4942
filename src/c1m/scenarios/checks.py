"""What a user's scenario checks by a name of its own, and how often it held. Pure.

    self.check("cart total", reply.json()["total"] == 0, reply.text)

`check` counts for the scenario that speaks at the moment: whoever runs it says so with `use`.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from c1m.errors import ScenarioError
from c1m.results.outcomes import Check

NAMES_MAX = 200  # more are a name made of data
NAME_MAX = 80
DETAIL_MAX = 200

_used: ContextVar[Checks | None] = ContextVar("checks", default=None)


class Checks:
    """Counts by name, in the order of their first time."""

    def __init__(self) -> None:
        self._passed: dict[str, int] = {}
        self._failed: dict[str, int] = {}
        self._first: dict[str, str] = {}

    def check(self, name: str, condition: object, detail: object = "") -> bool:
        """Count it; whether the condition holds. `detail`: what was there instead."""
        if name not in self._passed:
            self._begin(name)
        if condition:
            self._passed[name] += 1
            return True
        self._failed[name] = self._failed.get(name, 0) + 1
        if name not in self._first:
            self._first[name] = _shown(detail)
        return False

    def _begin(self, name: str) -> None:
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            raise ScenarioError(f"{name!r} is no name of a check.", "Give a text in one line.")
        if len(name) > NAME_MAX:
            raise ScenarioError(
                f"The check {name[:40]!r}... has a name of {len(name)} letters.",
                f"Give at most {NAME_MAX}; what was there instead is its detail.",
            )
        if len(self._passed) >= NAMES_MAX:
            raise ScenarioError(
                f"{name!r} is one check more than the {NAMES_MAX} that there may be.",
                "Leave out of its name what is different each time; it can be its detail.",
            )
        self._passed[name] = 0

    def found(self) -> list[Check]:
        """All of them."""
        return [
            Check(name, passed, self._failed.get(name, 0), self._first.get(name, ""))
            for name, passed in self._passed.items()
        ]


def use(checks: Checks) -> None:
    """What is checked in this thread counts there from now on."""
    _used.set(checks)


def check(name: str, condition: object, detail: object = "") -> bool:
    """Count a check by its name: whether `condition` holds, and if not (the first time) the detail.

    Returns whether it holds. A check that fails makes the run incomplete, and ends nothing.
    """
    checks = _used.get()
    if checks is None:
        raise ScenarioError(f"{name!r} is checked where no conversation is.", "Check it in a talk.")
    return checks.check(name, condition, detail)


def _shown(detail: Any) -> str:
    text = detail.decode("utf-8", "backslashreplace") if isinstance(detail, bytes) else str(detail)
    text = " ".join(text.split())  # in one line
    return text if len(text) <= DETAIL_MAX else text[:DETAIL_MAX] + "..."
