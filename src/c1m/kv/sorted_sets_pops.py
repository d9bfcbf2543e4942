"""Commands that pop from the first of some sorted sets that has any members, or wait for one."""

from __future__ import annotations

from dataclasses import dataclass

from c1m.kv.arguments import integer
from c1m.kv.blocking import first_or_wait, timeout_ms
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.sets import TOO_FEW_KEYS
from c1m.kv.sorted_set import SortedSet
from c1m.kv.sorted_sets import pop
from c1m.protocols.resp.replies import NULL_ARRAYS, array, bulk, double

NO_COUNT = b"ERR count should be greater than 0"


@dataclass(frozen=True, slots=True)
class Pop:
    """What ZMPOP and BZMPOP ask for."""

    keys: list[bytes]
    highest: bool
    count: int = 1


def _read(args: Args, at: int) -> Pop:
    """The count of keys at args[at], the keys, MIN or MAX, COUNT. Raises CommandError."""
    keys = integer(args[at], TOO_FEW_KEYS)
    if keys < 1:
        raise CommandError(TOO_FEW_KEYS)
    end = at + 1 + keys
    if end >= len(args) or args[end].lower() not in (b"min", b"max"):
        raise CommandError(SYNTAX)
    count = 1
    if len(args) > end + 1:
        if len(args) != end + 3 or args[end + 1].lower() != b"count":
            # Redis reads a first COUNT before it finds that something is behind it.
            if len(args) > end + 2 and args[end + 1].lower() == b"count":
                _pop_count(args[end + 2])
            raise CommandError(SYNTAX)
        count = _pop_count(args[end + 2])
    return Pop(args[at + 1 : end], args[end].lower() == b"max", count)


def _pop_count(text: bytes) -> int:
    count = integer(text, NO_COUNT)
    if count < 1:
        raise CommandError(NO_COUNT)
    return count


@command("zmpop", -4, "write movablekeys", counted_keys=1)
def zmpop(client: Client, args: Args) -> bytes:
    """Remove members from one end of the first sorted set that is there, and return them."""
    asked = _read(args, 1)
    for key in asked.keys:
        if client.db.find_of(key, SortedSet) is not None:
            return _popped(client, key, asked)
    return NULL_ARRAYS[client.protocol]


def _popped(client: Client, key: bytes, asked: Pop) -> bytes:
    pairs = pop(client.db, key, asked.count, highest=asked.highest)
    protocol = client.protocol
    found = [array([bulk(member), double(score, protocol)]) for member, score in pairs]
    return array([bulk(key), array(found)])


@command("bzmpop", -5, "write blocking movablekeys", counted_keys=2)
def bzmpop(client: Client, args: Args) -> bytes | None:
    """Remove members from one end of the first sorted set there is; wait for one."""
    asked = _read(args, 2)

    def serve(key: bytes) -> bytes:
        return _popped(client, key, asked)

    return first_or_wait(client, asked.keys, SortedSet, serve, timeout_ms(args[1]))


@command("bzpopmin", -3, "write noscript blocking fast", (1, -2, 1))
def bzpopmin(client: Client, args: Args) -> bytes | None:
    """Remove the member of the lowest score from the first sorted set there is; wait for one."""
    return _pop_or_wait(client, args, highest=False)


@command("bzpopmax", -3, "write noscript blocking fast", (1, -2, 1))
def bzpopmax(client: Client, args: Args) -> bytes | None:
    """Remove the member of the highest score from the first sorted set there is; wait for one."""
    return _pop_or_wait(client, args, highest=True)


def _pop_or_wait(client: Client, args: Args, *, highest: bool) -> bytes | None:
    def serve(key: bytes) -> bytes:
        ((member, score),) = pop(client.db, key, 1, highest=highest)
        return array([bulk(key), bulk(member), double(score, client.protocol)])

    return first_or_wait(client, args[1:-1], SortedSet, serve, timeout_ms(args[-1]))
