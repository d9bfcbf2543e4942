"""The thread that speaks with the broker, with a broker that is a queue in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from c1m.relay import link as link_module
from c1m.relay.broker import Broker
from c1m.relay.envelope import Envelope, packed, unpacked
from c1m.relay.link import Came, Down, Link, Up
from e2e.library_runs import WAIT_S, eventually

ME, OTHER = "aaaaaaaaaaaa", "bbbbbbbbbbbb"


class Session:
    """What is published comes back, unless `is_mute`."""

    message_max = 1 << 20
    is_mute = False

    def __init__(self) -> None:
        self.said: list[Envelope] = []
        self.queue: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self.is_closed = False

    async def publish(self, payload: bytes) -> None:
        envelope = unpacked(payload)
        assert envelope is not None
        self.said.append(envelope)
        if not self.is_mute:
            self.queue.put_nowait(payload)

    async def receive(self) -> bytes:
        found = await self.queue.get()
        if isinstance(found, Exception):
            raise found
        return found

    async def close(self) -> None:
        self.is_closed = True


class Stage:
    """A link, and the sessions that it had."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: list[Session] = []
        self.refusals: list[Exception] = []

        async def open_session(broker: Broker) -> Session:
            if self.refusals:
                raise self.refusals.pop(0)
            self.sessions.append(Session())
            return self.sessions[-1]

        monkeypatch.setattr(link_module, "open_session", open_session)
        monkeypatch.setattr(link_module, "PAUSES_S", (0.0,))
        monkeypatch.setattr(link_module, "PROBE_S", 3600.0)
        self.link = Link(Broker("redis", "h", 1, name="c"), ME, lambda: None)

    def next(self) -> Up | Down | Came:
        """The next event, probes apart."""
        while True:
            event = eventually(self.link.take, "something happens")
            assert isinstance(event, Up | Down | Came)
            if not isinstance(event, Came) or event.envelope.items:
                return event

    def in_loop(self, call: object) -> None:
        self.link._loop.call_soon_threadsafe(call)  # type: ignore[arg-type]


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    made = Stage(monkeypatch)
    yield made
    made.link.close()
    assert not made.link._thread.is_alive()
    assert all(session.is_closed for session in made.sessions)


def test_one_probe_is_enough_while_nothing_is_said(stage: Stage) -> None:
    stage.link.start()
    assert stage.next() == Up(1, 1 << 20)
    for number in (1, 2, 3):
        stage.link.hand_over(1, number, b"%d" % number)
        event = stage.next()
        assert isinstance(event, Came) and event.envelope == Envelope(ME, number, [b"%d" % number])
    said = stage.sessions[0].said
    assert [len(each.items) for each in said] == [0, 1, 1, 1]


def test_many_go_together_and_in_order(stage: Stage) -> None:
    stage.link.start()
    stage.next()
    for number in range(1, 2001):
        stage.link.hand_over(1, number, b"%d" % number)
    found: list[bytes] = []
    while len(found) < 2000:
        event = stage.next()
        assert isinstance(event, Came) and event.envelope.first == len(found) + 1
        found += event.envelope.items
    assert found == [b"%d" % number for number in range(1, 2001)]
    assert max(len(each.items) for each in stage.sessions[0].said) > 1


def test_what_was_meant_for_a_connection_that_has_ended_is_not_sent(stage: Stage) -> None:
    stage.refusals.append(ConnectionRefusedError("refused"))
    stage.link.start()
    assert stage.next() == Down("refused", 0)
    assert stage.next() == Up(1, 1 << 20)
    stage.link.hand_over(1, 1, b"one")
    assert isinstance(stage.next(), Came)
    session = stage.sessions[0]
    session.is_mute = True
    stage.link.hand_over(1, 2, b"two")
    eventually(lambda: session.said[-1].items == [b"two"], "it is sent")
    stage.in_loop(lambda: session.queue.put_nowait(ConnectionResetError("reset by peer")))
    assert stage.next() == Down("reset by peer", 2)
    stage.link.hand_over(1, 3, b"three")
    assert stage.next() == Up(2, 1 << 20)
    stage.link.hand_over(2, 3, b"another three")
    event = stage.next()
    assert isinstance(event, Came) and event.envelope == Envelope(ME, 3, [b"another three"])
    assert stage.sessions[1].said[0] == Envelope(ME, 3, [])


def test_a_client_that_swallows_a_cancel_does_not_hide_a_loss(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "CANCEL_S", 0.01)
    stage.link.start()
    stage.next()
    first = stage.sessions[0]
    swallowed: list[bytes] = []

    async def publish(payload: bytes) -> None:
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                if len(swallowed) == 3:
                    raise
                swallowed.append(payload)

    monkeypatch.setattr(first, "publish", publish)
    stage.link.hand_over(1, 1, b"never there")
    eventually(lambda: stage.link._sent == 1, "it is given to the client")
    stage.in_loop(lambda: first.queue.put_nowait(OSError("gone")))
    assert stage.next() == Down("gone", 1)
    assert stage.next() == Up(2, 1 << 20)
    assert first.is_closed and len(swallowed) == 3


def test_a_probe_of_the_connection_before_is_no_sign_that_this_one_works(stage: Stage) -> None:
    stage.link.start()
    stage.next()
    first = stage.sessions[0]
    first.is_mute = True
    stage.link.hand_over(1, 1, b"late")
    eventually(lambda: first.said[-1].items, "it is sent")
    stage.in_loop(lambda: first.queue.put_nowait(OSError("gone")))
    assert stage.next() == Down("gone", 1)
    assert stage.next() == Up(2, 1 << 20)
    stage.in_loop(lambda: stage.sessions[1].queue.put_nowait(packed(ME, 1, [b"late"])))
    event = stage.next()
    assert isinstance(event, Came) and event.envelope.items == [b"late"]


def test_a_broker_that_brings_nothing_back_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "PROBE_S", 0.01)
    monkeypatch.setattr(link_module, "SILENT_S", 0.05)
    stage.link.start()
    assert isinstance(stage.next(), Up)
    stage.sessions[0].is_mute = True
    event = stage.next()
    assert isinstance(event, Down) and "nothing has come back" in event.why
    assert isinstance(stage.next(), Up)


def test_no_more_is_read_than_the_server_takes(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "INBOX_MAX", 10_000)
    stage.link.start()
    stage.next()
    session = stage.sessions[0]
    payload = packed(OTHER, 1, [b"x" * 3000])

    def fill() -> None:
        session.queue.put_nowait(b"somebody else's")
        for _ in range(100):
            session.queue.put_nowait(payload)

    stage.in_loop(fill)
    eventually(lambda: stage.link._is_held, "it waits")
    assert stage.link.foreign == 1 and len(stage.link.events) < 6
    for _ in range(100):
        assert isinstance(stage.next(), Came)
    eventually(lambda: not stage.link._is_held, "it goes on")


def test_a_link_that_is_closed_while_it_connects_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(broker: Broker) -> Session:
        await asyncio.sleep(WAIT_S)
        raise AssertionError

    monkeypatch.setattr(link_module, "open_session", never)
    stage.link.start()
    stage.link.close()
    stage.link.close()
