"""MQTT 3.1.1 and 5 between connections and a scenario, with QoS 0 and 1. Pure.

A scenario says and hears payloads: where they go to and come from is this transport's affair. What
comes in a tick is taken by arrays as far as it is whole messages, acknowledgements and PINGRESPs;
all else, and a few pieces only, one by one. Sections are those of MQTT 5.0.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from c1m.engine.ragged import Bytes, Ragged
from c1m.errors import UsageError
from c1m.limits.mqtt_reasons import (
    BROKE_OFF,
    DISCONNECTED,
    NO_PINGRESP,
    NOT_MQTT,
    NOT_SUBSCRIBED,
    REFUSED,
    of_code,
)
from c1m.loadgen.transports.base import MESSAGE_MAX, SAID_MAX, Rows, Taken, Transport, Where
from c1m.loadgen.transports.mqtt_state import Acknowledgements, KeepAlive
from c1m.protocols.mqtt.batch import (
    Field,
    Packets,
    acknowledgements,
    ids_of,
    messages_of,
    number_column,
    packets_of,
    whole_packets,
)
from c1m.protocols.mqtt.fields import PROTOCOL_ERROR, STRING_MAX, Broken, binary, matches
from c1m.protocols.mqtt.packets import (
    FAILURE,
    RETAIN,
    V5,
    V311,
    Acknowledged,
    Connack,
    Disconnect,
    Kind,
    Packet,
    PacketReader,
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
    decoded,
    encoded,
)
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.messages import Message, Numbers
from c1m.units import format_count, format_number_of

# A connection's kind. ODD: and it has a reader of its own.
NONE, SHAKING, SUBSCRIBING, OPEN, ODD = 0, 1, 2, 3, 8

FEW = 4  # pieces that are taken one by one
FIRST_ID = 1  # of the SUBSCRIBE
_PUBLISH, _PUBACK, _PINGRESP = Kind.PUBLISH << 4, Kind.PUBACK << 4, Kind.PINGRESP << 4


@dataclass(frozen=True, slots=True)
class Asked:
    """What connections say of themselves, with {n} in texts; see the options of the same names."""

    client_id: str
    version: int = V311
    user: str | None = None
    password: str | None = None
    will: tuple[str, str] | None = None  # topic and message
    keep_alive_s: int = 60
    topic: str = ""  # where is published, and what is subscribed to; "": neither
    subscribes: bool = True
    qos: int = 0
    retain: bool = False
    timeout_ns: int = 30_000_000_000

    def __repr__(self) -> str:
        return f"Asked({self.client_id!r})"  # nothing that is secret


class MqttTransport(Transport):
    """Up to `count` connections.

    `in_packets`: the scenario is a conversation, which says and hears whole packets as those of
    MQTT 5. They are given identifiers here, and made packets of the version that is spoken.
    """

    def __init__(
        self, count: int, asked: Asked, seed: int = 0, *, in_packets: bool = False,
        first: int = 0,
    ) -> None:  # fmt: skip
        self._asked, self._count, self._seed, self._shift = asked, count, seed, first
        self._in_packets = in_packets
        self._has_properties = asked.version == V5
        self._behind = b"\0" * self._has_properties  # where no property is said
        self._connect = self._connect_fields()
        self._topic = self._text(asked.topic, is_kept=True)
        self._first = _PUBLISH | asked.qos << 1 | asked.retain
        self._kinds = np.zeros(count, np.uint8)
        self._readers: dict[int, PacketReader] = {}  # of those that are ODD
        self._connack = b""  # the last good one
        granted = Acknowledged(Kind.SUBACK, FIRST_ID, bytes((asked.qos,)))
        self._suback = encoded(granted, asked.version)
        has_ids = asked.qos or in_packets
        self._acks = Acknowledgements(count) if has_ids else None
        self._heard = np.zeros(count if has_ids else 0, np.uint16)  # the last identifier
        self._alive = KeepAlive(count, asked.keep_alive_s, asked.timeout_ns)
        self.tick_ns = self._alive.tick_ns
        self._counts: Counter[str] = Counter()
        self._refused: Counter[int] = Counter()  # publications, by code
        self._odd_topic = ""  # the first that nobody had asked for

    def _text(self, template: str, *, is_kept: bool = False) -> bytes | Message:
        """A string for each connection, behind its length. Raises UsageError for what is none."""
        if not template:
            return binary(b"")
        made = Message(
            template, self._count, self._seed, prefix=2, is_kept=is_kept, first=self._shift
        )
        if made.has_seq or made.has_any:
            raise UsageError(
                "What each connection says once (topic, client id, user, password, will) has {seq} "
                "or {any} in it.",
                "Use {n} or {random:8} there.",
            )
        if made.size_max > STRING_MAX:
            raise UsageError("A text has more than MQTT's 65,535 bytes.", "Give a shorter one.")
        return made if "{" in template or "}" in template else made.one(0)

    # --- opening ------------------------------------------------------------------------------

    def _connect_fields(self) -> list[bytes | Message]:
        """What a CONNECT consists of (3.1)."""
        asked = self._asked
        flags = 2 | (asked.user is not None) << 7 | (asked.password is not None) << 6
        texts = [asked.client_id]
        if asked.will is not None:
            flags |= 4 | asked.qos << 3 | asked.retain << 5
            texts += asked.will
        texts += [text for text in (asked.user, asked.password) if text is not None]
        head = b"\0\x04MQTT" + bytes((asked.version, flags))
        fields: list[bytes | Message] = [head + asked.keep_alive_s.to_bytes(2, "big")]
        fields += [self._behind, *map(self._text, texts)]
        if asked.will is not None:
            fields.insert(3, self._behind)
        return fields

    def _each(self, fields: list[bytes | Message], numbers: Numbers) -> list[Field]:
        zeros = np.zeros(len(numbers), np.int64)
        return [each if isinstance(each, bytes) else each.pieces(numbers, zeros) for each in fields]

    def opened(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: all of them say CONNECT."""
        self._kinds[numbers] = SHAKING
        self._alive.said(numbers)
        fields = self._each(self._connect, numbers)
        return numbers, packets_of(Kind.CONNECT << 4, len(numbers), fields)

    def _subscribe(self, numbers: Numbers) -> Ragged:
        """A SUBSCRIBE of each (3.8)."""
        self._kinds[numbers] = SUBSCRIBING
        id_, how = FIRST_ID.to_bytes(2, "big"), bytes((self._asked.qos,))
        fields = self._each([id_, self._behind, self._topic, how], numbers)
        return packets_of(Kind.SUBSCRIBE << 4 | 2, len(numbers), fields)

    def _connected(self, numbers: Numbers, taken: Taken) -> None:
        """Their CONNACK has come, and is a good one."""
        if self._acks is not None:
            self._acks.begin(numbers, FIRST_ID)
        if self._asked.subscribes:
            taken.replies.append((numbers, self._subscribe(numbers)))
        else:
            self._ready(numbers, taken)

    def _ready(self, numbers: Numbers, taken: Taken) -> None:
        self._kinds[numbers] = OPEN
        taken.ready = np.concatenate((taken.ready, numbers))

    # --- receiving ----------------------------------------------------------------------------

    def take(self, numbers: Numbers, data: Ragged) -> Taken:
        """See Transport."""
        taken, rows = Taken(), Rows()
        if len(numbers) <= FEW or self._in_packets:
            self._take_some(numbers, data, np.ones(len(numbers), np.bool_), taken, rows)
        else:
            kinds = self._kinds.take(numbers)
            is_open = kinds == OPEN
            if not is_open.all():
                self._take_handshakes(numbers, data, kinds, taken, rows)
                numbers, data = numbers[is_open], data.take(is_open)
            if len(numbers):
                self._take_open(numbers, data, taken, rows)
        rows.into(taken)
        return taken

    def _take_handshakes(
        self, numbers: Numbers, data: Ragged, kinds: Bytes, taken: Taken, rows: Rows
    ) -> None:
        """Pieces of connections that are not open yet, or have something unfinished."""
        left = kinds != OPEN
        for kind, good, then in (
            (SHAKING, self._connack, self._connected), (SUBSCRIBING, self._suback, self._ready)
        ):  # fmt: skip
            is_it = left & (kinds == kind)
            if good and is_it.any():
                at = np.flatnonzero(is_it & equal_to(data, good))
                at = at[np.unique(numbers[at], return_index=True)[1]]  # a second one is a mistake
                then(numbers[at], taken)
                left[at] = False
        self._take_some(numbers, data, left, taken, rows)

    def _take_open(self, numbers: Numbers, data: Ragged, taken: Taken, rows: Rows) -> None:
        """Pieces of connections that are open and have nothing unfinished."""
        found = whole_packets(data, MESSAGE_MAX)
        is_message = (found.firsts & 0xFC) == _PUBLISH
        some = found if is_message.all() else found.take(is_message)
        messages = messages_of(some.firsts, some.bodies, self._asked.version)
        slow = ~found.is_plain
        slow[some.rows[~messages.is_plain]] = True
        if len(some.rows) < len(found.rows):
            is_ack = (found.firsts == _PUBACK) & (found.bodies.lengths == 2)
            is_pong = (found.firsts == _PINGRESP) & (found.bodies.lengths == 0)
            slow[found.rows[~(is_message | is_ack | is_pong)]] = True
        if slow.any():
            slow |= np.isin(numbers, numbers[slow])  # the order within a connection
            self._take_some(numbers, data, slow, taken, rows)
            keeps = ~slow
            self._take_open(numbers[keeps], data.take(keeps), taken, rows)
            return
        if len(some.rows) < len(found.rows):
            if is_ack.any() and self._acks is not None:
                acks = found.take(is_ack)
                self._acks.take(numbers[acks.rows], ids_of(acks.bodies))
            self._alive.answered(numbers[found.rows[is_pong]])
        if len(some.rows):
            topics = messages.topics
            named = Ragged(topics.memory, topics.offsets - 2, topics.lengths + 2, topics.address)
            self._hear(numbers[some.rows], some, named, messages.payloads, messages.ids, taken)

    def _hear(
        self, numbers: Numbers, packets: Packets, topics: Ragged, payloads: Ragged, ids: Numbers,
        taken: Taken,
    ) -> None:  # fmt: skip
        """Messages that came, each for the first time as far as it says; `topics` with lengths."""
        has_id = ids > 0
        if has_id.any():
            who, which = (numbers, ids) if has_id.all() else (numbers[has_id], ids[has_id])
            taken.replies.append((who, acknowledgements(Kind.PUBACK, which)))
            if self._acks is not None:
                self._heard[who] = which
            self._alive.said(who)
        topic = self._topic
        if isinstance(topic, Message):
            zeros = np.zeros(len(numbers), np.int64)
            is_ours = topic.equal(numbers, zeros, topics)
            are_ours = None if is_ours else topic.matching(numbers, zeros, topics)
        else:
            are_ours = equal_to(topics, topic)
        if are_ours is not None and not are_ours.all():
            for row in np.flatnonzero(~are_ours).tolist():
                self._check_topic(int(numbers[row]), topics.piece(row)[2:])
        kept = (packets.firsts & RETAIN) == 0
        if not kept.all():
            self._counts["retained"] += int(np.count_nonzero(~kept))
            numbers, payloads = numbers[kept], payloads.take(kept)
        if len(numbers):
            taken.messages.append((numbers, payloads))

    # --- one by one ---------------------------------------------------------------------------

    def _take_some(
        self, numbers: Numbers, data: Ragged, which: Where, taken: Taken, rows: Rows
    ) -> None:
        for row in np.flatnonzero(which).tolist():
            number = int(numbers[row])
            if self._kinds[number] != NONE:
                self._take_piece(number, data.piece(row), taken, rows)

    def _take_piece(self, number: int, piece: bytes, taken: Taken, rows: Rows) -> None:
        reader = self._readers.pop(number, None) or PacketReader(MESSAGE_MAX)
        self._kinds[number] &= ODD - 1
        try:
            for first, body in reader.take(piece):
                if not self._take_packet(number, first, body, taken, rows):
                    return
        except Broken as broken:
            self._break_off(number, broken, piece, taken, rows)
            return
        if reader:
            self._readers[number] = reader
            self._kinds[number] |= ODD

    def _break_off(
        self, number: int, broken: Broken, piece: bytes, taken: Taken, rows: Rows
    ) -> None:
        if self._kinds[number] == SHAKING:  # nothing of MQTT has come
            self._fail(number, NOT_MQTT, taken, piece)
            return
        if self._has_properties:
            rows.last_words.append((number, encoded(Disconnect(broken.code), V5)))
        self._fail(number, BROKE_OFF + broken.code, taken, str(broken).encode())

    def _take_packet(self, number: int, first: int, body: bytes, taken: Taken, rows: Rows) -> bool:
        """One packet; whether any more is to be taken of this connection."""
        packet, kind = decoded(first, body, self._asked.version), int(self._kinds[number])
        if kind == SHAKING:
            if not isinstance(packet, Connack):
                raise Broken("The first packet is no CONNACK.", PROTOCOL_ERROR)
            return self._take_connack(number, packet, taken, first, body)
        match packet:
            case Publish():
                self._publication(number, packet, rows)
            case Acknowledged(kind=Kind.PUBACK):
                self._acknowledged(number, packet, rows)
            case Acknowledged(kind=Kind.SUBACK) if kind == SUBSCRIBING:
                return self._take_suback(number, packet, taken)
            case Acknowledged() if self._in_packets:
                self._acknowledged(number, packet, rows)
            case Ping(kind=Kind.PINGRESP):
                self._alive.answered(np.array([number]))
            case Disconnect() if self._has_properties:
                self._fail(number, DISCONNECTED + packet.code, taken, _reason(packet))
                return False
            case _:
                raise Broken("A server does not say that.", PROTOCOL_ERROR)
        return True

    def _take_connack(
        self, number: int, packet: Connack, taken: Taken, first: int, body: bytes
    ) -> bool:
        if packet.code:
            self._fail(number, REFUSED + packet.code, taken, _reason(packet))
            return False
        if packet.properties.get("maximum_qos", 2) < self._asked.qos:
            self._fail(number, REFUSED + 0x9B, taken, b"")
            return False
        keep_alive_s = packet.properties.get("server_keep_alive")  # 3.2.2.3.14
        if keep_alive_s is not None:
            self._alive.shorten(keep_alive_s)
        self._connack = bytes((first, len(body))) + body if len(body) < 128 else b""
        self._connected(np.array([number]), taken)
        return True

    def _take_suback(self, number: int, packet: Acknowledged, taken: Taken) -> bool:
        code = packet.codes[0]
        if packet.packet_id != FIRST_ID or len(packet.codes) != 1:
            raise Broken("A SUBACK is for something else.", PROTOCOL_ERROR)
        if code >= FAILURE:
            self._fail(number, NOT_SUBSCRIBED + code, taken, _reason(packet))
            return False
        self._counts["less"] += code < self._asked.qos
        self._ready(np.array([number]), taken)
        return True

    def _publication(self, number: int, packet: Publish, rows: Rows) -> None:
        if not packet.topic:
            raise Broken("A topic alias came, and none was allowed.", 0x94)
        if packet.qos:
            ack = Acknowledged(Kind.PUBACK, packet.packet_id)
            rows.replies.append((number, encoded(ack, self._asked.version)))
            self._alive.said(np.array([number]))
            if self._acks is not None:
                is_known = int(self._heard[number]) == packet.packet_id
                self._heard[number] = packet.packet_id
                if packet.is_again and is_known:
                    self._counts["again"] += 1
                    return
        if self._in_packets:
            rows.messages.append((number, encoded(packet, V5)))
            return
        self._check_topic(number, packet.topic)
        if packet.retain:
            self._counts["retained"] += 1
        else:
            rows.messages.append((number, packet.payload))

    def _check_topic(self, number: int, topic: bytes) -> None:
        """Whether a connection has asked for it: if not, that is noted, and its scenario says what
        becomes of the message."""
        due = self._topic if isinstance(self._topic, bytes) else self._topic.one(number)
        if not self._asked.subscribes or not matches(due[2:], topic):
            if not self._counts["topic"]:
                self._odd_topic = f"{topic[:80].decode(errors='replace')!r} on connection {number}"
            self._counts["topic"] += 1

    def _acknowledged(self, number: int, packet: Acknowledged, rows: Rows) -> None:
        if self._in_packets:  # an UNSUBACK of 3.1.1 has no code
            packet = replace(packet, codes=packet.codes or b"\0")
            rows.messages.append((number, encoded(packet, V5)))
        elif packet.codes[0] >= FAILURE:
            self._refused[packet.codes[0]] += 1
        if self._acks is None:
            self._counts["stray"] += 1
        else:
            self._acks.take(np.array([number]), np.array([packet.packet_id]))

    # --- sending ------------------------------------------------------------------------------

    def wrap(self, numbers: Numbers, messages: Ragged) -> Ragged:
        """See Transport: a PUBLISH each (3.3)."""
        self._alive.said(numbers)
        if self._in_packets:
            pairs = zip(numbers.tolist(), messages.pieces(), strict=True)
            return Ragged.of([self._packet(number, each) for number, each in pairs])
        fields = self._each([self._topic], numbers)
        if self._acks is not None:
            fields.append(number_column(self._acks.next(numbers)))
        return packets_of(self._first, len(numbers), [*fields, self._behind, messages])

    def _packet(self, number: int, said: bytes) -> bytes:
        """One that a conversation says, with an identifier, as this version has it; or nothing."""
        if not said:
            return b""
        ((first, body),) = PacketReader(MESSAGE_MAX).take(said)
        packet = decoded(first, body, V5)
        assert isinstance(packet, Publish | Subscribe | Unsubscribe)
        if packet.packet_id and self._acks is not None:
            packet = replace(packet, packet_id=int(self._acks.next(np.array([number]))[0]))
        return encoded(packet, self._asked.version)

    def farewell(self, numbers: Numbers) -> tuple[Numbers, Ragged]:
        """See Transport: DISCONNECT (3.14), so that no will is published."""
        return numbers, Ragged.repeat(encoded(Disconnect(), self._asked.version), len(numbers))

    # --- the clock ----------------------------------------------------------------------------

    def due(self, now_ns: int) -> Taken:
        """See Transport: PINGREQs (3.12), and those whose PINGRESP has not come."""
        taken, alive = Taken(), self._alive
        for part in alive.parts(now_ns):
            are_open = (self._kinds[part] & (ODD - 1)) == OPEN
            pinging, failed = alive.look_at(part, are_open)
            if len(pinging):
                ping = encoded(Ping(), self._asked.version)
                taken.replies.append((pinging, Ragged.repeat(ping, len(pinging))))
            for number in failed.tolist():
                self._fail(number, NO_PINGRESP, taken, b"")
        return taken

    @property
    def awaited(self) -> int:
        """See Transport: PUBACKs."""
        return 0 if self._acks is None else self._acks.awaited

    # --- ends ---------------------------------------------------------------------------------

    def _fail(self, number: int, reason: int, taken: Taken, said: bytes) -> None:
        self.gone(np.array([number]))
        taken.failed.append((number, reason))
        taken.said.setdefault(reason, said[:SAID_MAX].decode("utf-8", "replace").strip())

    def gone(self, numbers: Numbers) -> None:
        """See Transport."""
        if self._readers:
            for number in numbers[self._kinds.take(numbers) >= ODD].tolist():
                self._readers.pop(number, None)
        self._kinds[numbers] = NONE
        self._alive.gone(numbers)
        if self._acks is not None:
            self._acks.gone(numbers)

    def notes(self) -> list[str]:
        """See Transport."""
        notes = [
            f"The server refused {format_number_of(count, 'publication', 'publications')}: "
            f"{of_code(code)} (0x{code:02x})."
            for code, count in sorted(self._refused.items())
        ]
        if self.awaited:
            left = format_number_of(self.awaited, "publication was", "publications were")
            notes.append(f"{left} not acknowledged (no PUBACK came).")
        stray = self._counts["stray"] + (self._acks.stray if self._acks is not None else 0)
        if stray:
            came = format_number_of(stray, "PUBACK", "PUBACKs")
            notes.append(f"{came} came for what was not published, or twice.")
        if count := self._counts["topic"]:
            came = format_number_of(count, "message", "messages")
            notes.append(
                f"{came} came with a topic that the connection had not subscribed to; the first: "
                f"{self._odd_topic}."
            )
        return notes

    def doubts(self) -> list[str]:
        """See Transport."""
        said = {
            "retained": "messages that the server had kept (retained) came on subscribing; they "
            "are left out of all counts.",
            "again": "messages were sent again (DUP) before their PUBACK had come, as QoS 1 "
            "allows; they count once.",
            "less": "subscriptions were granted with a lower QoS than was asked for.",
        }
        return [
            f"{format_count(self._counts[name])} {text}"
            for name, text in said.items()
            if self._counts[name]
        ]


def _reason(packet: Packet) -> bytes:
    """The server's words (MQTT 5)."""
    said: bytes = packet.properties.get("reason_string", b"")  # type: ignore[union-attr]
    return said
