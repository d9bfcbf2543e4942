"""Handshakes under way: bound, budget, time; and ends of TLS. A test leads the engine inside."""

from __future__ import annotations

import contextlib
import errno
import ssl
from collections.abc import Iterable

import numpy as np
import pytest

import certificates
from c1m.addresses import AF_INET, Endpoint
from c1m.engine.contract import EventBatch
from c1m.engine.ragged import Ragged
from c1m.testing.manual_clock import ManualClock
from c1m.tls import reasons
from c1m.tls.connector import Connector
from c1m.tls.engine import Acceptor, TlsEngine
from c1m.tls.handshakes import BUDGET_NS, BUSY, HandshakeQueue
from c1m.units import NS_PER_S
from unit.scripted_engine import ScriptedEngine

OURS = certificates.authority()
LISTENERS = [Endpoint(AF_INET, "127.0.0.1", 1, scheme="tls"), Endpoint(AF_INET, "127.0.0.1", 2)]


def server_context() -> ssl.SSLContext:
    leaf = OURS.leaf("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf.cert, leaf.key)
    return context


def client_context() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(OURS.cert))


class Stage:
    """An engine that speaks TLS, the one inside, and a clock."""

    def __init__(self, *, handoff: bool = False, handshakes_max: int = 8) -> None:
        self.clock = ManualClock(NS_PER_S)
        self.inner = ScriptedEngine()
        self.engine = TlsEngine(
            self.inner,  # type: ignore[arg-type]  # what decorators use of one
            self.clock,
            acceptor=Acceptor(server_context()),
            connector=Connector(client_context(), "localhost"),
            handoff=handoff,
            handshakes_max=handshakes_max,
        )
        self.engine.listen(LISTENERS, 1)

    def accept(self, slots: Iterable[int], listener: int = 0) -> EventBatch:
        slots = list(slots)
        self.inner.brings(opened=slots, opened_listeners=[listener] * len(slots))
        return self.engine.wait(0)

    def takes(self, slot: int, data: bytes) -> EventBatch:
        self.inner.brings(data=[(slot, data)])
        return self.engine.wait(0)


class Far:
    """The peer of a slot: an ssl object over memory."""

    def __init__(self, stage: Stage, slot: int, *, is_server: bool = False) -> None:
        self.stage, self.slot = stage, slot
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = server_context() if is_server else client_context()
        name = None if is_server else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, is_server, name)

    def shake(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

    def says(self) -> bytes:
        return self.outgoing.read()

    def hears(self) -> None:
        self.incoming.write(self.stage.inner.said_to(self.slot))

    def open(self, behind: bytes = b"") -> EventBatch:
        """Both sides' handshake; `behind` comes with the last of it."""
        self.shake()
        assert len(self.stage.takes(self.slot, self.says())) == 0
        self.hears()
        self.shake()
        if behind:
            self.tls.write(behind)
        return self.stage.takes(self.slot, self.says())

    def read(self) -> bytes:
        self.hears()
        return self.tls.read(1 << 14)


def data_of(batch: EventBatch) -> list[tuple[int, bytes]]:
    return list(zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True))


@pytest.fixture(params=[False, True], ids=["ssl", "handoff"])
def stage(request: pytest.FixtureRequest) -> Iterable[Stage]:
    made = Stage(handoff=request.param)
    yield made
    made.engine.shutdown()


def test_one_is_opened_when_its_handshake_is_done(stage: Stage) -> None:
    assert len(stage.accept([5])) == 0
    assert stage.engine.statistics().opening == 1
    far = Far(stage, 5)
    batch = far.open(b"early")
    assert batch.opened.tolist() == [5]
    assert data_of(batch) == [(5, b"early")]
    stage.engine.send(np.array([5], np.int32), Ragged.of([b"answer"]))
    assert far.read() == b"answer"
    counts = stage.engine.handshakes
    assert (counts.done, counts.under_way, counts.versions) == (1, 0, {"TLSv1.3": 1})


def test_plain_listeners_stay_plain(stage: Stage) -> None:
    assert stage.accept([3], listener=1).opened.tolist() == [3]
    stage.inner.brings(data=[(3, b"plain")])
    plain = stage.inner.batches[0]
    assert stage.engine.wait(-1) is plain
    stage.engine.send(np.array([3], np.int32), plain.data)
    assert stage.inner.said_to(3) == b"plain"


