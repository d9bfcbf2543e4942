"""A case: a peer, its role, what is tried. And what became of it, as lines and as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..obtaining import CannotBeHad
from .stage import Stage

CLIENT, SERVER, SCANNER = "client", "server", "scanner"  # what the peer is
PASSED, FAILED, NOT_HERE, KNOWN = "passed", "failed", "not here", "not for it"


@dataclass(frozen=True)
class Case:
    """`run` raises Failed, or CannotBeHad where the program is not there; it may return a note.

    `why_not`: why it is not tried on connections that are handed off.
    """

    peer: str
    role: str
    what: str
    run: Callable[[Stage], str | None]
    why_not: str = ""

    def tried(self, stage: Stage) -> Result:
        """What became of it."""
        if stage.handoff and self.why_not:
            return Result(self, stage.how, KNOWN, self.why_not)
        try:
            return Result(self, stage.how, PASSED, self.run(stage) or "")
        except CannotBeHad as why:
            return Result(self, stage.how, NOT_HERE, str(why))
        except Exception as why:  # the others are tried all the same
            return Result(self, stage.how, FAILED, f"{type(why).__name__}: {why}")


@dataclass(frozen=True)
class Result:
    """Of one case on one stage."""

    case: Case
    how: str
    outcome: str
    note: str

    def __str__(self) -> str:
        case = self.case
        said = f": {self.note}" if self.note else ""
        return f"{self.outcome}: {case.peer} as {case.role}, {case.what}, {self.how}{said}"


def table(results: Iterable[Result]) -> str:
    """Markdown: a row for each case, a column for each way."""
    ways: list[str] = []
    rows: dict[Case, dict[str, Result]] = {}
    for result in results:
        rows.setdefault(result.case, {})[result.how] = result
        if result.how not in ways:
            ways.append(result.how)
    lines = [f"| peer | role | what | {' | '.join(ways)} |", "| --- " * (3 + len(ways)) + "|"]
    for case, found in rows.items():
        cells = [found[way].outcome if way in found else "" for way in ways]
        lines.append(f"| {case.peer} | {case.role} | {case.what} | {' | '.join(cells)} |")
    return "\n".join(lines)
