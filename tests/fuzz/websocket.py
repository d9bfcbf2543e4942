"""Fuzzing frames of WebSocket: however a stream is cut, in arrays or one by one, with compression
and without, from either side, it says the same; and what breaks it is said with a code."""

from __future__ import annotations

import zlib
from contextlib import suppress
from itertools import pairwise
from random import Random

import numpy as np

from c1m.protocols.websocket import batch, framed
from c1m.protocols.websocket.batch import whole_frames
from c1m.protocols.websocket.deflate import Deflater, inflated, negotiated
from c1m.protocols.websocket.framed import frames_of, masked_frames_of
from c1m.protocols.websocket.frames import Broken, FrameReader, Message, Op, close_frame, frame
from websocket_streams import as_wsproto_reads, scattered

SIZES = (0, 1, 2, 3, 4, 5, 64, 124, 125, 126, 127, 128, 300, 1023, 1024, 65_535, 65_536, 70_000)
CODES = (0, 999, 1000, 1004, 1005, 1006, 1007, 1013, 1015, 2999, 3000, 4999, 5000, 65_535)
TEXTS = ("é", "☃", "🎈", "a", "\0", "€uro", "日本")
BAD_TEXTS = (b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"\xe2\x82")
WORDS = (b"permessage-deflate", b";", b",", b"=", b" ", b"server_max_window_bits", b"10", b"8",
         b"client_max_window_bits", b"server_no_context_takeover", b'"15"', b"x", b"0",
         b"client_no_context_takeover")  # fmt: skip
DEFLATER = Deflater()


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    kept = batch.FEW, framed.FEW, batch.ALIKE_MIN
    batch.FEW, framed.FEW = random.choices((0, 0, 2, 1000), k=2)
    batch.ALIKE_MIN = random.choice((1, 7, 1000))
    try:
        return random.choices((_compressed, _made, _streams), (1, 1, 8))[0](random)
    finally:
        batch.FEW, framed.FEW, batch.ALIKE_MIN = kept


def _streams(random: Random) -> int:
    is_server, has_deflate = random.random() < 0.7, random.random() < 0.2
    message_max = random.choice((0, 100, 300, 1 << 20))
    stream = _stream(random, is_server, has_deflate)
    wanted = _read([stream], message_max, is_server, has_deflate)
    assert _read(_cut(random, stream), message_max, is_server, has_deflate) == wanted
    if len(stream) < 600:
        bytewise = [stream[i : i + 1] for i in range(len(stream))]
        assert _read(bytewise, message_max, is_server, has_deflate) == wanted
        if message_max == 1 << 20 and not has_deflate:
            assert as_wsproto_reads(stream, is_server, *wanted[:2])
    pieces = [_stream(random, is_server, False) for _ in range(random.randrange(6))]
    if random.random() < 0.3:  # all alike, or nearly
        size, op = random.choice(SIZES[:8]), random.choice((Op.TEXT, Op.BINARY))
        payloads = [random.choice((b"a" * size, random.randbytes(size))) for _ in range(9)]
        pieces = [frame(op, payload, _mask(random, is_server)) for payload in payloads]
        stream = pieces[0] if random.random() < 0.8 else stream
    _check_batch(random, [each for each in (stream, *pieces) if each], message_max, is_server)
    return len(stream) + sum(map(len, pieces))


def _read(
    pieces: list[bytes], message_max: int, is_server: bool, has_deflate: bool
) -> tuple[list[Message], int, bool]:
    reader = FrameReader(
        message_max, is_server=is_server, inflated=inflated if has_deflate else None
    )
    messages: list[Message] = []
    try:
        for piece in pieces:
            for message in reader.take(piece):
                messages.append(message)
                assert len(message.payload) <= max(message_max, 125)
            assert reader.kept <= message_max
    except Broken as broken:
        return messages, broken.code, False
    return messages, 0, bool(reader)


def _check_batch(random: Random, pieces: list[bytes], message_max: int, is_server: bool) -> None:
    data = scattered(pieces, [random.randrange(4) for _ in pieces], behind=random.choice((0, 9)))
    got = whole_frames(data, message_max, is_server=is_server)
    wanted = []
    for row, piece in enumerate(pieces):
        if got.is_plain[row]:
            messages, code, is_unfinished = _read([piece], message_max, is_server, False)
            assert not code and not is_unfinished
            wanted += [(row, each) for each in messages if each.op != Op.PONG]
    ops = [Op.TEXT if text else Op.BINARY for text in got.is_text.tolist()]
    found = map(Message, ops, got.messages.pieces())
    assert list(zip(got.rows.tolist(), found, strict=True)) == wanted
    op = random.choice((Op.TEXT, Op.BINARY))
    some = got.is_text == (op == Op.TEXT)
    for which in (some, ~some):
        chosen = got.take(which).messages
        assert frames_of(op, chosen).pieces() == [frame(op, each) for each in chosen.pieces()]


