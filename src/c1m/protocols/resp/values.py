"""Replies as values of Python. Pure.

    + $ = (     bytes (a big number: int)       _, $-1, *-1     None
    :           int                             ,               float
    #           bool                            * ~ >           list
    - !         ErrorReply                      %               dict

A key that cannot be one of a dict (a list, say) is its repr.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any


class ErrorReply:
    """A reply that is an error: `text` is what it says, `code` its first word."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    @property
    def code(self) -> str:
        """As ERR, WRONGTYPE, MOVED."""
        return self.text.partition(" ")[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ErrorReply) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"ErrorReply({self.text!r})"

    __str__ = __repr__


def value_of(reply: bytes) -> Any:
    """The value of a whole reply. Raises ValueError for what is none."""
    kind = reply[:1]
    if kind == b"$" and reply[1:2] != b"-":  # most of them, at once
        return reply[reply.index(b"\r\n") + 2 : -2]
    try:
        value, end = _value(reply, 0)
    except (IndexError, RecursionError):
        raise ValueError(f"no reply of Redis's protocol: {reply[:40]!r}") from None
    if end != len(reply):
        raise ValueError(f"no reply of Redis's protocol: {reply[:40]!r}")
    return value


def _value(reply: bytes, at: int) -> tuple[Any, int]:
    """The value that begins there, and where it ends."""
    end = reply.index(b"\r\n", at)
    kind, text, at = reply[at : at + 1], reply[at + 1 : end], end + 2
    match kind:
        case b"+":
            return text, at
        case b"-":
            return ErrorReply(text.decode("utf-8", "backslashreplace")), at
        case b":" | b"(":
            return int(text), at
        case b",":
            return float(text), at
        case b"#":
            return text == b"t", at
        case b"_":
            return None, at
        case b"$" | b"!" | b"=":
            return _sized(kind, reply, at, int(text))
        case b"*" | b"~" | b">" | b"%" | b"|":
            return _counted(kind, reply, at, int(text))
    raise ValueError(f"no reply of Redis's protocol: {reply[:40]!r}")


def _sized(kind: bytes, reply: bytes, at: int, size: int) -> tuple[Any, int]:
    if size < 0:
        return None, at
    text, at = reply[at : at + size], at + size + 2
    if kind == b"!":
        return ErrorReply(text.decode("utf-8", "backslashreplace")), at
    return text[4:] if kind == b"=" else text, at  # behind "txt:"


def _counted(kind: bytes, reply: bytes, at: int, count: int) -> tuple[Any, int]:
    if count < 0:
        return None, at
    is_map = kind in b"%|"
    values = []
    for _ in range(2 * count if is_map else count):
        value, at = _value(reply, at)
        values.append(value)
    if kind == b"|":  # attributes stand before the reply proper
        return _value(reply, at)
    if not is_map:
        return values, at
    keys = [key if isinstance(key, Hashable) else repr(key) for key in values[::2]]
    return dict(zip(keys, values[1::2], strict=True)), at
