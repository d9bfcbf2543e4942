"""Report files: whether a path can be written, told before a run, and reading and writing them."""

from __future__ import annotations

import os
from pathlib import Path

from c1m.errors import UsageError


def check_writable(path: str | Path) -> None:
    """Make sure that a report can be written to `path`; leaves nothing behind, changes nothing.

    Raises UsageError with the kernel's reason. It really opens the file, because only that tells of
    a read-only file system, of permissions that root passes over, and of names that are too long.
    """
    path = Path(path)
    if os.path.isdir(path):  # Path.is_dir raises for a name that is too long
        raise UsageError(f"{path} is a directory, no file to write.", "Add a file name to it.")
    if not os.path.isdir(path.parent):
        raise UsageError(
            f"{path} cannot be written: there is no directory {path.parent}.",
            f"Make it with: mkdir -p {path.parent}",
        )
    is_new = not os.path.lexists(path)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC  # non-blocking: a pipe without a reader
    try:
        os.close(os.open(path, flags | (os.O_CREAT | os.O_EXCL if is_new else 0), 0o666))
        if is_new:
            path.unlink()
    except OSError as error:
        raise _cannot("written", path, error) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a whole file. Raises UsageError with the kernel's reason."""
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _cannot("written", path, error) from error


def read_text(path: str | Path) -> str:
    """Read a whole file. Raises UsageError with the kernel's reason."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise _cannot("read", path, error) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text: {error}.", "Give a JSON file.") from error


def _cannot(done: str, path: str | Path, error: OSError) -> UsageError:
    reason = (error.strerror or str(error)).lower()
    return UsageError(f"{path} cannot be {done}: {reason}.", "Give another path.")
