"""Commands that change a part of a large value, as commands that do the same again. Pure.

A delta is a command on one key, its second word, which does the same to the same value at any
time: what was drawn at random, what expired and what the clock said is no longer in it.
"""

from __future__ import annotations

from collections.abc import Callable

from c1m.kv.commands import Args
from c1m.kv.database import Database
from c1m.protocols.resp.requests import Requests

# Of a command that ran: its database, its words, its reply, the first key that it changed.
Delta = Callable[[Database, Args, bytes, bytes], list[Args]]


def _itself(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    return [args]


def _expiry(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    when_ms = db.expires.get(key)
    if when_ms is None:
        return [[b"persist", key]]
    return [[b"pexpireat", key, b"%d" % when_ms]]


def _popped(name: bytes) -> Delta:
    """One was popped from the first of several keys that had any."""

    def delta(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
        return [[name, key]]

    return delta


def _drawn(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    return _with(b"srem", key, reply)


def _last_moved(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    return _moved(args, b"right", b"left", reply)


def _moved_as_said(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    return _moved(args, args[3].lower(), args[4].lower(), reply)


def _moved(args: Args, source: bytes, target: bytes, reply: bytes) -> list[Args]:
    """The reply went from the first key to the second."""
    if args[1] == args[2]:  # taken off and put back one by one, a single item would be no list
        return [[b"lmove", args[1], args[1], source, target]]
    take = b"lpop" if source == b"left" else b"rpop"
    put = b"lpush" if target == b"left" else b"rpush"
    return [[take, args[1]], *_with(put, args[2], reply)]


def _member_moved(db: Database, args: Args, reply: bytes, key: bytes) -> list[Args]:
    return [[b"srem", args[1], args[3]], [b"sadd", args[2], args[3]]]


def _with(name: bytes, key: bytes, reply: bytes) -> list[Args]:
    """A command with the strings of a reply: one, an array or a set of them. None where they are
    beyond what is read in one piece: then the key is written whole.
    """
    array = b"*1\r\n" + reply if reply.startswith(b"$") else b"*" + reply[1:]
    return [[name, key, *strings] for strings in Requests().feed(array)]


_SAME_AGAIN = [
    "append", "setrange", "setbit",
    "hset", "hmset", "hsetnx", "hdel", "hincrby", "hincrbyfloat",
    "lpush", "rpush", "lpushx", "rpushx", "lpop", "rpop", "lset", "ltrim", "lrem", "linsert",
    "sadd", "srem",
    "zadd", "zrem", "zincrby", "zremrangebyscore", "zremrangebylex", "zremrangebyrank", "zpopmin",
    "zpopmax",
]  # fmt: skip

DELTAS: dict[str, Delta] = {
    **dict.fromkeys(_SAME_AGAIN, _itself),
    **dict.fromkeys(("expire", "pexpire", "expireat", "pexpireat", "persist"), _expiry),
    "blpop": _popped(b"lpop"),
    "brpop": _popped(b"rpop"),
    "bzpopmin": _popped(b"zpopmin"),
    "bzpopmax": _popped(b"zpopmax"),
    "spop": _drawn,
    "rpoplpush": _last_moved,
    "brpoplpush": _last_moved,
    "lmove": _moved_as_said,
    "blmove": _moved_as_said,
    "smove": _member_moved,
}