def _made(random: Random) -> int:
    """Frames in arrays, and read again."""
    payloads = [_payload(random) for _ in range(random.randrange(9))]
    messages = scattered(payloads, [random.randrange(4) for _ in payloads])
    masks = np.array([random.getrandbits(32) for _ in payloads], np.uint32)
    made = masked_frames_of(Op.BINARY, messages, masks)
    for piece, payload, mask in zip(made.pieces(), payloads, masks.tolist(), strict=True):
        assert piece == frame(Op.BINARY, payload, mask.to_bytes(4, "little"))
        read = _read([piece], 1 << 20, True, False)
        assert read == ([Message(Op.BINARY, payload)], 0, False)
    assert frames_of(Op.TEXT, messages).pieces() == [frame(Op.TEXT, each) for each in payloads]
    return made.nbytes()


def _compressed(random: Random) -> int:
    """Messages through compression, right ones and bombs, and what is offered."""
    offers = b"".join(random.choices(WORDS, k=random.randrange(12)))
    agreed = negotiated(offers)
    assert agreed is None or negotiated(agreed[0]) is not None
    payload = _payload(random) * random.choice((1, 1, 20))
    sent = DEFLATER.frames(frame(Op.BINARY, payload) + close_frame(1000))
    read = _read(_cut(random, sent), 1 << 21, False, True)
    assert read == ([Message(Op.BINARY, payload), Message(Op.CLOSE, b"\x03\xe8")], 0, False)
    short = bytearray(DEFLATER.deflated(payload))
    for _ in range(random.randrange(3)):
        short[random.randrange(len(short))] = random.randrange(256)
    message_max = random.choice((0, 10, 1 << 20))
    with suppress(Broken):
        assert len(inflated(bytes(short), message_max)) <= message_max
    return len(sent)


# --- what is sent -------------------------------------------------------------------------------


def _stream(random: Random, is_server: bool, has_deflate: bool) -> bytes:
    if random.random() < 0.5:  # as the batch form has it
        op = random.choice((Op.TEXT, Op.BINARY))
        size = random.choice(SIZES[:12])
        made = [
            frame(op, b"a" * size, _mask(random, is_server)) for _ in range(random.randrange(1, 30))
        ]
    else:
        made = [_frames(random, is_server, has_deflate) for _ in range(random.randrange(1, 6))]
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


def _frames(random: Random, is_server: bool, has_deflate: bool) -> bytes:
    kind = random.random()
    mask = _mask(random, is_server)
    if kind < 0.1:
        return frame(random.choice((Op.PING, Op.PONG)), _payload(random)[:125], mask)
    if kind < 0.15:
        code = random.choice(CODES).to_bytes(2, "big")
        return frame(Op.CLOSE, (code + _payload(random))[: random.choice((0, 1, 2, 9, 125))], mask)
    if kind < 0.25:
        first = random.randrange(16) << 4
        return frame(random.randrange(16), _payload(random), mask, first=first)
    if kind < 0.3:
        return random.randbytes(random.randrange(20))
    op, payload, rsv = random.choice((Op.TEXT, Op.BINARY)), _payload(random), 0
    if has_deflate and random.random() < 0.7:
        state = zlib.compressobj(random.randrange(10), zlib.DEFLATED, -random.randrange(9, 16))
        payload = state.compress(payload) + state.flush(zlib.Z_SYNC_FLUSH)
        payload, rsv = payload[:-4], 0x40
    places = sorted(random.randrange(len(payload) + 1) for _ in range(random.randrange(4)))
    parts = [payload[i:j] for i, j in pairwise([0, *places, len(payload)])]
    made = []
    for i, part in enumerate(parts):
        fin = 0x80 if i == len(parts) - 1 else 0
        made.append(frame(0 if i else op, part, mask, first=fin | (0 if i else rsv)))
        if random.random() < 0.2:
            made.append(frame(Op.PING, b"in between", mask))
    return b"".join(made)


def _mask(random: Random, is_server: bool) -> bytes:
    return random.randbytes(4) if is_server else b""


def _payload(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.4:
        size = random.choice(SIZES[:-4]) if random.random() < 0.98 else random.choice(SIZES)
        return b"a" * size if kind < 0.2 else random.randbytes(size)
    text = "".join(random.choices(TEXTS, k=random.randrange(12))).encode()
    return text + random.choice(BAD_TEXTS) if kind < 0.5 else text


def _cut(random: Random, stream: bytes) -> list[bytes]:
    places = sorted(random.randrange(len(stream) + 1) for _ in range(random.randrange(6)))
    return [stream[i:j] for i, j in pairwise([0, *places, len(stream)]) if i < j]
