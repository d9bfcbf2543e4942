"""Errors: sentences that say what was asked, what is there, and what to do.

Not here: what a peer does wrong. A reset or a refused connect is data (a close reason, an
errno), never an exception.
"""

from __future__ import annotations


class C1mError(Exception):
    """Base of all errors that c1m raises on purpose.

    `message` says what was asked and what is there; `remedy` what to do (may be empty).
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class UsageError(C1mError):
    """The caller asked for something that cannot be done as asked (exit status 2)."""


class LimitError(UsageError):
    """More was asked than a limit of this machine allows. `free`: so much of it can be had."""

    def __init__(self, message: str, remedy: str = "", free: int = 0) -> None:
        super().__init__(message, remedy)
        self.free = free


class ScenarioError(UsageError):
    """A user's scenario cannot go on: it raised, or said what no scenario can; with file:line.

    In the middle of a run it ends the run in good order.
    """


class EngineUnavailable(C1mError):
    """An engine cannot run on this kernel or in this container; the message says why."""


class InternalError(C1mError):
    """A broken invariant of c1m itself: our bug, please report it."""
