"""Control packets of MQTT 3.1.1 and 5, one by one: the plain form, for both ends. Pure.

Sections are those of MQTT 5.0. Neither QoS 2 nor AUTH is spoken: packets of these are Broken.
Topics, filters and names are bytes of UTF-8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

from c1m.protocols.mqtt.fields import (
    NOTHING,
    PROTOCOL_ERROR,
    TOO_LARGE,
    Broken,
    Fields,
    Properties,
    binary,
    check_filter,
    check_name,
    properties,
    varint,
)

V311, V5 = 4, 5  # protocol levels (3.1.2.2)
RETAIN, QOS, DUP = 0x01, 0x06, 0x08  # of the first byte of a PUBLISH (3.3.1)
FAILURE = 0x80  # reason codes from here on say that something was not done (2.4)


class Kind(IntEnum):
    """Packet types (2.1.2), those that are spoken."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


@dataclass(frozen=True, slots=True)
class Will:
    """What the server is to publish when the connection ends without DISCONNECT (3.1.2.5)."""

    topic: bytes
    message: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connect:
    """CONNECT (3.1)."""

    client_id: bytes
    version: int = V311
    keep_alive_s: int = 0
    is_clean: bool = True
    user: bytes | None = None
    password: bytes | None = field(default=None, repr=False)
    will: Will | None = None
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Connack:
    """CONNACK (3.2)."""

    code: int = 0
    has_session: bool = False
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Publish:
    """PUBLISH (3.3); `packet_id` 0 where QoS is 0."""

    topic: bytes
    payload: bytes
    qos: int = 0
    retain: bool = False
    packet_id: int = 0
    is_again: bool = False  # DUP
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE (3.8): filters and their options, of which 3.1.1 knows QoS only."""

    packet_id: int
    filters: tuple[tuple[bytes, int], ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """UNSUBSCRIBE (3.10)."""

    packet_id: int
    filters: tuple[bytes, ...]
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """PUBACK (3.4), SUBACK (3.9) or UNSUBACK (3.11): a code for each thing that was asked for;
    none in an UNSUBACK of 3.1.1."""

    kind: Kind
    packet_id: int
    codes: bytes = b"\0"
    properties: Properties = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """PINGREQ or PINGRESP (3.12, 3.13)."""

    kind: Kind = Kind.PINGREQ


@dataclass(frozen=True, slots=True)
class Disconnect:
    """DISCONNECT (3.14)."""

    code: int = 0
    properties: Properties = field(default_factory=dict)


Packet = (
    Connect | Connack | Publish | Subscribe | Unsubscribe | Acknowledged | Ping | Disconnect
)  # fmt: skip

# The lower half of a packet's first byte, where it is no PUBLISH (2.1.3).
_FLAGS = {kind: 2 if kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) else 0 for kind in Kind}


# --- written ------------------------------------------------------------------------------------


def encoded(packet: Packet, version: int) -> bytes:
    """The packet's bytes, as this version of the protocol has them."""
    said = _said(version)
    match packet:
        case Connect():
            return _framed(Kind.CONNECT << 4, _connect(packet))
        case Connack():
            body = bytes((packet.has_session, packet.code)) + said(packet.properties)
            return _framed(Kind.CONNACK << 4, body)
        case Publish():
            first = Kind.PUBLISH << 4 | packet.is_again << 3 | packet.qos << 1 | packet.retain
            id_ = packet.packet_id.to_bytes(2, "big") if packet.qos else b""
            body = binary(packet.topic) + id_ + said(packet.properties) + packet.payload
            return _framed(first, body)
        case Subscribe():
            filters = b"".join(binary(name) + bytes((how,)) for name, how in packet.filters)
            return _asked(Kind.SUBSCRIBE, packet, said(packet.properties) + filters)
        case Unsubscribe():
            filters = b"".join(map(binary, packet.filters))
            return _asked(Kind.UNSUBSCRIBE, packet, said(packet.properties) + filters)
        case Acknowledged():
            return _framed(packet.kind << 4, _acknowledged(packet, version))
        case Ping():
            return bytes((packet.kind << 4, 0))
    body = bytes((packet.code,)) + said(packet.properties)
    return _framed(Kind.DISCONNECT << 4, body if version == V5 and body != b"\0\0" else b"")


def _said(version: int) -> Callable[[Properties], bytes]:
    return properties if version == V5 else lambda _: b""


