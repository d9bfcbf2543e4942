"""Publish and subscribe without sockets: replies, who hears what, and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.kv.clients import Clients
from c1m.kv.intake import Intake
from c1m.kv.pubsub import FEW, leave, publish, subscribe_all
from c1m.kv.rows import IS_SUBSCRIBER, RESP3
from kv_session import Push, Session, decode_all


def said(session: Session, *words: object, client: int = 0) -> list[object]:
    """The replies to a command that has several."""
    return decode_all(session.raw(*words, client=client) or b"")


def test_each_channel_has_a_reply_with_the_count() -> None:
    session = Session()
    replies = [[b"subscribe", b"a", 1], [b"subscribe", b"b", 2], [b"subscribe", b"a", 2]]
    assert said(session, "SUBSCRIBE", "a", "b", "a") == replies
    assert said(session, "PSUBSCRIBE", "x*") == [[b"psubscribe", b"x*", 3]]
    assert said(session, "SSUBSCRIBE", "a") == [[b"ssubscribe", b"a", 1]]
    assert said(session, "UNSUBSCRIBE", "a", "none") == [
        [b"unsubscribe", b"a", 2],
        [b"unsubscribe", b"none", 2],
    ]
    assert said(session, "UNSUBSCRIBE") == [[b"unsubscribe", b"b", 1]]
    assert said(session, "UNSUBSCRIBE") == [[b"unsubscribe", None, 1]]
    assert said(session, "PUNSUBSCRIBE") == [[b"punsubscribe", b"x*", 0]]
    assert session.clients[0].is_subscriber
    assert said(session, "SUNSUBSCRIBE") == [[b"sunsubscribe", b"a", 0]]
    assert not session.clients[0].is_subscriber


def test_in_resp3_what_comes_unasked_is_a_push() -> None:
    session = Session(protocol=3)
    assert session.raw("UNSUBSCRIBE") == b">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n"
    assert session("SUBSCRIBE", "a") == Push([b"subscribe", b"a", 1])
    assert session("PUBLISH", "a", "hello", client=1) == 1
    assert session.heard() == [Push([b"message", b"a", b"hello"])]


def test_channel_first_then_patterns() -> None:
    session = Session(clients=3)
    session("PSUBSCRIBE", "n*", client=1)
    session("PSUBSCRIBE", "*s", client=1)
    session("SUBSCRIBE", "news", client=1)
    session("SUBSCRIBE", "other", client=2)
    assert session("PUBLISH", "news", b"\x00\r\n") == 3
    assert session.heard(1) == [
        [b"message", b"news", b"\x00\r\n"],
        [b"pmessage", b"n*", b"news", b"\x00\r\n"],
        [b"pmessage", b"*s", b"news", b"\x00\r\n"],
    ]
    assert session.heard(2) == []
    assert session("PUBLISH", "nobody", "x") == 1  # by the pattern n*


def test_shard_channels_are_apart() -> None:
    session = Session()
    session("SSUBSCRIBE", "a", client=1)
    assert session("PUBLISH", "a", "x") == 0
    assert session("SPUBLISH", "a", "y") == 1
    assert session.heard(1) == [[b"smessage", b"a", b"y"]]


@pytest.mark.parametrize("count", [2, FEW, FEW + 1, 100])
def test_each_hears_it_in_its_own_protocol(count: int) -> None:
    session = Session(clients=count + 1)
    for slot, client in enumerate(session.clients[:count]):
        client.protocol = 3 if slot % 3 == 0 else 2
        session("SUBSCRIBE", "a", client=slot)
    assert session("PUBLISH", "a", "x", client=count) == count
    for slot in range(count):
        heard = session.heard(slot)
        assert heard == [[b"message", b"a", b"x"]]
        assert isinstance(heard[0], Push) == (slot % 3 == 0)
    assert session.heard(count) == []


def test_many_subscribe_at_once() -> None:
    session = Session(clients=200)
    states = session.store.subscriptions.states
    slots = np.arange(0, 200, 2, dtype=np.int32)
    states[50:100] = RESP3
    subscribe_all(session.store, slots, b"a")
    assert len(session.store.out.deliveries) == 2  # one for each protocol
    assert (states[slots] & IS_SUBSCRIBER).all()
    assert publish(session.store, b"a", b"x") == 100
    assert session.heard(60) == [Push([b"subscribe", b"a", 1]), Push([b"message", b"a", b"x"])]
    assert session.heard(120) == [[b"subscribe", b"a", 1], [b"message", b"a", b"x"]]
    assert session.heard(121) == []


def test_who_has_replies_waiting_hears_it_behind_them() -> None:
    session = Session(clients=100)
    subscribe_all(session.store, np.arange(100, dtype=np.int32), b"a")
    session.store.out.deliveries.take()
    session.store.out.say(7, b"+first\r\n")
    publish(session.store, b"a", b"x")
    session.store.out.say(7, b"+last\r\n")
    assert session.heard(7) == ["first", [b"message", b"a", b"x"], "last"]


def test_rows_hold_what_an_idle_subscriber_needs() -> None:
    session = Session(clients=3)
    clients = Clients(session.store)
    session.clients[1] = clients.of(1)
    session("SUBSCRIBE", "a", client=1)
    clients.settle(session.clients[1])
    assert not clients.kept
    assert clients.of(1).is_subscriber
    clients.forget(np.array([1, 2], np.int32))
    assert not clients.of(1).is_subscriber
    assert session("PUBLISH", "a", "x") == 0


def test_leaving_without_a_word() -> None:
    session = Session()
    session.raw("SUBSCRIBE", "a", "b")
    session("PSUBSCRIBE", "*")
    session("SSUBSCRIBE", "a")
    leave(session.clients[0])
    assert not session.clients[0].is_subscriber
    assert publish(session.store, b"a", b"x") == 0
    session.store.subscriptions.channels.check()


def test_subscribes_of_a_tick_are_taken_together() -> None:
    session = Session(clients=40)
    intake = Intake(Clients(session.store))
    asked = b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n"
    intake.take([(slot, asked) for slot in range(30)])
    assert len(session.store.out.deliveries) == 1
    assert not session.store.out.replies
    intake.take([(slot, asked) for slot in range(20, 40)])  # some have it already
    assert [session.heard(slot) for slot in (3, 25, 35)] == [
        [[b"subscribe", b"a", 1]],
        [[b"subscribe", b"a", 1], [b"subscribe", b"a", 1]],
        [[b"subscribe", b"a", 1]],
    ]
    assert session.store.subscriptions.channels.size(b"a") == 40


def test_who_wants_no_replies_is_subscribed_and_told_so() -> None:
    session = Session(protocol=3)
    session("CLIENT", "REPLY", "OFF")
    assert session("SUBSCRIBE", "a") == Push([b"subscribe", b"a", 1])
    assert session("PUBLISH", "a", "x", client=1) == 1
    assert session.heard() == [Push([b"message", b"a", b"x"])]
    assert session("SUBSCRIBE") is None  # an error
    assert session("UNSUBSCRIBE") == Push([b"unsubscribe", b"a", 0])


def test_client_list_shows_subscribers() -> None:
    session = Session(clients=3)
    clients = Clients(session.store)
    clients.open(np.arange(3, dtype=np.int32))
    session("SUBSCRIBE", "a", client=1)
    session("PSUBSCRIBE", "a*", client=2)
    lines = session("CLIENT", "LIST").split(b"\n")
    assert [line.split(b" cmd=")[1].split()[0] for line in lines if line] == [
        b"client|list",
        b"subscribe",
        b"psubscribe",
    ]
