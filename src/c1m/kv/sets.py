"""Commands on sets."""

from __future__ import annotations

from collections.abc import Callable, Collection

from c1m.kv.arguments import INT64_MAX, integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.database import Database
from c1m.kv.errors import SYNTAX, WRONG_TYPE, CommandError
from c1m.kv.members import Members
from c1m.kv.object_info import is_compact
from c1m.kv.scan import EMPTY_SCAN, cursor_of, scan_options, scan_reply, scan_step
from c1m.protocols.resp.replies import EMPTY, NULLS, array, bulk, bulks, set_of
from c1m.protocols.resp.replies import integer as number

NOT_POSITIVE = b"ERR value is out of range, must be positive"
NOT_IN_RANGE = (
    b"ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
)
TOO_FEW_KEYS = b"ERR numkeys should be greater than 0"
TOO_MANY_KEYS = b"ERR Number of keys can't be greater than number of args"
NEGATIVE_LIMIT = b"ERR LIMIT can't be negative"

ZERO, ONE = b":0\r\n", b":1\r\n"
Combine = Callable[[list[set[bytes]]], set[bytes]]


@command("sadd", -3, "write denyoom fast", (1, 1, 1))
def sadd(client: Client, args: Args) -> bytes:
    """Add members to a set."""
    db, key = client.db, args[1]
    members = db.find_of(key, Members)
    if members is None:
        members = Members()
        db.put(key, members)
    elif len(args) == 3 and args[2] in members:
        return ZERO
    count = members.put(args[2:])
    if count:
        db.changed(key, b"sadd", "s")
    return number(count)


@command("srem", -3, "write fast", (1, 1, 1))
def srem(client: Client, args: Args) -> bytes:
    """Remove members from a set."""
    members = client.db.find_of(args[1], Members)
    if members is None:
        return ZERO
    count = members.take(args[2:])
    if count:
        _has_lost(client.db, args[1], members, b"srem")
    return number(count)


def _has_lost(db: Database, key: bytes, members: Members, event: bytes) -> None:
    """Members were removed; an empty set goes."""
    db.changed(key, event, "s")
    if not members:
        db.remove(key)
        db.changed(key, b"del", "g")


@command("sismember", 3, "readonly fast", (1, 1, 1))
def sismember(client: Client, args: Args) -> bytes:
    """Whether something is a member of a set."""
    members = client.db.find_of(args[1], Members)
    return ONE if members is not None and args[2] in members else ZERO


@command("smismember", -3, "readonly fast", (1, 1, 1))
def smismember(client: Client, args: Args) -> bytes:
    """Which of several are members of a set."""
    members = client.db.find_of(args[1], Members) or ()
    return array([ONE if member in members else ZERO for member in args[2:]])


@command("scard", 2, "readonly fast", (1, 1, 1))
def scard(client: Client, args: Args) -> bytes:
    """How many members a set has."""
    return number(len(client.db.find_of(args[1], Members) or ()))


@command("smembers", 2, "readonly", (1, 1, 1))
def smembers(client: Client, args: Args) -> bytes:
    """All members of a set."""
    return _set(client, client.db.find_of(args[1], Members) or ())


def _set(client: Client, members: Collection[bytes]) -> bytes:
    if client.protocol == 3:
        return set_of(list(map(bulk, members)), 3)
    return bulks(members)


@command("spop", -2, "write fast", (1, 1, 1))
def spop(client: Client, args: Args) -> bytes:
    """Remove random members of a set, and return them."""
    db, key = client.db, args[1]
    if len(args) == 2:
        members = db.find_of(key, Members)
        if members is None:
            return NULLS[client.protocol]
        member = members.pop_random()
        _has_lost(db, key, members, b"spop")
        return bulk(member)
    if len(args) > 3:
        raise CommandError(SYNTAX)
    count = integer(args[2], NOT_POSITIVE)
    if count < 0:
        raise CommandError(NOT_POSITIVE)
    members = db.find_of(key, Members)
    if members is None or not count:
        return _set(client, ())
    if count >= len(members):
        popped = list(members)
        members.clear()
    else:
        popped = [members.pop_random() for _ in range(count)]
        if len(members) * 5 <= count:  # Redis makes a new set of the few that are left
            members.was_large = False
    _has_lost(db, key, members, b"spop")
    return _set(client, popped)


@command("srandmember", -2, "readonly", (1, 1, 1))
def srandmember(client: Client, args: Args) -> bytes:
    """Random members of a set: so many different ones, or with a negative count any so many."""
    if len(args) == 2:
        members = client.db.find_of(args[1], Members)
        return NULLS[client.protocol] if members is None else bulk(members.choose())
    if len(args) > 3:
        raise CommandError(SYNTAX)
    count = random_count(args[2])
    members = client.db.find_of(args[1], Members)
    if members is None or not count:
        return EMPTY
    if count > 0:
        return bulks(members.sample(count))
    return bulks([members.choose() for _ in range(-count)])


