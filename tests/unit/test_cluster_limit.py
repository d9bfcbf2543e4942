"""Who was the limit of a run by several load clients."""

from __future__ import annotations

from c1m.cluster.found import Found
from c1m.cluster.head import Head
from c1m.cluster.limit import limit_of
from c1m.results.record import RunRecord, Saturation


def test_the_most_that_anybody_waited_is_the_wholes() -> None:
    said = "The server waited for a CPU {} % of the time: other processes had it."
    limits = [
        Saturation("both", True, [said.format(80)], server_waited=0.8, generator_waited=0.1),
        Saturation("both", True, [said.format(79)], server_waited=0.79, generator_waited=0.3),
        Saturation("neither", sentences=["The plan was kept."]),  # on another machine
    ]
    parts = [
        Found(Head(part=n, of=len(limits), worker=f"w{n}"), RunRecord(limit=limit))
        for n, limit in enumerate(limits)
    ]
    whole = limit_of(parts, RunRecord())
    assert (whole.who, whole.is_lower_bound) == ("both", True)
    assert (whole.server_waited, whole.generator_waited) == (0.8, 0.3)
    assert whole.sentences == [
        "Worker w0 (and 1 other, with other numbers): The server waited for a CPU 80 % of the "
        "time: other processes had it."
    ]
