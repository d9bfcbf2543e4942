"""MQTT's packets: our two forms say the same, and so does another codec."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.protocols.mqtt import batch
from c1m.protocols.mqtt.batch import messages_of, packets_of, whole_packets
from c1m.protocols.mqtt.fields import binary, matches, varint
from c1m.protocols.mqtt.packets import (
    QOS,
    V5,
    V311,
    Acknowledged,
    Connack,
    Connect,
    Disconnect,
    Kind,
    Packet,
    Ping,
    Publish,
    Subscribe,
    Unsubscribe,
    Will,
    decoded,
    encoded,
)
from mqtt_streams import PACKET_MAX, canonical, names, packets, payloads, read, read_by_mqtt5
from websocket_streams import scattered

versions = st.sampled_from([V311, V5])


@given(st.data(), versions)
def test_what_is_written_is_read(data: st.DataObject, version: int) -> None:
    said = data.draw(st.lists(packets(version), max_size=6))
    stream = b"".join(encoded(packet, version) for packet in said)
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=6).map(sorted))
    cut = [stream[i:j] for i, j in pairwise([0, *places, len(stream)])]
    assert read(cut, version) == (said, 0, False)
    if len(stream) < 500:
        bytewise = [stream[i : i + 1] for i in range(len(stream))]
        assert read(bytewise, version) == (said, 0, False)


@given(packets())
def test_another_codec_reads_the_same(packet: Packet) -> None:
    again = read_by_mqtt5(encoded(packet, V5))
    assert again is not None
    ((theirs,), code, is_unfinished) = read(again, V5)
    assert not code and not is_unfinished
    assert canonical(theirs) == canonical(packet)


@pytest.mark.parametrize(
    ("packet", "wanted"),
    [
        (Connect(b"c1m-7", keep_alive_s=60), "10 11 00 04 4d515454 04 02 003c 0005 63316d2d37"),
        (
            Connect(b"", V311, 0, False, b"u", b"p", Will(b"w", b"gone", 1, True)),
            "10 1b 00 04 4d515454 04 ec 0000 0000 0001 77 0004 676f6e65 0001 75 0001 70",
        ),
        (Connack(5), "20 02 00 05"),
        (Connack(0, True), "20 02 01 00"),
        (Publish(b"a/b", b"hi"), "30 07 0003 612f62 6869"),
        (Publish(b"a/b", b"hi", 1, True, 10, True), "3b 09 0003 612f62 000a 6869"),
        (Acknowledged(Kind.PUBACK, 10), "40 02 000a"),
        (Subscribe(10, ((b"a/b", 1), (b"#", 0))), "82 0c 000a 0003 612f62 01 0001 23 00"),
        (Acknowledged(Kind.SUBACK, 10, b"\x01\x80"), "90 04 000a 01 80"),
        (Unsubscribe(10, (b"#",)), "a2 05 000a 0001 23"),
        (Acknowledged(Kind.UNSUBACK, 10, b""), "b0 02 000a"),
        (Ping(), "c0 00"),
        (Ping(Kind.PINGRESP), "d0 00"),
        (Disconnect(), "e0 00"),
    ],
)
def test_packets_of_311(packet: Packet, wanted: str) -> None:
    """MQTT 3.1.1, 3.1 to 3.14, put down by hand."""
    assert encoded(packet, V311) == bytes.fromhex(wanted)
    assert read([bytes.fromhex(wanted)], V311) == ([packet], 0, False)


@given(st.data(), st.binary(min_size=1, max_size=4))
def test_what_is_damaged(data: st.DataObject, damage: bytes) -> None:
    """Whatever comes is packets, unfinished or Broken, however it is cut."""
    stream = b"".join(
        encoded(each, V5) for each in data.draw(st.lists(packets(), min_size=1, max_size=3))
    )
    at = data.draw(st.integers(0, len(stream) - 1))
    stream = stream[:at] + damage + stream[at + data.draw(st.integers(0, 4)) :]
    for version in (V311, V5):
        whole = read([stream], version, 500)
        assert read([stream[i : i + 1] for i in range(len(stream))], version, 500) == whole


@pytest.fixture(params=[0, 1000])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """By arrays however few they are, and one by one however many."""
    monkeypatch.setattr(batch, "FEW", request.param)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("version", [V311, V5])
def test_batches(version: int) -> None:
    @given(
        st.lists(
            st.lists(
                st.one_of(
                    st.binary(max_size=12), packets(version).map(lambda p: encoded(p, version))
                ),
                min_size=1,
                max_size=4,
            ).map(b"".join),
            min_size=1,
            max_size=8,
        )
    )
    def check(pieces: list[bytes]) -> None:
        pieces = [piece for piece in pieces if piece]
        data = scattered(pieces, list(range(len(pieces))))
        found = whole_packets(data, PACKET_MAX) if pieces else None
        if found is None:
            return
        bodies = found.bodies.pieces()
        rows = list(zip(found.rows.tolist(), found.firsts.tolist(), bodies, strict=True))
        for row, piece in enumerate(pieces):
            mine = [(first, body) for at, first, body in rows if at == row]
            again = b"".join(bytes((first,)) + varint(len(body)) + body for first, body in mine)
            assert again == (piece if found.is_plain[row] else b"")
        are_messages = found.firsts >> 4 == Kind.PUBLISH
        some = found.take(are_messages)
        messages = messages_of(some.firsts, some.bodies, version)
        said = zip(
            messages.topics.pieces(), messages.payloads.pieces(), messages.ids.tolist(), strict=True
        )
        for i, (topic, payload, id_) in enumerate(said):
            if messages.is_plain[i]:
                first = int(some.firsts[i])
                body = binary(topic) + (id_.to_bytes(2, "big") if first & QOS else b"")
                assert body + b"\0" * (version == V5) + payload == some.bodies.piece(i)

    check()


@pytest.mark.usefixtures("few")
def test_plain_packets_are_found() -> None:
    """The batch form leaves no ordinary packet to the plain one."""

    @given(st.lists(packets(V311), min_size=1, max_size=30))
    def check(said: list[Packet]) -> None:
        pieces = [encoded(packet, V311) for packet in said]
        found = whole_packets(Ragged.of(pieces), PACKET_MAX)
        are_small = [len(piece) < batch.SMALL + 3 for piece in pieces]
        assert found.is_plain.tolist() == are_small
        for row, body in zip(found.rows.tolist(), found.bodies.pieces(), strict=True):
            assert decoded(int(found.firsts[list(found.rows).index(row)]), body, V311) == said[row]
        which = found.firsts >> 4 == Kind.PUBLISH
        some = found.take(which)
        messages = messages_of(some.firsts, some.bodies, V311)
        assert messages.is_plain.all()
        wanted = [said[row] for row in some.rows.tolist()]
        for i, packet in enumerate(wanted):
            assert isinstance(packet, Publish)
            assert messages.topics.piece(i) == packet.topic
            assert messages.payloads.piece(i) == packet.payload
            assert messages.ids[i] == packet.packet_id

    check()


@pytest.mark.usefixtures("few")
def test_what_is_made_in_arrays() -> None:
    @given(
        st.lists(st.tuples(names, st.integers(1, 65535), payloads), min_size=1, max_size=40),
        versions,
    )
    def check(rows: list[tuple[bytes, int, bytes]], version: int) -> None:
        topics = Ragged.of([binary(topic) for topic, _, _ in rows])
        numbers = batch.number_column(np.array([id_ for _, id_, _ in rows]))
        behind = [b"\0"] * (version == V5)
        payload = Ragged.of([payload for _, _, payload in rows])
        made = packets_of(0x32, len(rows), [topics, numbers, *behind, payload]).pieces()
        assert made == [
            encoded(Publish(topic, payload, 1, packet_id=id_), version)
            for topic, id_, payload in rows
        ]

    check()


@pytest.mark.parametrize(
    ("filter_", "topic", "is_one"),
    [
        (b"#", b"a/b", True), (b"a/#", b"a", True), (b"a/#", b"a/b/c", True), (b"+", b"a", True),
        (b"+", b"a/b", False), (b"+/+", b"/a", True), (b"/+", b"/a", True), (b"+", b"/a", False),
        (b"#", b"$SYS/x", False), (b"$SYS/#", b"$SYS/x", True), (b"a/+/c", b"a/b/c", True),
        (b"a/b", b"a/b", True), (b"a/b", b"a/b/c", False), (b"a/b/c", b"a/b", False),
    ],
)  # fmt: skip
def test_filters(filter_: bytes, topic: bytes, is_one: bool) -> None:
    """4.7.1.2, 4.7.1.3, 4.7.2."""
    assert matches(filter_, topic) == is_one
