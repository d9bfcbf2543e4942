"""The file that keeps the data: SQLite, with one table, a log of what ticks wrote.

Facts. A commit of SQLite in WAL mode is one write behind the end of a file and one flush. A row
that goes behind the end of a table costs little: a tick of 50 keys takes 30 us as one row, and
500 us as 50 rows of a tree of 1,000,000 (docs/adr/0021-what-is-kept-and-how.md).

What they mean here. A tick is one row of the log; a start reads the log from its first row to its
last. Who writes also writes what lives again, bit by bit, and then has the old rows forgotten:
their pages are used again, so the file does not grow.

A row of 1,000,000,000 bytes is SQLite's bound; longer ones are cut, and marked.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator

PART_BYTES = 1 << 28
WHOLE = b"\0"  # before a row's bytes; else these two, or both:
MORE, CONTINUED = 1, 2  # the next row goes on; it goes on with what the row before began
APPLICATION = 0x63316B76  # "c1kv": where SQLite's header says whose file it is
AUTOMATIC_PAGES = 1000  # of SQLite's write-ahead log, which a strict commit brings into the file
NEW = ".new"  # behind the name of a file that is not whole yet

_SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE log(seq INTEGER PRIMARY KEY, body BLOB);
"""


def make_file(path: str, version: int) -> None:
    """A new file, which is whole on the disk, or not there. Raises sqlite3.Error."""
    connection = sqlite3.connect(path + NEW, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {version}")
        connection.executescript(_SCHEMA)
    finally:
        connection.close()  # which brings it all into the one file
    os.rename(path + NEW, path)
    directory = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


class DataFile:
    """One connection. Raises sqlite3.Error where the file cannot be read or written.

    `is_strict`: what `write` wrote is on the disk when it returns. `seq`: the log's last row.
    """

    def __init__(self, path: str, seq: int, *, is_strict: bool) -> None:
        self.seq = seq
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._run = self._connection.execute
        self._run("PRAGMA secure_delete = OFF")  # Debian's default writes zeros over what goes
        self._run(f"PRAGMA wal_autocheckpoint = {AUTOMATIC_PAGES if is_strict else 0}")
        self._run(f"PRAGMA synchronous = {'FULL' if is_strict else 'OFF'}")

    def write(self, entries: bytes, about: dict[str, bytes], forgotten: int = 0) -> None:
        """One transaction: a row of the log (none if `entries` is empty), facts by name, and the
        log without its rows before `forgotten`.
        """
        seq = self.seq
        if entries and not (about or forgotten) and len(entries) < PART_BYTES:
            self._run("INSERT INTO log VALUES(?, ?)", (seq + 1, WHOLE + entries))
            self.seq += 1
            return
        self._run("BEGIN IMMEDIATE")
        try:
            for body in _parts(entries):
                seq += 1
                self._run("INSERT INTO log VALUES(?, ?)", (seq, body))
            for fact in about.items():
                self._run("INSERT OR REPLACE INTO about VALUES(?, ?)", fact)
            if forgotten:
                self._run("DELETE FROM log WHERE seq < ?", (forgotten,))
            self._run("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._run("ROLLBACK")
            raise
        self.seq = seq

    def close(self) -> None:
        """Bring all of it into the one file, on the disk, and close it."""
        self._run("PRAGMA synchronous = FULL")
        self._run("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()


class SavedFile:
    """The same file, only read: nothing is changed by that."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, timeout=0)
        self._run = self._connection.execute

    def about(self) -> dict[str, bytes]:
        """Facts by name."""
        return dict(self._run("SELECT name, value FROM about"))

    def span(self) -> tuple[int, int]:
        """The numbers of the log's first and last row; (1, 0): there is none."""
        first = self._run("SELECT min(seq) FROM log").fetchone()[0]
        last = self._run("SELECT max(seq) FROM log").fetchone()[0]
        return (1, 0) if first is None else (first, last)

    def rows(self) -> Iterator[bytes]:
        """The log, from the oldest row to the newest."""
        before: list[bytes] = []
        for (body,) in self._run("SELECT body FROM log ORDER BY seq"):
            mark = body[0] if body else 0
            if not mark:
                yield body[1:]
            elif before or not mark & CONTINUED:  # else its beginning is forgotten
                before.append(body[1:])
                if not mark & MORE:
                    yield b"".join(before)
                    before.clear()

    def check(self) -> str:
        """What is wrong with the file itself; empty: nothing."""
        said: str = self._run("PRAGMA quick_check(1)").fetchone()[0]
        return "" if said == "ok" else said

    def close(self) -> None:
        """No longer read."""
        self._connection.close()


def _parts(body: bytes) -> Iterable[bytes]:
    """Marked pieces of a row."""
    for at in range(0, len(body), PART_BYTES):
        mark = (MORE if at + PART_BYTES < len(body) else 0) | (CONTINUED if at else 0)
        yield bytes([mark]) + body[at : at + PART_BYTES]


def _quoted(path: str) -> str:
    """A path in a file: URL."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
