"""The file that keeps the data: SQLite, with a log of what ticks wrote and the bases below it.

Facts. A commit of SQLite in WAL mode is one write behind the end of a file and one flush. Rows that
go behind the end of a table cost little: a tick's row in the log costs 30 us, its 50 keys in a tree
of 1,000,000 cost 500 us (docs/adr/0021-what-is-kept-and-how.md).

What they mean here. A tick is one row of `log`. When the log has grown, its keys are *folded*:
written to `bases`, a slice with each tick, and then the log's old rows go. A base knows the row of
the log that it includes (`seq`), so a start reads the bases, and then of the log what is newer.
Both are in the same transactions, so a fold that is cut off harms nothing.

A row of 1,000,000,000 bytes is SQLite's bound; longer ones are cut, and marked.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

PART_BYTES = 1 << 28
WHOLE = b"\0"  # before a row's bytes; else these two, or both:
MORE, CONTINUED = 1, 2  # the next row goes on; it goes on with what the row before began
APPLICATION = 0x63316B76  # "c1kv"; where SQLite's header names whose file it is
AUTOMATIC_PAGES = 1000  # of the write-ahead log, which a strict commit brings into the file itself
PLACES = "places"
NEW = ".new"  # behind the name of a file that is not whole yet

_SCHEMA = """
CREATE TABLE about(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE log(seq INTEGER PRIMARY KEY, body BLOB);
CREATE TABLE bases(place INTEGER, key BLOB, part INTEGER, seq INTEGER, body BLOB,
                   PRIMARY KEY(place, key, part)) WITHOUT ROWID;
"""
_PUT_BASE = (
    "INSERT INTO bases VALUES(?, ?, ?, ?, ?) ON CONFLICT(place, key, part) "
    "DO UPDATE SET seq = excluded.seq, body = excluded.body"
)


class Base(NamedTuple):
    """A key's row among the bases; `body` is None for a key that is gone."""

    place: int
    key: bytes
    body: bytes | None


class Row(NamedTuple):
    """A row that was read: of the log, or of the bases."""

    seq: int
    body: bytes
    is_long: bool = False  # it had several parts


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

    `is_strict`: what `write` wrote is on the disk when it returns.
    """

    def __init__(self, path: str, *, is_strict: bool) -> None:
        # Who opens it has read it, and says these:
        self.seq = 0  # of the log's last row
        self.long: set[tuple[int, bytes]] = set()  # keys whose bases have several parts
        self._connection = sqlite3.connect(path, timeout=0, isolation_level=None)
        self._run = self._connection.execute
        self._run("PRAGMA secure_delete = OFF")  # Debian's default writes zeros over what goes
        self._run(f"PRAGMA wal_autocheckpoint = {AUTOMATIC_PAGES if is_strict else 0}")
        self._run(f"PRAGMA synchronous = {'FULL' if is_strict else 'OFF'}")

    def write(
        self,
        entries: bytes,
        flushed: Sequence[int] = (),
        places: bytes | None = None,
        bases: Sequence[Base] = (),
        forgotten: int = 0,
    ) -> None:
        """One transaction: a tick's row in the log, places that have no bases any more, some
        bases, and the log without its rows before `forgotten`.
        """
        seq = self.seq
        if not (flushed or bases or places or forgotten) and len(entries) < PART_BYTES:
            self._run("INSERT INTO log VALUES(?, ?)", (seq + 1, WHOLE + entries))
            self.seq += 1
            return
        self._run("BEGIN IMMEDIATE")
        try:
            for place in flushed:
                self._run("DELETE FROM bases WHERE place = ?", (place,))
            for body in _parts(entries):
                seq += 1
                self._run("INSERT INTO log VALUES(?, ?)", (seq, body))
            if places is not None:
                self._run("INSERT OR REPLACE INTO about VALUES(?, ?)", (PLACES, places))
            for base in bases:
                self._put(base, seq)
            if forgotten:
                self._run("DELETE FROM log WHERE seq < ?", (forgotten,))
            self._run("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._run("ROLLBACK")
            raise
        self.seq = seq

    def _put(self, base: Base, seq: int) -> None:
        place, key, body = base
        if body is None or (place, key) in self.long:
            self._run("DELETE FROM bases WHERE place = ? AND key = ?", (place, key))
            self.long.discard((place, key))
        if body is None:
            return
        if len(body) < PART_BYTES:
            self._run(_PUT_BASE, (place, key, 0, seq, WHOLE + body))
            return
        self.long.add((place, key))
        for part, piece in enumerate(_parts(body)):
            self._run(_PUT_BASE, (place, key, part, seq, piece))

    def bytes_stored(self) -> int:
        """Of bases and log together."""
        pages, free, size = (
            self._run(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

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

    def places(self) -> bytes | None:
        """Which place each database has; None: nothing was said of it."""
        row = self._run("SELECT value FROM about WHERE name = ?", (PLACES,)).fetchone()
        return None if row is None else bytes(row[0])

    def log_span(self) -> tuple[int, int]:
        """The numbers of the log's first and last row; (1, 0): there is none."""
        first = self._run("SELECT min(seq) FROM log").fetchone()[0]
        last = self._run("SELECT max(seq) FROM log").fetchone()[0]
        return (1, 0) if first is None else (first, last)

    def bases(self) -> Iterator[Row]:
        """All of them."""
        return _joined(self._run("SELECT seq, body FROM bases ORDER BY place, key, part"))

    def log(self) -> Iterator[Row]:
        """From the oldest to the newest."""
        return _joined(self._run("SELECT seq, body FROM log ORDER BY seq"))

    def bytes_stored(self) -> int:
        """Of the file's pages that are in use or were."""
        pages, size = (
            self._run(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size")
        )
        return int(pages * size)

    def close(self) -> None:
        """No longer read."""
        self._connection.close()


def _parts(body: bytes) -> Iterator[bytes]:
    """Marked pieces of a long row."""
    for at in range(0, len(body), PART_BYTES):
        mark = (MORE if at + PART_BYTES < len(body) else 0) | (CONTINUED if at else 0)
        yield bytes([mark]) + body[at : at + PART_BYTES]


def _joined(rows: Iterable[tuple[int, bytes]]) -> Iterator[Row]:
    before: list[bytes] = []
    for seq, body in rows:
        mark = body[0] if body else 0
        if not mark:
            yield Row(seq, body[1:])
        elif before or not mark & CONTINUED:  # the log may have forgotten where one began
            before.append(body[1:])
            if not mark & MORE:
                yield Row(seq, b"".join(before), True)
                before.clear()


def _quoted(path: str) -> str:
    """A path in a file: URL."""
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
