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
    """Markdown: a row for each peer and role, with how many cases passed each way."""
    rows: dict[tuple[str, str], dict[str, list[Result]]] = {}
    for result in results:
        row = rows.setdefault((result.case.peer, result.case.role), {})
        row.setdefault(result.how, []).append(result)
    ways = list(dict.fromkeys(way for row in rows.values() for way in row))
    lines = [f"| peer | it is the | tried | {' | '.join(ways)} |"]
    lines.append("| --- " * (3 + len(ways)) + "|")
    for (peer, role), row in rows.items():
        cells = [_passed(row.get(way, [])) for way in ways]
        tried = _tried(list(dict.fromkeys(each.case.what for each in row[next(iter(row))])))
        lines.append(f"| {peer} | {role} | {tried} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _passed(results: list[Result]) -> str:
    """As in "27 of 28"."""
    return f"{sum(each.outcome == PASSED for each in results)} of {len(results)}"


def _tried(names: list[str]) -> str:
    """Names of cases in a cell, ciphers only counted."""
    groups = {"TLS 1.3": ("TLS_",), "TLS 1.2": ("ECDHE-",)}
    words = []
    for version, begins in groups.items():
        count = sum(name.startswith(begins) for name in names)
        words += [f"{count} ciphers of {version}"] if count else []
    rest = [name for name in names if not name.startswith(("TLS_", "ECDHE-"))]
    return "; ".join([*words, *rest])
