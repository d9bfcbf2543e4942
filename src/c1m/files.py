"""Files that a user names: whether one can be written, told before a run; writing and reading them.

`-` is standard output where something is written, standard input where it is read. Every file that
is read has a bound, since a device or a pipe may have no end.

Data for standard output goes to its descriptor: it is whole there or an error, whereas what is said
to people goes through `sys.stdout` and may get lost (cli/streams.py).
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import selectors
import stat
import sys
from pathlib import Path
from typing import Any, TextIO

from c1m.bounds import TEXT_BYTES_MAX
from c1m.errors import UsageError

STANDARD = "-"
NUMBER_END = 2.0**63
SECRET_BYTES_MAX = 4096


def check_writable(path: str | Path) -> None:
    """Make sure that a file can be written to `path`; leaves nothing behind, changes nothing.

    Raises UsageError with the kernel's reason. It really opens the file, because only that tells of
    a read-only file system, of permissions that root passes over, and of names that are too long.
    """
    if path == STANDARD:
        _write_output("")  # closed, it refuses even that
        return
    if not str(path):
        raise UsageError("A file without a name cannot be written.", "Give its path, or - .")
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
    except (OSError, ValueError) as error:
        raise _cannot("written", path, error) from error


def write_text(path: str | Path, text: str) -> None:
    """Write a whole file. Raises UsageError with the kernel's reason."""
    if path == STANDARD:
        _write_output(text)
        return
    try:
        Path(path).write_bytes(_encoded(text))
    except OSError as error:
        raise _cannot("written", path, error) from error


def _write_output(text: str) -> None:
    """Raises UsageError. A pipe that somebody has made non-blocking refuses what does not fit."""
    try:
        stream = _there(sys.stdout)
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:  # a stream in memory
            stream.write(text)
            return
        stream.flush()
        left = memoryview(_encoded(text))
        with selectors.PollSelector() as selector:
            selector.register(descriptor, selectors.EVENT_WRITE)
            os.write(descriptor, b"")
            while left:
                selector.select()
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(descriptor, left) :]
    except OSError as error:
        raise _cannot("written", STANDARD, error) from error


def _encoded(text: str) -> bytes:
    """UTF-8; what a command line had that is no text (Python makes surrogates of it) as \\udcff."""
    return text.encode("utf-8", "backslashreplace")


def _there(stream: TextIO | None) -> TextIO:
    if stream is None:  # closed when Python started
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    return stream


def read_bytes(path: str | Path, bytes_max: int = TEXT_BYTES_MAX) -> bytes:
    """A whole file. Raises UsageError with the kernel's reason, or where it is longer."""
    try:
        if path == STANDARD:
            data = _there(sys.stdin).buffer.read(bytes_max + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(bytes_max + 1)
    except (OSError, ValueError) as error:
        raise _cannot("read", path, error) from error
    if len(data) > bytes_max:
        raise UsageError(
            f"{_name(path, 'input')} has more than {bytes_max:,} bytes, which are the most that "
            "are read.",
            "Give another file.",
        )
    return data


def read_text(path: str | Path, bytes_max: int = TEXT_BYTES_MAX) -> str:
    """A whole file of text. Raises UsageError as `read_bytes` does, and for what is no text."""
    try:
        return read_bytes(path, bytes_max).decode()
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{_name(path, 'input')} is not text: {error}.", "Give a file of UTF-8."
        ) from error


def read_json(path: str | Path, bytes_max: int = TEXT_BYTES_MAX) -> Any:
    """JSON as it is defined: without NaN and Infinity, no deeper than Python reads, and with
    numbers below 2**63.

    Raises UsageError for anything else.
    """
    text = read_text(path, bytes_max)
    try:
        return json.loads(text, parse_float=_number, parse_constant=_number)
    except ValueError as error:
        why = str(error)
    except RecursionError:
        why = "it is nested too deeply"
    raise UsageError(f"{_name(path, 'input')} is not JSON: {why}.", "Give a file of JSON.")


def check_is_private(path: str, what: str, *, group: bool = False) -> None:
    """Raise UsageError where others may read a file; `group`: its group may.

    `what` is in it, for people: "password".
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return  # reading it says why
    others = stat.S_IROTH | (0 if group else stat.S_IRGRP)
    if stat.S_ISREG(mode) and mode & others:
        who = "everybody" if mode & stat.S_IROTH else "its group"
        raise UsageError(
            f"{path} has a {what} in it, and {who} may read it.",
            f"Make it yours alone: chmod 600 {path}",
        )


def secret_line(path: str, what: str = "password") -> str:
    """The first line of a file. Raises UsageError where others may read it."""
    check_is_private(path, what)
    lines = read_bytes(path, SECRET_BYTES_MAX).splitlines()
    secret = lines[0].decode("latin-1") if lines else ""
    if not secret:
        raise UsageError(f"{path} has no {what} in its first line.", "Write one there.")
    return secret


def _number(text: str) -> float:
    """Nanoseconds since 1970 have twenty digits: what is far from that is no figure of ours."""
    number = float(text)
    if not abs(number) < NUMBER_END:
        raise ValueError(f"{text[:40]} is no number that is read here")
    return number


def _cannot(done: str, path: str | Path, error: OSError | ValueError) -> UsageError:
    name = _name(path, "output" if done == "written" else "input")
    why = error.strerror if isinstance(error, OSError) else None
    return UsageError(
        f"{name} cannot be {done}: {(why or str(error)).lower()}.", "Give another path."
    )


def _name(path: str | Path, standard: str) -> str:
    return f"Standard {standard}" if path == STANDARD else str(path)
