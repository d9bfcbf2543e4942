"""Standard output and error may go away; the run or the server goes on without them.

`guard` makes `sys.stdout` and `sys.stderr` streams that never raise: one that cannot be written to
is given up, and further output to it is dropped. Data that was asked for on standard output does
not pass through them (files.py).

Facts. Python ignores SIGPIPE, so a pipe without a reader answers EPIPE; a full disk answers ENOSPC,
a hung-up terminal EIO. At the interpreter's end a buffered writer tries again to write what it
could not, and Python then exits with status 120. The number of a closed descriptor goes to whatever
is opened next: were 1 closed, progress would be written into a connection. A pipe that somebody has
made non-blocking answers EAGAIN while it is full.
"""

from __future__ import annotations

import errno
import io
import os
import selectors
import sys
from typing import Any, TextIO

STDOUT, STDERR = 1, 2
_READER_LEFT = {errno.EPIPE, errno.EIO, errno.EBADF}  # nobody there who would need to know


class _Stream(io.FileIO):
    """Descriptor 1 or 2. After the first write that fails no other is tried."""

    _is_lost = False

    def write(self, data: Any) -> int:
        size = memoryview(data).nbytes
        try:
            while not self._is_lost:
                count = super().write(data)
                if count is not None:
                    return count
                _is_taken(self.fileno(), None)
        except OSError as error:
            self._is_lost = True
            if self.fileno() == STDOUT and error.errno not in _READER_LEFT:
                why = (error.strerror or str(error)).lower()
                say(f"c1m: Standard output cannot be written to any more: {why}.", sys.stderr)
        return size


def guard() -> None:
    """Call this once, before anything is opened or printed."""
    _fill_gaps()
    for name, descriptor in (("stdout", STDOUT), ("stderr", STDERR)):
        before: TextIO | None = getattr(sys, name)  # None: it was closed when Python started
        errors = "strict" if before is None else before.errors
        raw = _Stream(descriptor, "w", closefd=False)
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=None if before is None else before.encoding,
            # A character that an encoding lacks must not end a run.
            errors="replace" if errors == "strict" else errors,
            line_buffering=descriptor == STDERR or raw.isatty(),
        )
        setattr(sys, name, stream)


def _fill_gaps() -> None:
    """Put in the place of closed descriptors the reading end of a pipe without a writer: it has
    nothing to read and cannot be written to."""
    while True:
        reader, writer = os.pipe()
        os.close(writer)
        if reader > STDERR:
            os.close(reader)
            return
        os.set_inheritable(reader, True)


def say(line: str, stream: TextIO) -> None:
    """Print a line while something is running; it is dropped if its reader is stalled."""
    if takes_a_line(stream):
        stream.write(line + "\n")
        stream.flush()


def takes_a_line(stream: TextIO) -> bool:
    """Whether a write of one line returns at once.

    Facts. poll(2) reports a pipe as writable while 4,096 bytes are free, a terminal while its
    output is not stopped, a file always. It reports a pipe without a reader as writable, too: only
    the write shows.
    """
    try:
        return _is_taken(stream.fileno(), 0)
    except (OSError, ValueError):  # a stream in memory
        return True


def _is_taken(descriptor: int, timeout_s: float | None) -> bool:
    """Whether a descriptor takes more, within a time (None: as long as it needs)."""
    with selectors.PollSelector() as selector:
        selector.register(descriptor, selectors.EVENT_WRITE)
        return bool(selector.select(timeout_s))


def on_one_line(text: str) -> str:
    """The same with what is no printable character, such as the end of a line, in words."""
    return "".join(c if c.isprintable() else c.encode("unicode-escape").decode() for c in text)
