"""Commands on lists. Pure.

Those that wait for a list are in `blocking`.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.database import Database
from c1m.kv.errors import NO_SUCH_KEY, OUT_OF_RANGE, SYNTAX, CommandError, wrong_count
from c1m.protocols.resp.replies import EMPTY, NULL_ARRAYS, NULLS, OK, array, bulk, bulks, nullable
from c1m.protocols.resp.replies import integer as number

Items = deque[bytes]

_KEY = (1, 1, 1)
_NOT_POSITIVE = b"ERR value is out of range, must be positive"
_RANK_IS_ZERO = (
    b"ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... "
    b"or use negative to start from the end of the list"
)
_POSITIONS_MAX = 64  # of a middle part that is read item by item: a step is one block of a deque


def find(client: Client, key: bytes) -> Items | None:
    """A key's list."""
    found: Items | None = client.db.find_of(key, deque)
    return found


# --- pushing and popping ------------------------------------------------------------------------


@command("lpush", -3, "write denyoom fast", _KEY)
def lpush(client: Client, args: Args) -> bytes:
    """Put items in front of a list."""
    db, key = client.db, args[1]
    items = db.find_of(key, deque)
    if items is None:
        items = deque()
        db.put(key, items)
    if len(args) == 3:
        items.appendleft(args[2])
    else:
        items.extendleft(args[2:])
    db.changed(key, b"lpush", "l")
    return b":%d\r\n" % len(items)


@command("rpush", -3, "write denyoom fast", _KEY)
def rpush(client: Client, args: Args) -> bytes:
    """Put items behind a list."""
    db, key = client.db, args[1]
    items = db.find_of(key, deque)
    if items is None:
        items = deque()
        db.put(key, items)
    if len(args) == 3:
        items.append(args[2])
    else:
        items.extend(args[2:])
    db.changed(key, b"rpush", "l")
    return b":%d\r\n" % len(items)


@command("lpushx", -3, "write denyoom fast", _KEY)
def lpushx(client: Client, args: Args) -> bytes:
    """Put items in front of a list that is there."""
    return number(0) if find(client, args[1]) is None else lpush(client, args)


@command("rpushx", -3, "write denyoom fast", _KEY)
def rpushx(client: Client, args: Args) -> bytes:
    """Put items behind a list that is there."""
    return number(0) if find(client, args[1]) is None else rpush(client, args)


@command("lpop", -2, "write fast", _KEY)
def lpop(client: Client, args: Args) -> bytes:
    """Take the first item, or the first so many."""
    return _pop(client, args, b"lpop", True)


@command("rpop", -2, "write fast", _KEY)
def rpop(client: Client, args: Args) -> bytes:
    """Take the last item, or the last so many."""
    return _pop(client, args, b"rpop", False)


def _pop(client: Client, args: Args, name: bytes, is_left: bool) -> bytes:
    db, key = client.db, args[1]
    if len(args) == 2:
        items = db.find_of(key, deque)
        if items is None:
            return NULLS[client.protocol]
        item = take(db, key, items, is_left)
        return b"$%d\r\n%b\r\n" % (len(item), item)
    if len(args) > 3:
        raise wrong_count(name)
    count = at_least(args[2], 0, _NOT_POSITIVE)
    items = find(client, key)
    if items is None:
        return NULL_ARRAYS[client.protocol]
    return bulks(take_some(db, key, items, count, is_left=is_left)) if count else EMPTY


def take(db: Database, key: bytes, items: Items, is_left: bool) -> bytes:
    """Pop an item off a key's list; an empty list goes."""
    item = items.popleft() if is_left else items.pop()
    db.changed(key, b"lpop" if is_left else b"rpop", "l")
    if not items:
        _gone(db, key)
    return item


def take_some(db: Database, key: bytes, items: Items, count: int, *, is_left: bool) -> list[bytes]:
    """The same with up to `count` items."""
    pop = items.popleft if is_left else items.pop
    taken = [pop() for _ in range(min(count, len(items)))]
    db.changed(key, b"lpop" if is_left else b"rpop", "l")
    if not items:
        _gone(db, key)
    return taken


def _gone(db: Database, key: bytes) -> None:
    db.remove(key)
    db.changed(key, b"del", "g")


