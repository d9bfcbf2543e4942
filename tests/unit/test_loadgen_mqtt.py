"""MQTT between connections and a scenario, beside what the property test shows."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.limits import mqtt_reasons
from c1m.limits.reasons import errno_name, explain
from c1m.loadgen.schemes.base import Url
from c1m.loadgen.schemes.mqtt import Mqtt
from c1m.loadgen.transports.base import Taken
from c1m.loadgen.transports.mqtt import Asked, MqttTransport
from c1m.loadgen.transports.mqtt_state import ID_MAX, Acknowledgements, KeepAlive
from c1m.protocols.mqtt.packets import (
    V5,
    V311,
    Acknowledged,
    Connack,
    Connect,
    Kind,
    Packet,
    Publish,
    Subscribe,
    Will,
    encoded,
)
from c1m.results.options import LoadOptions
from c1m.scenarios.asks_mqtt import MqttMessage, heard
from c1m.scenarios.asks_mqtt import Publish as Say
from c1m.scenarios.asks_mqtt import Subscribe as Ask
from c1m.scenarios.loader import find_scenario
from mqtt_streams import read

TEN = np.arange(10)
SECOND = 1_000_000_000


def said(pieces: Ragged, version: int = V311) -> list[Packet]:
    """Packets as a server reads them."""
    packets, code, is_unfinished = read(pieces.pieces(), version)
    assert not code and not is_unfinished
    return packets


def take(transport: MqttTransport, packet: Packet | bytes, version: int = V311) -> Taken:
    """The same to all."""
    piece = packet if isinstance(packet, bytes) else encoded(packet, version)
    return transport.take(TEN, Ragged.of([piece] * 10))


def opened(transport: MqttTransport, version: int = V311) -> MqttTransport:
    """The same with all connections ready."""
    transport.opened(TEN)
    taken = take(transport, Connack(), version)
    if not len(taken.ready):
        taken = take(transport, Acknowledged(Kind.SUBACK, 1, b"\0"), version)
    assert taken.ready.tolist() == TEN.tolist() and not taken.failed
    return transport


@pytest.mark.parametrize("version", [V311, V5])
def test_what_connects_say(version: int) -> None:
    asked = Asked("id-{n}", version, "user-{n}", "secret", ("gone/{n}", "of {n}"), 9, qos=1)
    _, pieces = MqttTransport(100, asked).opened(np.arange(100))
    assert said(pieces, version) == [
        Connect(
            b"id-%d" % n, version, 9, True, b"user-%d" % n, b"secret",
            Will(b"gone/%d" % n, b"of %d" % n, 1),
        )
        for n in range(100)
    ]  # fmt: skip
    assert "secret" not in repr(asked)


def test_refusals_are_in_words() -> None:
    transport = MqttTransport(10, Asked("{n}", V5))
    transport.opened(TEN)
    taken = take(transport, Connack(0x87, properties={"reason_string": b"not you"}), V5)
    reason = mqtt_reasons.REFUSED + 0x87
    assert taken.failed == [(n, reason) for n in range(10)] and taken.said == {reason: "not you"}
    assert errno_name(reason) == "CONNACK 0x87"
    assert explain(reason, "handshake")[0].endswith("it is not authorized")
    transport.opened(TEN)
    take(transport, Connack(), V5)
    taken = take(transport, Acknowledged(Kind.SUBACK, 1, b"\x80"), V5)
    assert {reason for _, reason in taken.failed} == {mqtt_reasons.NOT_SUBSCRIBED + 0x80}
    for first in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x15\x03\x01\0\2\2\x46", b"\xd0\0"):
        transport.opened(TEN)
        taken = take(transport, first, V5)
        assert {reason for _, reason in taken.failed} == {mqtt_reasons.NOT_MQTT}
    transport = opened(MqttTransport(10, Asked("{n}", V5)), V5)
    taken = take(transport, Publish(b"", b"x", properties={"topic_alias": 1}), V5)
    assert {reason for _, reason in taken.failed} == {mqtt_reasons.BROKE_OFF + 0x94}
    assert taken.last_words[0][1].pieces() == [b"\xe0\x02\x94\0"] * 10
    for each in (mqtt_reasons.NO_PINGRESP, mqtt_reasons.DISCONNECTED, reason + 1):
        assert all(explain(each, "open")) and errno_name(each)


@pytest.mark.parametrize("granted", [0, 1])
def test_a_connection_opens_once_in_a_batch(granted: int) -> None:
    """A second CONNACK (3.2), or a second SUBACK, is a mistake that ends it."""
    transport = opened(MqttTransport(10, Asked("{n}", topic="a")))
    transport.gone(TEN)
    transport.opened(TEN)
    pieces: list[Packet] = [Connack(), Acknowledged(Kind.SUBACK, 1, b"\0")]
    if granted:
        take(transport, pieces[0])
    twice = Ragged.of([encoded(pieces[granted], V311)] * 12)
    taken = transport.take(np.array([*TEN.tolist(), 3, 5]), twice)
    for numbers in [taken.ready] if granted else [each for each, _ in taken.replies]:
        assert numbers.tolist() == TEN.tolist()
    assert {number for number, _ in taken.failed} == {3, 5} and len(taken.failed) == 2


def test_what_does_not_add_up_is_told() -> None:
    transport = opened(MqttTransport(10, Asked("{n}", V5, topic="a/{n}", qos=1)), V5)
    made = transport.wrap(TEN, Ragged.repeat(b"x", 10))
    assert said(made, V5) == [Publish(b"a/%d" % n, b"x", 1, packet_id=2) for n in range(10)]
    take(transport, Acknowledged(Kind.PUBACK, 2, b"\x97"), V5)
    take(transport, Acknowledged(Kind.PUBACK, 2), V5)
    take(transport, Publish(b"a/3", b"of three"), V5)
    transport.wrap(TEN[:3], Ragged.repeat(b"x", 3))
    notes = transport.notes()
    assert notes[0] == "The server refused 10 publications: a quota is used up (0x97)."
    assert notes[1].startswith("3 publications were not acknowledged")
    assert notes[2].startswith("10 PUBACKs came for what was not published")
    assert (
        notes[3].startswith("9 messages came with a topic") and "'a/3' on connection 0" in notes[3]
    )
    transport.gone(TEN)
    assert transport.awaited == 0
    take(transport := opened(transport, V5), Publish(b"a/3", b"kept", retain=True), V5)
    assert "10 messages that the server had kept" in transport.doubts()[0]


def test_keep_alive() -> None:
    alive = MqttTransport(10, Asked("{n}", keep_alive_s=8, topic="a", timeout_ns=4 * SECOND))
    transport, at = opened(alive), 0
    pinged: dict[int, int] = {}
    failed: dict[int, int] = {}
    while at < 20 * SECOND:
        taken = transport.due(at)
        for numbers, pieces in taken.replies:
            assert pieces.pieces() == [b"\xc0\0"] * len(numbers)
            pinged |= dict.fromkeys(numbers.tolist(), at)
            answered = numbers[numbers != 7]  # one is never answered
            transport.take(answered, Ragged.repeat(b"\xd0\0", len(answered)))
        for number, reason in taken.failed:
            assert reason == mqtt_reasons.NO_PINGRESP
            failed[number] = at
        if at < 10 * SECOND:
            transport.wrap(TEN[:5], Ragged.repeat(b"x", 5))  # these talk
        if at == 9 * SECOND:
            assert set(pinged) == set(range(5, 10))
            assert all(6 * SECOND <= when < 8 * SECOND for when in pinged.values())
        at += transport.tick_ns
    assert list(failed) == [7] and 10 * SECOND < failed[7] < 14 * SECOND
    assert set(pinged) == set(range(10))
    assert MqttTransport(10, Asked("{n}", keep_alive_s=0)).tick_ns == 0


def test_a_server_may_want_signs_of_life_more_often() -> None:
    alive = KeepAlive(10, 64, SECOND)
    alive.shorten(100)
    alive.shorten(8)
    alive.said(TEN)
    pinged: dict[int, int] = {}
    for at in range(0, 10 * SECOND, alive.tick_ns):
        for part in alive.parts(at):
            pinging, _ = alive.look_at(part, np.ones(part.stop - part.start, np.bool_))
            for number in pinging.tolist():
                pinged.setdefault(number, at)
    assert sorted(pinged) == TEN.tolist()
    assert all(4 * SECOND <= at < 8 * SECOND for at in pinged.values())


def test_identifiers_go_round() -> None:
    acks = Acknowledgements(2)
    acks.begin(np.arange(2), ID_MAX - 2)
    one = np.array([1])
    ids = [int(acks.next(one)[0]) for _ in range(5)]
    assert ids == [ID_MAX - 1, ID_MAX, 1, 2, 3]
    acks.take(np.array([1, 1, 1]), np.array([ID_MAX - 1, 1, ID_MAX]))
    assert (acks.awaited, acks.stray) == (2, 0)
    acks.take(one, np.array([1]))
    acks.take(np.array([0]), one)
    assert (acks.awaited, acks.stray) == (2, 2)
    acks.take(np.array([1, 1]), np.array([3, 2]))
    assert (acks.awaited, acks.stray) == (0, 2)


@pytest.mark.parametrize(
    ("url", "options", "scenario", "words"),
    [
        ("mqtt://a/topic", {}, "echo", "--topic 'topic'"),
        ("mqtt://a", {"topic": "a/{n}"}, "publish", "nobody hears"),
        ("mqtt://a", {"topic": "a/#"}, "echo", "wildcards"),
        ("mqtt://a", {"topic": "a#"}, "hold", "no filter"),
        ("mqtt://a", {"topic": ""}, "echo", "is empty"),
        ("mqtt://a", {"client_id": "me"}, "echo", "Put {n} into it"),
        ("mqtt://a", {"will": "gone"}, "echo", "TOPIC=MESSAGE"),
        ("mqtt://a", {"will": "a=" + "x" * 70_000}, "echo", "65,535"),
        ("mqtt://a", {"topic": "a/{seq}"}, "echo", "says once"),
        ("mqtt://u:{hush}@a", {}, "echo", "stand for nothing"),
        ("mqtt://a", {"keep_alive_ns": 500_000_000}, "echo", "whole seconds"),
        ("mqtt://a", {}, "half-open", "half of a message"),
    ],
)
def test_what_cannot_be_meant(
    url: str, options: dict[str, object], scenario: str, words: str
) -> None:
    asked = LoadOptions(scenario=scenario, **options)  # type: ignore[arg-type]
    with pytest.raises(UsageError) as found:
        scheme = Mqtt([Url.of(url)], asked)
        meant = scheme.scenario_for(asked)
        scheme.check(meant, asked)
        scheme.transport(meant, 10, asked)
    assert words in str(found.value) and "hush" not in str(found.value)


def test_users_are_in_the_url() -> None:
    asked = LoadOptions()
    scheme = Mqtt([Url.of("mqtts://user-{n}:p%40ss@a:99")], asked)
    assert scheme.places() == ["tls://a:99"] and "p%40ss" not in scheme.shown()[0]
    made = scheme.transport(find_scenario("echo"), 10, asked)
    _, pieces = made.opened(TEN)
    (first, *_) = said(pieces)
    assert isinstance(first, Connect)
    assert (first.user, first.password, first.client_id) == (b"user-0", b"p@ss", b"c1m-0-0")


def test_what_conversations_say() -> None:
    transport = opened(MqttTransport(10, Asked("{n}", subscribes=False), in_packets=True))
    session = Mqtt([Url.of("mqtt://a")], LoadOptions()).session()
    asked = [Ask("a/+", 1).encode(session), Say("a/b", "text").encode(session), b""]
    made = transport.wrap(TEN[:3], Ragged.of(asked))
    assert made.lengths[2] == 0
    assert said(made.take(slice(2))) == [
        Subscribe(2, ((b"a/+", 1),)), Publish(b"a/b", b"text", 1, packet_id=2)
    ]  # fmt: skip
    came = [encoded(Acknowledged(Kind.SUBACK, 2, b"\1"), V311),
            encoded(Publish(b"a/b", b"{}", 1, packet_id=9), V311)]  # fmt: skip
    taken = transport.take(np.array([0, 0]), Ragged.of(came))
    ((_, messages),) = taken.messages
    granted, message = map(heard, messages.pieces())
    assert granted == Acknowledged(Kind.SUBACK, 2, b"\1")
    assert message == MqttMessage("a/b", b"{}", 1) and message.json() == {}
    assert taken.replies[0][1].pieces() == [b"\x40\x02\0\x09"]
    assert transport.awaited == 1
    for wrong in (
        lambda: Say("a", qos=0),
        lambda: Say("a/#"),
        lambda: Ask("a", 2),
        lambda: Ask(""),
    ):
        with pytest.raises(UsageError):
            wrong()
