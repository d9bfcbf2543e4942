"""Connections that the server may end as it likes: others open in their place. In memory."""

from __future__ import annotations

import errno
from collections import Counter

from c1m.engine.contract import EventBatch
from c1m.loadgen.spoken import SpokenPool
from c1m.loadgen.transports.http import HttpTransport
from c1m.scenarios.asks import Session
from c1m.scenarios.expected import Expected
from c1m.scenarios.http import Http
from c1m.scenarios.http_requests import HttpRequests, Wanted
from generator_runs import Engine, Run, slots_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def each_its_own(method: str = "GET") -> Http:
    """Requests each of which has another path."""
    scenario = Http()
    scenario.ask(HttpRequests([Wanted(method, "/{n}/{seq}")], Session("http", "a")), Expected())
    scenario.hears_messages = True
    scenario.begin(3, 0)
    return scenario


def test_a_request_that_was_made_before_its_time_is_said_once() -> None:
    """Its connection is ended before it is due; the next one has the same slot."""

    def script(engine: Engine) -> EventBatch | None:
        ready = run.generator.traffic._ready
        if ready is None or engine.waits < 50 or ready[2] not in engine.open:
            return None
        return engine.lose([ready[2]], 0)

    run = Run(
        ["ramp 3", "hold for 1s at 400/s"], script, scenario=each_its_own(),
        transport=HttpTransport(3), awake_ns=300_000,
    )  # fmt: skip
    run.engine.answer = lambda piece: OK
    record = run.record()
    assert record.connections.renewed > 10
    requests = record.all_requests
    assert requests.right == requests.sent > 400 and not requests.faults
    said = Counter(piece for _, _, piece in run.engine.sent)
    assert set(said.values()) == {1}


def test_what_waits_for_a_connection_whose_handshake_fails_is_missing_at_once() -> None:
    """Not in flight any more when its number is opened again: it could have too many requests."""
    secured: set[int] = set()
    ended: list[str] = []

    def script(engine: Engine) -> EventBatch | None:
        generator = run.generator
        secured.intersection_update(engine.open)
        renewing = isinstance(generator.connections, SpokenPool) and generator.connections.renewing
        for slot in sorted(engine.open - secured):
            if renewing and run.phase == "hold" and len(ended) == 1:
                ended.append("in its handshake")
                return engine.lose([slot], errno.ECONNRESET)
            secured.add(slot)
            return EventBatch(secured=slots_of([slot]))
        if run.phase == "hold" and not ended and len(engine.open) == 3:
            slot = int(generator.connections.slots[2])
            if generator.traffic.ledger.sent[2] > 1 and generator.traffic.ledger.expects(2):
                ended.append("between requests")
                return engine.lose([slot], 0)
        return None

    run = Run(
        ["ramp 3", "hold for 300ms think 0s", "drain to 1", "ramp 3", "hold for 300ms think 0s"],
        script, lambda slot, data, now: now + 1_000_000, scenario=each_its_own(),
        transport=HttpTransport(3),
    )  # fmt: skip
    run.generator.connections.is_tls = True
    run.engine.answer = lambda piece: OK
    record = run.record()
    assert ended == ["between requests", "in its handshake"]
    assert record.connections.renewed == record.connections.tls_failed == 1
    requests = record.all_requests
    assert requests.missing == 1 and requests.right == requests.sent - 1
    assert not requests.faults and record.requests.in_flight_peak <= 3