@command("lmpop", -4, "write movablekeys", counted_keys=1)
def lmpop(client: Client, args: Args) -> bytes:
    """Take items off the first of some lists that has any."""
    keys, is_left, count = popping(args, 1)
    for key in keys:
        items = find(client, key)
        if items is not None:
            return taken_off(client.db, key, items, count, is_left=is_left)
    return NULL_ARRAYS[client.protocol]


def popping(args: Args, at: int) -> tuple[list[bytes], bool, int]:
    """What LMPOP says from `at` on: the keys, whether LEFT, and how many items."""
    wrong = b"ERR numkeys should be greater than 0"
    end = at + 1 + at_least(args[at], 1, wrong)
    if end >= len(args):
        raise CommandError(SYNTAX)
    is_left = side(args[end])
    rest, count = args[end + 1 :], 1
    if rest:
        if rest[0].lower() != b"count" or len(rest) == 1:
            raise CommandError(SYNTAX)
        count = at_least(rest[1], 1, b"ERR count should be greater than 0")
        if len(rest) > 2:
            raise CommandError(SYNTAX)
    return args[at + 1 : end], is_left, count


def taken_off(db: Database, key: bytes, items: Items, count: int, *, is_left: bool) -> bytes:
    """The reply of LMPOP: the key and what was taken off its list."""
    taken = take_some(db, key, items, count, is_left=is_left)
    return array([bulk(key), bulks(taken)])


@command("lmove", 5, "write denyoom", (1, 2, 1))
def lmove(client: Client, args: Args) -> bytes:
    """Take an item off one list's end and put it at another's."""
    return move(client, args[1], args[2], side(args[3]), side(args[4]))


@command("rpoplpush", 3, "write denyoom", (1, 2, 1))
def rpoplpush(client: Client, args: Args) -> bytes:
    """Take the last item of a list and put it in front of another."""
    return move(client, args[1], args[2], False, True)


def side(text: bytes) -> bool:
    """Whether LEFT is said, not RIGHT."""
    lower = text.lower()
    if lower not in (b"left", b"right"):
        raise CommandError(SYNTAX)
    return lower == b"left"


def move(client: Client, source: bytes, target: bytes, from_left: bool, to_left: bool) -> bytes:
    """Move an item from one list to another, or round the same; answers it, or null."""
    db = client.db
    items = find(client, source)
    if items is None:
        return NULLS[client.protocol]
    others = find(client, target)
    item = items.popleft() if from_left else items.pop()
    if others is None:
        others = deque()
        db.put(target, others)
    if to_left:
        others.appendleft(item)
    else:
        others.append(item)
    db.changed(target, b"lpush" if to_left else b"rpush", "l")
    db.changed(source, b"lpop" if from_left else b"rpop", "l")
    if not items:
        _gone(db, source)
    return bulk(item)


# --- looking ------------------------------------------------------------------------------------


@command("llen", 2, "readonly fast", _KEY)
def llen(client: Client, args: Args) -> bytes:
    """How many items there are."""
    return number(len(find(client, args[1]) or ()))


@command("lrange", 4, "readonly", _KEY)
def lrange(client: Client, args: Args) -> bytes:
    """The items from one position to another."""
    first, last = integer(args[2]), integer(args[3])
    items = find(client, args[1])
    if items is None:
        return EMPTY
    start, end = span(first, last, len(items))
    return bulks(part(items, start, end)) if start < end else EMPTY


def span(first: int, last: int, size: int) -> tuple[int, int]:
    """Positions from `first` to `last`, negative ones from the end, as (start, end)."""
    start = max(first + size, 0) if first < 0 else first
    end = (last + size if last < 0 else min(last, size - 1)) + 1
    return start, end


def part(items: Items, start: int, end: int) -> list[bytes]:
    """`list(items)[start:end]`, at the cost of what is nearest: a deque has no middle."""
    size = len(items)
    if end - start <= _POSITIONS_MAX <= min(start, size - end):
        return [items[at] for at in range(start, end)]
    if start <= size - end:
        return list(islice(items, start, end))
    taken = list(islice(reversed(items), size - end, size - start))
    taken.reverse()
    return taken


@command("lindex", 3, "readonly", _KEY)
def lindex(client: Client, args: Args) -> bytes:
    """The item at a position."""
    items = find(client, args[1])
    if items is None:
        return NULLS[client.protocol]
    at = integer(args[2])
    is_there = -len(items) <= at < len(items)
    return nullable(items[at] if is_there else None, client.protocol)


