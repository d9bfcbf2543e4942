"""Streams of WebSocket's frames, right and wrong, and how others read them."""

from __future__ import annotations

import numpy as np
import wsproto.frame_protocol as wsproto
from hypothesis import strategies as st
from websockets.frames import Frame as TheirFrame
from websockets.protocol import OPEN, Protocol, Side

from c1m.engine.ragged import Ragged
from c1m.protocols.websocket.frames import Broken, Close, FrameReader, Message, Op, frame

MESSAGE_MAX = 300

Read = tuple[list[Message], int, bool]  # messages, the code of what was wrong, 0; is unfinished


def read(pieces: list[bytes], is_server: bool) -> Read:
    """What the plain form makes of a stream."""
    reader = FrameReader(MESSAGE_MAX, is_server=is_server)
    messages: list[Message] = []
    try:
        for piece in pieces:
            messages.extend(reader.take(piece))
    except Broken as broken:
        assert list(reader.take(b"\x81\x00")) == []
        return messages, broken.code, False
    return messages, 0, bool(reader)


def whole(piece: bytes, is_server: bool) -> list[Message] | None:
    """The messages of a piece of whole messages; None: it is not that."""
    messages, code, is_unfinished = read([piece], is_server)
    return None if code or is_unfinished else messages


def is_odd(messages: list[Message], piece: bytes) -> bool:
    """Whether a whole piece is rightly left to the plain form: a ping, a close, a fragment."""
    is_control = any(m.op >= Op.CLOSE and m.op != Op.PONG for m in messages)
    return is_control or b"\x00" in piece or b"\x80" in piece


def scattered(pieces: list[bytes], gaps: list[int], behind: int = 0) -> Ragged:
    """The pieces in one memory, with bytes that belong to none between them and behind them."""
    spaces = [*gaps, *[0] * len(pieces)][: len(pieces)]
    memory = b"".join(b"\xff" * gap + piece for gap, piece in zip(spaces, pieces, strict=True))
    memory += b"\xff" * behind
    lengths = np.array([len(piece) for piece in pieces], np.int32)
    ends = np.cumsum(lengths + np.array(spaces, np.int64), dtype=np.int64)
    return Ragged(np.frombuffer(memory, np.uint8), ends - lengths, lengths)


# --- how others read them -----------------------------------------------------------------------


def read_by_wsproto(stream: bytes, is_server: bool) -> tuple[list[Message], int]:
    """The same by wsproto, which knows no bound of a message."""
    protocol = wsproto.FrameProtocol(not is_server, [])
    messages: list[Message] = []
    parts: list[bytes] = []
    protocol.receive_bytes(stream)
    try:
        for each in protocol.received_frames():
            op, payload = Op(each.opcode), each.payload
            if isinstance(payload, tuple):
                code, reason = payload
                said = b"" if code == Close.NO_CODE else code.to_bytes(2, "big") + reason.encode()
                messages.append(Message(op, said))
            elif op >= Op.CLOSE:
                messages.append(Message(op, bytes(payload)))  # type: ignore[arg-type]
            else:
                parts.append(payload.encode() if isinstance(payload, str) else bytes(payload))
                if each.frame_finished and each.message_finished:
                    messages.append(Message(op, b"".join(parts)))
                    parts.clear()
    except wsproto.ParseFailed as failed:
        return messages, int(failed.code)
    return messages, 0


def as_wsproto_reads(stream: bytes, is_server: bool, messages: list[Message], code: int) -> bool:
    """Whether wsproto says the same of a stream; of some frames it does when more has come."""
    theirs, their_code = read_by_wsproto(stream, is_server)
    if code and not their_code:
        _, their_code = read_by_wsproto(stream + bytes(99), is_server)
    return (messages, code) == (theirs, their_code)


