"""An engine around an engine, which brings what a test says: who is held back is in no event."""

from __future__ import annotations

import errno
from typing import Any

import numpy as np
import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.engine.contract import EngineStatistics, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged
from c1m.protocols.proxy import Wrong
from c1m.server.proxied import ProxyEngine
from c1m.testing.manual_clock import ManualClock
from proxy_headers import line

HEADER = line(("192.0.2.7", 51000), ("198.51.100.1", 443))
PROXIED, DIRECT = 0, 1


class Inner:
    """Brings the batches that it is given, one in each wait."""

    name = reason = "given"
    capacity = 8
    live_max = 8
    sends_in_wait = uses_descriptors = reports_ends = False
    thread = None

    def __init__(self) -> None:
        self.next = EventBatch.nothing()
        self.closed: list[int] = []
        self.accepted = 0

    def listen(self, endpoints: Any, backlog: int) -> Any:
        return endpoints

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        batch, self.next = self.next, EventBatch.nothing()
        self.accepted += len(batch.opened)
        return batch

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        self.closed += slots.tolist()

    def statistics(self) -> EngineStatistics:
        return EngineStatistics(accepted=self.accepted)


def column(*numbers: int) -> Slots:
    return np.array(numbers, np.int32)


@pytest.fixture
def inner() -> Inner:
    return Inner()


@pytest.fixture
def engine(inner: Inner) -> ProxyEngine:
    """Its first listener is behind a proxy; slot 3 has been accepted there, slot 4 by the other."""
    engine = ProxyEngine(inner, ManualClock())  # type: ignore[arg-type]
    first = Endpoint(AF_INET, "127.0.0.1", 8001, is_proxied=True)
    engine.listen([first, Endpoint(AF_INET, "127.0.0.1", 8002)], 0)
    inner.next.opened, inner.next.opened_listeners = column(3, 4), column(PROXIED, DIRECT)
    assert engine.wait(0).opened.tolist() == [4]
    return engine


def brings(inner: Inner, **kinds: Any) -> None:
    for name, value in kinds.items():
        setattr(inner.next, name, value)


def data_of(batch: EventBatch) -> list[tuple[int, bytes]]:
    return list(zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True))


@pytest.mark.parametrize("said", [b"GET", HEADER[:9], b""])
def test_the_last_that_is_held_ends_and_nobody_hears_of_it(
    inner: Inner, engine: ProxyEngine, said: bytes
) -> None:
    """In one batch: what it said, and that it is gone. The other one's data passes."""
    brings(
        inner, data_slots=column(3, 4), data=Ragged.of([said, b"other"]),
        closed=column(3), closed_errnos=column(errno.ECONNRESET),
    )  # fmt: skip
    batch = engine.wait(0)
    assert data_of(batch) == [(4, b"other")] and not len(batch.closed) and len(batch) == 1
    assert engine.statistics().never_opened == {errno.ECONNRESET: 1}


@pytest.mark.parametrize(("said", "wrong"), [(b"GET", Wrong.NO_HEADER), (HEADER[:9], Wrong.ENDED)])
def test_the_last_that_is_held_has_ended_its_stream(
    inner: Inner, engine: ProxyEngine, said: bytes, wrong: Wrong
) -> None:
    brings(inner, data_slots=column(3), data=Ragged.of([said]), eof=column(3, 4))
    batch = engine.wait(0)
    assert batch.eof.tolist() == [4] and len(batch) == 1
    assert engine.statistics().never_opened == {wrong.code: 1} and inner.closed == [3]


def test_who_is_opened_and_ends_in_one_batch(inner: Inner, engine: ProxyEngine) -> None:
    brings(inner, data_slots=column(3), data=Ragged.of([HEADER + b"all"]), eof=column(3))
    batch = engine.wait(0)
    assert batch.opened.tolist() == [3] and batch.opened_listeners.tolist() == [PROXIED]
    assert data_of(batch) == [(3, b"all")] and batch.eof.tolist() == [3]
    assert engine.statistics().never_opened == {} and engine.statistics().opening == 0
