"""Commands on lists that wait until there is an item; the waiting of sorted sets' ones, too. Pure.

Such a command answers None and its client has a `waiter` (see `waiting`). Nothing else of what the
client sends runs before that ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from c1m.kv.arguments import INT64_MAX, long_real
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.kv.lists import Items, find, move, popping, side, take, taken_off
from c1m.kv.waiting import Waiter
from c1m.protocols.resp.replies import NULL_ARRAYS, bulks

_FLAGS = "write noscript blocking"
_NO_TIME = b"ERR timeout is not a float or out of range"


def timeout_ms(text: bytes) -> int:
    """Seconds as milliseconds, rounded up. Raises CommandError for what is no time to wait."""
    milliseconds = np.ceil(long_real(text, _NO_TIME) * 1000)
    if not 0 <= milliseconds <= INT64_MAX:
        raise CommandError(b"ERR timeout is negative")
    return int(milliseconds)


def first_or_wait(
    client: Client, keys: Sequence[bytes], kind: type, serve: Callable[[bytes], bytes], for_ms: int
) -> bytes | None:
    """`serve` the first key that holds a value of type `kind`; else wait for one of the keys.

    In a transaction the reply is a null array instead. `for_ms` 0: for ever.
    """
    for key in keys:
        if client.db.find_of(key, kind) is not None:
            return serve(key)
    if client.in_transaction:
        return NULL_ARRAYS[client.protocol]
    # one more: the present millisecond has begun already
    until_ms = client.store.now_ms + for_ms + 1 if for_ms else 0
    client.store.waiting.add(Waiter(client, client.db, keys, kind, serve, until_ms))
    return None


@command("blpop", -3, _FLAGS, (1, -2, 1))
def blpop(client: Client, args: Args) -> bytes | None:
    """Take the first item of the first list that has any; wait for one."""
    return _pop(client, args, is_left=True)


@command("brpop", -3, _FLAGS, (1, -2, 1))
def brpop(client: Client, args: Args) -> bytes | None:
    """Take the last item of the first list that has any; wait for one."""
    return _pop(client, args, is_left=False)


def _pop(client: Client, args: Args, *, is_left: bool) -> bytes | None:
    def serve(key: bytes) -> bytes:
        return bulks((key, take(client.db, key, _items(client, key), is_left)))

    return first_or_wait(client, args[1:-1], deque, serve, timeout_ms(args[-1]))


@command("blmpop", -5, "write blocking movablekeys", counted_keys=2)
def blmpop(client: Client, args: Args) -> bytes | None:
    """Take items off the first of some lists that has any; wait for one."""
    keys, is_left, count = popping(args, 2)

    def serve(key: bytes) -> bytes:
        return taken_off(client.db, key, _items(client, key), count, is_left=is_left)

    return first_or_wait(client, keys, deque, serve, timeout_ms(args[1]))


@command("blmove", 6, "write denyoom noscript blocking", (1, 2, 1))
def blmove(client: Client, args: Args) -> bytes | None:
    """Take an item off one list's end and put it at another's; wait for one."""
    return _move(client, args[1], args[2], side(args[3]), side(args[4]), timeout_ms(args[5]))


@command("brpoplpush", 4, "write denyoom noscript blocking", (1, 2, 1))
def brpoplpush(client: Client, args: Args) -> bytes | None:
    """Take the last item of a list and put it in front of another; wait for one."""
    return _move(client, args[1], args[2], False, True, timeout_ms(args[3]))


def _move(
    client: Client, source: bytes, target: bytes, from_left: bool, to_left: bool, for_ms: int
) -> bytes | None:
    def serve(key: bytes) -> bytes:
        return move(client, key, target, from_left, to_left)

    if client.in_transaction:
        return serve(source)
    return first_or_wait(client, [source], deque, serve, for_ms)


def _items(client: Client, key: bytes) -> Items:
    items = find(client, key)
    assert items is not None, "a key is served while it holds a value"
    return items
