"""Random streams of requests and replies.

Requests: however a stream is cut, what is read is what the slow form reads of all of it, and the
bytes that are looked at grow with the stream's and not faster; the quick ways read nothing else.
Replies: where one ends is where hiredis, if it is installed, says that it does.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from random import Random
from typing import Any

from c1m.protocols.resp.batch import uniform
from c1m.protocols.resp.replies import command, reply_size
from c1m.protocols.resp.requests import Args, RequestBounds, Requests, whole
from resp_streams import Watched, read_slowly

from .streams import cut, mutated

hiredis: Any = import_module("hiredis") if find_spec("hiredis") else None

WIDE = RequestBounds()
NARROW = (
    RequestBounds(bulk=5000, arguments=300, inline=40, request=1 << 21),
    RequestBounds(is_guest=True),
)
LINES = (b"PING\r\n", b'SET a "b\\x00\\n c"\r\n', b"GET 'it\\'s'\r\n", b'"a"b\r\n', b"\r\n", b"\n",
         b"*0\r\n", b"*-1\r\n", b"*1\r\n$-1\r\n", b"*1\r\n$4\r\nPINGxx", b"*99999999999\r\n",
         b"*300\r\n", b"$5\r\nhello\r\n", b"*1\rx$1\rya..", b"*1\r\n$20000\r\n")  # fmt: skip
TOKENS = (b"\r\n", b"\r", b"\n", b"*", b"$", b"*1\r\n", b"$1\r\n", b'"', b"'", b"\\", b"\0", b"-1",
          b" ", b"9" * 20)  # fmt: skip
REPLY_LINES = (b"+OK", b"-ERR x", b":1", b"_", b"#t", b",1.5", b"(12", b"$-1", b"*-1")


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    if random.random() < 0.2:
        return _replies(random)
    stream = _mutated(random, _requests(random))
    pieces = _cut(random, stream)
    for bounds in (WIDE, random.choice(NARROW)):
        wanted = read_slowly(stream, bounds)
        reader, commands = Requests(bounds), []
        Watched.seen = 0
        for piece in pieces:
            commands += reader.feed(Watched(piece))
        assert (commands, reader.error, reader.is_idle) == wanted
        assert Watched.seen <= 10 * len(stream) + 100
    quick, size = whole(stream)
    assert read_slowly(stream[:size], WIDE) == (quick, None, True)
    if pieces:
        _check_uniform(pieces)
    return len(stream)


def _check_uniform(pieces: list[bytes]) -> None:
    got = uniform(pieces)
    if got is None:
        return
    read = [read_slowly(piece, WIDE) for piece in pieces]
    assert all(is_idle for _, _, is_idle in read)
    flat = [args for commands, _, _ in read for args in commands]
    counts = [len(commands) for commands, _, _ in read]
    assert got.counts == (None if set(counts) == {1} else counts)
    columns: list[list[bytes]] = [[got.name] * len(flat), *got.columns]
    assert list(map(list, zip(*columns, strict=True))) == flat


# --- what is sent -------------------------------------------------------------------------------


def _requests(random: Random) -> bytes:
    if random.random() < 0.3:  # all of one kind
        count, name = random.randrange(3), random.choice((b"GET", b"set", b""))
        size = random.randrange(20)
        return b"".join(
            command(name, *(_word(random, size) for _ in range(count)))
            for _ in range(random.randrange(1, 60))
        )
    return b"".join(_request(random) for _ in range(random.randrange(8)))


def _request(random: Random) -> bytes:
    if random.random() < 0.3:
        return random.choice(LINES)
    most = 300 if random.random() < 0.02 else 4
    args: Args = [_word(random) for _ in range(random.randrange(1, most))]
    return command(*args)


def _word(random: Random, size: int | None = None) -> bytes:
    if size is not None and random.random() < 0.9:
        return random.randbytes(size).replace(b"\r", b"x")
    kind = random.random()
    if kind < 0.01:
        return random.randbytes(random.choice((4095, 4096, 4097, 17000)))
    if kind < 0.4:
        return b"".join(random.choices(TOKENS, k=random.randrange(4)))
    return random.randbytes(random.randrange(20))


def _mutated(random: Random, stream: bytes) -> bytes:
    return mutated(random, stream, TOKENS, 0.4)


def _cut(random: Random, stream: bytes) -> list[bytes]:
    return cut(random, stream, (b"*",), singly=0.1, singles=300)


# --- what is answered ---------------------------------------------------------------------------


def _replies(random: Random) -> int:
    reply = _reply(random, random.randrange(5))
    assert reply_size(reply) == reply_size(reply + b":1\r\n") == len(reply)
    if hiredis is not None and b"!" not in reply and b"|" not in reply:
        reader = hiredis.Reader()
        reader.feed(reply[:-1])
        assert reader.gets() is False
        reader.feed(reply[-1:] + b":77\r\n")
        assert reader.gets() is not False or reply == b"#f\r\n"
        assert reader.gets() == 77
    broken = _mutated(random, reply)
    size = reply_size(broken)
    assert 0 <= size <= len(broken)
    if size:
        assert reply_size(broken[:size]) == size
        assert reply_size(broken[: random.randrange(size)]) == 0
    return len(reply)


def _reply(random: Random, depth: int) -> bytes:
    kind = random.choice((b"", b"$", b"!", b"=", b"*", b"~", b">", b"%", b"|"))
    if not kind:
        return random.choice(REPLY_LINES) + b"\r\n"
    if kind in b"$!=":
        text = (b"txt:" if kind == b"=" else b"") + random.randbytes(random.randrange(9))
        return b"%b%d\r\n%b\r\n" % (kind, len(text), text)
    count = random.randrange(4) if depth else 0
    has_keys = kind in b"%|"
    parts = b"".join(b"+key\r\n" * has_keys + _reply(random, depth - 1) for _ in range(count))
    return b"%b%d\r\n" % (kind, count) + parts + (b":1\r\n" if kind == b"|" else b"")
