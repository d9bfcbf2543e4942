"""A helper thread that flushes what ticks have written, so that no tick waits for a disk.

Facts. Checkpointing SQLite's write-ahead log flushes the log, copies its pages into the file and
flushes that; PASSIVE does so while another connection goes on writing, and so never reaches the
end under load. TRUNCATE holds writers up and empties the log.

What they mean here. Each round is a PASSIVE one; where the log has nevertheless become long, a
TRUNCATE one follows, which has little left to do. A tick that finds the file held does not wait:
its writes go with those of the next one. SQLite lets go of Python's lock while it works.
"""

from __future__ import annotations

import os
import sqlite3
import threading

from c1m.clock import Clock
from c1m.kv.store import Store

ROUND_S = 1.0
YIELDS_MAX = 1_000  # three were enough on a full machine
LOG_BYTES_MAX = 16 << 20  # of SQLite's write-ahead log, before it is emptied


class Flusher(threading.Thread):
    """Once a second until `end`. `failure` is why the last round failed; empty: it did not."""

    def __init__(self, path: str, store: Store, clock: Clock, *, is_each_second: bool) -> None:
        super().__init__(name="c1m-kv-flusher", daemon=True)
        self.failure = ""
        self.rounds = 0
        self.flushed_ns = clock.now_ns()  # what was written before this is on the disk,
        self.flushed_changes = store.changes  # and these changes
        self._path = path
        self._store = store
        self._clock = clock
        self._is_each_second = is_each_second
        self._has_ended = threading.Event()

    def run(self) -> None:
        """Not called by others: `start` does."""
        while not self._has_ended.wait(ROUND_S):
            self.round()

    def round(self) -> None:
        """Flush once, where it is time to."""
        is_long = self._log_bytes() > LOG_BYTES_MAX
        if is_long or self._is_each_second:
            self.flush(is_long)

    def flush(self, is_long: bool = False) -> None:
        """Flush what is written; may be called by the thread that writes, too."""
        begun_ns, changes = self._clock.now_ns(), self._store.changes
        try:
            self._flush(is_long)
        except (sqlite3.Error, OSError) as why:
            self.failure = str(why)
        else:
            self.failure = ""
            self.rounds += 1
            self.flushed_ns, self.flushed_changes = begun_ns, changes

    def _flush(self, is_long: bool) -> None:
        connection = sqlite3.connect(self._path, timeout=1, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if is_long:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                # The writer flushes nothing: old pages must be gone before new ones are there.
                log = os.open(self._path + "-wal", os.O_RDWR)
                try:
                    os.fsync(log)
                finally:
                    os.close(log)
        finally:
            connection.close()

    def _log_bytes(self) -> int:
        try:
            return os.path.getsize(self._path + "-wal")
        except OSError:
            return 0

    def end(self) -> None:
        """Wait for a round that is under way; none follows."""
        self._has_ended.set()
        self.join()
        # The kernel counts a thread a little longer than Python: who asks how many there are now
        # is not told of one that has ended.
        for _ in range(YIELDS_MAX):
            if not os.path.exists(f"/proc/self/task/{self.native_id}"):
                break
            os.sched_yield()
