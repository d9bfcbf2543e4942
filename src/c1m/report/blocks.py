"""What a report of a run is made of: sections of tables, names with values, lists and sentences.

`sections.py` makes them from a record, `text.py` and `html.py` render them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = tuple[str, ...]

TEXT, PAGE = "text", "page"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a section. `only`: TEXT or PAGE, where only that one shows it."""

    only: str = ""


@dataclass(frozen=True, slots=True)
class Headline(Block):
    """The outcome in one line, a warning or "", and what fell short."""

    is_good: bool
    headline: str
    warning: str
    shortfalls: Sequence[str]


@dataclass(frozen=True, slots=True)
class Tiles(Block):
    """Figures at a glance: (what it is, value)."""

    figures: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table(Block):
    """Rows under their heads. The first column is names, and the section's title its head.

    The last column is `has_words`: sentences; all others are figures. `marks`: ok or FAIL, for
    each row. `bars`: how long a bar the page draws for each row, 0 to 1.
    """

    head: Row
    rows: Sequence[Row]
    has_words: bool = False
    marks: Sequence[bool] = ()
    bars: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Pairs(Block):
    """Names and their values; `title` is the page's."""

    title: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Statement(Block):
    """Sentences of which the first is the conclusion; the section's title says of what."""

    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Note(Block):
    """A remark on what stands beside it."""

    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """A sentence, bytes by name that it is about, what to do."""

    text: str
    shown: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Items(Block):
    """A list, perhaps with a title; of one with a title the terminal shows only the first."""

    items: Sequence[Item]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Plots(Block):
    """Where the page has its plots."""


@dataclass(frozen=True, slots=True)
class Section:
    """A title, "" where what is below needs none, and blocks in their order."""

    title: str
    blocks: Sequence[Block] = ()

    @classmethod
    def table(cls, title: str, head: Row, rows: Sequence[Row], **more: Any) -> Section:
        """A section of one table; without blocks where there are no rows."""
        return cls(title, (Table(head, rows, **more),) if rows else ())

    def shown(self, medium: str) -> list[Block]:
        """The blocks that TEXT or PAGE shows; [] of a section that is not there."""
        return [block for block in self.blocks if block.only in ("", medium)]
