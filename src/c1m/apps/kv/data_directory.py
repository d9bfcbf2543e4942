"""A data directory: whose it is, whether it can be used, that nobody else uses it."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import struct
from collections.abc import Iterator

from c1m.apps.kv.data_file import APPLICATION, NEW, make_file
from c1m.errors import UsageError
from c1m.kv.encoding import VERSION

DATA, LOCK = "data.sqlite", "lock"
OURS = {DATA, DATA + "-wal", DATA + "-shm", LOCK}
_UNFINISHED = {DATA + NEW + end for end in ("", "-wal", "-shm", "-journal")}
IGNORED = {"lost+found"}
_SQLITE = b"SQLite format 3\0"
_VERSION_AT, _APPLICATION_AT, _HEADER_BYTES = 60, 68, 100


def claim(directory: str) -> int | None:
    """Make sure that a directory is ours, or empty or not there yet, and used by nobody else.

    Returns the lock's descriptor: it is locked until that is closed; None where nothing is kept
    there yet, `make` follows then. Raises UsageError. Nothing is changed.
    """
    with _sentences(directory):
        is_there = os.path.isdir(directory)
        if is_there and _has_data(directory):
            descriptor = _locked(directory)
            try:
                os.close(os.open(os.path.join(directory, DATA), os.O_RDWR | os.O_CLOEXEC))
            except BaseException:
                os.close(descriptor)
                raise
            return descriptor
        if not is_there and os.path.lexists(directory):
            raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        above = directory if is_there else os.path.dirname(os.path.abspath(directory))
        os.stat(above)
        if not os.access(above, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(above).f_flag & os.ST_RDONLY
            code = errno.EROFS if is_read_only else errno.EACCES
            raise OSError(code, os.strerror(code))
    return None


def make(directory: str) -> int:
    """Begin to keep data where `claim` found none; returns the lock. Raises UsageError."""
    with _sentences(directory):
        if not os.path.isdir(directory):
            os.mkdir(directory)
        descriptor = _locked(directory)
        try:
            if _has_data(directory):
                raise UsageError(
                    f"The data directory {directory} was empty, and has data now.", "Start again."
                )
            for name in _UNFINISHED & set(os.listdir(directory)):  # we were killed on the way
                os.unlink(os.path.join(directory, name))
            make_file(os.path.join(directory, DATA), VERSION)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


@contextlib.contextmanager
def _sentences(directory: str) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else None
        raise UsageError(
            f"The data directory {directory} cannot be used: {(why or str(error)).lower()}.",
            "Give --data a directory that this user may write to, on a disk that has room.",
        ) from error


def corrupted(path: str, why: object) -> UsageError:
    """What to say of data that cannot be read."""
    return UsageError(
        f"{path} is corrupted ({why}).", "Nothing was changed; restore it from a copy."
    )


def _has_data(directory: str) -> bool:
    names = set(os.listdir(directory)) - IGNORED
    path = os.path.join(directory, DATA)
    foreign = sorted(names - OURS - _UNFINISHED)
    if DATA in names:
        _check_header(path)
        return True
    if foreign:
        raise UsageError(
            f"The directory {directory} has files of another program ({foreign[0]}).",
            "Give --data an empty directory, or one that is not there yet.",
        )
    return False


def _check_header(path: str) -> None:
    """Whose file it is, and of which version: read without SQLite, which would change things."""
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_SQLITE):
        raise corrupted(path, "it has no header of SQLite's")
    (application,) = struct.unpack_from(">I", header, _APPLICATION_AT)
    (version,) = struct.unpack_from(">I", header, _VERSION_AT)
    if application != APPLICATION:
        raise UsageError(
            f"{path} is of another program.", "Give --data an empty directory, or a new one."
        )
    if version != VERSION:
        raise UsageError(
            f"{path} has version {version} of the data's form; this c1m has version {VERSION}.",
            "Use the c1m that wrote it, or give --data another directory.",
        )


def _locked(directory: str) -> int:
    path = os.path.join(directory, LOCK)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise UsageError(
            f"The data directory {directory} is in use by another process"
            f"{f' (pid {owner})' if owner.isdigit() else ''}.",
            "Stop that one, or give --data another directory.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor
