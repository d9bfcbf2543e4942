"""Server-sent events (HTML, 9.2): how they are written and read. Pure."""

from __future__ import annotations

CONTENT_TYPE = "text/event-stream"
KEEP_ALIVE = b":\n\n"  # a comment


def event(data: bytes, id: bytes = b"", name: bytes = b"", retry_ms: int | None = None) -> bytes:
    """One event. Its data may have several lines; `id` and `name` are one line each."""
    lines = [b"id: " + id] if id else []
    if name:
        lines.append(b"event: " + name)
    if retry_ms is not None:
        lines.append(b"retry: %d" % retry_ms)
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines += [b"data: " + line for line in text.split(b"\n")]
    return b"\n".join(lines) + b"\n\n"


class Broken(Exception):
    """What came is no stream of events, or an event is too large."""


class EventReader:
    """Takes a stream of events apart (HTML, 9.2.6). What is read of an event is its data.

    Made where an event is not whole, or to look at some bytes once; `event_max` in bytes.
    """

    def __init__(self, event_max: int) -> None:
        self._max = event_max
        self._stream = bytearray()
        self._lines: list[bytes] = []  # of data, in the event that is not over
        self._size = 0
        self._is_begun = False  # an event is, by any line
        self._is_behind_cr = False  # a line feed that comes now ends no line

    def __bool__(self) -> bool:
        """Whether an event is not whole."""
        return bool(self._stream) or self._is_begun or self._is_behind_cr

    def take(self, piece: bytes) -> list[bytes]:
        """The data of the events that are whole with this piece. Raises Broken."""
        if self._is_behind_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._is_behind_cr = False
        lines = []
        if b"\n" in piece or b"\r" in piece:
            lines = (bytes(self._stream) + piece).splitlines(keepends=True)
            self._stream.clear()
        else:  # a long line is looked at when it is all there
            self._stream += piece
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._stream += lines.pop()
        elif lines and lines[-1].endswith(b"\r"):
            self._is_behind_cr = True
        if len(self._stream) + self._size > self._max:
            raise Broken
        found = []
        for line in lines:
            line = line.rstrip(b"\r\n")
            if line:
                self._read(line)
            else:
                if self._lines:
                    found.append(b"\n".join(self._lines))
                self._lines, self._size, self._is_begun = [], 0, False
        return found

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        self._is_begun = self._is_begun or name != b""  # a comment begins none
        if name == b"data":
            self._lines.append(value.removeprefix(b" "))
            self._size += len(value) + 1
            if self._size > self._max:
                raise Broken