def _framed(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def _asked(kind: Kind, packet: Subscribe | Unsubscribe, rest: bytes) -> bytes:
    return _framed(kind << 4 | _FLAGS[kind], packet.packet_id.to_bytes(2, "big") + rest)


def _connect(packet: Connect) -> bytes:
    said, will = _said(packet.version), packet.will
    flags = packet.is_clean << 1 | (packet.user is not None) << 7
    flags |= (packet.password is not None) << 6
    parts = [said(packet.properties), binary(packet.client_id)]
    if will is not None:
        flags |= 4 | will.qos << 3 | will.retain << 5
        parts += [said(will.properties), binary(will.topic), binary(will.message)]
    parts += [binary(each) for each in (packet.user, packet.password) if each is not None]
    head = b"\0\x04MQTT" + bytes((packet.version, flags)) + packet.keep_alive_s.to_bytes(2, "big")
    return head + b"".join(parts)


def _acknowledged(packet: Acknowledged, version: int) -> bytes:
    id_ = packet.packet_id.to_bytes(2, "big")
    if version != V5:
        return id_ + (packet.codes if packet.kind == Kind.SUBACK else b"")
    if packet.kind == Kind.PUBACK:  # the code may be left out, and the properties behind it
        code = packet.codes if packet.codes != b"\0" or packet.properties else b""
        return id_ + code + (properties(packet.properties) if packet.properties else b"")
    return id_ + properties(packet.properties) + packet.codes


# --- read ---------------------------------------------------------------------------------------


def decoded(first: int, body: bytes, version: int) -> Packet:
    """A whole packet. Raises Broken for what is none of this version."""
    kind, fields = kind_of(first), Fields(body)
    packet = _decoded(kind, first, fields, version)
    if fields:
        raise Broken(f"{kind.name} has {len(fields.rest()):,} bytes too many.")
    return packet


def kind_of(first: int) -> Kind:
    """A packet's type by its first byte. Raises Broken for what is not spoken."""
    number, flags = first >> 4, first & 15
    if number not in _FLAGS:
        raise Broken(f"A packet of type {number} is not spoken here.", PROTOCOL_ERROR)
    kind = Kind(number)
    if kind == Kind.PUBLISH:
        if flags & QOS == QOS or (flags & DUP and not flags & QOS):
            raise Broken("The flags of a PUBLISH say what they cannot.")
        if flags & QOS == 4:
            raise Broken("A message has QoS 2, which is not spoken here.", 0x9B)
    elif flags != _FLAGS[kind]:
        raise Broken(f"The flags of {kind.name} are {flags}.")
    return kind


def _decoded(kind: Kind, first: int, fields: Fields, version: int) -> Packet:
    has = version == V5
    match kind:
        case Kind.CONNECT:
            return _read_connect(fields)
        case Kind.CONNACK:
            flags, code = fields.number(1), fields.number(1)
            if flags > 1 or (flags and code):
                raise Broken("The flags of CONNACK say what they cannot.")
            return Connack(code, bool(flags), fields.properties("CONNACK") if has else NOTHING)
        case Kind.PUBLISH:
            return _read_publish(first, fields, has)
        case Kind.SUBSCRIBE | Kind.UNSUBSCRIBE:
            return _read_asked(kind, fields, has)
        case Kind.PUBACK | Kind.SUBACK | Kind.UNSUBACK:
            return _read_acknowledged(kind, fields, has)
        case Kind.PINGREQ | Kind.PINGRESP:
            return Ping(kind)
    code = fields.number(1) if has and fields else 0
    return Disconnect(code, fields.properties("DISCONNECT") if has and fields else NOTHING)


def _read_connect(fields: Fields) -> Connect:
    name, version = fields.text(), fields.number(1)
    if name != b"MQTT" or version not in (V311, V5):
        raise Broken(f"The protocol is {name[:10]!r}, version {version}.", 0x84)
    flags, keep_alive = fields.number(1), fields.number(2)
    has_will, has_user, has_password = flags & 4, flags & 0x80, flags & 0x40
    if flags & 1 or (not has_will and flags & 0x38) or flags & 0x18 == 0x18:
        raise Broken("The flags of CONNECT say what they cannot.")
    if version == V311 and has_password and not has_user:
        raise Broken("There is a password without a user.")
    said = fields.properties("CONNECT") if version == V5 else NOTHING
    client_id, will = fields.text(), None
    if has_will:
        about = fields.properties("will") if version == V5 else NOTHING
        topic, message = fields.text(), fields.binary()
        check_name(topic)
        will = Will(topic, message, flags >> 3 & 3, bool(flags & 0x20), about)
    user = fields.text() if has_user else None
    password = fields.binary() if has_password else None
    return Connect(client_id, version, keep_alive, bool(flags & 2), user, password, will, said)


def _read_publish(first: int, fields: Fields, has: bool) -> Publish:
    topic, qos = fields.text(), first >> 1 & 3
    check_name(topic)
    packet_id = _packet_id(fields) if qos else 0
    said = fields.properties("PUBLISH") if has else NOTHING
    if not topic and "topic_alias" not in said:
        raise Broken("A message has no topic.", PROTOCOL_ERROR)
    is_again = bool(first & DUP)
    return Publish(topic, fields.rest(), qos, bool(first & RETAIN), packet_id, is_again, said)


def _read_asked(kind: Kind, fields: Fields, has: bool) -> Subscribe | Unsubscribe:
    packet_id = _packet_id(fields)
    said = fields.properties(kind.name) if has else NOTHING
    filters: list[tuple[bytes, int]] = []
    while fields:
        name = fields.text()
        check_filter(name)
        how = fields.number(1) if kind == Kind.SUBSCRIBE else 0
        if how & 3 == 3 or how & (0xC0 if has else 0xFC) or how & 0x30 == 0x30:
            raise Broken(f"The options of a subscription are {how}.")
        filters.append((name, how))
    if not filters:
        raise Broken(f"{kind.name} has no filter.", PROTOCOL_ERROR)
    if kind == Kind.SUBSCRIBE:
        return Subscribe(packet_id, tuple(filters), said)
    return Unsubscribe(packet_id, tuple(name for name, _ in filters), said)


def _read_acknowledged(kind: Kind, fields: Fields, has: bool) -> Acknowledged:
    packet_id = _packet_id(fields)
    if kind == Kind.PUBACK:
        code = fields.take(1) if has and fields else b"\0"
        said = fields.properties("PUBACK") if has and fields else NOTHING
        return Acknowledged(kind, packet_id, code, said)
    said = fields.properties(kind.name) if has else NOTHING
    codes = fields.rest() if has or kind == Kind.SUBACK else b""
    if not codes and (has or kind == Kind.SUBACK):
        raise Broken(f"{kind.name} has no code.")
    if not has and any(code not in (0, 1, 2, FAILURE) for code in codes):
        raise Broken("A code of SUBACK is none of 3.1.1.")
    return Acknowledged(kind, packet_id, codes, said)


def _packet_id(fields: Fields) -> int:
    number = fields.number(2)
    if not number:
        raise Broken("A packet's identifier is 0.")
    return number


# --- a stream -----------------------------------------------------------------------------------


class PacketReader:
    """Takes a connection's stream apart. Made when there is something unfinished.

    A packet of more than `packet_max` bytes behind its header is refused by its header, so no more
    than that is kept.
    """

    __slots__ = ("_max", "_pending")

    def __init__(self, packet_max: int) -> None:
        self._max = packet_max
        self._pending = bytearray()

    def __bool__(self) -> bool:
        """Whether anything is unfinished."""
        return bool(self._pending)

    def take(self, piece: bytes) -> Iterator[tuple[int, bytes]]:
        """First byte and body of each packet that is whole with this piece. Raises Broken, behind
        what was before it; then nothing more is to be given."""
        pending = self._pending
        pending += piece
        at = 0
        try:
            while at < len(pending):
                head = header_at(pending, at, self._max)
                if head is None or head[1] > len(pending):
                    return
                start, end = head
                first, at = pending[at], end
                yield first, bytes(pending[start:end])
        finally:
            del pending[:at]


def header_at(stream: bytes | bytearray, at: int, packet_max: int) -> tuple[int, int] | None:
    """Where the body of the packet at `at` starts and ends; None: its header is not all there.

    Raises Broken for what no packet begins with (2.1).
    """
    kind_of(stream[at])
    size = 0
    for place in range(at + 1, min(at + 5, len(stream))):
        byte = stream[place]
        size |= (byte & 127) << 7 * (place - at - 1)
        if byte < 128:
            if not byte and place > at + 1:
                raise Broken("A length has more bytes than it needs.")
            if size > packet_max:
                raise Broken(f"A packet has {size:,} bytes; at most {packet_max:,}.", TOO_LARGE)
            return place + 1, place + 1 + size
    if len(stream) >= at + 5:
        raise Broken("A length has more than four bytes.")
    return None
