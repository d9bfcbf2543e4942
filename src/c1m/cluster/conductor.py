"""Who is ready, when stages begin, who is lost: the order of a run by many workers. Pure.

The controller tells it what it hears (`hear`) and what time it is (`due`), and sends the orders
that it makes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from c1m.cluster.part import News, Order, Standing

AHEAD_NS = 500_000_000  # so far ahead a common start is told: an order is there by then
SILENT_NS = 8_000_000_000


@dataclass(slots=True)
class Conductor:
    """Of a run with so many parts and stages; behind the last stage comes the end."""

    parts: int
    stages: int
    standings: list[Standing] = field(default_factory=list)
    begun: int = -1  # the stage that was last begun
    starts_ns: list[int] = field(default_factory=list)  # of the stages, by the controller's clock

    def __post_init__(self) -> None:
        self.standings = [Standing() for _ in range(self.parts)]

    def hear(self, news: News, now_ns: int) -> list[tuple[int, Order]]:
        """Orders, and for which part, after this was heard."""
        standing = self.standings[news.part]
        standing.heard_ns = now_ns
        if news.kind == "ready":
            standing.is_ready = True
        elif news.kind == "ended":
            standing.stage = max(standing.stage, news.number)
        elif news.kind == "record":
            standing.record = news.data
        elif news.kind == "failed":
            standing.lost = str(news.data)
        return self._next(now_ns)

    def _next(self, now_ns: int) -> list[tuple[int, Order]]:
        """All have come so far: the next stage begins for all at the same time."""
        there = [one for one in self.standings if not one.lost]
        if self.begun >= self.stages or not there:
            return []
        if not all(one.is_ready and one.stage >= self.begun for one in there):
            return []
        self.begun += 1
        when_ns = now_ns + AHEAD_NS
        self.starts_ns.append(when_ns)
        return [
            (number, Order("begin", self.begun, when_ns + one.offset_ns))
            for number, one in enumerate(self.standings)
            if not one.lost
        ]

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come."""
        return all(one.record is not None or one.lost for one in self.standings)
