"""What clients send: commands as arrays of bulk strings, or inline as a line of words. Pure.

`Requests` reads a stream piece by piece; one is needed only while something is unfinished. A piece
that holds whole commands is cut by `whole`, without an object. Many pieces that hold the same
command are for `batch`.

Streams are read as redis-server 7.0 reads them: the line of a count or a length ends with a
carriage return and one more byte, whatever it is; so does an argument, with any two bytes; a count
of zero or less is passed over. Two things differ, so that it does not matter where a stream was
cut: a line is too long as soon as it is longer than its bound, and a zero byte is one like any
other (behind one in a line Redis waits for ever).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain

Args = list[bytes]

BULK_MAX = 512 << 20  # bytes of one argument: Redis's proto-max-bulk-len
ARGUMENTS_MAX = (1 << 31) - 1  # of one command
TLS_HELLO = b"\x16\x03"  # how a client begins that speaks TLS (RFC 8446, 5.1)
NO_TLS = b"this is TLS, and this port speaks none"
INLINE_MAX = 64 << 10  # bytes of a line: an inline command, or what says a count or a length
REQUEST_MAX = 1 << 30  # bytes of one command: Redis's client-query-buffer-limit
ARGUMENT_COST = 48  # bytes that an argument takes beside its own; they count for REQUEST_MAX
GUEST_ARGUMENTS_MAX = 10  # of a client that has not said who it is
GUEST_BULK_MAX = 16384

SHORT_MAX = 4096  # bytes of an argument on quick ways: no bound is lower, and copies are cheap
FEW_MAX = 255  # arguments there
SIZES = [b"$%d" % size for size in range(SHORT_MAX + 1)]  # the line before an argument
LINES = {b"*%d" % count: 2 * count + 1 for count in range(1, FEW_MAX + 1)}  # of a whole command

_size_line = SIZES.__getitem__
_NONE = BytesIO()  # nothing of an argument: nobody writes to it
_STAR, _DOLLAR = b"*$"
_COUNT = re.compile(rb"\*(0|-?[1-9][0-9]{0,18})\r.", re.DOTALL)
_LENGTH = re.compile(rb"\$(0|[1-9][0-9]{0,18})\r.", re.DOTALL)
_NO_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_WORD = re.compile(
    rb"""([^ \t\r\n"']*)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\'|\\(?!'))*)')?(?!\S)\s*""", re.DOTALL
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """What a client may send.

    What the quick ways take is below all of them: `bulk` is SHORT_MAX at least, `request` 2 MiB,
    `arguments` FEW_MAX, and `inline` more than a number has digits.
    """

    bulk: int = BULK_MAX
    arguments: int = ARGUMENTS_MAX
    inline: int = INLINE_MAX
    request: int = REQUEST_MAX
    is_guest: bool = False  # it has not said who it is: the bounds of guests hold, too


class ProtocolError(Exception):
    """What came is no request: the text of the error reply, after which the connection ends."""


@dataclass(slots=True)
class Requests:
    """The plain form: reads one connection's stream, piece by piece.

    `bounds` may be replaced between two commands. `error` is what ended the stream (the text of
    the error reply): nothing that follows is read.
    """

    bounds: RequestBounds = field(default_factory=RequestBounds)
    error: bytes | None = None
    _line: bytearray = field(default_factory=bytearray)  # the beginning of one
    _args: Args = field(default_factory=list)  # of a command that is not whole
    _due: int = 0  # arguments that it lacks
    _cost: int = 0  # bytes of those that it has
    _part: BytesIO = _NONE  # of the argument that is being read
    _lacks: int = 0  # bytes of it that are to come, with the two behind it
    counted: int = 0  # for whoever adds up what is unfinished

    @property
    def is_idle(self) -> bool:
        """Nothing is unfinished."""
        return not self._line and not self._due and self.error is None

    def size(self) -> int:
        """The bytes that what is unfinished takes, about."""
        return len(self._line) + self._cost - max(self._lacks - 2, 0)

    def feed(self, piece: bytes) -> list[Args]:
        """The commands that are whole with this piece, in order."""
        return list(self.read(piece))

    def read(self, piece: bytes) -> Iterator[Args]:
        """The same one by one, to be taken to the end; `bounds` hold as they are then."""
        if self.error is not None:
            return
        try:
            if self._line:
                is_inline = self._is_inline(self._line[0])
                is_near = self._line.endswith(b"\r") and not is_inline  # one more byte ends it
                if not is_near and (b"\n" if is_inline else b"\r") not in piece:
                    self._keep(piece)
                    return
                piece = bytes(self._line) + piece
                self._line.clear()
            yield from self._commands(piece)
        except ProtocolError as error:
            self.error = b"ERR Protocol error: " + error.args[0]
            self._line, self._args, self._due, self._part = bytearray(), [], 0, _NONE

    def _commands(self, piece: bytes) -> Iterator[Args]:
        at, end, is_quick = 0, len(piece), True
        while at < end:
            if self._lacks:
                at = self._go_on(piece, at)
            elif self._due:
                at = self._arguments(piece, at)
            elif is_quick and not self.bounds.is_guest:
                is_quick = False  # once a piece: each byte is looked at a few times at most
                commands, size = whole(piece[at:])
                yield from commands
                at += size
            elif self._is_inline(piece[at]):
                stop = piece.find(b"\n", at)
                if stop < 0:
                    self._keep(piece[at:])
                    return
                line = piece[at:stop]
                self._check(line)
                if args := words(line):
                    yield args
                at = stop + 1
            elif match := _COUNT.match(piece, at):
                self._begin(int(match[1]))
                at = match.end()
            else:
                at = self._rest(piece, at)
            if self._args and not self._due:
                args, self._args, self._cost = self._args, [], 0
                yield args

    # --- lines --------------------------------------------------------------------------------

    def _is_inline(self, first: int) -> bool:
        return not self._due and first != _STAR

    def _rest(self, piece: bytes, at: int) -> int:
        """A line that says no count or length: its end is to come, or else it is wrong."""
        end = piece.find(b"\r", at)
        if not at <= end < len(piece) - 1:
            self._keep(piece[at:])
            return len(piece)
        self._check(piece[at:end])
        if not self._due:
            raise ProtocolError(b"invalid multibulk length")
        if piece[at] != _DOLLAR:
            got = piece[at : at + 1].translate(_NO_LINE_ENDS)
            raise ProtocolError(b"expected '$', got '%b'" % got)
        raise ProtocolError(b"invalid bulk length")

    def _keep(self, text: bytes) -> None:
        self._line += text
        self._check(self._line)

    def _check(self, line: bytes | bytearray) -> None:
        if line.startswith(TLS_HELLO) and not self._due:  # its line may never end
            raise ProtocolError(NO_TLS)
        if len(line) <= self.bounds.inline:
            return
        if self._is_inline(line[0]):
            raise ProtocolError(b"too big inline request")
        if len(line) - line.endswith(b"\r") > self.bounds.inline:
            kind = b"bulk" if self._due else b"mbulk"
            raise ProtocolError(b"too big %b count string" % kind)

    # --- arguments ----------------------------------------------------------------------------

    def _begin(self, count: int) -> None:
        """A command of so many arguments."""
        if not -(1 << 63) <= count <= self.bounds.arguments:
            raise ProtocolError(b"invalid multibulk length")
        if self.bounds.is_guest and count > GUEST_ARGUMENTS_MAX:
            raise ProtocolError(b"unauthenticated multibulk length")
        self._due = max(count, 0)

    def _arguments(self, piece: bytes, at: int) -> int:
        """Read those that begin at `at`; where what follows does."""
        while self._due and at < len(piece):
            match = _LENGTH.match(piece, at)
            if match is None:
                return self._rest(piece, at)
            size, at = int(match[1]), match.end()
            if size > self.bounds.bulk:
                raise ProtocolError(b"invalid bulk length")
            if size > GUEST_BULK_MAX and self.bounds.is_guest:
                raise ProtocolError(b"unauthenticated bulk length")
            self._cost += size + ARGUMENT_COST
            if self._cost > self.bounds.request:
                raise ProtocolError(b"too big request")
            if at + size + 2 > len(piece):
                # BytesIO gives its memory away as the argument's: a large one is there once.
                self._part, self._lacks = BytesIO(), size + 2
                return self._go_on(piece, at)
            self._args.append(piece[at : at + size])
            self._due -= 1
            at += size + 2
        return at

    def _go_on(self, piece: bytes, at: int) -> int:
        """The same for one of which a part has come."""
        end = min(at + self._lacks, len(piece))
        self._part.write(piece[at : min(at + max(self._lacks - 2, 0), end)])
        self._lacks -= end - at
        if not self._lacks:
            self._args.append(self._part.getvalue())
            self._part = _NONE
            self._due -= 1
        return end


def whole(piece: bytes) -> tuple[list[Args], int]:
    """The plain commands that a piece begins with, and how many bytes they are.

    The quick way: what is long, inline, unfinished or wrong ends it, and is for `Requests`. It is
    not for guests.
    """
    lines = piece.split(b"\r\n")
    count = len(lines) - 1
    commands: list[Args] = []
    sizes: list[bytes] = []
    at = 0
    try:
        if count == LINES.get(lines[0]) and not lines[-1]:  # the commonest: one command
            args = lines[2::2]
            is_right = [_size_line(len(arg)) for arg in args] == lines[1:-1:2]
            return ([args], len(piece)) if is_right else ([], 0)
        while at < count:
            end = at + LINES.get(lines[at], count + 1)
            if end > count:
                break
            commands.append(lines[at + 2 : end : 2])
            sizes += lines[at + 1 : end : 2]
            at = end
        # Where each is as long as it says, none has a line end of its own.
        if list(map(_size_line, map(len, chain.from_iterable(commands)))) != sizes:
            return [], 0
    except IndexError:  # longer than SHORT_MAX
        return [], 0
    if at == count and not lines[-1]:
        return commands, len(piece)
    return commands, sum(map(len, lines[:at])) + 2 * at


def words(line: bytes) -> Args:
    """An inline command's words, of which quotes may be parts. Raises ProtocolError."""
    found: Args = []
    at = len(line) - len(line.lstrip())
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise ProtocolError(b"unbalanced quotes in request")
        plain, double, single = match.groups(b"")
        quoted = _ESCAPE.sub(_unescape, double) if double else single.replace(b"\\'", b"'")
        found.append(plain + quoted)
        at = match.end()
    return found


def _unescape(match: re.Match[bytes]) -> bytes:
    code, other = match.groups()
    return bytes((int(code, 16),)) if code else _ESCAPED.get(other, other)
