"""The batch form of frames that come: a tick's pieces that are whole small messages. Pure.

What is not such (fragments, pings, what is not whole, what is wrong) is for the plain form
(`frames`); a property test holds the two equal.

A message that came is copied out of its piece together with room for the header in front of it,
where its own header is written as a server sends it: an echo needs no further copy. Bytes are
copied and unmasked in words of four. All that is read lies inside the frame: a record begins at
most three bytes behind the frame's beginning, for a client's header has four more than ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged, starts_of
from c1m.protocols.framing import windows
from c1m.protocols.websocket.alike import HEADER, alike_messages
from c1m.protocols.websocket.frames import FIN, Op, masked

FEW = 20  # pieces that are looked at one by one: measured, arrays are quicker from about here on
ALIKE_MIN = 7  # pieces from which it is worth looking whether all are alike
LONG = 2048  # bytes of a piece on average: longer ones are looked at one by one
MASKED, SHORT = 0x80, 126  # of a frame's second byte: 126 says that 16 bits of length follow
MEDIUM_MAX = (1 << 16) - 1  # bytes of payload; longer ones have a length of 63 bits
PLAIN = frozenset((Op.TEXT, Op.BINARY, Op.PONG))

# Of a record's first and second word: the bits of the payload, by the bytes in front of it.
_KEPT_FIRST = np.array((0, 0, 0xFFFF0000, 0xFF000000, 0, 0, 0, 0), np.uint32)
_KEPT_SECOND = np.array((0, 0, 0, 0, 0, 0xFFFFFF00, 0xFFFF0000, 0xFF000000), np.uint32)

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class Received(Ragged):
    """Messages with room of their own in front of each, in which is its header."""

    __slots__ = ()

    def take(self, indices: npt.NDArray[np.integer] | Bools | slice) -> Received:
        """Some of them, as Ragged.take."""
        taken = super().take(indices)
        return Received(taken.memory, taken.offsets, taken.lengths, taken.address)


@dataclass(slots=True)
class Frames:
    """Messages out of pieces: message i came in piece `rows[i]` (int64[n], ascending).

    `is_plain` bool[pieces]: which pieces held whole messages and pongs only; no message is of
    another one.
    """

    rows: Int64s
    messages: Ragged
    is_text: Bools
    is_plain: Bools

    def take(self, which: Bools) -> Frames:
        """Some of the messages: bool[n]."""
        return Frames(
            self.rows[which], self.messages.take(which), self.is_text[which], self.is_plain
        )


def whole_frames(data: Ragged, message_max: int, *, is_server: bool = True) -> Frames:
    """The messages of all pieces that hold nothing but whole, unfragmented ones, and pongs.

    `is_server`: the frames are a client's, and masked.
    """
    message_max = min(message_max, MEDIUM_MAX)
    if is_server and len(data) >= ALIKE_MIN:
        alike = alike_messages(data, message_max)
        if alike is not None:
            return _alike(data, *alike)
    if len(data) <= FEW or data.nbytes() > LONG * len(data):
        return _one_by_one(data, message_max, is_server)
    heads = _heads(data, message_max, is_server)
    if is_server:
        return _unmasked(data, heads)
    messages = Ragged(data.memory, heads.starts, heads.sizes.astype(np.int32))
    is_good = np.ones(len(heads.rows), np.bool_)
    if not _is_ascii(messages):
        for i in np.flatnonzero(heads.ops == Op.TEXT).tolist():
            is_good[i] = _is_text(messages.piece(i))
    return _checked(heads, messages, is_good)


def are_closes(data: Ragged) -> Bools:
    """Which pieces are one whole close frame of a client, as far as its header says: bool[n]."""
    sizes = data.lengths.astype(np.int64) - 6
    memory, last = data.memory, len(data.memory) - 1
    firsts = memory[np.minimum(data.offsets, last)]
    seconds = memory[np.minimum(data.offsets + 1, last)]
    are_small = (sizes >= 0) & (sizes < SHORT)
    closes: Bools = are_small & (firsts == FIN | Op.CLOSE) & (seconds == MASKED | sizes)
    return closes


# --- one by one ---------------------------------------------------------------------------------


def _one_by_one(data: Ragged, message_max: int, is_server: bool) -> Frames:
    rows: list[int] = []
    texts: list[bool] = []
    parts: list[bytes] = []  # headers and payloads
    offsets: list[int] = []  # of the payloads
    lengths: list[int] = []
    plain: list[bool] = []
    at = 0
    for row, piece in enumerate(data.pieces()):
        taken = _taken(piece, message_max, is_server)
        plain.append(taken is not None)
        for op, payload in taken or ():
            size = len(payload)
            header = _header(op, size)
            parts += (header, payload)
            at += len(header)
            rows.append(row)
            texts.append(op == Op.TEXT)
            offsets.append(at)
            lengths.append(size)
            at += size
    memory = np.frombuffer(b"".join(parts), np.uint8)
    places = np.array(offsets, np.int64), np.array(lengths, np.int32)
    messages = Received(memory, *places, memory.ctypes.data)
    is_text, is_plain = np.array(texts, np.bool_), np.array(plain, np.bool_)
    return Frames(np.array(rows, np.int64), messages, is_text, is_plain)


def _header(op: int, size: int) -> bytes:
    if size < SHORT:
        return bytes((FIN | op, size))
    return bytes((FIN | op, SHORT, size >> 8, size & 255))


def _taken(piece: bytes, message_max: int, is_server: bool) -> list[tuple[int, bytes]] | None:
    """The messages of a piece; None: it is not plain."""
    found = []
    at, end = 0, len(piece)
    while at < end:
        head = _head(piece, at, is_server)
        if head is None:
            return None
        op, start, size = head
        at = start + size
        if at > end or (size > message_max and op != Op.PONG):
            return None
        if op == Op.PONG:
            continue
        payload = piece[start:at]
        if is_server:
            payload = masked(payload, piece[start - 4 : start])
        if op == Op.TEXT and not _is_text(payload):
            return None
        found.append((op, payload))
    return found


def _head(piece: bytes, at: int, is_server: bool) -> tuple[int, int, int] | None:
    """Of a frame at `at`: opcode, where its payload begins, and its size; None: it is not plain."""
    if len(piece) < at + 2:
        return None
    op, size = piece[at] ^ FIN, piece[at + 1] ^ (MASKED * is_server)
    at += 2 + 4 * is_server
    if size < SHORT:
        return (op, at, size) if op in PLAIN else None
    if size > SHORT or op == Op.PONG or op not in PLAIN or len(piece) < at + 2:
        return None
    size = piece[at - 4 * is_server] << 8 | piece[at + 1 - 4 * is_server]
    return (op, at + 2, size) if size >= SHORT else None


def _is_text(payload: bytes) -> bool:
    if payload.isascii():
        return True
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


# --- all alike ----------------------------------------------------------------------------------


def _alike(data: Ragged, first: int, records: Bytes) -> Frames:
    count, width = records.shape
    offsets = np.arange(HEADER, HEADER + count * width, width)
    memory = records.ravel()
    messages = Received(memory, offsets, data.lengths - np.int32(HEADER), memory.ctypes.data)
    is_text = np.full(count, first == FIN | Op.TEXT)
    return Frames(np.arange(count), messages, is_text, np.ones(count, np.bool_))


# --- in arrays ----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Heads:
    """Headers of frames: column i is of a frame in piece `rows[i]`, ascending."""

    rows: Int64s
    starts: Int64s  # of the payload, in the memory
    sizes: Int64s
    ops: Int64s
    is_plain: Bools  # of the pieces

    def take(self, which: Bools) -> _Heads:
        """Some of them."""
        return _Heads(
            self.rows[which], self.starts[which], self.sizes[which], self.ops[which], self.is_plain
        )


def _heads(data: Ragged, message_max: int, is_server: bool) -> _Heads:
    """The headers of all data frames in plain pieces."""
    ends = data.offsets + data.lengths
    is_plain = data.lengths >= 2 + 4 * is_server
    rows = np.flatnonzero(is_plain)
    at = data.offsets[rows]
    found: list[tuple[Int64s, Int64s, Int64s, Int64s]] = [(rows[:0], at[:0], at[:0], at[:0])]
    while len(rows) > FEW:  # the next frame of each piece
        columns, is_good = _next_heads(data.memory, at, ends[rows], is_server)
        is_plain[rows[~is_good]] = False
        rows = rows[is_good]
        found.append((rows, *columns))
        at = columns[0] + columns[1]
        is_more = at < ends[rows]
        rows, at = rows[is_more], at[is_more]
    for row, start in zip(rows.tolist(), at.tolist(), strict=True):  # those with many
        few = _further_heads(data.memory[start : int(ends[row])].tobytes(), is_server)
        is_plain[row] = few is not None
        if few:
            starts, sizes, ops = np.array(few, np.int64).T
            found.append((np.full(len(few), row), starts + start, sizes, ops))
    if len(found) == 2:
        heads = _Heads(*found[1], is_plain)
    else:
        joined = [np.concatenate(column) for column in zip(*found, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        rows, starts, sizes, ops = (column[order] for column in joined)
        heads = _Heads(rows, starts, sizes, ops, is_plain)
    is_pong = heads.ops == Op.PONG
    is_plain[heads.rows[(heads.sizes > message_max) & ~is_pong]] = False
    is_kept = is_plain[heads.rows] & ~is_pong
    return heads if is_kept.all() else heads.take(is_kept)


def _next_heads(
    memory: Bytes, at: Int64s, ends: Int64s, is_server: bool
) -> tuple[tuple[Int64s, Int64s, Int64s], Bools]:
    """The headers at `at`, each of a piece that ends at `ends`: which of them are plain, and of
    those where payloads start, their sizes and opcodes."""
    least = 2 + 4 * is_server
    is_good = ends - at >= least
    pairs = windows(memory, "<u2")
    firsts = pairs[np.minimum(at, len(pairs) - 1)]
    ops = (firsts & 0xFF).astype(np.int64) ^ FIN
    sizes = (firsts >> 8).astype(np.int64) ^ (MASKED * is_server)
    starts = at + least
    is_medium = sizes == SHORT
    if is_medium.any():
        places = np.minimum(at[is_medium] + 2, len(pairs) - 1)
        lengths = pairs[places].byteswap().astype(np.int64)
        sizes[is_medium] = np.where(lengths < SHORT, MEDIUM_MAX + 1, lengths)
        starts += 2 * is_medium
    is_good &= (starts + sizes <= ends) & (is_medium | (sizes < SHORT))
    is_good &= (ops == Op.TEXT) | (ops == Op.BINARY) | ((ops == Op.PONG) & ~is_medium)
    is_good &= sizes <= MEDIUM_MAX
    columns = starts, sizes, ops
    return tuple(column[is_good] for column in columns), is_good  # type: ignore[return-value]


def _further_heads(piece: bytes, is_server: bool) -> list[tuple[int, int, int]] | None:
    """All headers in a piece one by one: where payloads start, sizes, opcodes."""
    found, at = [], 0
    while at < len(piece):
        head = _head(piece, at, is_server)
        if head is None or head[1] + head[2] > len(piece):
            return None
        op, start, size = head
        found.append((start, size, op))
        at = start + size
    return found


def _unmasked(data: Ragged, heads: _Heads) -> Frames:
    """Messages out of a client's frames, each copied with room for its header in front of it."""
    sizes, starts = heads.sizes, heads.starts
    count = len(sizes)
    if not count:
        return Frames(heads.rows, Ragged.empty(), np.zeros(0, np.bool_), heads.is_plain)
    masks = windows(data.memory, "<u4")[starts - 4]
    rooms = np.where(sizes < SHORT, 2, 4)
    words = (sizes + rooms + 3) >> 2
    records = starts + sizes - 4 * words  # where they begin: payloads are at their ends
    lead = 4 * words - sizes  # bytes in front of the payload: the header, and what it does not fill
    turn = ((lead & 3) << 3).astype(np.uint32)
    masks = masks << turn | masks >> (-turn & 31) if turn.any() else masks
    widest = int(words.max())
    if int(words.min()) == widest:
        gathered = windows(data.memory, f"V{4 * widest}")[records].view("<u4")
        memory = (gathered.reshape(count, widest) ^ masks[:, None]).ravel()
        at = np.arange(0, count * widest, widest)
    else:
        at = starts_of(words)
        index = np.repeat(records - 4 * at, words) + np.arange(0, 4 * int(words.sum()), 4)
        memory = windows(data.memory, "<u4")[index] ^ np.repeat(masks, words)
    return _with_headers(memory, at, lead, rooms, heads)