@command("lpos", -3, "readonly", _KEY)
def lpos(client: Client, args: Args) -> bytes:
    """Where an item is: the first place, or so many of them."""
    rank, count, most = 1, None, 0
    for at in range(3, len(args), 2):
        option = args[at].lower()
        if at + 1 == len(args):
            raise CommandError(SYNTAX)
        if option == b"rank":
            rank = integer(args[at + 1])
            if rank == 0:
                raise CommandError(_RANK_IS_ZERO)
        elif option == b"count":
            count = at_least(args[at + 1], 0, b"ERR COUNT can't be negative")
        elif option == b"maxlen":
            most = at_least(args[at + 1], 0, b"ERR MAXLEN can't be negative")
        else:
            raise CommandError(SYNTAX)
    items = find(client, args[1])
    if items is None:
        return NULLS[client.protocol] if count is None else EMPTY
    found = places(items, args[2], rank, 1 if count is None else count, most)
    if count is not None:
        return array([number(at) for at in found])
    return number(found[0]) if found else NULLS[client.protocol]


def places(items: Items, item: bytes, rank: int, count: int, most: int) -> list[int]:
    """Positions of an item from its rank-th on, negative: from the end; 0: all, of all items."""
    size = len(items)
    positions = range(size) if rank > 0 else range(size - 1, -1, -1)
    looked = zip(positions, items if rank > 0 else reversed(items), strict=True)
    matches = (at for at, other in islice(looked, most or None) if other == item)
    skipped = min(abs(rank) - 1, size)
    return list(islice(matches, skipped, skipped + min(count, size) if count else None))


# --- changing -----------------------------------------------------------------------------------


@command("lset", 4, "write denyoom", _KEY)
def lset(client: Client, args: Args) -> bytes:
    """Put another item at a position."""
    items = find(client, args[1])
    if items is None:
        raise CommandError(NO_SUCH_KEY)
    at = integer(args[2])
    if not -len(items) <= at < len(items):
        raise CommandError(OUT_OF_RANGE)
    items[at] = args[3]
    client.db.changed(args[1], b"lset", "l")
    return OK


@command("linsert", 5, "write denyoom", _KEY)
def linsert(client: Client, args: Args) -> bytes:
    """Put an item before or after another one."""
    where = args[2].lower()
    if where not in (b"before", b"after"):
        raise CommandError(SYNTAX)
    items = find(client, args[1])
    if items is None:
        return number(0)
    try:
        at = items.index(args[3])
    except ValueError:
        return number(-1)
    items.insert(at + (where == b"after"), args[4])
    client.db.changed(args[1], b"linsert", "l")
    return number(len(items))


@command("lrem", 4, "write", _KEY)
def lrem(client: Client, args: Args) -> bytes:
    """Remove an item wherever it is, or the first so many of it (negative: the last)."""
    count = integer(args[2])
    items = find(client, args[1])
    if items is None:
        return number(0)
    removed = min(items.count(args[3]), abs(count) or len(items))
    if not removed:
        return number(0)
    if count < 0:
        items.reverse()
    left = removed
    for _ in range(len(items)):  # round once: those that stay go to the other end
        item = items.popleft()
        if left and item == args[3]:
            left -= 1
        else:
            items.append(item)
    if count < 0:
        items.reverse()
    client.db.changed(args[1], b"lrem", "l")
    if not items:
        _gone(client.db, args[1])
    return number(removed)


@command("ltrim", 4, "write", _KEY)
def ltrim(client: Client, args: Args) -> bytes:
    """Keep the items from one position to another."""
    first, last = integer(args[2]), integer(args[3])
    items = find(client, args[1])
    if items is None:
        return OK
    start, end = span(first, last, len(items))
    if start >= end:
        items.clear()
    else:
        for _ in range(len(items) - end):
            items.pop()
        for _ in range(start):
            items.popleft()
    client.db.changed(args[1], b"ltrim", "l")
    if not items:
        _gone(client.db, args[1])
    return OK


def at_least(text: bytes, least: int, error: bytes) -> int:
    """An integer that is at least so much. Raises CommandError with `error` for anything else."""
    value = integer(text, error)
    if value < least:
        raise CommandError(error)
    return value
