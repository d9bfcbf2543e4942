"""Commands on hashes: fields and their values. Pure."""

from __future__ import annotations

import random
from itertools import chain, islice

import numpy as np

from c1m.kv.arguments import INT64_MAX, INT64_MIN, integer, long_real, sum_of_reals
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError, wrong_count
from c1m.kv.large_hash import LargeHash
from c1m.kv.object_info import is_compact
from c1m.kv.scan import EMPTY_SCAN, cursor_of, scan_options, scan_reply, scan_step
from c1m.protocols.resp.replies import (
    EMPTY,
    NULLS,
    OK,
    array,
    bulk,
    bulks,
    mapping_of,
    nullable,
)
from c1m.protocols.resp.replies import integer as number

Fields = dict[bytes, bytes]

_KEY = (1, 1, 1)


def _find(client: Client, key: bytes) -> Fields:
    """A key's fields; {} where there are none."""
    found: Fields | None = client.db.find_of(key, dict)
    return {} if found is None else found


def _write(client: Client, args: Args) -> int:
    """Set what args[2:] says, fields and values in turn; how many fields are new."""
    db, key = client.db, args[1]
    fields: Fields | None = db.find_of(key, dict)
    if fields is None:
        fields = {}
        db.put(key, fields)
    before = len(fields)
    most, longest = db.store.small_hash
    if len(args) == 4:
        fields[args[2]] = args[3]
        is_large = len(args[2]) > longest or len(args[3]) > longest
    else:
        fields.update(zip(args[2::2], args[3::2], strict=True))
        is_large = max(map(len, args[2:])) > longest
    if (is_large or len(fields) > most) and type(fields) is dict:
        db.put(key, LargeHash(fields), keep_ttl=True)
    return len(fields) - before


@command("hset", -4, "write denyoom fast", _KEY)
def hset(client: Client, args: Args) -> bytes:
    """Set fields of a hash; answers how many are new."""
    if len(args) % 2:
        raise wrong_count(args[0].lower())
    added = _write(client, args)
    client.db.changed(args[1], b"hset", "h")
    return number(added)


@command("hmset", -4, "write denyoom fast", _KEY)
def hmset(client: Client, args: Args) -> bytes:
    """Set fields of a hash; answers OK."""
    hset(client, args)
    return OK


@command("hsetnx", 4, "write denyoom fast", _KEY)
def hsetnx(client: Client, args: Args) -> bytes:
    """Set a field of a hash if it is not there."""
    if args[2] in _find(client, args[1]):
        return number(0)
    _write(client, args)
    client.db.changed(args[1], b"hset", "h")
    return number(1)


@command("hget", 3, "readonly fast", _KEY)
def hget(client: Client, args: Args) -> bytes:
    """The value of a field."""
    fields = client.db.find_of(args[1], dict)
    value = None if fields is None else fields.get(args[2])
    return NULLS[client.protocol] if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


@command("hmget", -3, "readonly fast", _KEY)
def hmget(client: Client, args: Args) -> bytes:
    """The values of fields."""
    values = map(_find(client, args[1]).get, args[2:])
    return array([nullable(value, client.protocol) for value in values])


@command("hgetall", 2, "readonly", _KEY)
def hgetall(client: Client, args: Args) -> bytes:
    """All fields and their values."""
    fields = _find(client, args[1])
    return mapping_of(list(chain.from_iterable(fields.items())), client.protocol)


@command("hkeys", 2, "readonly", _KEY)
def hkeys(client: Client, args: Args) -> bytes:
    """All fields."""
    return bulks(_find(client, args[1]))


@command("hvals", 2, "readonly", _KEY)
def hvals(client: Client, args: Args) -> bytes:
    """The values of all fields."""
    return bulks(_find(client, args[1]).values())


@command("hlen", 2, "readonly fast", _KEY)
def hlen(client: Client, args: Args) -> bytes:
    """How many fields there are."""
    return number(len(_find(client, args[1])))


