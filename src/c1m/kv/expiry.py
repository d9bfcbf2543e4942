"""Keys that expire, found without a look at the others, and removed in slices. Pure.

A key that is to expire is in a bucket, which is looked at when its time has come. What has expired
then is removed; what expires later is filed again. So a key whose time is put off stays where it
is, one that expires far in the future is in one of few wide buckets until it comes near, and an
entry of a key that was removed or set anew costs one look. Where such stale entries are the
majority, all buckets are looked at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from heapq import heappop, heappush

# The keys in the order in which they came: what was made together goes together, and its memory
# with it. In the order of a set, 1,000,000 keys keep all of it up to the last, which takes 10 ms.
Bucket = dict[bytes, None]

NEVER_MS = 1 << 62

NEAR_MS = 1 << 20  # some 17 minutes: a key that expires sooner is in a bucket of
FINE_MS = 1 << 7  # so many milliseconds, and is removed at most so late,
COARSE_MS = 1 << 17  # and any other in one of two minutes
STALE_MIN = 1_000  # so few are not worth a look


class Deadlines:
    """When to look at which keys of one database."""

    def __init__(self) -> None:
        self._buckets: dict[int, Bucket] = {}  # by the time to look
        self._times: list[int] = []  # the same times, as a heap
        self._open: deque[Bucket] = deque()  # buckets whose time has come
        self._added = 0  # entries when they were counted, and since
        self._many = STALE_MIN  # so many are counted anew

    @property
    def next_ms(self) -> int:
        """When to look; 0: at once."""
        if self._open:
            return 0
        return self._times[0] if self._times else NEVER_MS

    def __len__(self) -> int:
        """Entries: each takes time, so this is not for every tick."""
        return sum(map(len, self._buckets.values())) + sum(map(len, self._open))

    def add(self, key: bytes, when_ms: int, now_ms: int) -> int:
        """File a key that expires then; when to look at the latest."""
        if when_ms - now_ms < NEAR_MS:
            look_ms = -(-when_ms // FINE_MS) * FINE_MS
        else:
            look_ms = when_ms // COARSE_MS * COARSE_MS
        bucket = self._buckets.get(look_ms)
        if bucket is None:
            bucket = self._buckets[look_ms] = {}
            heappush(self._times, look_ms)
            if self._added > self._many:
                look_ms = now_ms  # to count
        bucket[key] = None
        self._added += 1
        return look_ms

    def look(
        self,
        expires: Mapping[bytes, int],
        expire: Callable[[bytes], object],
        now_ms: int,
        count: int,
    ) -> int:
        """Look at up to `count` keys, call `expire` for what has; how many it looked at."""
        while self._times and self._times[0] <= now_ms:
            self._open.appendleft(self._buckets.pop(heappop(self._times)))
        looked = 0
        while self._open and looked < count:
            bucket = self._open[0]
            while bucket and looked < count:
                looked += 1
                key = bucket.popitem()[0]
                when_ms = expires.get(key)
                if when_ms is None:
                    continue
                if when_ms <= now_ms:
                    expire(key)
                else:
                    self.add(key, when_ms, now_ms)
            if not bucket:
                self._open.popleft()
        if self._added > self._many and not self._open:
            self._added, self._many = len(self), 2 * len(expires) + STALE_MIN
            if self._added > self._many:  # most are stale
                self._open.extend(self._buckets.values())
                self._buckets, self._times, self._added = {}, [], 0
        return looked
