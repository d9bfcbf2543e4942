"""Fuzzing packets of MQTT: however a stream is cut, in arrays or one by one, it says the same, and
what is not of the protocol is said with a code; nothing else is raised, nothing grows."""

from __future__ import annotations

from itertools import pairwise
from random import Random

from c1m.protocols.mqtt import batch
from c1m.protocols.mqtt.batch import messages_of, whole_packets
from c1m.protocols.mqtt.fields import Broken, varint
from c1m.protocols.mqtt.packets import V5, V311, Kind, Packet, PacketReader, decoded, encoded
from websocket_streams import scattered

SIZES = (0, 1, 2, 3, 4, 8, 20, 126, 127, 128, 300, 16_383, 16_384, 20_000)
PROPERTIES = bytes(range(1, 43))


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    kept, batch.FEW = batch.FEW, random.choice((0, 2, 1000))
    version, packet_max = random.choice((V311, V5)), random.choice((0, 200, 1 << 20))
    try:
        pieces = [_stream(random) for _ in range(random.randrange(1, 6))]
        _check_cuts(random, pieces[0], version, packet_max)
        _check_batch(random, [piece for piece in pieces if piece], version, packet_max)
        return sum(map(len, pieces))
    finally:
        batch.FEW = kept


Read = tuple[list[Packet], int, bool]


def _read(pieces: list[bytes], version: int, packet_max: int) -> Read:
    reader, found = PacketReader(packet_max), list[Packet]()
    try:
        for piece in pieces:
            for first, body in reader.take(piece):
                assert len(body) <= packet_max
                found.append(decoded(first, body, version))
    except Broken as broken:
        assert broken.code >= 0x80
        return found, broken.code, False
    return found, 0, bool(reader)


def _check_cuts(random: Random, stream: bytes, version: int, packet_max: int) -> None:
    wanted = _read([stream], version, packet_max)
    places = sorted(random.randrange(len(stream) + 1) for _ in range(random.randrange(6)))
    cut = [stream[i:j] for i, j in pairwise([0, *places, len(stream)])]
    assert _read(cut, version, packet_max) == wanted
    if len(stream) < 600:
        assert _read([stream[i : i + 1] for i in range(len(stream))], version, packet_max) == wanted
    for packet in wanted[0]:  # what is understood is said again, and understood the same
        again = encoded(packet, version)
        assert _read([again], version, 1 << 20) == ([packet], 0, False)


def _check_batch(random: Random, pieces: list[bytes], version: int, packet_max: int) -> None:
    if not pieces:
        return
    data = scattered(pieces, [random.randrange(4) for _ in pieces], behind=random.choice((0, 9)))
    found = whole_packets(data, packet_max)
    said = [b""] * len(pieces)
    bodies = found.bodies.pieces()
    for row, first, body in zip(found.rows.tolist(), found.firsts.tolist(), bodies, strict=True):
        said[row] += bytes((first,)) + varint(len(body)) + body
    for row, piece in enumerate(pieces):
        assert said[row] == (piece if found.is_plain[row] else b"")
    some = found.take(found.firsts >> 4 == Kind.PUBLISH)
    messages = messages_of(some.firsts, some.bodies, version)
    for i in range(len(some.rows)):
        if not messages.is_plain[i]:
            continue
        try:
            packet = decoded(int(some.firsts[i]), some.bodies.piece(i), version)
        except Broken:  # its topic has wildcards, or is no text: whoever compares it will see
            continue
        assert (messages.topics.piece(i), messages.payloads.piece(i), int(messages.ids[i])) == (
            packet.topic, packet.payload, packet.packet_id,  # type: ignore[union-attr]
        )  # fmt: skip


# --- what is sent -------------------------------------------------------------------------------


def _stream(random: Random) -> bytes:
    made = [_packet(random) for _ in range(random.randrange(1, 6))]
    if random.random() < 0.4:
        made = [random.choice(made)] * random.randrange(1, 30)
    stream = b"".join(made)
    while random.random() < 0.3 and stream:
        at = random.randrange(len(stream))
        match random.randrange(3):
            case 0:
                stream = stream[:at] + random.randbytes(1) + stream[at + 1 :]
            case 1:
                stream = stream[:at] + stream[at + random.randrange(9) :]
            case _:
                stream = stream[: at + 1]
    return stream


def _packet(random: Random) -> bytes:
    kind = random.choice(list(Kind))
    flags = 2 if kind in (Kind.SUBSCRIBE, Kind.UNSUBSCRIBE) else 0
    if kind == Kind.PUBLISH:
        flags = random.choice((0, 0, 1, 2, 3, 10, 11))
    elif random.random() < 0.05:
        flags = random.randrange(16)
    parts = [_part(random) for _ in range(random.randrange(5))]
    if kind == Kind.CONNECT:
        level = random.choice((4, 4, 5, 5, 3))
        parts.insert(0, b"\0\x04MQTT" + bytes((level, random.choice((2, 0, 0xC2, 0xEE, 4)))))
    elif kind == Kind.PUBLISH and random.random() < 0.8:
        parts[:0] = [_text(random), b"\0\1" if flags & 2 else b"", b"\0"]
    elif random.random() < 0.8:
        parts.insert(0, random.randrange(1, 1 << 16).to_bytes(2, "big"))
    body = b"".join(parts) if flags or random.random() < 0.8 else b""
    return bytes((kind << 4 | flags,)) + varint(len(body)) + body


def _part(random: Random) -> bytes:
    match random.randrange(5):
        case 0:
            return _text(random)
        case 1:
            return bytes((random.choice((0, 1, 0x80)),))
        case 2:
            return random.randbytes(random.choice(SIZES) if random.random() < 0.2 else 4)
        case 3:  # properties
            inner = bytes((random.choice(PROPERTIES),)) + _text(random) + _text(random)
            inner = inner[: random.randrange(len(inner) + 1)]
            return varint(len(inner)) + inner
    return b"\0"


def _text(random: Random) -> bytes:
    text = random.choice((b"a", b"c1m/1", "é".encode(), b"+/#", b"\xff", b"x" * 130, b""))
    return len(text).to_bytes(2, "big") + text
