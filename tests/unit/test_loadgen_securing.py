"""TLS handshakes of a run on an engine in memory: where each went, and how long it took."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import numpy as np
import pytest

from c1m.engine.contract import EventBatch
from c1m.loadgen.tls import TlsPlan
from c1m.results.catalogue import find, measure
from c1m.results.options import LoadOptions
from c1m.tls.reasons import ALERT, EXPIRED
from generator_runs import SECOND, Engine, Run, slots_of

MS = 1_000_000


class Securing:
    """A script of `Engine`: connects succeed at once, and `outcome` says what becomes of the n-th
    handshake `took_ns` later: 0 it is done, another number it ends by that, None it goes on.
    """

    def __init__(self, outcome: Callable[[int], int | None], took_ns: int = 7 * MS) -> None:
        self.outcome, self.took_ns = outcome, took_ns
        self.begun = 0
        self.under_way_most = 0
        self.due: list[tuple[int, int, int]] = []  # when, slot, outcome

    def __call__(self, engine: Engine) -> EventBatch | None:
        now = engine.clock.now_ns()
        if engine.connecting:
            slots = list(engine.connecting)
            for slot in slots:
                code = self.outcome(self.begun)
                self.begun += 1
                if code is not None:
                    self.due.append((now + self.took_ns, slot, code))
            self.under_way_most = max(self.under_way_most, len(self.due))
            return engine.ready()
        if not self.due:
            return None
        if self.due[0][0] > now:
            engine.clock.advance(self.due[0][0] - now)
        due = [one for one in self.due if one[0] <= engine.clock.now_ns()]
        self.due = self.due[len(due) :]
        ended = [(slot, code) for _, slot, code in due if code]
        for slot, _ in ended:
            engine.gone(slot)
        return EventBatch(
            secured=slots_of([slot for _, slot, code in due if not code]),
            closed=slots_of([slot for slot, _ in ended]),
            closed_errnos=np.array([code for _, code in ended], np.int32),
        )


def run_of(script: Securing, *stages: str, **more: object) -> Run:
    tls = TlsPlan(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ["localhost"])
    return Run(stages, script, tls=tls, **more)  # type: ignore[arg-type]


def test_a_handshake_has_a_latency_of_its_own() -> None:
    script = Securing(lambda n: 0)
    record = run_of(script, "ramp 40", "hold for 1s at 100/s", window=10).record()
    c, secured = record.connections, record.latencies["secured"]
    assert (c.attempted, c.connected, c.secured, c.opened, c.ready) == (40,) * 5
    assert secured.count == 40 and 7 * MS <= secured.min_ns <= secured.max_ns < 8 * MS
    assert record.latencies["connect"].max_ns < MS
    assert script.under_way_most <= 10, "they count as connects in progress"
    assert record.tls is not None and record.tls.seconds > 0 and record.tls.version == ""
    assert measure(record, find("secured.p50")).value == secured.percentiles_ns["p50"]
    assert measure(record, find("secured")).value == 40
    assert record.verdict.complete


def test_where_each_went() -> None:
    """Of every three one is secured, one refused, one ends by an alert; each has its reason."""
    outcomes = (0, EXPIRED, ALERT + 40)
    script = Securing(lambda n: outcomes[n % 3])
    record = run_of(script, "ramp 30", "hold for 1s").record()
    c = record.connections
    assert (c.attempted, c.connected, c.secured, c.tls_failed, c.opened) == (30, 30, 10, 20, 10)
    assert (c.ready, c.lost, c.unfinished) == (10, 0, 0)
    assert {(f.phase, f.errno, f.count) for f in record.failures} == {
        ("tls", "certificate expired", 10), ("tls", "alert handshake_failure", 10),
    }  # fmt: skip
    assert "20 TLS failed" in record.verdict.shortfalls[0]
    whats = [one.what for one in record.explanations]
    assert "10 x certificate expired in the TLS handshake" in whats
    assert measure(record, find("failed")).value == measure(record, find("tls_failed")).value == 20


@pytest.mark.parametrize("is_stopped", [False, True])
def test_handshakes_that_come_to_no_end(is_stopped: bool) -> None:
    """Given up after the time-out; unfinished where the run is stopped before."""
    script = Securing(lambda n: None if n >= 5 else 0)
    run = run_of(script, "ramp 12", timeout_ns=3 * SECOND)
    if is_stopped:
        loop = run.generator.loop
        loop.call_at(run.clock.now_ns() + SECOND, lambda now: loop.stop())
    record = run.record()
    c = record.connections
    assert (c.connected, c.secured, c.opened) == (12, 5, 5)
    assert (c.unfinished, c.tls_failed) == ((7, 0) if is_stopped else (0, 7))
    if not is_stopped:
        assert [(f.phase, f.errno) for f in record.failures] == [("tls", "ETIMEDOUT")]


def test_what_churns_shakes_hands_again() -> None:
    options = LoadOptions(churn_per_s=20.0)
    run = run_of(Securing(lambda n: 0), "ramp 10", "hold for 2s", options=options)
    record = run.record()
    c = record.connections
    assert c.closed >= 35 and c.secured == c.opened == c.attempted == 10 + c.closed
    assert record.latencies["secured"].count == c.secured
