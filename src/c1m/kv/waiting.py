"""Clients that wait for keys: in which order they are served, and until when they wait. Pure.

A waiter stands in a queue at each of its keys (`Database.waiting`): first come, first served. A
value that is put there adds the key to `Shared.ready`, and `Waiting.serve` follows at the end of a
command or a transaction. The times at which waits end are in a heap: waiting costs a tick nothing.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from c1m.kv.database import Database, Shared
from c1m.kv.errors import CommandError
from c1m.protocols.resp.replies import NULL_ARRAYS, error

UNBLOCKED = b"UNBLOCKED client unblocked via CLIENT UNBLOCK"
_LEFT_OVER_MIN = 64  # entries of the heap that are of no use before it is made anew


@dataclass(slots=True, eq=False)
class Waiter:
    """A client that waits until one of `keys` holds a value of type `kind`.

    `serve(key)` takes from that and answers with a reply, or raises CommandError.
    """

    client: Any
    db: Database
    keys: Sequence[bytes]
    kind: type
    serve: Callable[[bytes], bytes]
    until_ms: int = 0  # Unix time; 0: for ever
    is_over: bool = False


class Waiting:
    """All who wait. `count` is how many."""

    def __init__(self) -> None:
        self.count = 0
        self.unblocked: list[Any] = []  # clients whose later commands may run now
        self._times: list[tuple[int, int, Waiter]] = []  # a heap
        self._left_over = 0  # entries of it whose wait is over
        self._sequence = 0

    @property
    def has_times(self) -> bool:
        """A wait may end by itself."""
        return bool(self._times)

    def add(self, waiter: Waiter) -> None:
        """The client is served no sooner than all who came before, at each of the keys."""
        self.count += 1
        waiter.client.waiter = waiter
        waiter.client.later = []
        for key in waiter.keys:
            waiter.db.waiting.setdefault(key, OrderedDict())[waiter] = None
        if waiter.until_ms:
            self._sequence += 1
            heapq.heappush(self._times, (waiter.until_ms, self._sequence, waiter))

    def remove(self, waiter: Waiter) -> None:
        """The wait is over: it leaves all queues."""
        self.count -= 1
        waiter.is_over = True
        waiter.client.waiter = None
        for key in dict.fromkeys(waiter.keys):
            queue = waiter.db.waiting[key]
            del queue[waiter]
            if not queue:
                del waiter.db.waiting[key]
        if waiter.until_ms:
            self._left_over += 1
            if self._left_over > max(_LEFT_OVER_MIN, len(self._times) // 2):
                self._times = [entry for entry in self._times if not entry[2].is_over]
                heapq.heapify(self._times)
                self._left_over = 0

    def _end(self, waiter: Waiter, reply: bytes) -> None:
        """The wait ends with a reply, and the client's later commands may run."""
        if not waiter.is_over:
            self.remove(waiter)
        waiter.client.say(reply)
        self.unblocked.append(waiter.client)

    def next_ms(self) -> int | None:
        """When the next wait ends, in Unix time; None: none does by itself."""
        while self._times and self._times[0][2].is_over:
            heapq.heappop(self._times)
            self._left_over -= 1
        return self._times[0][0] if self._times else None

    def expire(self, now_ms: int) -> None:
        """End the waits whose time has come: the reply is a null array."""
        while (next_ms := self.next_ms()) is not None and next_ms <= now_ms:
            waiter = self._times[0][2]
            self._end(waiter, NULL_ARRAYS[waiter.client.protocol])

    def unblock(self, client: Any, *, is_error: bool) -> bool:
        """End a client's wait as its time would, or with an error; False: it does not wait."""
        if client.waiter is None:
            return False
        reply = error(UNBLOCKED) if is_error else NULL_ARRAYS[client.protocol]
        self._end(client.waiter, reply)
        return True

    def serve(self, shared: Shared) -> None:
        """Serve who waits for the keys that have come, and for what comes by that in turn."""
        while shared.ready:
            ready, shared.ready = shared.ready, []
            for db, key in dict.fromkeys(ready):
                while (queue := db.waiting.get(key)) and (value := db.find(key)) is not None:
                    waiter = next((each for each in queue if isinstance(value, each.kind)), None)
                    if waiter is None:
                        break
                    self.remove(waiter)
                    try:
                        reply = waiter.serve(key)
                    except CommandError as refusal:
                        reply = error(refusal.text)
                    self._end(waiter, reply)
                    if shared.journal is not None and shared.journal.has_written:
                        shared.journal.mark(waiter.client.slot)