@command("hstrlen", 3, "readonly fast", _KEY)
def hstrlen(client: Client, args: Args) -> bytes:
    """The length of a field's value."""
    return number(len(_find(client, args[1]).get(args[2], b"")))


@command("hexists", 3, "readonly fast", _KEY)
def hexists(client: Client, args: Args) -> bytes:
    """Whether a field is there."""
    return number(args[2] in _find(client, args[1]))


@command("hdel", -3, "write fast", _KEY)
def hdel(client: Client, args: Args) -> bytes:
    """Remove fields; answers how many were there."""
    db, key = client.db, args[1]
    fields = _find(client, key)
    count = sum(fields.pop(field, None) is not None for field in args[2:])
    if count:
        db.changed(key, b"hdel", "h")
        if not fields:
            db.remove(key)
            db.changed(key, b"del", "g")
    return number(count)


@command("hincrby", 4, "write denyoom fast", _KEY)
def hincrby(client: Client, args: Args) -> bytes:
    """Add to the integer that a field holds."""
    step = integer(args[3])
    held = _find(client, args[1]).get(args[2], b"0")
    total = integer(held, b"ERR hash value is not an integer") + step
    if not INT64_MIN <= total <= INT64_MAX:
        raise CommandError(b"ERR increment or decrement would overflow")
    _write(client, [*args[:3], b"%d" % total])
    client.db.changed(args[1], b"hincrby", "h")
    return number(total)


@command("hincrbyfloat", 4, "write denyoom fast", _KEY)
def hincrbyfloat(client: Client, args: Args) -> bytes:
    """Add to the float that a field holds."""
    if np.isinf(long_real(args[3])):
        raise CommandError(b"ERR value is NaN or Infinity")
    held = _find(client, args[1]).get(args[2], b"0")
    long_real(held, b"ERR hash value is not a float")
    total = sum_of_reals(held, args[3])
    _write(client, [*args[:3], total])
    client.db.changed(args[1], b"hincrbyfloat", "h")
    return bulk(total)


@command("hrandfield", -2, "readonly", _KEY)
def hrandfield(client: Client, args: Args) -> bytes:
    """Fields at random: one, or so many (negative: one may come several times)."""
    if len(args) == 2:
        fields = _find(client, args[1])
        if not fields:
            return NULLS[client.protocol]
        return bulk(next(islice(fields, random.randrange(len(fields)), None)))
    count = integer(args[2])
    if count == INT64_MIN:
        limits = (-INT64_MAX, INT64_MAX)
        raise CommandError(b"ERR value is out of range, value must between %d and %d" % limits)
    with_values = len(args) == 4 and args[3].lower() == b"withvalues"
    if len(args) > 3 and not with_values:
        raise CommandError(SYNTAX)
    if with_values and not -(INT64_MAX // 2) <= count <= INT64_MAX // 2:
        raise CommandError(b"ERR value is out of range")
    fields = _find(client, args[1])
    if not fields or not count:
        return EMPTY
    if count >= len(fields):
        chosen = list(fields)
    elif count > 0:
        chosen = random.sample(list(fields), count)
    else:
        chosen = random.choices(list(fields), k=-count)
    if not with_values:
        return bulks(chosen)
    if client.protocol == 3:
        return array([bulks((field, fields[field])) for field in chosen])
    return bulks([part for field in chosen for part in (field, fields[field])])


@command("hscan", -3, "readonly", _KEY)
def hscan(client: Client, args: Args) -> bytes:
    """Go through the fields and values, a few at a time."""
    cursor = cursor_of(args[2])
    fields = _find(client, args[1])
    if not fields:
        return EMPTY_SCAN
    options = scan_options(args, 3)
    small = len(fields) if is_compact(client.store, fields) else 0
    following, found = scan_step(client, args[1], cursor, options, fields, small)
    return scan_reply(following, [bulk(part) for field in found for part in (field, fields[field])])