def _with_headers(
    memory: npt.NDArray[np.uint32], at: Int64s, lead: Int64s, rooms: Int64s, heads: _Heads
) -> Frames:
    """Records from `at` (in words) on, with `lead` bytes in front of their payloads: checked, and
    their headers written there."""
    sizes, ops = heads.sizes, heads.ops
    memory[at] &= _KEPT_FIRST[lead]
    is_long = lead > 4
    if is_long.any():
        memory[at[is_long] + 1] &= _KEPT_SECOND[lead[is_long]]
    content = memory.view(np.uint8)
    places = 4 * at + lead
    messages = Received(content, places, sizes.astype(np.int32), content.ctypes.data)
    is_good = np.ones(len(sizes), np.bool_)
    if int(content.max()) > 127:
        is_high = (np.bitwise_or.reduceat(memory, at) & 0x80808080) != 0
        for i in np.flatnonzero(is_high & (ops == Op.TEXT)).tolist():
            is_good[i] = _is_text(messages.piece(i))
    content[places - rooms] = FIN | ops
    content[places - 1] = sizes & 0xFF
    is_medium = rooms == 4
    if is_medium.any():
        medium = places[is_medium]
        content[medium - 3] = SHORT
        content[medium - 2] = sizes[is_medium] >> 8
    return _checked(heads, messages, is_good)


def _checked(heads: _Heads, messages: Ragged, is_good: Bools) -> Frames:
    """Without the messages of pieces that are not plain because of a text that is not UTF-8."""
    rows, is_text, is_plain = heads.rows, heads.ops == Op.TEXT, heads.is_plain
    frames = Frames(rows, messages, is_text, is_plain)
    if is_good.all():
        return frames
    is_plain[rows[~is_good]] = False
    return frames.take(is_plain[rows])


def _is_ascii(messages: Ragged) -> bool:
    """Whether all are, for sure."""
    size = int(messages.lengths.max(initial=0))
    if not size or int(messages.lengths.min()) < size:
        return not size
    content = windows(messages.memory, f"V{size}")[messages.offsets].view(np.uint8)
    return int(content.max()) < 128