def test_as_many_as_may_be_are_under_way_and_the_callers_bound_is_kept(stage: Stage) -> None:
    stage.engine.live_max = 50
    assert stage.inner.live_max == 50
    stage.accept(range(60))  # who says nothing is only a row
    for slot in range(8):
        assert stage.inner.live_max == 50
        far = Far(stage, slot)
        far.shake()
        stage.takes(slot, far.says())
    assert stage.inner.live_max == 0
    assert stage.engine.live_max == 50
    stage.engine.live_max = 40
    assert stage.inner.live_max == 0
    stage.inner.brings(eof=[0, 1, 2, 3])
    stage.engine.wait(0)
    assert stage.inner.live_max == 0
    stage.inner.brings(eof=[4])
    stage.engine.wait(0)
    assert stage.inner.live_max == 40
    assert stage.engine.handshakes.failed == {reasons.HANDSHAKE_EOF: 5}


def test_those_who_say_nothing_have_their_time_and_no_more(stage: Stage) -> None:
    stage.accept([1])
    stage.clock.advance(4 * NS_PER_S)
    stage.accept([2])
    stage.clock.advance(6 * NS_PER_S - 1)
    assert len(stage.engine.wait(-1)) == 0
    assert stage.inner.timeouts[-1] == 1  # then the first is late
    assert stage.inner.closed == []
    stage.clock.advance(1)
    assert len(stage.engine.wait(-1)) == 0
    assert stage.inner.closed == [(1, False)]
    assert stage.engine.handshakes.failed == {reasons.HANDSHAKE_TIMEOUT: 1}
    assert len(stage.engine.wait(-1)) == 0
    assert stage.inner.timeouts[-1] == 4 * NS_PER_S


def test_one_that_is_done_is_never_late(stage: Stage) -> None:
    stage.accept([1])
    Far(stage, 1).open()
    stage.clock.advance(100 * NS_PER_S)
    assert len(stage.engine.wait(0)) == 0
    assert stage.inner.closed == []


def test_plain_http_is_answered_in_a_sentence(stage: Stage) -> None:
    stage.accept([1, 2])
    stage.takes(1, b"DELETE /things HTTP/1.1\r\nHost: here\r\n\r\n")
    said = stage.inner.said_to(1)
    assert said.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"This port speaks TLS." in said
    stage.takes(2, b"+PING\r\n")
    assert b"HTTP" not in stage.inner.said_to(2)
    assert stage.engine.handshakes.failed == {reasons.HTTP_TO_TLS: 1, reasons.NOT_TLS: 1}
    assert stage.inner.closed == [(1, False), (2, False)]


def test_a_flood_in_the_handshake_is_not_read(stage: Stage) -> None:
    stage.accept([1])
    hello = Far(stage, 1)
    hello.shake()
    with_rest = hello.says() + bytes(1 << 17)
    stage.inner.brings(data=[(1, with_rest)])
    stage.engine.wait(0)
    assert stage.inner.muted == set()  # it was looked at in the same tick, and was no TLS
    assert stage.inner.closed == [(1, False)]


def test_close_notify_is_the_end_and_what_comes_behind_it_is_ignored(stage: Stage) -> None:
    stage.accept([1])
    far = Far(stage, 1)
    far.open()
    far.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        far.tls.unwrap()
    batch = stage.takes(1, far.says() + b"\x17\x03\x03\x00\x05rests")
    assert data_of(batch) == [(1, b"last words")]
    assert batch.eof.tolist() == [1]
    assert len(stage.takes(1, b"more")) == 0
    stage.inner.brings(eof=[1])
    assert len(stage.engine.wait(0)) == 0
    stage.engine.send(np.array([1], np.int32), Ragged.of([b"still here"]))
    assert far.read() == b"still here"
    stage.engine.close(np.array([1], np.int32))
    with pytest.raises(ssl.SSLZeroReturnError):
        far.read()


def test_an_end_without_it_is_told_from_a_close(stage: Stage) -> None:
    stage.accept([1])
    far = Far(stage, 1)
    far.open()
    far.tls.write(b"half")
    stage.inner.brings(data=[(1, far.says())], eof=[1])
    batch = stage.engine.wait(0)
    assert data_of(batch) == [(1, b"half")]
    assert batch.closed_errnos.tolist() == [reasons.TRUNCATED]
    assert stage.inner.closed == [(1, False)]


