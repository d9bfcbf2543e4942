"""Which server of a cluster has which hash slots: the rules of Redis Cluster. Pure.

A key is in one of 16,384 slots, and each node has a row of neighbouring slots: the
same for the whole life of the cluster, so every node knows all by what it was started with, and
they say nothing to each other. No node takes over for one that has gone.
"""

from __future__ import annotations

import hashlib
from binascii import crc_hqx
from bisect import bisect_right
from collections.abc import Sequence
from itertools import repeat
from typing import NamedTuple

from c1m.protocols.resp.slots import SLOTS, slot_of

CROSS_SLOT = b"CROSSSLOT Keys in request don't hash to the same slot"
REDIRECTIONS = (b"MOVED ", b"CROSSSLOT ")  # how refusals begin


class Node(NamedTuple):
    """A server of the cluster: where clients reach it, and its name of 40 hexadecimal digits.

    `host` is empty where it is the address by which a client has come to any of the nodes.
    """

    host: str
    port: int

    @property
    def name(self) -> str:
        """The same on all nodes: it is made of the place."""
        return hashlib.sha1(f"{self.host}:{self.port}".encode(), usedforsecurity=False).hexdigest()


class Cluster:
    """The nodes in order, each with an equal share of the slots, and which of them this one is."""

    def __init__(self, nodes: Sequence[Node], own: int) -> None:
        assert 0 <= own < len(nodes) <= SLOTS
        self.nodes = list(nodes)
        self.own = own
        # The first slot of each node, and of one behind the last.
        self.starts = [index * SLOTS // len(nodes) for index in range(len(nodes) + 1)]
        first, end = self.slots(own)
        row = bytes(first) + b"\1" * (end - first) + bytes(SLOTS - end)
        self._is_own = row * (65536 // SLOTS)  # by CRC16

    def slots(self, index: int) -> tuple[int, int]:
        """A node's first slot, and the one behind its last."""
        return self.starts[index], self.starts[index + 1]

    def owner(self, slot: int) -> Node:
        """The node that has a slot."""
        return self.nodes[bisect_right(self.starts, slot) - 1]

    def has(self, slot: int) -> bool:
        """Whether it is this node's."""
        return bool(self._is_own[slot])

    def has_all(self, keys: list[bytes]) -> bool:
        """Whether all of these keys are this node's: in one step for many."""
        has_tags = b"{" in b"".join(keys)
        slots = map(slot_of, keys) if has_tags else map(crc_hqx, keys, repeat(0))
        return bool(min(map(self._is_own.__getitem__, slots)))

    def slot_of_all(self, keys: Sequence[bytes]) -> int:
        """The one slot of several keys; -1: they are in several."""
        slot = slot_of(keys[0])
        return slot if all(slot_of(key) == slot for key in keys[1:]) else -1
