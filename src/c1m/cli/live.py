"""Progress for people: one line that is written over on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
from typing import TextIO

import click


class Live:
    """Shows the latest line. On a terminal it stays in place until `done`."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stdout
        self._quiet = quiet
        self._is_terminal = self._stream.isatty()
        self._last = ""

    def show(self, line: str) -> None:
        """Show this line instead of the last one; off a terminal only where it says new things."""
        if self._quiet or line == self._last:
            return
        self._last = line
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            self._stream.write("\r\x1b[K" + line[: width - 1])
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def done(self) -> None:
        """Leave the last line standing and go on below it."""
        if self._is_terminal and self._last:
            click.echo(file=self._stream)
        self._last = ""
