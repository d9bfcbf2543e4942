"""A data directory: whose it is, whether it can be used, that nobody else uses it."""

from __future__ import annotations

import os
import sqlite3
import struct

from c1m.apps.kv.data_file import APPLICATION, NEW, make_file
from c1m.errors import UsageError
from c1m.kv.encoding import VERSION

DATA, LOCK = "data.sqlite", "lock"
OURS = {DATA, DATA + "-wal", DATA + "-shm", LOCK}
_UNFINISHED = {DATA + NEW + end for end in ("", "-wal", "-shm", "-journal")}
IGNORED = {"lost+found"}
_SQLITE = b"SQLite format 3\0"
_VERSION_AT, _APPLICATION_AT, _HEADER_BYTES = 60, 68, 100


def claim(directory: str) -> int:
    """Make sure that a directory is there, is ours or empty, and is used by nobody else.

    Returns the lock's descriptor: it is locked until that is closed. Raises UsageError, with
    nothing changed.
    """
    is_new = not os.path.isdir(directory)
    try:
        if is_new:
            os.mkdir(directory)
        _check_contents(directory)
        descriptor = _locked(os.path.join(directory, LOCK))
        try:
            _make_or_check(directory)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor
    except OSError as error:
        done = "made" if is_new else "used"
        why = (error.strerror or str(error)).lower()
        raise UsageError(
            f"The data directory {directory} cannot be {done}: {why}.",
            "Give --data a directory that this user may write to.",
        ) from error


def corrupted(path: str, why: object) -> UsageError:
    """What to say of data that cannot be read."""
    return UsageError(
        f"{path} is corrupted ({why}).", "Nothing was changed; restore it from a copy."
    )


def _check_contents(directory: str) -> None:
    names = set(os.listdir(directory)) - IGNORED
    path = os.path.join(directory, DATA)
    foreign = sorted(names - OURS - _UNFINISHED)
    if DATA in names:
        _check_header(path)
    elif foreign:
        raise UsageError(
            f"The directory {directory} has files of another program ({foreign[0]}).",
            "Give --data an empty directory, or one that is not there yet.",
        )


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


def _locked(path: str) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        os.lockf(descriptor, os.F_TLOCK, 0)
    except OSError:
        owner = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise UsageError(
            f"The data directory {os.path.dirname(path)} is in use by another process"
            f"{f' (pid {owner})' if owner.isdigit() else ''}.",
            "Stop that one, or give --data another directory.",
        ) from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, b"%d\n" % os.getpid())
    return descriptor


def _make_or_check(directory: str) -> None:
    for name in _UNFINISHED & set(os.listdir(directory)):  # we were killed while we made it
        os.unlink(os.path.join(directory, name))
    path = os.path.join(directory, DATA)
    if os.path.exists(path):
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return
    try:
        make_file(path, VERSION)
    except sqlite3.Error as why:
        raise UsageError(
            f"{path} cannot be made: {why}.", "Give --data a directory on a disk that has room."
        ) from why
