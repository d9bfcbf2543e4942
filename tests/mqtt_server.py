"""A small MQTT server (3.1.1 and 5, QoS 0 and 1) on the engine: for a million, and to be broken.

`python tests/mqtt_server.py [URL]` serves until it is stopped. A subscriber is a row in columns; a
tick's CONNECTs, SUBSCRIBEs and PUBACKs that look alike are taken by arrays. It keeps no sessions,
and does not end a connection whose client id comes again.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # where this is run by itself

import c1m
from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.fanout.channels import Channels
from c1m.fanout.deliveries import Deliveries
from c1m.loadgen.transports.base import Where
from c1m.protocols.framing import windows
from c1m.protocols.mqtt.batch import (
    Field,
    Packets,
    ids_of,
    number_column,
    packets_of,
    whole_packets,
)
from c1m.protocols.mqtt.fields import PROTOCOL_ERROR, Broken, binary, matches
from c1m.protocols.mqtt.packets import (
    V5,
    V311,
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
from c1m.scenarios.message_rows import equal_to
from c1m.server.server import CloseBatch, DataBatch, OpenBatch, Server

FEW = 8  # pieces that are taken one by one
PACKET_MAX = 1 << 20
HEAD = 10  # bytes of a CONNECT's body before its client id, or its properties


class MqttServer(c1m.App):
    """`users` (None: anybody) by name; `counts` by what was done. Override `deliver` to be odd."""

    def __init__(self, users: dict[bytes, bytes] | None = None) -> None:
        self.users = users
        self.counts: Counter[str] = Counter()
        self.kept: dict[bytes, Publish] = {}  # retained, by topic

    def on_start(self, server: Server) -> None:
        self.versions = np.zeros(server.capacity, np.uint8)  # 0: no CONNECT yet
        self.ids = np.zeros(server.capacity, np.uint16)  # the last one given to a message
        self.channels = Channels(server.capacity)
        self.filters: Counter[bytes] = Counter()  # those with wildcards, as channels are named
        self.deliveries = Deliveries(server.capacity)
        self.readers: dict[int, PacketReader] = {}
        self.wills: dict[int, Will] = {}
        self.head = b""  # of the last CONNECT that was as most are
        self.subscribed = b"", b"", b""  # a SUBSCRIBE, its reply, and the channel that it means

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        self.versions[batch.slots] = 0

    def on_eof(self, slots: Slots, server: Server) -> None:
        self.gone(slots, server)
        server.close(slots)

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        self.gone(batch.slots, server)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        for slots, pieces in self.deliveries.due():
            server.send(slots, pieces)
        return now_ns if self.deliveries else None

    def gone(self, slots: Slots, server: Server) -> None:
        """These have ended; what they have left behind is published."""
        self.channels.forget(slots)
        self.deliveries.forget(slots)
        self.versions[slots] = 0
        for slot in slots.tolist() if self.readers or self.wills else ():
            self.readers.pop(slot, None)
            will = self.wills.pop(slot, None)
            if will is not None:
                self.counts["wills"] += 1
                said = Publish(will.topic, will.message, will.qos, will.retain, packet_id=will.qos)
                self.publish(said, server)

    # --- what comes -----------------------------------------------------------------------------

    def on_data(self, batch: DataBatch, server: Server) -> None:
        slots, data = batch.slots, batch.data
        if len(slots) > FEW and not self.readers and len(np.unique(slots)) == len(slots):
            found = whole_packets(data, PACKET_MAX)
            if len(found.rows) == len(slots):  # one each
                left = self.take_alike(slots, found, data, server)
                slots, data = slots[left], data.take(left)
        for slot, piece in zip(slots.tolist(), data.pieces(), strict=True):
            self.take(slot, piece, server)

    def take_alike(self, slots: Slots, found: Packets, data: Ragged, server: Server) -> Where:
        """CONNECTs and SUBSCRIBEs that are as another was, and PUBACKs; which are left."""
        left = np.ones(len(slots), np.bool_)
        versions = self.versions.take(slots)
        is_it = (versions == 0) & (found.firsts == Kind.CONNECT << 4)
        is_it &= found.bodies.lengths > HEAD + 2
        if self.head and is_it.any():
            is_it &= self._are_usual(found.bodies)
            self.connected(slots[is_it], self.head[6], server)
            left &= ~is_it
        packet, reply, channel = self.subscribed
        if packet:
            is_it = equal_to(data, packet) & (versions == channel[0] >> 1)
            self.counts["subscribed"] += self.channels.add_all(slots[is_it], channel)
            server.send(slots[is_it], Ragged.repeat(reply, int(np.count_nonzero(is_it))))
            left &= ~is_it
        is_it = (found.firsts == Kind.PUBACK << 4) & (found.bodies.lengths == 2) & (versions > 0)
        self.counts["acknowledged"] += int(np.count_nonzero(ids_of(found.bodies)[is_it] > 0))
        left &= ~is_it
        is_it = (found.firsts == Kind.PINGREQ << 4) & (found.bodies.lengths == 0) & (versions > 0)
        self.counts["pinged"] += (count := int(np.count_nonzero(is_it)))
        server.send(slots[is_it], Ragged.repeat(encoded(Ping(Kind.PINGRESP), V5), count))
        left &= ~is_it
        return left

    def _are_usual(self, bodies: Ragged) -> Where:
        """Which CONNECTs differ from `head` in their client id only."""
        memory, last = bodies.memory, len(bodies.memory) - HEAD
        at = np.minimum(bodies.offsets, last)
        usual = np.frombuffer(self.head, f"V{HEAD}")[0]
        same = windows(memory, f"V{HEAD}")[at] == usual
        before = HEAD + (self.head[6] == V5)
        if self.head[6] == V5:
            same &= memory[np.minimum(at + HEAD, len(memory) - 1)] == 0
        high = memory[np.minimum(at + before, len(memory) - 1)].astype(np.int64)
        size = before + 2 + (high << 8 | memory[np.minimum(at + before + 1, len(memory) - 1)])
        alike: Where = same & (size == bodies.lengths)
        return alike

    def take(self, slot: int, piece: bytes, server: Server) -> None:
        """A piece of one connection."""
        reader = self.readers.pop(slot, None) or PacketReader(PACKET_MAX)
        try:
            for first, body in reader.take(piece):
                version = int(self.versions[slot])
                packet = decoded(first, body, version or V311)
                if (not version) != isinstance(packet, Connect):
                    raise Broken("CONNECT comes first, and once.", PROTOCOL_ERROR)
                if not self.take_packet(
                    slot, packet, bytes((first, len(body) & 127)) + body, server
                ):
                    return
        except Broken as broken:
            if self.versions[slot] == V5:
                server.send(slot, encoded(Disconnect(broken.code), V5))
            self.on_eof(np.array([slot], np.int32), server)
            return
        if reader:
            self.readers[slot] = reader

    def take_packet(self, slot: int, packet: Packet, said: bytes, server: Server) -> bool:
        """Whether the connection goes on."""
        version = int(self.versions[slot])
        match packet:
            case Connect():
                return self.connect(slot, packet, said, server)
            case Publish():
                self.counts["published"] += 1
                if packet.qos:
                    ack = Acknowledged(Kind.PUBACK, packet.packet_id)
                    server.send(slot, encoded(ack, version))
                self.publish(packet, server)
            case Acknowledged(kind=Kind.PUBACK):
                self.counts["acknowledged"] += 1
            case Subscribe():
                self.subscribe(slot, packet, said, server)
            case Unsubscribe():
                codes = b"\0" * len(packet.filters) if version == V5 else b""
                for name in packet.filters:
                    for how in (0, 1):
                        self.channels.remove(slot, bytes((version << 1 | how,)) + name)
                ack = Acknowledged(Kind.UNSUBACK, packet.packet_id, codes)
                server.send(slot, encoded(ack, version))
            case Ping(kind=Kind.PINGREQ):
                self.counts["pinged"] += 1
                server.send(slot, encoded(Ping(Kind.PINGRESP), version))
            case Disconnect():
                self.counts["disconnected"] += 1
                self.wills.pop(slot, None)
                self.on_eof(np.array([slot], np.int32), server)
                return False
            case _:
                raise Broken("A client does not say that.", PROTOCOL_ERROR)
        return True

    # --- connections and subscriptions ----------------------------------------------------------

    def connect(self, slot: int, packet: Connect, said: bytes, server: Server) -> bool:
        """Whether it may come in."""
        self.versions[slot] = packet.version
        if self.users is not None and (
            packet.user is None or self.users.get(packet.user) != packet.password
        ):
            code = 0x86 if packet.version == V5 else 4
            self.counts["refused"] += 1
            server.send(slot, encoded(Connack(code), packet.version))
            self.on_eof(np.array([slot], np.int32), server)
            return False
        if packet.will is not None:
            self.wills[slot] = packet.will
        elif packet.user is None and not packet.properties:
            self.head = said[2 : 2 + HEAD]
        self.connected(np.array([slot], np.int32), packet.version, server)
        return True

    def connected(self, slots: Slots, version: int, server: Server) -> None:
        """These have said CONNECT, and may come in."""
        self.counts["connected"] += len(slots)
        self.versions[slots] = version
        self.ids[slots] = 0
        server.send(slots, Ragged.repeat(encoded(Connack(), version), len(slots)))

    def subscribe(self, slot: int, packet: Subscribe, said: bytes, server: Server) -> None:
        """A channel for each filter, version and QoS."""
        version, codes = int(self.versions[slot]), bytearray()
        for name, how in packet.filters:
            qos = min(how & 3, 1)
            codes.append(qos)
            channel = bytes((version << 1 | qos,)) + name
            self.counts["subscribed"] += self.channels.add(slot, channel)
            if b"+" in name or b"#" in name:
                self.filters[channel] = 1
        reply = encoded(Acknowledged(Kind.SUBACK, packet.packet_id, bytes(codes)), version)
        server.send(slot, reply)
        if len(packet.filters) == 1 and len(said) < 130 and not self.filters and not self.kept:
            self.subscribed = said, reply, channel
        else:
            self.subscribed = b"", b"", b""
        for topic, kept in self.kept.items():
            for name, how in packet.filters:
                if matches(name, topic):
                    qos = min(how & 3, kept.qos)
                    self.deliver(np.array([slot], np.int32), version, qos, True, kept, server)

    # --- messages -------------------------------------------------------------------------------

    def publish(self, packet: Publish, server: Server) -> None:
        """To all who have subscribed."""
        if packet.retain:
            self.kept[packet.topic] = packet
            if not packet.payload:
                del self.kept[packet.topic]
            self.subscribed = b"", b"", b""
        for version in (V311, V5):
            for qos in (0, 1):
                kind = bytes((version << 1 | qos,))
                names = [kind + packet.topic]
                names += [each for each in self.filters
                          if each[:1] == kind and matches(each[1:], packet.topic)]  # fmt: skip
                for name in names:
                    slots = self.channels.slots(name)
                    if len(slots):
                        self.deliver(slots, version, min(qos, packet.qos), False, packet, server)

    def deliver(
        self, slots: Slots, version: int, qos: int, retain: bool, packet: Publish, server: Server
    ) -> None:
        """One message to these: in slices where all hear the same bytes."""
        self.counts["delivered"] += len(slots)
        if not qos:
            said = Publish(packet.topic, packet.payload, 0, retain, properties=packet.properties)
            self.deliveries.add(slots, encoded(said, version))
            return
        ids = self.ids.take(slots).astype(np.int64) % 65_535 + 1
        self.ids[slots] = ids
        first = Kind.PUBLISH << 4 | 2 | retain
        behind = b"\0" * (version == V5) + packet.payload
        fields: list[Field] = [binary(packet.topic), number_column(ids), behind]
        server.send(slots, packets_of(first, len(slots), fields))


if __name__ == "__main__":
    c1m.serve(MqttServer(), sys.argv[1] if len(sys.argv) > 1 else "tcp://127.0.0.1:1883")
