"""Frames of WebSocket: the batch form against the plain form, and that against other libraries."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import websocket_streams as streams
from c1m.engine.ragged import Ragged
from c1m.protocols.websocket import batch, framed
from c1m.protocols.websocket.batch import whole_frames
from c1m.protocols.websocket.framed import frames_of, masked_frames_of
from c1m.protocols.websocket.frames import Close, Message, Op, frame
from websocket_streams import MESSAGE_MAX, read, whole

SIDES = st.booleans()
PAYLOADS = st.one_of(st.binary(max_size=20), st.text(max_size=90).map(str.encode),
                     st.integers(120, 130).map(bytes))  # fmt: skip
ASCII = [bytes((byte,)) for byte in (0, 10, 65, 127)]
LETTERS = st.lists(st.tuples(st.sampled_from(ASCII), st.binary(min_size=4, max_size=4)),
                   min_size=1, max_size=12)  # fmt: skip
CHANGES = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 9), st.integers(0, 255)),
                   max_size=2)  # fmt: skip


@pytest.fixture(params=[0, 1000], ids=["in arrays", "one by one"], scope="module")
def form(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch, "FEW", request.param)
        patch.setattr(framed, "FEW", request.param)
        yield


@pytest.mark.usefixtures("form")
@given(SIDES, st.data(), st.lists(st.integers(0, 3), max_size=6))
def test_batch_and_plain_form_say_the_same(
    is_server: bool, data: st.DataObject, gaps: list[int]
) -> None:
    pieces = data.draw(st.lists(streams.pieces(is_server), max_size=8))
    ragged = streams.scattered(pieces, gaps)
    got = whole_frames(ragged, MESSAGE_MAX, is_server=is_server)
    assert len(got.is_plain) == len(pieces)
    wanted = []
    for row, piece in enumerate(pieces):
        messages = whole(piece, is_server)
        if got.is_plain[row]:
            assert messages is not None
            wanted += [(row, each) for each in messages if each.op != Op.PONG]
        else:
            assert messages is None or streams.is_odd(messages, piece)
    ops = [Op.TEXT if text else Op.BINARY for text in got.is_text.tolist()]
    found = map(Message, ops, got.messages.pieces())
    assert list(zip(got.rows.tolist(), found, strict=True)) == wanted
    for op in (Op.TEXT, Op.BINARY):
        assert frames_of(op, got.messages).pieces() == [
            frame(op, message.payload) for _, message in wanted
        ]
        some = got.is_text == (op == Op.TEXT)
        assert frames_of(op, got.take(some).messages).pieces() == [
            frame(op, message.payload) for _, message in wanted if message.op == op
        ]


@given(st.integers(0, 130), LETTERS, st.booleans(), st.integers(0, 9), st.data())
def test_pieces_that_are_alike_and_nearly_so(
    size: int, letters: list[tuple[bytes, bytes]], is_text: bool, gap: int, data: st.DataObject
) -> None:
    op = Op.TEXT if is_text else Op.BINARY
    pieces = [frame(op, letter * size, mask) for letter, mask in letters]
    for row, at, byte in data.draw(CHANGES):
        piece = bytearray(pieces[row % len(pieces)])
        piece[at % len(piece)] = byte
        pieces[row % len(pieces)] = bytes(piece)
    ragged = streams.scattered(pieces, [gap] * len(pieces))
    whole_max = data.draw(st.sampled_from((size, max(size - 1, 0), MESSAGE_MAX)))
    found = []
    for least in (1, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(batch, "ALIKE_MIN", least)
            got = whole_frames(ragged, whole_max)
        frames = frames_of(op, got.messages).pieces()
        found.append((got.rows.tolist(), got.messages.pieces(), got.is_text.tolist(),
                      got.is_plain.tolist(), frames))  # fmt: skip
    assert found[0] == found[1]


@pytest.mark.usefixtures("form")
@given(st.lists(PAYLOADS, max_size=9), st.lists(st.integers(0, 3), max_size=6), st.data())
def test_frames_are_made_as_one_by_one(
    payloads: list[bytes], gaps: list[int], data: st.DataObject
) -> None:
    if data.draw(SIDES):
        payloads = [payload[:3].ljust(3) for payload in payloads]
    messages = streams.scattered(payloads, gaps)
    count = len(payloads)
    masks = data.draw(st.lists(st.binary(min_size=4, max_size=4), min_size=count, max_size=count))
    assert frames_of(Op.TEXT, messages).pieces() == [frame(Op.TEXT, each) for each in payloads]
    numbers = np.array([int.from_bytes(mask, "little") for mask in masks], np.uint32)
    assert masked_frames_of(Op.BINARY, messages, numbers).pieces() == [
        frame(Op.BINARY, each, mask) for each, mask in zip(payloads, masks, strict=True)
    ]
    same = Ragged.repeat(b"x" * 5, count)
    assert frames_of(Op.TEXT, same).pieces() == [frame(Op.TEXT, b"x" * 5)] * count


@given(SIDES, st.data(), st.lists(st.integers(0, 400), max_size=8))
def test_a_cut_changes_nothing(is_server: bool, data: st.DataObject, places: list[int]) -> None:
    stream = data.draw(streams.pieces(is_server))
    cuts = sorted({0, len(stream), *(place for place in places if place < len(stream))})
    pieces = [stream[i:j] for i, j in pairwise(cuts)]
    assert read(pieces, is_server) == read([stream], is_server)
    assert read([bytes((byte,)) for byte in stream], is_server) == read([stream], is_server)


@given(SIDES, st.data())
def test_the_plain_form_reads_as_wsproto(is_server: bool, data: st.DataObject) -> None:
    stream = data.draw(streams.pieces(is_server))
    messages, code, _ = read([stream], is_server)
    if code == Close.TOO_LARGE:
        theirs, _ = streams.read_by_wsproto(stream, is_server)
        assert theirs[: len(messages)] == messages
    else:
        assert streams.as_wsproto_reads(stream, is_server, messages, code)


@given(SIDES, st.data())
def test_the_plain_form_reads_as_websockets(is_server: bool, data: st.DataObject) -> None:
    stream = data.draw(streams.pieces(is_server))
    messages, code, _ = read([stream], is_server)
    theirs, their_code = streams.read_by_websockets(stream, is_server)
    count = min(len(messages), len(theirs))
    assert messages[:count] == theirs[:count]
    if messages and messages[-1].op == Op.CLOSE:
        return
    if not code:
        assert (messages, 0) == (theirs, their_code)