def read_by_websockets(stream: bytes, is_server: bool) -> tuple[list[Message], int]:
    """The same by websockets, which leaves UTF-8 to others, and takes no close frame within a
    message."""
    protocol = Protocol(Side.SERVER if is_server else Side.CLIENT, state=OPEN, max_size=MESSAGE_MAX)
    protocol.receive_data(stream)
    messages: list[Message] = []
    parts: list[bytes] = []
    op = Op.TEXT
    for each in protocol.events_received():
        assert isinstance(each, TheirFrame)
        if each.opcode >= Op.CLOSE:
            messages.append(Message(Op(each.opcode), bytes(each.data)))
            continue
        parts.append(bytes(each.data))
        op = Op(each.opcode) or op
        if each.fin:
            messages.append(Message(op, b"".join(parts)))
            parts.clear()
    is_wrong = protocol.parser_exc is not None
    return messages, protocol.close_sent.code if is_wrong and protocol.close_sent else 0


# --- strategies ---------------------------------------------------------------------------------

_TEXTS = st.text(max_size=20).map(str.encode)
_SIZES = st.sampled_from([0, 1, 2, 3, 4, 5, 64, 124, 125, 126, 127, 200])
_CODES = st.sampled_from([0, 999, 1000, 1001, 1004, 1005, 1006, 1007, 1011, 1012, 1016, 2999, 3000,
                          4999, 5000, 65535])  # fmt: skip
_CLOSES = st.one_of(
    st.binary(max_size=3),
    st.tuples(_CODES, st.one_of(_TEXTS, st.binary(max_size=3))).map(
        lambda said: said[0].to_bytes(2, "big") + said[1]
    ),
)
_ASCII = _SIZES.map(lambda size: b"a" * size)
_PAYLOADS = st.one_of(_ASCII, _ASCII, _TEXTS, st.binary(max_size=10), _SIZES.map(bytes))


@st.composite
def _frames(draw: st.DrawFn, is_server: bool) -> bytes:
    kind = draw(st.integers(0, 19))
    mask = draw(st.binary(min_size=4, max_size=4)) if is_server else b""
    if kind < 8:  # as the batch form has it
        return frame(draw(st.sampled_from([Op.TEXT, Op.BINARY])), draw(_PAYLOADS), mask)
    if kind < 10:
        return frame(draw(st.sampled_from([Op.PING, Op.PONG])), draw(_PAYLOADS)[:125], mask)
    if kind == 10:
        return frame(Op.CLOSE, draw(_CLOSES), mask)
    if kind < 16:  # a message in fragments, perhaps with something in between
        parts = draw(st.lists(st.one_of(_PAYLOADS, st.just("ü".encode()[:1])), min_size=2))
        op = draw(st.sampled_from([Op.TEXT, Op.BINARY]))
        made = [frame(op, parts[0], mask, first=0)]
        for number, part in enumerate(parts[1:], 2):
            if draw(st.integers(0, 3)) == 0:
                made.append(frame(Op.PING, draw(_TEXTS)[:9], mask))
            last = 0x80 if number == len(parts) else 0
            made.append(frame(Op.CONTINUATION, part, mask, first=last))
        return b"".join(made)
    if kind == 16:  # any opcode, any reserved bits
        first = draw(st.integers(0, 15)) << 4
        return frame(draw(st.integers(0, 15)), draw(_PAYLOADS), mask, first=first)
    if kind == 17:  # the wrong side's
        return frame(Op.TEXT, draw(_PAYLOADS), b"" if is_server else b"mask")
    if kind == 18:  # a length that is not written as it has to be, or more than is ever sent
        size = draw(st.sampled_from([0, 5, 125, 126, 301, 1 << 16, 1 << 40, 1 << 63]))
        if size < 1 << 16 and draw(st.booleans()):
            head = bytes((0x82, 126 | 0x80 * is_server)) + size.to_bytes(2, "big")
        else:
            head = bytes((0x82, 127 | 0x80 * is_server)) + size.to_bytes(8, "big")
        return head + mask + bytes(min(size, 400))
    return draw(st.binary(max_size=9))


@st.composite
def pieces(draw: st.DrawFn, is_server: bool) -> bytes:
    """One piece of a stream: a few frames, perhaps cut off."""
    made = b"".join(draw(st.lists(_frames(is_server), min_size=1, max_size=4)))
    if draw(st.integers(0, 4)) == 0:
        made = made[: draw(st.integers(0, len(made)))]
    return made or b"\x81"
