"""Transports make of pieces, however they are cut and mixed, what a plain form makes of streams."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from hashlib import sha1

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.limits.mqtt_reasons import BROKE_OFF, DISCONNECTED
from c1m.limits.reasons import SAID_CLOSE
from c1m.loadgen.transports.base import Taken, Transport
from c1m.loadgen.transports.events import EventsTransport
from c1m.loadgen.transports.mqtt import Asked, MqttTransport
from c1m.loadgen.transports.websocket import WebSocketTransport
from c1m.protocols import sse
from c1m.protocols.mqtt.packets import (
    V5,
    V311,
    Acknowledged,
    Connack,
    Disconnect,
    Kind,
    Packet,
    Ping,
    Publish,
    Subscribe,
    encoded,
)
from c1m.protocols.websocket.frames import FrameReader, Op, frame
from c1m.protocols.websocket.handshake import GUID
from mqtt_streams import read

CONNECTIONS = 40


@dataclass
class Heard:
    """What a transport has said in all: messages and replies by connection, ends."""

    ready: list[int] = field(default_factory=list)
    messages: dict[int, list[bytes]] = field(default_factory=dict)
    replies: dict[int, bytes] = field(default_factory=dict)
    failed: dict[int, int] = field(default_factory=dict)

    def add(self, taken: Taken) -> None:
        self.ready += taken.ready.tolist()
        for numbers, pieces in taken.messages:
            for number, piece in zip(numbers.tolist(), pieces.pieces(), strict=True):
                assert number in self.ready and number not in self.failed
                self.messages.setdefault(number, []).append(piece)
        for numbers, pieces in taken.replies + taken.last_words:
            for number, piece in zip(numbers.tolist(), pieces.pieces(), strict=True):
                self.replies[number] = self.replies.get(number, b"") + piece
        for number, reason in taken.failed:
            assert number not in self.failed
            self.failed[number] = reason


def hear(
    transport: Transport, streams: list[bytes], seed: int, cut: int, heard: Heard | None = None
) -> Heard:
    """The streams in ticks: of each connection at most `cut` bytes a piece, some twice in one."""
    rng, heard = np.random.default_rng(seed), Heard() if heard is None else heard
    at = [0] * len(streams)
    while True:
        left = [n for n, stream in enumerate(streams) if at[n] < len(stream)]
        left = [n for n in left if n not in heard.failed]
        if not left:
            return heard
        numbers, pieces = [], []
        for n in rng.permutation(left + left[:3]).tolist():
            size = int(rng.integers(1, cut + 1)) if rng.random() < 0.5 else cut
            piece = streams[n][at[n] : at[n] + size]
            if piece:
                numbers.append(n)
                pieces.append(piece)
                at[n] += len(piece)
        heard.add(transport.take(np.array(numbers, np.int64), Ragged.of(pieces)))


payloads = st.one_of(
    st.text(max_size=40).map(str.encode), st.sampled_from([b"tick", b"news" * 40, b""])
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[bytes, list[bytes], int]:
    """A server's frames, the messages that they are, and how many of them are pings."""
    stream, messages, pings = b"", [], 0
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["text", "text", "binary", "parts", "ping", "pong"]))
        payload = draw(payloads)
        if kind == "ping":
            stream += frame(Op.PING, payload[:125])
            pings += 1
        elif kind == "pong":
            stream += frame(Op.PONG, payload[:125])
        elif kind == "parts":
            middle = draw(st.integers(0, len(payload)))
            stream += frame(Op.BINARY, payload[:middle], first=0)
            stream += frame(Op.PING, b"between")
            stream += frame(Op.CONTINUATION, payload[middle:])
            messages.append(payload)
            pings += 1
        else:
            stream += frame(Op.TEXT if kind == "text" else Op.BINARY, payload)
            messages.append(payload)
    return stream, messages, pings


def answered(requests: list[bytes]) -> list[bytes]:
    """What a server says to these upgrades."""
    keys = [request.partition(b"Sec-WebSocket-Key: ")[2][:24] for request in requests]
    assert len(set(keys)) == len(keys)
    return [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n" % b64encode(sha1(key + GUID).digest())
        for key in keys
    ]


@given(
    st.lists(conversations(), min_size=1, max_size=CONNECTIONS),
    st.integers(0, 1 << 32),
    st.sampled_from([1, 7, 64, 1 << 16]),
    st.booleans(),
)
def test_websocket(
    said: list[tuple[bytes, list[bytes], int]], seed: int, cut: int, is_alike: bool
) -> None:
    if is_alike:  # as many subscribers hear one publisher
        said = [said[0]] * CONNECTIONS
    count = len(said)
    transport = WebSocketTransport(count, "/", "localhost", seed=seed)
    numbers, requests = transport.opened(np.arange(count))
    assert numbers.tolist() == list(range(count))
    end = frame(Op.CLOSE, b"\x03\xe9")
    heads = answered(requests.pieces())
    streams = [head + stream + end for head, (stream, _, _) in zip(heads, said, strict=True)]
    heard = hear(transport, streams, seed, cut)
    assert sorted(heard.ready) == list(range(count))
    assert heard.failed == dict.fromkeys(range(count), SAID_CLOSE + 1001)
    for number, (_, messages, pings) in enumerate(said):
        assert heard.messages.get(number, []) == messages
        replies = list(FrameReader(1 << 20).take(heard.replies[number]))  # they are masked
        assert [reply.op for reply in replies] == [Op.PONG] * pings + [Op.CLOSE]


