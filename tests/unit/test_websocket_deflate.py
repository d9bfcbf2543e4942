"""Compression of messages: the examples of RFC 7692, other libraries, bombs."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from c1m.protocols.websocket.deflate import SHORTEST, Deflater, inflated
from c1m.protocols.websocket.frames import (
    Broken,
    Close,
    FrameReader,
    Message,
    Op,
    close_frame,
    frame,
)

HELLO = [  # RFC 7692, 7.2.3
    "f248cdc9c90700",  # one block
    "000500faff48656c6c6f00",  # without compression
    "f348cdc9c9070000",  # one that says it is the last
    "f24805000000ffffcac9c90700",  # two
]


@pytest.mark.parametrize("said", HELLO)
def test_the_rfcs_examples(said: str) -> None:
    assert inflated(bytes.fromhex(said), 5) == b"Hello"


def test_one_in_fragments() -> None:
    reader = FrameReader(100, is_server=False, inflated=inflated)
    first, rest = frame(Op.TEXT, b"\xf2\x48\xcd", first=0x40), frame(0, b"\xc9\xc9\x07\x00")
    assert list(reader.take(first + frame(Op.PING, b"") + rest)) == [
        Message(Op.PING, b""), Message(Op.TEXT, b"Hello"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        frame(Op.CONTINUATION, b"\xca\x00", first=0xC0),  # only the first of a message says so
        frame(Op.PING, b"", first=0xC0),
        frame(Op.TEXT, b"", first=0xA0),
    ],
)
def test_the_bit_is_for_the_first_frame_of_a_message(wrong: bytes) -> None:
    reader = FrameReader(100, is_server=False, inflated=inflated)
    begun = frame(Op.TEXT, b"", first=0x40)
    with pytest.raises(Broken) as caught:
        list(reader.take(begun + wrong))
    assert caught.value.code == Close.PROTOCOL_ERROR


@pytest.mark.parametrize("rest", [b"\xff", bytes.fromhex(HELLO[0]), bytes(100)])
def test_nothing_may_follow_the_last_block(rest: bytes) -> None:
    with pytest.raises(Broken) as caught:
        inflated(bytes.fromhex("f348cdc9c90700") + rest, 100)
    assert caught.value.code == Close.INVALID_DATA


def test_a_text_is_text_when_it_is_inflated() -> None:
    reader = FrameReader(100, is_server=False, inflated=inflated)
    short = Deflater().deflated(b"\xff" * 90)
    with pytest.raises(Broken) as caught:
        list(reader.take(frame(Op.TEXT, short, first=0xC0)))
    assert caught.value.code == Close.INVALID_DATA


def test_no_more_is_inflated_than_a_message_may_have() -> None:
    state = zlib.compressobj(9, wbits=-15)
    bomb = state.compress(bytes(1 << 26)) + state.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(Broken) as caught:
        inflated(bomb[:-4], 1 << 16)
    assert caught.value.code == Close.TOO_LARGE
    assert inflated(Deflater().deflated(bytes(1 << 16)), 1 << 16) == bytes(1 << 16)


def test_messages_do_not_refer_to_each_other() -> None:
    deflater = Deflater()
    payloads = [b"a secret that is the same in all of them" * 5, b"x" * 9999, b""] * 3
    shorts = [deflater.deflated(payload) for payload in payloads]
    assert [inflated(short, 10_000) for short in reversed(shorts)] == payloads[::-1]


def test_only_what_becomes_shorter_is_compressed() -> None:
    deflater = Deflater()
    stream = [frame(Op.TEXT, b"a" * 1000), frame(Op.PING, b"a" * 100), close_frame(1000),
              frame(Op.BINARY, b"a" * (SHORTEST - 1)), frame(Op.BINARY, b"a" * 70_000),
              frame(Op.BINARY, bytes(range(256)))]  # fmt: skip
    sent = deflater.frames(b"".join(stream))
    other = PerMessageDeflate(True, True, 15, 15)
    reader, found = FrameReader(1 << 20, is_server=False, inflated=inflated), []
    for message in reader.take(sent.replace(stream[2], b"")):
        found.append(frame(message.op, message.payload))
    assert found == stream[:2] + stream[3:]
    assert sent[0] == 0xC1 and stream[1] + stream[2] + stream[3] in sent and stream[5] in sent
    size = sent[1]
    got = other.decode(Frame(Opcode.TEXT, sent[2 : 2 + size], rsv1=True))
    assert got.data == b"a" * 1000
