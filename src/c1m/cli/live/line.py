"""Progress for people: one line that is written over on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

import click

from c1m.cli.streams import takes_a_line


def can_draw(stream: TextIO) -> bool:
    """Whether what is written there can be written over: a terminal that is not dumb."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown", "")


class Live:
    """Shows the latest line. On a terminal it stays in place until `done`.

    A line is left out rather than waited for: who works in this thread must not stand still because
    a terminal does (Ctrl-S) or a reader is slow.
    """

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self.is_terminal = can_draw(self._stream)
        self._last = ""

    def show(self, line: str) -> None:
        """Show this line instead of the last one; off a terminal only where it says new things."""
        if self._quiet or line == self._last or not takes_a_line(self._stream):
            return
        self._last = line
        if self.is_terminal:
            width = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + line[: width - 1])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def done(self) -> None:
        """Leave the last line standing and go on below it."""
        if self.is_terminal and self._last:
            click.echo(file=self._stream)
        self._last = ""
