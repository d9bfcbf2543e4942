"""Values as bytes and back: what is kept on disk. Pure.

An *entry* says what became of one key: its value, that it is gone, or the command that changed it.
What a tick wrote is the entries one behind the other, *sealed*: a checksum stands before them, so
that bytes that are not what was written are noticed. All numbers are little-endian.

`VERSION` is that of all these forms; whoever keeps them notes it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from zlib import crc32

from c1m.kv.large_hash import SMALL, LargeHash
from c1m.kv.members import Members
from c1m.kv.sorted_set import SortedSet

VERSION = 1

# Kinds of entries: the types of values, and what else becomes of a key.
STRING, RAW, HASH, LIST, SET, SORTED_SET, REMOVED, CHANGED, FLUSHED = b"srhlSz-+0"
NEVER = -1  # the expiry of a key that has none

_HEAD = struct.Struct("<BBqIQ")  # kind, place, when it expires, bytes of the key and of the body
_SEAL = struct.Struct("<I")
_COUNT = struct.Struct("<I")


class CorruptData(Exception):
    """Bytes that are not what was written."""


class Entry(NamedTuple):
    """`place` is where its database is kept, `expires` a Unix time in milliseconds or NEVER."""

    kind: int
    place: int
    expires: int
    key: bytes
    body: bytes


def entry(kind: int, place: int, key: bytes, body: bytes, expires: int = NEVER) -> bytes:
    """One entry's bytes; `entries` reads them."""
    return b"".join((_HEAD.pack(kind, place, expires, len(key), len(body)), key, body))


def string_entry(place: int, key: bytes, value: bytes, expires: int) -> tuple[bytes, ...]:
    """The parts of a string's entry: of most keys, and so without a call more."""
    return _HEAD.pack(STRING, place, expires, len(key), len(value)), key, value


def entry_of(place: int, key: bytes, value: Any, expires: int = NEVER) -> bytes:
    """The entry of a key with its whole value."""
    kind, body = encode(value)
    return entry(kind, place, key, body, expires)


def entries(data: bytes) -> Iterator[Entry]:
    """What `entry` made, any number of them. Raises CorruptData."""
    at = 0
    while at < len(data):
        try:
            kind, place, expires, key_bytes, body_bytes = _HEAD.unpack_from(data, at)
        except struct.error:
            raise CorruptData("an entry is cut off") from None
        at += _HEAD.size
        end = at + key_bytes + body_bytes
        if end > len(data):
            raise CorruptData("an entry is cut off")
        yield Entry(kind, place, expires, data[at : at + key_bytes], data[at + key_bytes : end])
        at = end


def seal(data: bytes) -> bytes:
    """With a checksum before it."""
    return _SEAL.pack(crc32(data)) + data


def unseal(sealed: bytes) -> bytes:
    """What was sealed. Raises CorruptData."""
    data = sealed[_SEAL.size :]
    if len(sealed) < _SEAL.size or _SEAL.unpack_from(sealed)[0] != crc32(data):
        raise CorruptData("a checksum is wrong")
    return data


def encode(value: Any) -> tuple[int, bytes]:
    """A value's kind and bytes."""
    if isinstance(value, bytes):
        return STRING, value
    if isinstance(value, bytearray):
        return RAW, bytes(value)
    if isinstance(value, dict):
        return HASH, pack([*value, *value.values()])
    if isinstance(value, deque):
        return LIST, pack(value)
    if isinstance(value, Members):
        return SET, pack(value)
    assert isinstance(value, SortedSet), type(value)
    count, scores = len(value.scores), value.scores
    return SORTED_SET, struct.pack(f"<I{count}d", count, *scores.values()) + pack(scores)


def decode(kind: int, body: bytes) -> Any:
    """The value of a kind and bytes. Raises CorruptData for what `encode` does not make."""
    if kind == STRING:
        return body
    if kind == RAW:
        return bytearray(body)
    try:
        if kind == SORTED_SET:
            return _decode_sorted_set(body)
        items = unpack(body)
    except struct.error:
        raise CorruptData("a value is cut off") from None
    if not items:
        raise CorruptData("a value is empty")
    if kind == HASH and len(items) % 2 == 0:
        half = len(items) // 2
        pairs = zip(items[:half], items[half:], strict=True)
        return LargeHash(pairs) if half > SMALL[0] else dict(pairs)
    if kind == LIST:
        return deque(items)
    if kind == SET:
        return Members(items)
    raise CorruptData(f"there is no kind {kind}")


def _decode_sorted_set(body: bytes) -> SortedSet:
    (count,) = _COUNT.unpack_from(body)
    scores = struct.unpack_from(f"<{count}d", body, 4)
    members = unpack(body, 4 + 8 * count)
    if len(members) != count or not count:
        raise CorruptData("a sorted set has other scores than members")
    if any(score != score for score in scores):
        raise CorruptData("a score is no number")
    return SortedSet(dict(zip(members, scores, strict=True)))


def pack(items: Iterable[bytes]) -> bytes:
    """Byte strings one behind the other, behind their count and their lengths."""
    items = list(items)
    lengths = struct.pack(f"<{len(items) + 1}I", len(items), *map(len, items))
    return b"".join((lengths, *items))


def unpack(data: bytes, at: int = 0) -> list[bytes]:
    """What `pack` made, from there to the end. Raises CorruptData or struct.error."""
    (count,) = _COUNT.unpack_from(data, at)
    lengths = struct.unpack_from(f"<{count}I", data, at + 4)
    at += 4 + 4 * count
    items = []
    for length in lengths:
        items.append(data[at : at + length])
        at += length
    if at != len(data):
        raise CorruptData("a value has other bytes than its parts")
    return items
