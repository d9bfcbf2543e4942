"""Packets of MQTT, right and wrong, and how others read them."""

from __future__ import annotations

import mqtt5
from hypothesis import strategies as st

from c1m.protocols.mqtt.fields import Broken
from c1m.protocols.mqtt.packets import (
    V5,
    Acknowledged,
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    PacketReader,
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
    decoded,
    encoded,
)

PACKET_MAX = 1 << 16
ids = st.integers(1, 65535)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).map(
    str.encode
)
names = st.one_of(
    st.sampled_from([b"a", b"c1m/7/12", b"fleet/3/status", b"$SYS/x"]),
    texts.filter(lambda text: text and not set(b"+#") & set(text)),
)
filters = st.one_of(names, st.sampled_from([b"#", b"+/a", b"a/+/b", b"a/#", b"+"]))
payloads = st.one_of(st.binary(max_size=60), st.integers(100, 20_000).map(bytes))
pairs = st.lists(st.tuples(texts, texts), min_size=1, max_size=2)
_identifiers = st.lists(st.integers(1, 1 << 20), min_size=1, max_size=2)


def some(**kinds: st.SearchStrategy) -> st.SearchStrategy[dict]:  # type: ignore[type-arg]
    """Some properties of these."""
    return st.one_of(st.just({}), st.fixed_dictionaries({}, optional=kinds))


# mqtt5 leaves out what is the default.
SOME_U16, SOME_U32 = st.integers(1, 65534), st.integers(1, (1 << 32) - 1)
_acknowledged = some(reason_string=texts, user_property=pairs)
_about = {
    "payload_format": st.just(1), "message_expiry": SOME_U32, "content_type": texts,
    "response_topic": names, "correlation_data": st.binary(max_size=9), "user_property": pairs,
}  # fmt: skip
qos = st.integers(0, 1)


@st.composite
def packets(draw: st.DrawFn, version: int = V5) -> Packet:
    """Any packet that is spoken."""

    def said(kinds: st.SearchStrategy) -> dict:  # type: ignore[type-arg]
        return draw(kinds) if version == V5 else {}

    match draw(st.sampled_from(list(Kind))):
        case Kind.CONNECT:
            user = draw(st.none() | texts)
            password = draw(st.none() | st.binary(max_size=9)) if user is not None else None
            will = None
            if draw(st.booleans()):
                about = said(some(will_delay=SOME_U32, **_about))
                will = Will(
                    draw(names), draw(st.binary(max_size=9)), draw(qos), draw(st.booleans()), about
                )
            properties = said(some(
                session_expiry=SOME_U32, receive_maximum=SOME_U16, topic_alias_maximum=SOME_U16,
                maximum_packet_size=SOME_U32, user_property=pairs,
            ))  # fmt: skip
            return Connect(
                draw(texts), version, draw(st.integers(0, 65535)), draw(st.booleans()), user,
                password, will, properties,
            )  # fmt: skip
        case Kind.CONNACK:
            code = draw(
                st.sampled_from([0, 0x80, 0x87, 0x89]) if version == V5 else st.integers(0, 5)
            )
            properties = said(some(
                session_expiry=SOME_U32, receive_maximum=SOME_U16, server_keep_alive=SOME_U16,
                assigned_client_id=texts, reason_string=texts, user_property=pairs,
            ))  # fmt: skip
            return Connack(code, not code and draw(st.booleans()), properties)
        case Kind.PUBLISH:
            has = draw(qos)
            properties = said(some(**_about, subscription_identifier=_identifiers))
            return Publish(
                draw(names), draw(payloads), has, draw(st.booleans()), draw(ids) if has else 0,
                bool(has) and draw(st.booleans()), properties,
            )  # fmt: skip
        case Kind.SUBSCRIBE:
            how = st.integers(0, 2) if version != V5 else st.sampled_from([0, 1, 5, 9, 0x11, 0x2D])
            rows = st.lists(st.tuples(filters, how), min_size=1, max_size=3)
            return Subscribe(draw(ids), tuple(draw(rows)), said(some(user_property=pairs)))
        case Kind.UNSUBSCRIBE:
            left = draw(st.lists(filters, min_size=1, max_size=3))
            return Unsubscribe(draw(ids), tuple(left), said(some(user_property=pairs)))
        case Kind.PUBACK:
            code = draw(st.sampled_from([0, 0x10, 0x87])) if version == V5 else 0
            return Acknowledged(Kind.PUBACK, draw(ids), bytes((code,)), said(_acknowledged))
        case Kind.SUBACK:
            codes = draw(st.lists(st.sampled_from([0, 1, 2, 0x80]), min_size=1, max_size=3))
            return Acknowledged(Kind.SUBACK, draw(ids), bytes(codes), said(_acknowledged))
        case Kind.UNSUBACK:
            codes = draw(st.lists(st.sampled_from([0, 0x11, 0x80]), min_size=1, max_size=3))
            return Acknowledged(
                Kind.UNSUBACK,
                draw(ids),
                bytes(codes) if version == V5 else b"",
                said(_acknowledged),
            )
        case Kind.DISCONNECT:
            code = draw(st.sampled_from([0, 4, 0x82, 0x8E])) if version == V5 else 0
            properties = said(
                some(session_expiry=SOME_U32, reason_string=texts, user_property=pairs)
            )
            return Disconnect(code, properties)
        case kind:
            return Ping(kind)


def read(
    pieces: list[bytes], version: int, packet_max: int = PACKET_MAX
) -> tuple[list[Packet], int, bool]:
    """What the plain form makes of a stream: packets, the code of what was wrong (0: nothing), and
    whether anything is unfinished."""
    reader = PacketReader(packet_max)
    found: list[Packet] = []
    try:
        for piece in pieces:
            for first, body in reader.take(piece):
                found.append(decoded(first, body, version))
    except Broken as broken:
        return found, broken.code, False
    return found, 0, bool(reader)


def read_by_mqtt5(stream: bytes) -> list[bytes] | None:
    """Packets of MQTT 5 as another codec reads and writes them again; None: it finds a mistake."""
    found = []
    while stream:
        try:
            packet, size = mqtt5.read(memoryview(stream))
        except (ValueError, IndexError):
            return None
        found.append(packet.write())
        stream = stream[size:]
    return found


def canonical(packet: Packet) -> bytes:
    """As `encoded`, for comparing with a codec that writes properties in another order."""
    return bytes(sorted(encoded(packet, V5)))
