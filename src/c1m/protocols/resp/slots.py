"""Hash slots of Redis Cluster: whose a key is, and keys that are a connection's node's. Pure.

A key is in one of 16,384 slots, by its CRC16, or by that of its hash tag: the text between its
first { and the next }. Each slot is a node's. Source: the Redis Cluster specification, "Key
distribution model" and "Hash tags".

A load client gives each connection a slot by its number alone. The slot's node is where it
connects, and the slot's tag is in its keys: so nodes have connections in proportion to their slots,
and what is said is the same whatever the nodes are.
"""

from __future__ import annotations

from binascii import crc_hqx  # CRC16 as XMODEM has it, and Redis
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

SLOTS = 1 << 14
REDIRECTIONS = (b"-MOVED ", b"-ASK ")  # how a reply begins that names another node

_STEP = 10_131  # odd, about SLOTS by the golden ratio: it spreads neighbours evenly
_LETTERS = b"0123456789abcdefghijklmnopqrstuvwxyz"
_LETTERS_OF_TAG = 4  # so many that every slot has a tag

Numbers = npt.NDArray[np.int64]


def slot_of(key: bytes) -> int:
    """The slot of a key: of what is between its first { and the next }, if that is something."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return crc_hqx(key, 0) & (SLOTS - 1)


def slots_at(places: Numbers) -> Numbers:
    """The slots of connections, by their numbers in the whole run: int64[n]."""
    return places * _STEP % SLOTS


@cache
def tags() -> npt.NDArray[np.uint8]:
    """A hash tag for each slot, with its braces: uint8[SLOTS, 6]."""
    found: dict[int, bytes] = {}
    for letters in product(_LETTERS, repeat=_LETTERS_OF_TAG):
        found.setdefault(crc_hqx(bytes(letters), 0) & (SLOTS - 1), bytes(letters))
        if len(found) == SLOTS:
            break
    text = b"".join(b"{%b}" % found[slot] for slot in range(SLOTS))
    return np.frombuffer(text, np.uint8).reshape(SLOTS, -1)


def tag_at(place: int) -> bytes:
    """The hash tag of one connection, as {0a7z}."""
    return bytes(tags()[place * _STEP % SLOTS])


@dataclass(frozen=True, slots=True)
class Shards:
    """How many nodes of a cluster have slots, and for each slot which of them: int64[SLOTS]."""

    count: int
    owners: Numbers

    def nodes_at(self, places: Numbers) -> Numbers:
        """Which node each connection belongs to, by its number in the whole run: int64[n]."""
        return self.owners[slots_at(places)]

    def first_slots(self) -> Numbers:
        """A slot of each node: int64[nodes]."""
        return np.unique(self.owners, return_index=True)[1].astype(np.int64)


def shards_of(rows: Any, host: str) -> tuple[Shards, list[tuple[str, int]]]:
    """What CLUSTER SLOTS has answered, as a value, and the hosts and ports of the nodes. Slots that
    are no node's have -1.

    `host` is where it was asked: of nodes that do not know their own address. Raises ValueError for
    what is no such reply.
    """
    owners = np.full(SLOTS, -1, np.int64)
    nodes: dict[tuple[str, int], int] = {}
    try:
        for first, last, (name, port, *_), *_ in sorted(rows, key=lambda row: row[0]):
            if not 0 <= first <= last < SLOTS or not 0 < port < 1 << 16:
                raise ValueError(f"slots {first} to {last} of port {port}")
            place = ((name or b"").decode() or host, port)
            owners[first : last + 1] = nodes.setdefault(place, len(nodes))
    except (TypeError, LookupError, AttributeError):
        raise ValueError("no rows of slots") from None
    return Shards(len(nodes), owners), list(nodes)
