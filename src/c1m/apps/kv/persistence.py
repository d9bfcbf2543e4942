"""Kept data: a tick's writes go to disk as one transaction, and come back at the start.

`always`: a tick's replies leave after its writes are on disk. `everysec`: each tick writes, and a
helper thread flushes once a second, so that a slow disk stops no tick; it is the only thread, and
spends its time in system calls, without Python's lock. `no`: it flushes when much has gathered.

While the disk fails, what changed stays noted and is tried again, writes are refused, reads go on.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable

from c1m.apps.kv.data_directory import DATA, claim, make
from c1m.apps.kv.data_file import DataFile
from c1m.apps.kv.data_flusher import Flusher
from c1m.apps.kv.data_loading import LIVE, PLACES, Loaded, load
from c1m.apps.kv.options import DURABILITIES
from c1m.clock import Clock, SystemClock
from c1m.errors import C1mError, UsageError
from c1m.kv.encoding import seal
from c1m.kv.errors import CommandError
from c1m.kv.journal import Journal, whole
from c1m.kv.store import Store
from c1m.protocols.resp.replies import error

# What lives is written again when the log has more bytes, and so many times those that live.
LOG_BYTES, LOG_TIMES = 16 << 20, 2
SLICE_KEYS, SLICE_BYTES = 64, 1 << 16  # written again with a tick that wrote little
FORGET_BYTES = 1 << 20  # of the log's rows that go at once
RETRY_NS_MIN, RETRY_NS_MAX = 50_000_000, 2_000_000_000
BUSY_NS = 1_000_000  # the flusher has the file: the next try
MISCONF = b"MISCONF Errors writing to the data store: "


class Persistence:
    """Keeps one store in one directory.

    Made, it has locked a directory that has data; `load` fills a store; `start` begins to keep it;
    `commit` is called at the end of each tick. Raises UsageError for a directory that cannot be
    used.
    """

    def __init__(
        self, directory: str, durability: str = "everysec", clock: Clock | None = None
    ) -> None:
        if durability not in DURABILITIES:
            raise UsageError(
                f"There is no durability {durability!r}.",
                f"Choose from: {', '.join(DURABILITIES)}.",
            )
        self.durability = durability
        self.path = os.path.join(directory, DATA)
        self.failure = ""  # why the last commit failed; empty: it did not
        self.commits = self.failures = 0
        self.log_bytes = 0
        self.rewrites = 0  # of all that lives
        self._clock: Clock = clock or SystemClock()
        self._file: DataFile | None = None
        self._loaded = Loaded()
        self._rewrite: Rewrite | None = None
        self._retry_ns, self._wait_ns = 0, RETRY_NS_MIN
        self._directory = directory
        self._lock = claim(directory)

    def load(self, store: Store, say: Callable[[str], object] = lambda line: None) -> None:
        """Fill an empty store; `say` is called with a line about once a second.

        Raises UsageError for data that cannot be read.
        """
        if self._lock is not None:
            self._loaded = load(self.path, store, say, self._clock)

    def start(self, store: Store) -> None:
        """Keep what changes in the store that was loaded from now on."""
        is_strict = self.durability == "always"
        if self._lock is None:
            self._lock = make(self._directory)
        try:
            self._file = DataFile(self.path, self._loaded.last, is_strict=is_strict)
        except sqlite3.Error as why:
            raise UsageError(
                f"{self.path} cannot be written: {why}.",
                "Give --data a directory that this user may write to, with room on its disk.",
            ) from why
        self._store = store
        self._first = self._loaded.first  # of the log's rows
        self.log_bytes, self._live_bytes = self._loaded.log_bytes, self._loaded.live_bytes
        self.journal = Journal(store)
        self.journal.is_strict = is_strict
        self.flusher: Flusher | None = None
        if not is_strict:
            flusher = Flusher(
                self.path, store, self._clock, is_each_second=self.durability == "everysec"
            )
            try:
                flusher.start()
            except RuntimeError as why:  # Python's word for a thread that the kernel refuses
                raise UsageError(
                    f"There is no thread to be had that flushes {self.path} ({why}).",
                    "Raise ulimit -u (TasksMax=, pids.max), or use --durability always: it needs "
                    "none.",
                ) from why
            self.flusher = flusher

    @property
    def unsaved(self) -> int:
        """Changes that may not be on the disk yet."""
        if self.flusher is not None:
            return self._store.changes - self.flusher.flushed_changes
        return len(self.journal)

    # --- a tick -------------------------------------------------------------------------------

    def commit(self, now_ns: int) -> int | None:
        """The end of a tick: keep what it wrote, before its replies go. When to be called again
        at the latest.
        """
        journal = self.journal
        if (journal.has_changes or self._rewrite is not None) and now_ns >= self._retry_ns:
            self._try(now_ns)
        self._say_failure()
        if journal.written:
            if journal.has_changes:
                refusal = error(MISCONF + self.failure.encode())
                for pieces, at in journal.written:
                    pieces[at] = refusal
            journal.written.clear()
        if journal.has_changes:
            return self._retry_ns
        return now_ns if self._rewrite is not None else None

    def now_ns(self) -> int:
        """The time that `flusher.flushed_ns` is of."""
        return self._clock.now_ns()

    def save(self) -> None:
        """Keep what was written so far, and flush it. Raises CommandError where that fails."""
        self._try(self._clock.now_ns())
        if self.flusher is not None:
            self.flusher.flush()
        self._say_failure()
        if self._store.write_refusal:
            raise CommandError(self._store.write_refusal)

    def _try(self, now_ns: int) -> None:
        try:
            self._write()
        except sqlite3.Error as why:
            if _is_busy(why):
                self._retry_ns = now_ns + BUSY_NS
                return
            self.failures += 1
            self.failure = str(why)
            self._retry_ns = now_ns + self._wait_ns
            self._wait_ns = min(2 * self._wait_ns, RETRY_NS_MAX)
        else:
            self.failure = ""
            self._retry_ns, self._wait_ns = 0, RETRY_NS_MIN

    def _say_failure(self) -> None:
        """Commands that write are refused while a commit or the flusher fails."""
        why = self.failure or (self.flusher.failure if self.flusher is not None else "")
        refusal = MISCONF + why.encode() if why else b""
        if refusal != self._store.write_refusal:
            self._store.write_refusal = refusal
            self._store.guard()

    def _write(self) -> None:
        assert self._file is not None
        journal, rewrite = self.journal, self._rewrite
        entries, about, forgotten = journal.take(), {}, 0
        if journal.are_places_new:
            about[PLACES] = bytes(db.place for db in self._store.databases)
        if rewrite is not None:
            if rewrite.has_keys:
                # Behind the tick's own entries: it has what they say, too.
                entries += rewrite.slice(max(SLICE_KEYS, 2 * len(journal)), 2 * len(entries))
            else:
                forgotten = rewrite.next_first(self._first)
                about[LIVE] = rewrite.bytes.to_bytes(8, "little")
        sealed = seal(entries) if entries else b""
        try:
            self._file.write(sealed, about, forgotten)
        except BaseException:
            if rewrite is not None:
                rewrite.again()
            raise
        self.commits += 1
        self.log_bytes += len(sealed)
        journal.done()
        if rewrite is not None:
            rewrite.done()
        if forgotten:
            self._forgot(forgotten)
        elif rewrite is None and self.log_bytes > max(LOG_BYTES, LOG_TIMES * self._live_bytes):
            self._rewrite = Rewrite(self._store, self._first, self._file.seq, self.log_bytes)

    def _forgot(self, first: int) -> None:
        """The log begins with this row now."""
        assert self._rewrite is not None
        self._first = first
        if first > self._rewrite.last:
            self.rewrites += 1
            self._live_bytes = self._rewrite.bytes
            self.log_bytes -= self._rewrite.old_bytes
            self._rewrite = None

    # --- the end ------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what is left and leave all of it in one file. Raises C1mError if that fails."""
        try:
            if self._file is not None:
                if self.flusher is not None:
                    self.flusher.end()
                if self.journal.has_changes:
                    self._write()
                self._file.close()
        except sqlite3.Error as why:
            raise C1mError(
                f"The last changes could not be written to {self.path} ({why}).",
                "What was written before is there.",
            ) from why
        finally:
            self.release()

    def release(self) -> None:
        """Let others use the directory."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class Rewrite:
    """All that lives is written to the log again, slice by slice; then the rows go that were there.

    A key that changes meanwhile may be written before or after: the log is read in order.
    """

    def __init__(self, store: Store, first: int, last: int, old_bytes: int) -> None:
        self.last = last  # of the rows that go
        self.old_bytes = old_bytes  # of these
        self.bytes = 0  # written again
        self._store = store
        self._rows = max(1, (last - first + 1) * FORGET_BYTES // max(old_bytes, 1))  # to go at once
        # By place, since databases may be swapped. A list of 1,000,000 keys takes 10 ms.
        self._keys = [(db.place, list(db.data)) for db in store.databases if db.data]
        self._at = self._next = (len(self._keys) - 1, 0)
        self._size = 0

    @property
    def has_keys(self) -> bool:
        """There is more to be written."""
        return self._at[0] >= 0

    def slice(self, keys: int, size: int) -> bytes:
        """The next entries: so many keys, or bytes, and at least a few."""
        number, at = self._at
        place, names = self._keys[number]
        db = next(db for db in self._store.databases if db.place == place)
        parts, size = [], max(size, SLICE_BYTES)
        while at < len(names) and keys > 0 and size > 0:
            key = names[at]
            if key in db.data:
                parts.append(whole(db, key))
                size -= len(parts[-1])
            at += 1
            keys -= 1
        self._next = (number, at) if at < len(names) else (number - 1, 0)
        self._size = self.bytes + sum(map(len, parts))
        return b"".join(parts)

    def next_first(self, first: int) -> int:
        """The first row that stays when some more go."""
        return min(first + self._rows, self.last + 1)

    def done(self) -> None:
        """The slice is kept."""
        self._at, self.bytes = self._next, self._size

    def again(self) -> None:
        """It is not."""
        self._next, self._size = self._at, self.bytes


def _is_busy(why: sqlite3.Error) -> bool:
    return getattr(why, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
