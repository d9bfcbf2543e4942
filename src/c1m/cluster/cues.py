"""What a part does of each stage: the whole of it with all others, or, where it takes another
one's place in the middle of a run, first as many connections as the others have. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from c1m.cluster.part import Order
from c1m.loadgen.stages import Stage


@dataclass(slots=True)
class Cues:
    """The orders of a part that are about stages."""

    first: int = 0  # the stage to begin with
    start_ns: int | None = None  # of the run; None: nothing was told yet
    _begins: dict[int, Order] = field(default_factory=dict)

    def take(self, order: Order) -> None:
        """An order to "begin" or to "join"."""
        if self.start_ns is None:
            self.first, self.start_ns = order.number, order.when_ns
        if order.kind == "begin":
            self._begins[order.number] = order

    def begins(self, number: int) -> int | None:
        """When a stage begins; 0: it is left out; None: that is not known yet."""
        if number in self._begins:
            return self._begins[number].when_ns
        return 0 if number < max(self._begins, default=self.first) else None

    def is_told(self, number: int) -> bool:
        """Whether it does this stage with the others."""
        return number in self._begins

    def stage(self, number: int, stage: Stage) -> Stage:
        """As it is to be done.

        One that is left out only brings as many connections as there are behind it, and before the
        one that leads to the first, not even these. Of one that it comes too late for, the rest.
        """
        if number in self._begins:
            order = self._begins[number]
            return rest_of(stage, order.until_ns - order.when_ns) if order.until_ns else stage
        count = stage.connections_to if number >= self.first - 1 else 0
        return replace(
            stage, name="ramp", connections_from=0, connections_to=count, duration_ns=None,
            rate_from=None, rate_to=None, think_ns=None, churn_rate=None,
        )  # fmt: skip


def rest_of(stage: Stage, left_ns: int) -> Stage:
    """The last `left_ns` of a stage that has a time."""
    assert stage.duration_ns is not None
    left_ns = min(left_ns, stage.duration_ns)
    rate_from = stage.rate_from
    if rate_from is not None and stage.rate_to is not None:
        gone = 1 - left_ns / stage.duration_ns
        rate_from += gone * (stage.rate_to - rate_from)
    return replace(stage, duration_ns=left_ns, rate_from=rate_from)
