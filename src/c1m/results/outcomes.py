"""What scenarios count themselves: what they checked by name, shares of several, publications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from c1m.results.counts import HIGHER, counted, counts_of


@dataclass(frozen=True, slots=True)
class Check:
    """What a scenario checked by a name of its own, and how often it held."""

    name: str = ""
    passed: int = 0
    failed: int = 0
    first: str = ""  # of the first that failed: what was there instead


@dataclass(frozen=True, slots=True)
class Share:
    """What one of several scenarios had of a run's connections and requests."""

    LAWS: ClassVar[tuple[str, ...]] = ("sent = right + wrong + missing",)

    name: str = ""
    connections: int = 0
    sent: int = 0
    right: int = 0
    wrong: int = 0
    missing: int = 0


@dataclass(frozen=True, slots=True)
class FanOut:
    """What became of the publications of scenario publish, and of their pushes to subscribers."""

    LAWS: ClassVar[tuple[str, ...]] = ("received <= expected",)

    published: int = counted("publications sent", better=HIGHER)
    expected: int = counted("pushes expected, one for each subscriber", better="")
    received: int = counted("pushes that came", better=HIGHER, of="expected")
    doubled: int = counted(
        "pushes received more than once", shortfall="{doubled} publications came more than once."
    )
    garbled: int = counted(
        "bytes that are not a push", shortfall="{garbled} publications came garbled."
    )
    elsewhere: int = counted(
        "of several load clients: publications of the others that each has heard of", better=""
    )

    @property
    def missing(self) -> int:
        """Pushes that did not come."""
        return self.expected - self.received

    @property
    def reach(self) -> float | None:
        """The share of pushes that came; None where none was expected."""
        return self.received / self.expected if self.expected else None


FAN_OUT_COUNTS = counts_of(FanOut)
