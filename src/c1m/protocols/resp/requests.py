"""What clients send: commands as arrays of bulk strings, or inline as a line of words. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

Args = list[bytes]

BULK_MAX = 512 << 20  # bytes of one argument: Redis's proto-max-bulk-len
ARGUMENTS_MAX = 1 << 20  # of one command: Redis's 1024 * 1024
INLINE_MAX = 64 << 10  # bytes of a line: of an inline command, or of a length
REQUEST_MAX = 1 << 30  # bytes of one command: Redis's client-query-buffer-limit

_NUMBER = re.compile(rb"-?(0|[1-9][0-9]{0,17})")


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """What may be unfinished."""

    bulk: int = BULK_MAX
    arguments: int = ARGUMENTS_MAX
    inline: int = INLINE_MAX
    request: int = REQUEST_MAX


class ProtocolError(Exception):
    """What came is no request: the text of the error reply, after which the connection ends."""


@dataclass(slots=True)
class Requests:
    """The plain form: reads one connection's stream, piece by piece.

    `error` is what ended it (the text of the error reply): nothing that follows is read.
    """

    bounds: RequestBounds = field(default_factory=RequestBounds)
    error: bytes | None = None
    _pending: bytearray = field(default_factory=bytearray)
    _args: Args = field(default_factory=list)
    _due: int = 0  # arguments that the command still lacks
    _size: int = -1  # of the argument that is being read

    @property
    def is_idle(self) -> bool:
        """Nothing is unfinished."""
        return not self._pending and not self._due and self.error is None

    def feed(self, piece: bytes) -> list[Args]:
        """The commands that are whole with this piece, in order; [] arguments are left out."""
        commands: list[Args] = []
        if self.error is None:
            self._pending += piece
            try:
                self._read(commands)
            except ProtocolError as error:
                self.error = error.args[0]
        return commands

    def _read(self, commands: list[Args]) -> None:
        stream, at = self._pending, 0
        try:
            while at < len(stream):
                if not self._due:
                    end = stream.find(b"\r\n" if stream[at] == 42 else b"\n", at)
                    if end < 0:
                        if len(stream) - at > self.bounds.inline:
                            big = b"mbulk count" if stream[at] == 42 else b"inline request"
                            raise ProtocolError(b"ERR Protocol error: too big " + big + b" string")
                        return
                    if stream[at] != 42:
                        words = bytes(stream[at:end]).split()
                        at = end + 1
                        if words:
                            commands.append(words)
                        continue
                    text = bytes(stream[at + 1 : end])
                    at = end + 2
                    if not _NUMBER.fullmatch(text) or int(text) > self.bounds.arguments:
                        raise ProtocolError(b"ERR Protocol error: invalid multibulk length")
                    self._due, self._args = max(int(text), 0), []
                elif self._size < 0:
                    end = stream.find(b"\r\n", at)
                    if end < 0:
                        if len(stream) - at > self.bounds.inline:
                            raise ProtocolError(b"ERR Protocol error: too big bulk count string")
                        return
                    if stream[at] != 36:
                        raise ProtocolError(
                            b"ERR Protocol error: expected '$', got '%c'" % stream[at]
                        )
                    text = bytes(stream[at + 1 : end])
                    at = end + 2
                    if not _NUMBER.fullmatch(text) or not 0 <= int(text) <= self.bounds.bulk:
                        raise ProtocolError(b"ERR Protocol error: invalid bulk length")
                    self._size = int(text)
                else:
                    end = at + self._size
                    if len(stream) < end + 2:
                        return
                    self._args.append(bytes(stream[at:end]))
                    at, self._size, self._due = end + 2, -1, self._due - 1
                    if not self._due:
                        commands.append(self._args)
        finally:
            del stream[:at]
