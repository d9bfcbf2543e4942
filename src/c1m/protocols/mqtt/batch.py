"""The batch form of packets of MQTT: a tick's pieces that are whole small packets. Pure.

What is not such is for the plain form (`packets`); a property test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Bytes, Ragged, starts_of
from c1m.protocols.framing import windows
from c1m.protocols.mqtt.fields import Broken, varint
from c1m.protocols.mqtt.packets import QOS, V5, Kind, header_at

FEW = 16  # pieces that are looked at one by one
SMALL = 1 << 14  # bytes behind a header whose length has one or two bytes
GROUPS_MAX = 32  # packets of so many shapes are made by arrays

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


# --- what came ----------------------------------------------------------------------------------


@dataclass(slots=True)
class Packets:
    """Packets out of pieces: packet i came in piece `rows[i]` (int64[n], ascending), in order.

    `firsts` int64[n] are their first bytes; `bodies` what is behind their headers. `is_plain`
    bool[pieces]: which pieces held whole packets of less than SMALL bytes; no packet is of another
    one.
    """

    rows: Int64s
    firsts: Int64s
    bodies: Ragged
    is_plain: Bools

    def take(self, which: Bools) -> Packets:
        """Some of the packets: bool[n]."""
        return Packets(self.rows[which], self.firsts[which], self.bodies.take(which), self.is_plain)


def whole_packets(data: Ragged, packet_max: int) -> Packets:
    """The packets of all pieces that hold nothing but whole small ones."""
    packet_max = min(packet_max, SMALL - 1)
    memory, is_plain = data.memory, data.lengths >= 2
    rows = np.flatnonzero(is_plain)
    at = data.offsets[rows]
    ends = at + data.lengths[rows]
    found: list[tuple[Int64s, ...]] = [(rows[:0], rows[:0], rows[:0], rows[:0])]
    while len(rows) > FEW:  # the next packet of each piece
        columns, is_good = _next_heads(memory, at, ends, packet_max)
        is_plain[rows[~is_good]] = False
        rows, ends = rows[is_good], ends[is_good]
        found.append((rows, *columns))
        at = columns[1] + columns[2]
        is_more = at < ends
        rows, at, ends = rows[is_more], at[is_more], ends[is_more]
    for row, start, end in zip(rows.tolist(), at.tolist(), ends.tolist(), strict=True):
        heads = _heads_of(memory[start:end].tobytes(), packet_max)
        is_plain[row] = heads is not None
        if heads:
            firsts, starts, sizes = np.array(heads, np.int64).T
            found.append((np.full(len(heads), row), firsts, starts + start, sizes))
    rows, firsts, starts, sizes = found[1] if len(found) == 2 else _in_order(found)
    bodies = Ragged(memory, starts, sizes.astype(np.int32), data.address)
    packets = Packets(rows, firsts, bodies, is_plain)
    is_kept = is_plain[rows]
    return packets if is_kept.all() else packets.take(is_kept)


def _in_order(found: list[tuple[Int64s, ...]]) -> list[Int64s]:
    joined = [np.concatenate(column) for column in zip(*found, strict=True)]
    order = np.argsort(joined[0], kind="stable")
    return [column[order] for column in joined]


def _next_heads(
    memory: Bytes, at: Int64s, ends: Int64s, packet_max: int
) -> tuple[tuple[Int64s, Int64s, Int64s], Bools]:
    """The headers at `at`, each of a piece that ends at `ends`: which of them are plain, and of
    those first bytes, where bodies start, and their sizes."""
    last = len(memory) - 1
    firsts = memory[at].astype(np.int64)
    low = memory[np.minimum(at + 1, last)].astype(np.int64)
    is_good = _IS_FIRST[firsts]
    is_long = low > 127
    starts = at + 2
    if is_long.any():
        high = memory[np.minimum(at + 2, last)].astype(np.int64)
        is_good &= ~is_long | ((high < 128) & (high > 0))
        low = np.where(is_long, low & 127 | high << 7, low)
        starts += is_long
    is_good &= (starts + low <= ends) & (low <= packet_max)
    return (firsts[is_good], starts[is_good], low[is_good]), is_good


def _heads_of(piece: bytes, packet_max: int) -> list[tuple[int, int, int]] | None:
    """All headers in a piece one by one; None: it is not plain."""
    found, at = [], 0
    while at < len(piece):
        try:
            head = header_at(piece, at, packet_max)
        except Broken:
            return None
        if head is None or head[1] > len(piece):
            return None
        found.append((piece[at], head[0], head[1] - head[0]))
        at = head[1]
    return found


def _is_first(first: int) -> bool:
    try:
        header_at(bytes((first, 0)), 0, 0)
    except Broken:
        return False
    return True


_IS_FIRST = np.array([_is_first(first) for first in range(256)])


@dataclass(slots=True)
class Messages:
    """PUBLISH packets: topics, identifiers int64[n] (0 where QoS is 0), payloads.

    `is_plain` bool[n]: which of them could be read so; what stands for the others means nothing.
    Those have a property (MQTT 5), or are wrong. Whether a topic is UTF-8 is for who compares it.
    """

    topics: Ragged
    ids: Int64s
    payloads: Ragged
    is_plain: Bools


def messages_of(firsts: Int64s, bodies: Ragged, version: int) -> Messages:
    """What packets of the type PUBLISH say."""
    memory, last = bodies.memory, len(bodies.memory) - 1
    starts, sizes = bodies.offsets, bodies.lengths.astype(np.int64)
    ends = starts + sizes
    topic_sizes = _number_at(memory, starts)
    at = starts + 2 + topic_sizes
    has_id = (firsts & QOS) != 0
    ids = np.where(has_id, _number_at(memory, np.minimum(at, last)), 0)
    at += 2 * has_id
    is_plain = (sizes >= 2) & (topic_sizes > 0) & ((ids > 0) | ~has_id)
    if version == V5:
        is_plain &= (at < ends) & (memory[np.minimum(at, last)] == 0)
        at += 1
    is_plain &= at <= ends
    topics = Ragged(memory, starts + 2, topic_sizes.astype(np.int32), bodies.address)
    payloads = Ragged(memory, at, (ends - at).astype(np.int32), bodies.address)
    return Messages(topics, ids, payloads, is_plain)


def ids_of(bodies: Ragged) -> Int64s:
    """The first two bytes of bodies of at least two, as a number: int64[n]."""
    return _number_at(bodies.memory, bodies.offsets)


def _number_at(memory: Bytes, at: Int64s) -> Int64s:
    last = len(memory) - 1
    high = memory[np.minimum(at, last)].astype(np.int64)
    return high << 8 | memory[np.minimum(at + 1, last)]


# --- what is said -------------------------------------------------------------------------------

Field = bytes | Ragged | Bytes  # the same for all, one for each, or uint8[n, width]


def packets_of(first: int, count: int, fields: Sequence[Field]) -> Ragged:
    """`count` packets with this first byte: piece i has field i of each of `fields`."""
    sizes = np.zeros(count, np.int64)
    for each in fields:
        sizes += each.lengths if isinstance(each, Ragged) else _width(each)
    if count <= FEW:
        return _packets_of_few(first, sizes.tolist(), fields)
    keys = np.zeros(count, np.int64)
    for each in fields:
        if isinstance(each, Ragged):
            keys = keys * (int(each.lengths.max()) + 1) + each.lengths
    shapes, which = np.unique(keys, return_inverse=True)
    if len(shapes) > GROUPS_MAX or int(sizes.max()) >= SMALL:
        return _packets_of_few(first, sizes.tolist(), fields)
    lengths = (sizes + np.where(sizes > 127, 3, 2)).astype(np.int32)
    order = np.argsort(which, kind="stable") if len(shapes) > 1 else np.arange(count)
    offsets = np.empty(count, np.int64)
    offsets[order] = starts_of(lengths[order])
    memory = np.empty(int(lengths.sum(dtype=np.int64)), np.uint8)
    bounds = np.searchsorted(which[order], np.arange(len(shapes) + 1)).tolist()
    at = 0
    for begin, end in pairwise(bounds):
        some = order[begin:end]
        width = int(lengths[some[0]])
        rows = memory[at : at + len(some) * width].reshape(len(some), width)
        _fill(rows, bytes((first,)) + varint(int(sizes[some[0]])), fields, some)
        at += rows.size
    return Ragged(memory, offsets, lengths, memory.ctypes.data)


def _width(field: bytes | Bytes) -> int:
    return len(field) if isinstance(field, bytes) else field.shape[1]


def _fill(rows: Bytes, header: bytes, fields: Sequence[Field], some: Int64s) -> None:
    """Packets whose fields have the same lengths each."""
    at = 0
    for each in (header, *fields):
        if isinstance(each, Ragged):
            width = int(each.lengths[some[0]])
            if width:
                records = windows(each.memory, f"V{width}")[each.offsets[some]]
                rows[:, at : at + width] = records.view(np.uint8).reshape(len(some), width)
        else:
            width = _width(each)
            part = np.frombuffer(each, np.uint8) if isinstance(each, bytes) else each[some]
            rows[:, at : at + width] = part
        at += width


def _packets_of_few(first: int, sizes: list[int], fields: Sequence[Field]) -> Ragged:
    count = len(sizes)
    columns: list[list[bytes]] = [[bytes((first,)) + varint(size) for size in sizes]]
    for each in fields:
        if isinstance(each, bytes):
            columns.append([each] * count)
        elif isinstance(each, Ragged):
            columns.append(each.pieces())
        else:
            columns.append([row.tobytes() for row in each])
    return Ragged.of([b"".join(parts) for parts in zip(*columns, strict=True)])


def number_column(numbers: Int64s) -> Bytes:
    """Integers below 65,536 as two bytes each: uint8[n, 2]."""
    return numbers.astype(">u2").view(np.uint8).reshape(-1, 2)


def acknowledgements(kind: Kind, ids: Int64s) -> Ragged:
    """PUBACKs, each of four bytes (MQTT 5, 3.4.2.1: the code may be left out)."""
    return packets_of(kind << 4, len(ids), (number_column(ids),))