def random_count(text: bytes) -> int:
    """How many random members are asked for. Raises CommandError."""
    count = integer(text)
    if count < -INT64_MAX:
        raise CommandError(NOT_IN_RANGE)
    return count


@command("smove", 4, "write fast", (1, 2, 1))
def smove(client: Client, args: Args) -> bytes:
    """Move a member from one set to another."""
    db, (_, source, target, member) = client.db, args
    members = db.find(source)
    if members is None:
        return ZERO
    others = db.find_of(target, Members)
    if not isinstance(members, Members):
        raise CommandError(WRONG_TYPE)
    if members is others:
        return ONE if member in members else ZERO
    if not members.take((member,)):
        return ZERO
    _has_lost(db, source, members, b"srem")
    if others is None:
        others = Members()
        db.put(target, others)
    if others.put((member,)):
        db.changed(target, b"sadd", "s")
    return ONE


# --- several sets ---------------------------------------------------------------------------------


def _sets(client: Client, keys: list[bytes]) -> list[set[bytes]]:
    """The sets of these keys; an empty one for a key that is not there."""
    nothing: set[bytes] = set()
    return [client.db.find_of(key, Members) or nothing for key in keys]


def _intersection(sets: list[set[bytes]]) -> set[bytes]:
    smallest, *others = sorted(sets, key=len)
    return smallest.intersection(*others)


def _union(sets: list[set[bytes]]) -> set[bytes]:
    return set[bytes]().union(*sets)


def _difference(sets: list[set[bytes]]) -> set[bytes]:
    return sets[0].difference(*sets[1:])


@command("sinter", -2, "readonly", (1, -1, 1))
def sinter(client: Client, args: Args) -> bytes:
    """The members that all sets have."""
    return _set(client, _intersection(_sets(client, args[1:])))


@command("sunion", -2, "readonly", (1, -1, 1))
def sunion(client: Client, args: Args) -> bytes:
    """The members that any of the sets has."""
    return _set(client, _union(_sets(client, args[1:])))


@command("sdiff", -2, "readonly", (1, -1, 1))
def sdiff(client: Client, args: Args) -> bytes:
    """The members of the first set that no other one has."""
    return _set(client, _difference(_sets(client, args[1:])))


@command("sinterstore", -3, "write denyoom", (1, -1, 1))
def sinterstore(client: Client, args: Args) -> bytes:
    """Store the members that all sets have."""
    return _store(client, args, _intersection)


@command("sunionstore", -3, "write denyoom", (1, -1, 1))
def sunionstore(client: Client, args: Args) -> bytes:
    """Store the members that any of the sets has."""
    return _store(client, args, _union)


@command("sdiffstore", -3, "write denyoom", (1, -1, 1))
def sdiffstore(client: Client, args: Args) -> bytes:
    """Store the members of the first set that no other one has."""
    return _store(client, args, _difference)


def _store(client: Client, args: Args, combine: Combine) -> bytes:
    db, target = client.db, args[1]
    result = combine(_sets(client, args[2:]))
    if result:
        db.put(target, Members(result))
        db.changed(target, args[0].lower(), "s")
    elif db.find(target) is not None:
        db.remove(target)
        db.changed(target, b"del", "g")
    return number(len(result))


@command("sintercard", -3, "readonly movablekeys", counted_keys=1)
def sintercard(client: Client, args: Args) -> bytes:
    """How many members all sets have, counted up to a limit."""
    count = integer(args[1], TOO_FEW_KEYS)
    if count <= 0:
        raise CommandError(TOO_FEW_KEYS)
    if count > len(args) - 2:
        raise CommandError(TOO_MANY_KEYS)
    limit = card_limit(args, count + 2)
    size = len(_intersection(_sets(client, args[2 : count + 2])))
    return number(min(size, limit) if limit else size)


def card_limit(args: Args, at: int) -> int:
    """LIMIT from args[at] on; 0: none. Raises CommandError."""
    limit = 0
    for index in range(at, len(args), 2):
        if args[index].lower() != b"limit" or index + 1 == len(args):
            raise CommandError(SYNTAX)
        limit = integer(args[index + 1], NEGATIVE_LIMIT)
        if limit < 0:
            raise CommandError(NEGATIVE_LIMIT)
    return limit


@command("sscan", -3, "readonly", (1, 1, 1))
def sscan(client: Client, args: Args) -> bytes:
    """Go through a set's members, some at a time."""
    cursor = cursor_of(args[2])
    members = client.db.find_of(args[1], Members)
    if members is None:
        return EMPTY_SCAN
    options = scan_options(args, 3)
    small = len(members) if is_compact(client.store, members) else 0
    following, found = scan_step(client, args[1], cursor, options, members, small)
    return scan_reply(following, list(map(bulk, found)))
