"""Frames one by one: what is refused, with which code, and how early."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from c1m.engine.ragged import Ragged
from c1m.protocols.websocket.batch import are_closes
from c1m.protocols.websocket.frames import (
    Broken,
    Close,
    FrameReader,
    Message,
    Op,
    close_frame,
    closing,
    frame,
    masked,
    may_be_sent,
)

MASK = b"\x01\xf2\x03\xf4"
TEXT = "héllo ☃ 🎈".encode()


def code_of(*pieces: bytes, message_max: int = 1000) -> int:
    """The code with which the last piece is refused; none of the earlier ones is. 0: it is not."""
    reader = FrameReader(message_max)
    for piece in pieces[:-1]:
        list(reader.take(piece))
    try:
        list(reader.take(pieces[-1]))
    except Broken as broken:
        return broken.code
    return 0


def test_a_message_that_is_too_large_is_refused_before_it_is_there() -> None:
    assert code_of(frame(Op.BINARY, bytes(1001), MASK)[:8]) == Close.TOO_LARGE
    assert code_of(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + MASK) == Close.TOO_LARGE
    begun = frame(Op.BINARY, bytes(999), MASK, first=0)
    assert code_of(begun, frame(Op.CONTINUATION, b"x", MASK)) == 0
    assert code_of(begun, frame(Op.CONTINUATION, b"xx", MASK)[:6]) == Close.TOO_LARGE


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xf4\x90", b"\xc0", b"\xe1a"])
def test_what_is_not_utf8_is_refused_as_soon_as_that_is_seen(bad: bytes) -> None:
    whole = frame(Op.TEXT, TEXT + bad + bytes(9), MASK)
    end = 6 + len(TEXT) + len(bad)
    assert code_of(whole[: end - 1], whole[end - 1 : end]) == Close.INVALID_DATA
    assert code_of(frame(Op.TEXT, TEXT[:2], MASK)) == Close.INVALID_DATA


def test_a_text_may_be_cut_within_a_character() -> None:
    reader = FrameReader(1000)
    found: list[Message] = []
    for i in range(len(TEXT)):
        first = 0x80 if i == len(TEXT) - 1 else 0
        piece = frame(Op.CONTINUATION if i else Op.TEXT, TEXT[i : i + 1], MASK, first=first)
        for byte in piece + frame(Op.PING, b"in between", MASK):
            found += reader.take(bytes((byte,)))
    pings = [Message(Op.PING, b"in between")] * len(TEXT)
    assert found == [*pings[:-1], Message(Op.TEXT, TEXT), pings[-1]]
    assert not reader


@pytest.mark.parametrize(
    "wrong",
    [
        frame(Op.TEXT, b"x"),  # not masked
        frame(3, b"", MASK), frame(11, b"", MASK),  # reserved
        frame(Op.TEXT, b"x", MASK, first=0xC0), frame(Op.PING, b"", MASK, first=0x90),
        frame(Op.PING, bytes(126), MASK), frame(Op.CLOSE, b"\x03\xe8", MASK, first=0),
        frame(Op.CONTINUATION, b"", MASK),
        b"\x82\xfe\x00\x7d" + MASK, b"\x82\xff" + bytes(6) + b"\xff\xff" + MASK,
        b"\x82\xff\x80" + bytes(7) + MASK,
        frame(Op.CLOSE, b"\x03", MASK), frame(Op.CLOSE, b"\x03\xed", MASK),
    ],
)  # fmt: skip
def test_what_breaks_the_protocol_is_refused(wrong: bytes) -> None:
    assert code_of(wrong) == Close.PROTOCOL_ERROR


def test_a_message_within_another_is_refused() -> None:
    begun = frame(Op.TEXT, b"x", MASK, first=0)
    assert code_of(begun, frame(Op.TEXT, b"y", MASK)[:2]) == Close.PROTOCOL_ERROR


def test_a_reason_is_text() -> None:
    assert code_of(frame(Op.CLOSE, b"\x03\xe8\xff", MASK)) == Close.INVALID_DATA
    assert code_of(frame(Op.CLOSE, b"\x03\xe8" + TEXT, MASK)) == 0


def test_close_frames() -> None:
    reader = FrameReader(100, is_server=False)
    for code, reason, kept in [
        (1000, b"", b""), (4999, TEXT, TEXT), (Close.NO_CODE, b"", b""),
        (1001, b"x" + "ü".encode() * 80, b"x" + "ü".encode() * 61),
    ]:  # fmt: skip
        (message,) = FrameReader(100, is_server=False).take(close_frame(code, reason))
        assert message.op == Op.CLOSE and closing(message.payload) == (code, kept)
    assert list(reader.take(close_frame(1000) + b"garbage"))[1:] == []
    assert list(reader.take(b"more of it")) == []


def test_answers_to_close_frames_are_seen_in_arrays() -> None:
    closes = [frame(Op.CLOSE, b"\x03\xe8" + b"x" * size, MASK) for size in (0, 7, 123)]
    others = [frame(Op.TEXT, b"\x03\xe8", MASK), closes[0][:-1], closes[0] + b"x", b"\x88", b"",
              frame(Op.CLOSE, b""), frame(Op.CLOSE, bytes(126), MASK)]  # fmt: skip
    pieces = [*closes, frame(Op.CLOSE, b"", MASK), *others]
    assert are_closes(Ragged.of(pieces)).tolist() == [True] * 4 + [False] * len(others)
    assert are_closes(Ragged.of([b"\x88"])).tolist() == [False]


def test_codes() -> None:
    def spans(codes: Sequence[int]) -> list[tuple[int, int]]:
        starts = [code for code in codes if code - 1 not in codes]
        return [(start, next(c for c in range(start, 6000) if c not in codes)) for start in starts]

    allowed = [code for code in range(6000) if may_be_sent(code)]
    assert spans(allowed) == [(1000, 1004), (1007, 1015), (3000, 5000)]


@pytest.mark.parametrize("size", [0, 1, 5, 1023, 1024, 1027, 70_000])
def test_a_mask_is_put_on_byte_by_byte(size: int) -> None:
    payload = bytes(i * 7 & 255 for i in range(size))
    assert masked(payload, MASK) == bytes(b ^ MASK[i % 4] for i, b in enumerate(payload))


def test_a_long_message_may_come_in_small_pieces() -> None:
    payload = bytes(range(256)) * 4096
    stream = frame(Op.BINARY, payload, MASK)
    reader = FrameReader(1 << 20)
    found = [each for i in range(0, len(stream), 9) for each in reader.take(stream[i : i + 9])]
    assert found == [Message(Op.BINARY, payload)]