def test_all_of_it_in_one_tick(stage: Stage) -> None:
    stage.accept([1])
    far = Far(stage, 1)
    far.shake()
    stage.takes(1, far.says())
    far.hears()
    far.shake()
    far.tls.write(b"all of it")
    stage.inner.brings(data=[(1, far.says())], eof=[1])
    batch = stage.engine.wait(0)
    assert batch.opened.tolist() == [1]
    assert data_of(batch) == [(1, b"all of it")]
    assert len(batch.closed) == 0  # rule 7
    batch = stage.engine.wait(0)
    assert batch.closed_errnos.tolist() == [reasons.TRUNCATED]


def test_a_broken_record_is_answered_by_its_alert(stage: Stage) -> None:
    stage.accept([1])
    far = Far(stage, 1)
    far.open()
    batch = stage.takes(1, b"\x17\x03\x03\x00\x20" + bytes(32))
    assert batch.closed.tolist() == [1]
    assert batch.closed_errnos[0] >= reasons.BASE
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        far.read()


def test_what_is_sent_before_it_is_secured_goes_out_behind_that(stage: Stage) -> None:
    stage.inner.brings(connected=[9])
    batch = stage.engine.wait(0)
    assert batch.connected.tolist() == [9]
    assert len(batch.secured) == 0
    stage.engine.send_each([9, 9], [b"one ", b"two"])
    assert stage.engine.unsent(9) == 7
    stage.engine.end_output(9)
    far = Far(stage, 9, is_server=True)
    far.hears()
    far.shake()
    batch = stage.takes(9, far.says())
    assert batch.secured.tolist() == [9]
    far.hears()
    far.shake()
    assert far.tls.read(100) == b"one "
    assert far.tls.read(100) == b"two"
    assert far.tls.read(100) == b""
    assert stage.engine.unsent(9) == 0


def test_a_server_that_is_refused_is_closed_with_the_reason(stage: Stage) -> None:
    stage.inner.brings(connected=[9])
    stage.engine.wait(0)
    stage.engine.send_each([9], [b"unheard"])
    batch = stage.takes(9, b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert batch.closed_errnos.tolist() == [reasons.NOT_TLS]
    assert stage.engine.statistics().unsent_bytes == 7
    assert stage.engine.said[reasons.NOT_TLS] == "wrong version number"


def test_a_server_that_sends_back_what_it_gets_does_not_speak_tls(stage: Stage) -> None:
    stage.inner.brings(connected=[9])
    stage.engine.wait(0)
    batch = stage.takes(9, stage.inner.said_to(9))
    assert batch.closed_errnos.tolist() == [reasons.NOT_TLS]


def test_a_reset_is_what_it_is(stage: Stage) -> None:
    stage.inner.brings(connected=[9])
    stage.engine.wait(0)
    stage.inner.brings(closed=[9], closed_errnos=[errno.ECONNRESET])
    assert stage.engine.wait(0).closed_errnos.tolist() == [errno.ECONNRESET]


def test_each_has_its_turn_and_a_tick_its_budget() -> None:
    clock = ManualClock()
    queue = HandshakeQueue(clock)
    for slot in range(4):
        queue.queue(queue.begin(slot))
    turns = []
    for is_busy in (True, False, True):
        for shake in queue.ready(is_busy=is_busy):
            turns.append(shake.slot)
            clock.advance(BUDGET_NS // BUSY)
            queue.queue(shake)
        turns.append(-1)
    assert turns == [0, -1, 1, 2, 3, 0, -1, 1, -1]
    queue.remove(2)
    assert 2 not in [shake.slot for shake in queue.ready(is_busy=False)]
    assert queue.due_ns() > 0


def test_who_came_before_the_last_listen_is_no_plain_one() -> None:
    """The listener of such a connection is -1: an engine may bring it late (uring does)."""
    stage = Stage()
    stage.engine.listen([], 0)
    assert not len(stage.accept([3], -1))
    far = Far(stage, 3)
    far.shake()
    stage.takes(3, far.says())
    assert stage.engine.handshakes.under_way == 1
    assert all(piece[:1] == b"\x16" or slot != 3 for slot, piece in stage.inner.sent)