@given(
    st.lists(st.lists(payloads, max_size=5), min_size=1, max_size=CONNECTIONS),
    st.integers(0, 1 << 32),
    st.sampled_from([1, 7, 64, 1 << 16]),
    st.booleans(),
    st.booleans(),
)
def test_events(
    said: list[list[bytes]], seed: int, cut: int, is_chunked: bool, is_alike: bool
) -> None:
    if is_alike:
        said = [said[0]] * CONNECTIONS
    count = len(said)
    transport = EventsTransport(count, "/", "localhost")
    transport.opened(np.arange(count))
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n%b\r\n"
    streams = []
    for messages in said:
        parts = [sse.event(each, b"1-%d" % i) for i, each in enumerate(messages)]
        parts.insert(len(parts) // 2, sse.KEEP_ALIVE)
        if is_chunked:
            parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in parts]
        field = b"Transfer-Encoding: chunked\r\n" if is_chunked else b""
        streams.append(head % field + b"".join(parts))
    heard = hear(transport, streams, seed, cut)
    assert sorted(heard.ready) == list(range(count)) and not heard.failed
    for number, messages in enumerate(said):
        wanted = [each.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for each in messages]
        assert heard.messages.get(number, []) == wanted


PUBLISHED = 5  # by each connection
events = st.lists(
    st.sampled_from(["plain", "sure", "again", "kept", "ping", "ack", "ack"]), max_size=9
)


def server_of(
    number: int, kinds: list[str], acks: list[int]
) -> tuple[list[Packet], list[bytes], list[int]]:
    """What a server says to a connection, and of that payloads, and what is acknowledged."""
    topic, said, heard, ids = b"c1m/7/%d" % number, list[Packet](), list[bytes](), list[int]()
    for at, kind in enumerate(kinds):
        payload = b"%d of %d" % (at, number)
        match kind:
            case "plain" | "kept":
                said.append(Publish(topic, payload, retain=kind == "kept"))
                heard += [payload] * (kind == "plain")
            case "sure":
                said.append(Publish(topic, payload, 1, packet_id=at + 1))
                ids.append(at + 1)
                heard.append(payload)
            case "again" if ids:
                said.append(Publish(topic, b"the same", 1, packet_id=ids[-1], is_again=True))
                ids.append(ids[-1])
            case "ping":
                said.append(Ping(Kind.PINGRESP))
            case "ack" if acks:
                said.append(Acknowledged(Kind.PUBACK, acks.pop(0)))
    return said, heard, ids


@given(
    st.lists(
        st.tuples(events, st.permutations(range(2, 2 + PUBLISHED))),
        min_size=1,
        max_size=CONNECTIONS,
    ),
    st.integers(0, 1 << 32),
    st.sampled_from([1, 7, 64, 1 << 16]),
    st.booleans(),
    st.sampled_from([V311, V5]),
)
def test_mqtt(
    planned: list[tuple[list[str], list[int]]], seed: int, cut: int, is_alike: bool, version: int
) -> None:
    if is_alike:
        planned = [planned[0]] * CONNECTIONS
    count = len(planned)
    transport = MqttTransport(count, Asked("{n}", version, topic="c1m/7/{n}", qos=1))
    numbers, _ = transport.opened(np.arange(count))
    connack, granted = encoded(Connack(), version), Acknowledged(Kind.SUBACK, 1, b"\1")
    heard = hear(transport, [connack] * count, seed, cut, Heard(ready=list(range(count))))
    for number, asking in heard.replies.items():
        topic = b"c1m/7/%d" % number
        assert read([asking], version) == ([Subscribe(1, ((topic, 1),))], 0, False)
    heard = hear(transport, [encoded(granted, version)] * count, seed, cut)
    assert sorted(heard.ready) == list(range(count))
    for _ in range(PUBLISHED):
        transport.wrap(numbers, Ragged.repeat(b"x", count))
    assert transport.awaited == PUBLISHED * count
    said = [server_of(n, kinds, list(acks)) for n, (kinds, acks) in enumerate(planned)]
    end = Disconnect(0x8B) if version == V5 else Connack()  # the latter breaks the protocol
    streams = [b"".join(encoded(p, version) for p in [*all_, end]) for all_, _, _ in said]
    waited = sum(isinstance(p, Acknowledged) for all_, _, _ in said for p in all_)
    heard = hear(transport, [s[: -len(encoded(end, version))] for s in streams], seed, cut, heard)
    assert transport.awaited == PUBLISHED * count - waited
    hear(transport, [encoded(end, version)] * count, seed, cut, heard)
    reason = DISCONNECTED + 0x8B if version == V5 else BROKE_OFF + 0x82
    assert heard.failed == dict.fromkeys(range(count), reason)
    assert transport.awaited == 0
    for number, (_, payloads_, ids) in enumerate(said):
        assert heard.messages.get(number, []) == payloads_
        replies, code, _ = read([heard.replies.get(number, b"")], version)
        assert not code
        assert replies == [Acknowledged(Kind.PUBACK, each) for each in ids]
    assert not [note for note in transport.notes() if "twice" in note or "topic" in note]
