"""A key-value store and clients of it without sockets: commands go in, decoded replies come out.

session = Session()
assert session("SET", "k", 1) == "OK"
assert session("GET", "k") == b"1"
assert session("INCR", "list", client=1) == Refused("WRONGTYPE ...")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import c1m.kv.all_commands  # noqa: F401  (fills the table)
from c1m.kv.client import Client
from c1m.kv.execute import execute
from c1m.kv.store import Store

START_MS = 1_700_000_000_000  # Unix time


class Refused(str):
    """An error reply: its text."""

    __slots__ = ()


class Push(list[Any]):
    """What came unasked, in RESP3."""


class Session:
    """A store whose time stands still until it is moved, and clients 0, 1, ... of it."""

    def __init__(self, clients: int = 2, protocol: int = 2) -> None:
        self.store = Store(capacity=max(clients, 1))
        self.store.now_ms = START_MS
        self.store.rows.open(np.arange(clients, dtype=np.int32), START_MS)
        self.clients = [Client(slot, self.store, protocol) for slot in range(clients)]

    def __call__(self, *words: object, client: int = 0) -> Any:
        """Run one command and decode its reply; None for a nil and for no reply."""
        reply = self.raw(*words, client=client)
        return None if reply is None else decode(reply)

    def raw(self, *words: object, client: int = 0) -> bytes | None:
        """The same, encoded; None: there is no reply (yet)."""
        return execute(self.clients[client], [encoded(word) for word in words])

    def heard(self, client: int = 0) -> list[Any]:
        """What a client was sent meanwhile apart from its own replies: messages, late replies."""
        pieces = self.store.out.replies.pop(client, [])
        self.store.out._has_replies[client] = False
        waited = self.store.out.deliveries.take_for(np.array([client], np.int32))
        pieces[:0] = waited[1].pieces() if waited is not None else []
        return decode_all(b"".join(pieces))

    def wait(self, milliseconds: int) -> None:
        """The time goes on."""
        self.store.now_ms += milliseconds


def encoded(word: object) -> bytes:
    """An argument as a client sends it: text as UTF-8, numbers as text."""
    return bytes(word) if isinstance(word, bytes | bytearray) else str(word).encode()


def decode(stream: bytes) -> Any:
    """The one reply that these bytes are."""
    value, at = decode_at(stream, 0)
    assert at == len(stream), f"more than one reply: {stream!r}"
    return value


def decode_all(stream: bytes) -> list[Any]:
    """The replies that these bytes are."""
    values, at = [], 0
    while at < len(stream):
        value, at = decode_at(stream, at)
        values.append(value)
    return values


def decode_at(stream: bytes, at: int) -> tuple[Any, int]:
    """The reply that begins at `at`, and where the next one does. IndexError: it is unfinished.

    Status replies and errors are `str` and `Refused`, bulk strings and verbatim ones `bytes`.
    """
    end = stream.find(b"\r\n", at)
    if end < 0:
        raise IndexError("an unfinished reply")
    kind, line, at = stream[at : at + 1], stream[at + 1 : end], end + 2
    if kind in b"$=":
        if line == b"-1":
            return None, at
        end = at + int(line)
        if len(stream) < end + 2:
            raise IndexError("an unfinished reply")
        assert stream[end : end + 2] == b"\r\n"
        return stream[at + 4 if kind == b"=" else at : end], end + 2
    if kind in b"*~>%":
        if line == b"-1":
            return None, at
        values = []
        for _ in range(int(line) * (2 if kind == b"%" else 1)):
            value, at = decode_at(stream, at)
            values.append(value)
        if kind == b"%":
            return dict(zip(values[::2], values[1::2], strict=True)), at
        if kind == b"~":
            assert len(set(map(repr, values))) == len(values)
            return set(values), at
        return Push(values) if kind == b">" else values, at
    return _LINES[kind](line), at


_LINES: dict[bytes, Callable[[bytes], Any]] = {
    b"+": bytes.decode,
    b"-": lambda line: Refused(line.decode("utf-8", "backslashreplace")),
    b":": int,
    b"(": int,
    b",": float,
    b"#": lambda line: line == b"t",
    b"_": lambda line: None,
}
