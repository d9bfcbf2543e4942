"""A sorted set: the score of each member, and the members in the order of score, then bytes. Pure.

The order is kept in blocks of at most BLOCK_MAX entries, each two lists side by side: scores and
members. Where an entry belongs is found by bisection of the blocks' last entries, then of the
block. An entry takes 16 bytes there and is no object: a list of (score, member) tuples takes 80
bytes, and tuples are compared at half the speed of floats.

Ranges of any kind become ranges of ranks. How many entries stand before a block is kept in a
Fenwick tree, which is made when first it is asked for and forgotten when blocks come or go: adding,
removing, ranks and finding a rank all take O(log n).

Beside a dict and a SortedList (package sortedcontainers 2.4) of tuples, at 1,000,000 members, in
microseconds: add 4.4 and 6.5, another score 11.7 and 17.5, remove 8.1 and 11.3, rank of a member
6.2 and 9.4, of a score 2.8 and 7.9, 10 members by rank 2.1 and 9.1; bytes a member 101 and 127
without its text (bench/sorted_set.py).
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection
from typing import TypeVar

T = TypeVar("T")

BLOCK_MAX = 1024  # entries: one more and a block is split
LISTPACK_MAX, LISTPACK_VALUE_MAX = 128, 64  # zset-max-listpack-entries and -value, by default
BLOCK_MIN = 128  # one less and a block is joined to the one beside it


class SortedSet:
    """`scores` is read by everybody and written only here. A score is never NaN."""

    __slots__ = (
        "_last_members",
        "_last_scores",
        "_members",
        "_scores",
        "_tree",
        "scores",
        "was_large",
    )

    def __init__(self, scores: dict[bytes, float] | None = None) -> None:
        self.scores: dict[bytes, float] = scores or {}
        self.was_large = False  # it was no listpack once, and Redis never makes one of it again
        order = sorted((score, member) for member, score in self.scores.items())
        size = BLOCK_MAX // 2
        blocks = [order[at : at + size] for at in range(0, len(order), size)]
        self._scores = [[score for score, _ in block] for block in blocks]
        self._members = [[member for _, member in block] for block in blocks]
        self._last_scores = [block[-1] for block in self._scores]
        self._last_members = [block[-1] for block in self._members]
        self._tree: list[int] | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def copy(self) -> SortedSet:
        """Another one of the same members."""
        copied = SortedSet(self.scores.copy())
        copied.was_large = self.was_large
        return copied

    # --- changing -----------------------------------------------------------------------------

    def put(self, member: bytes, score: float) -> None:
        """Add a member, or give it another score."""
        old = self.scores.get(member)
        if old == score:
            return
        if not score and math.copysign(1.0, score) < 0 and self._is_listpack(member):
            score = 0.0  # which knows no -0.0
        if old is not None:
            self._take_out(old, member)
        self.scores[member] = score
        if not self._scores:
            self._scores, self._members = [[score]], [[member]]
            self._last_scores, self._last_members = [score], [member]
            self._tree = None
            return
        block, at = self._place(score, member)
        if block == len(self._scores):
            block -= 1
            at = len(self._scores[block])
        scores = self._scores[block]
        if at == len(scores):
            self._last_scores[block], self._last_members[block] = score, member
        scores.insert(at, score)
        self._members[block].insert(at, member)
        if len(scores) > BLOCK_MAX:
            self._split(block)
        elif self._tree is not None:
            self._count(block, 1)

    def remove(self, member: bytes) -> bool:
        """Remove a member; whether it was there."""
        score = self.scores.get(member)
        if score is None:
            return False
        self._goes((member,))
        del self.scores[member]
        self._take_out(score, member)
        return True

    def pop(self, *, highest: bool) -> tuple[bytes, float]:
        """Remove the first or the last member, of which there are some; with its score."""
        block = len(self._scores) - 1 if highest else 0
        at = len(self._scores[block]) - 1 if highest else 0
        member, score = self._members[block][at], self._scores[block][at]
        self._goes((member,))
        del self.scores[member]
        self._cut(block, at, 1)
        return member, score

    def remove_range(self, start: int, stop: int) -> None:
        """Remove the members of ranks from `start` to before `stop`."""
        while start < stop:
            block, at = self._find(start)
            gone = self._members[block][at : at + stop - start]
            self._goes(gone)
            for member in gone:
                del self.scores[member]
            stop -= len(gone)
            self._cut(block, at, len(gone))

    def _is_listpack(self, member: bytes) -> bool:
        """Whether Redis would keep it as a listpack, together with this member."""
        if self.was_large or len(self.scores) >= LISTPACK_MAX:
            return False
        return max(map(len, [member, *self.scores])) <= LISTPACK_VALUE_MAX

    def _goes(self, members: Collection[bytes]) -> None:
        """Members are to go, after which nothing tells that it was no listpack."""
        if not self.was_large:
            self.was_large = (
                len(self.scores) > LISTPACK_MAX or max(map(len, members)) > LISTPACK_VALUE_MAX
            )

    def _take_out(self, score: float, member: bytes) -> None:
        block, at = self._place(score, member)
        self._cut(block, at, 1)

    def _cut(self, block: int, at: int, count: int) -> None:
        """Remove entries of one block, and what is left of a block that has become too small."""
        scores, members = self._scores[block], self._members[block]
        del scores[at : at + count]
        del members[at : at + count]
        if not scores:
            del self._scores[block], self._members[block]
            del self._last_scores[block], self._last_members[block]
            self._tree = None
            return
        self._last_scores[block], self._last_members[block] = scores[-1], members[-1]
        if len(scores) < BLOCK_MIN and len(self._scores) > 1:
            self._join(max(block - 1, 0))
        elif self._tree is not None:
            self._count(block, -count)

    def _split(self, block: int) -> None:
        """Make two blocks of one."""
        _split(self._scores, self._last_scores, block)
        _split(self._members, self._last_members, block)
        self._tree = None

    def _join(self, block: int) -> None:
        """Make one block of this one and the next; two again if that is too large."""
        _join(self._scores, self._last_scores, block)
        _join(self._members, self._last_members, block)
        self._tree = None
        if len(self._scores[block]) > BLOCK_MAX:
            self._split(block)

    # --- looking ------------------------------------------------------------------------------

    def rank(self, member: bytes) -> int:
        """How many members stand before this one, which is there."""
        return self._before(*self._place(self.scores[member], member))

    def rank_of(self, score: float, *, after: bool = False) -> int:
        """How many members have a lower score; `after`: a score that is not higher."""
        find = bisect_right if after else bisect_left
        block = find(self._last_scores, score)
        if block == len(self._scores):
            return len(self.scores)
        return self._before(block, find(self._scores[block], score))

    def rank_of_member(self, member: bytes, *, after: bool = False) -> int:
        """How many members stand before this one, which need not be there; all have one score.

        `after`: counting itself.
        """
        if not self._scores:
            return 0
        find = bisect_right if after else bisect_left
        block = find(self._last_members, member)
        if block == len(self._scores):
            return len(self.scores)
        return self._before(block, find(self._members[block], member))

    def has_one_score(self) -> bool:
        """All members have the same score: order and lookups by bytes are meaningful."""
        return not self._scores or self._scores[0][0] == self._last_scores[-1]

    def members(self, start: int = 0, stop: int | None = None) -> list[bytes]:
        """The members of ranks from `start` to before `stop`, in order."""
        left = len(self.scores) - start if stop is None else stop - start
        if left <= 0:
            return []
        block, at = self._find(start)
        found = self._members[block][at : at + left]
        while len(found) < left:
            block += 1
            found += self._members[block][: left - len(found)]
        return found

    def _place(self, score: float, member: bytes) -> tuple[int, int]:
        """The block and the place in it where this entry is or belongs; (n, 0): behind all."""
        block = bisect_left(self._last_scores, score)
        if block == len(self._scores):
            return block, 0
        if self._last_scores[block] == score and self._last_members[block] < member:
            end = bisect_right(self._last_scores, score, block)
            block = bisect_left(self._last_members, member, block, end)
            if block == len(self._scores):
                return block, 0
        scores = self._scores[block]
        at = bisect_left(scores, score)
        if at < len(scores) and scores[at] == score:
            at = bisect_left(self._members[block], member, at, bisect_right(scores, score, at))
        return block, at

    # --- ranks --------------------------------------------------------------------------------

    def _before(self, block: int, at: int) -> int:
        """How many entries stand before a place."""
        if block:
            tree = self._tree or self._grow()
            while block:
                at += tree[block]
                block &= block - 1
        return at

    def _find(self, rank: int) -> tuple[int, int]:
        """The block of a rank, and the place in it."""
        if rank < len(self._scores[0]):
            return 0, rank
        tree = self._tree or self._grow()
        block, step = 0, 1 << (len(tree) - 1).bit_length()
        while step:
            if block + step < len(tree) and tree[block + step] <= rank:
                block += step
                rank -= tree[block]
            step >>= 1
        return block, rank

    def _count(self, block: int, change: int) -> None:
        """A block has that many entries more."""
        tree = self._tree
        assert tree is not None
        at = block + 1
        while at < len(tree):
            tree[at] += change
            at += at & -at

    def _grow(self) -> list[int]:
        """The Fenwick tree of the blocks' sizes: tree[i] is that of the i & -i before block i."""
        tree = [0, *map(len, self._scores)]
        for at in range(1, len(tree)):
            parent = at + (at & -at)
            if parent < len(tree):
                tree[parent] += tree[at]
        self._tree = tree
        return tree


def _split(blocks: list[list[T]], lasts: list[T], block: int) -> None:
    whole = blocks[block]
    half = len(whole) // 2
    blocks[block : block + 1] = whole[:half], whole[half:]
    lasts.insert(block, whole[half - 1])


def _join(blocks: list[list[T]], lasts: list[T], block: int) -> None:
    blocks[block] += blocks.pop(block + 1)
    del lasts[block]
