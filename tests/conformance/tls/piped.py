"""A program that is driven by its standard input and output, with patience for it."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from .stage import PATIENCE_S, Failed

PIECE = 1 << 16


def listens(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until somebody listens, without a connection: one that counts them takes it for one."""
    wanted, deadline = f":{port:04X} 00000000:0000 0A ", time.monotonic() + PATIENCE_S
    while wanted not in Path("/proc/net/tcp").read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{process.args!r} does not listen on port {port}")
        time.sleep(0.02)


class Piped:
    """A context manager. What it says on standard error is in a file."""

    def __init__(self, command: Sequence[object], where: Path, *, merged: bool = False) -> None:
        self._errors = where / "stderr.log"
        with self._errors.open("wb") as errors:
            self.process = subprocess.Popen(
                list(map(str, command)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merged else errors,
                bufsize=0,
            )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._in, self._out = self.process.stdin.fileno(), self.process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self.came = bytearray()

    def __enter__(self) -> Piped:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process.wait()

    @property
    def errors(self) -> str:
        """What it said on standard error."""
        return self._errors.read_text(errors="replace")

    def exchange(self, sent: bytes, size: int | None = None) -> bytes:
        """Say something; what comes back, so many bytes of it (as many as were said)."""
        size = len(sent) if size is None else size
        self._go_on(sent, lambda: len(self.came) >= size, f"{size} bytes")
        back = bytes(self.came[:size])
        del self.came[:size]
        return back

    def say(self, words: bytes) -> None:
        """All of it, as one write where it is short."""
        self._go_on(words, lambda: True, "the input to be taken")

    def until(self, mark: bytes) -> bytes:
        """What it says up to the mark, with it."""
        self._go_on(b"", lambda: mark in self.came, repr(mark))
        end = self.came.index(mark) + len(mark)
        said = bytes(self.came[:end])
        del self.came[:end]
        return said

    def until_error(self, mark: str, times: int = 1) -> None:
        """It has said so on standard error, so often."""
        deadline = time.monotonic() + PATIENCE_S
        while self.errors.count(mark) < times:
            if time.monotonic() > deadline or self.process.poll() is not None:
                if self.errors.count(mark) >= times:
                    return
                raise Failed(f"{mark!r} is not in what it said: {self.errors[-1500:]}")
            time.sleep(0.02)

    def piece(self) -> bytes:
        """What has come, or comes next; b"" at its end."""
        if self.came:
            piece = bytes(self.came)
            self.came.clear()
            return piece
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if not selector.select(PATIENCE_S):
                raise Failed(f"nothing came in {PATIENCE_S} s: {self._last()}")
        return os.read(self._out, PIECE)

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Until it holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > deadline:
                raise Failed(f"{what} was waited for in vain: {self._last()}")
            time.sleep(0.01)

    def end_input(self) -> None:
        """It reads the end of its input."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def wait(self) -> int:
        """Its exit status; what it still says is in `came`."""
        self._go_on(b"", lambda: False, "its end", to_end=True)
        return self.process.wait(PATIENCE_S)

    def _go_on(
        self, words: bytes, is_enough: Callable[[], bool], what: str, *, to_end: bool = False
    ) -> None:
        deadline = time.monotonic() + PATIENCE_S
        left = memoryview(words)
        with selectors.DefaultSelector() as selector:
            selector.register(self._out, selectors.EVENT_READ)
            if left:
                selector.register(self._in, selectors.EVENT_WRITE)
            while left or not is_enough():
                ready = selector.select(max(deadline - time.monotonic(), 0))
                if not ready:
                    raise Failed(f"{what} did not come in {PATIENCE_S} s: {self._last()}")
                for key, _ in ready:
                    if key.fd == self._in:
                        left = left[os.write(self._in, left[:PIECE]) :]
                        if not left:
                            selector.unregister(self._in)
                        continue
                    piece = os.read(self._out, PIECE)
                    if not piece and to_end:
                        return
                    if not piece:
                        raise Failed(f"it ended, and {what} had not come: {self._last()}")
                    self.came += piece

    def _last(self) -> str:
        return f"{bytes(self.came[-800:])!r} {self.errors[-1500:]}"
