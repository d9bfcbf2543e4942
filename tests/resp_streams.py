"""Streams of requests for tests: what may be in them, and a slow form that reads a whole one."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

from c1m.protocols.resp.replies import command
from c1m.protocols.resp.requests import (
    GUEST_ARGUMENTS_MAX,
    GUEST_BULK_MAX,
    Args,
    ProtocolError,
    RequestBounds,
    words,
)

# Words that look like what stands around them.
WORD = st.one_of(
    st.text("\r\n$*10", max_size=6).map(str.encode),
    st.binary(min_size=2, max_size=2),
    st.binary(max_size=12).map(lambda word: word.replace(b"\r\n", b"")),
)
NAME = st.sampled_from([b"GET", b"SET", b"get", b"*1", b"", b"\r\n"])
INLINE = st.one_of(
    st.sampled_from([b"PING", b'ECHO "a\\x41\\n\\q"', b"ECHO 'it\\'s'", b'a"', b"'a'b", b"\r"]),
    st.text(" \"'\\x4n\t\va", max_size=9).map(str.encode),
).map(lambda line: line + b"\r\n")
ODD = st.sampled_from(
    [
        b"*0\r\n", b"*-1\r\n", b"*-9223372036854775808\r\n", b"*01\r\n", b"*\r\n", b"*9\r\n",
        b"*1\r\n$-1\r\n", b"*1\r\n$4\r\nPINGxx", b"*1\r\nPING\r\n", b"*1\r\n\r\n", b"*1\rX$1\rYa..",
        b"*1\r\n$99\r\n", b"\r\n", b"\n", b"*", b"$", b"*1\r", b"*1\r\n$2\r\n", b"*11\r\n",
        b"x" * 40, b"*1\r\n$" + b"0" * 40, b"*" + b"1" * 40,
    ]
)  # fmt: skip
COMMAND = st.tuples(NAME, st.lists(WORD, max_size=3)).map(lambda each: command(each[0], *each[1]))
STREAM = st.lists(st.one_of(COMMAND, COMMAND, INLINE, ODD), max_size=8).map(b"".join)
BOUNDS = st.builds(
    RequestBounds,
    bulk=st.sampled_from([4, 20, 1 << 20]),
    arguments=st.sampled_from([2, 20]),
    inline=st.sampled_from([24, 32]),
    request=st.sampled_from([100, 200, 1 << 20]),
    is_guest=st.booleans(),
)


def read_slowly(stream: bytes, bounds: RequestBounds) -> tuple[list[Args], bytes | None, bool]:
    """The commands of a whole stream, the error that ends it, and whether nothing is unfinished."""
    commands: list[Args] = []
    try:
        while stream:
            args, stream = _one(stream, bounds)
            if args is None:
                return commands, None, False
            if args:
                commands.append(args)
    except ProtocolError as error:
        return commands, b"ERR Protocol error: " + error.args[0], False
    return commands, None, True


def _one(stream: bytes, bounds: RequestBounds) -> tuple[Args | None, bytes]:
    """The first command and what follows it; None: it is not whole."""
    if not stream.startswith(b"*"):
        line, found, rest = stream.partition(b"\n")
        if len(line) > bounds.inline:
            raise ProtocolError(b"too big inline request")
        return (words(line), rest) if found else (None, b"")
    line, stream, is_whole = _line(stream, bounds, b"mbulk")
    if not is_whole:
        return None, b""
    count = _number(line)
    if count is None or count > bounds.arguments:
        raise ProtocolError(b"invalid multibulk length")
    if bounds.is_guest and count > GUEST_ARGUMENTS_MAX:
        raise ProtocolError(b"unauthenticated multibulk length")
    args: Args = []
    cost = 0
    for _ in range(count):
        line, stream, is_whole = _line(stream, bounds, b"bulk")
        if not is_whole:
            return None, b""
        if not line.startswith(b"$"):
            got = line[:1] if line[:1] not in (b"", b"\n") else b" "
            raise ProtocolError(b"expected '$', got '" + got + b"'")
        size = _number(line)
        if size is None or not 0 <= size <= bounds.bulk:
            raise ProtocolError(b"invalid bulk length")
        if bounds.is_guest and size > GUEST_BULK_MAX:
            raise ProtocolError(b"unauthenticated bulk length")
        cost += size + 48
        if cost > bounds.request:
            raise ProtocolError(b"too big request")
        if len(stream) < size + 2:
            return None, b""
        args.append(stream[:size])
        stream = stream[size + 2 :]
    return args, stream


def _line(stream: bytes, bounds: RequestBounds, kind: bytes) -> tuple[bytes, bytes, bool]:
    """A line, what follows it, and whether it is whole: its end is two bytes."""
    line, found, rest = stream.partition(b"\r")
    if len(line) > bounds.inline:
        raise ProtocolError(b"too big " + kind + b" count string")
    return line, rest[1:], bool(found and rest)


def _number(line: bytes) -> int | None:
    text = line[1:]
    if not re.fullmatch(rb"0|-?[1-9][0-9]*", text) or not -(1 << 63) <= int(text) < 1 << 63:
        return None
    return int(text)


class Watched(bytes):
    """Bytes that count how many of them were looked at or copied."""

    seen = 0

    def find(self, what: bytes, at: int = 0) -> int:  # type: ignore[override]
        found = super().find(what, at)
        Watched.seen += (len(self) if found < 0 else found) - at
        return found

    def split(self, mark: bytes) -> list[bytes]:  # type: ignore[override]
        Watched.seen += len(self)
        return super().split(mark)

    def __contains__(self, what: object) -> bool:
        Watched.seen += len(self)
        return super().__contains__(what)  # type: ignore[operator]

    def __getitem__(self, where: object) -> bytes:  # type: ignore[override]
        part = super().__getitem__(where)  # type: ignore[call-overload]
        if isinstance(part, int):
            return part  # type: ignore[return-value]
        Watched.seen += len(part)
        return part if where == slice(0, None, None) else Watched(part)

    def __radd__(self, before: Any) -> Any:
        Watched.seen += len(self)
        if isinstance(before, bytearray):
            before.extend(self)
            return before
        Watched.seen += len(before)
        return Watched(before + bytes(self))
