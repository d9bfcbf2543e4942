"""Commands on strings."""

from __future__ import annotations

from c1m.kv.arguments import INT64_MAX, INT64_MIN, integer, sum_of_reals
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError, wrong_count
from c1m.protocols.resp.replies import NULLS, OK, array, bulk
from c1m.protocols.resp.replies import integer as number

_RELATIVE = {b"EX": 1000, b"PX": 1}  # milliseconds in one
_ABSOLUTE = {b"EXAT": 1000, b"PXAT": 1}


@command("get", 2, "readonly fast", (1, 1, 1))
def get(client: Client, args: Args) -> bytes:
    """The value of a key."""
    value = client.db.string(args[1])
    return NULLS[client.protocol] if value is None else bulk(value)


@command("set", -3, "write denyoom", (1, 1, 1))
def set_(client: Client, args: Args) -> bytes:
    """Set a key to a string."""
    key = args[1]
    if len(args) == 3:
        return _set(client, key, args[2])
    options, when = _options(args[3:], {b"NX", b"XX", b"GET", b"KEEPTTL"})
    if {b"NX", b"XX"} <= options:
        raise CommandError(SYNTAX)
    when_ms = _when_ms(client, when, b"set")
    answers = b"GET" in options
    reply = get(client, args) if answers else OK
    if options & {b"NX", b"XX"} and (b"NX" in options) == (client.db.find(key) is not None):
        return reply if answers else NULLS[client.protocol]
    _set(client, key, args[2], when_ms, keep_ttl=b"KEEPTTL" in options)
    return reply


def _set(
    client: Client, key: bytes, value: bytes, when_ms: int | None = None, *, keep_ttl: bool = False
) -> bytes:
    db = client.db
    if key in db.expires:
        db.find(key)  # it may have expired before
    db.put(key, value, keep_ttl=keep_ttl)
    if when_ms is not None:
        db.expire_at(key, when_ms)
    db.changed(key, b"set", "$")
    if when_ms is not None:
        db.changed(key, b"expire", "g")
    return OK


def _options(words: Args, known: set[bytes]) -> tuple[set[bytes], tuple[bytes, bytes] | None]:
    """Those that were given, and the unit and number of the one that says when a key expires."""
    options: set[bytes] = set()
    when: tuple[bytes, bytes] | None = None
    at = 0
    while at < len(words):
        word = words[at].upper()
        if word in _RELATIVE or word in _ABSOLUTE:
            if at + 1 == len(words) or (when is not None and when[0] != word):
                raise CommandError(SYNTAX)
            when = word, words[at + 1]
            at += 1
        elif word in known:
            options.add(word)
        else:
            raise CommandError(SYNTAX)
        at += 1
    if when is not None and options & {b"KEEPTTL", b"PERSIST"}:
        raise CommandError(SYNTAX)
    return options, when


def _when_ms(client: Client, when: tuple[bytes, bytes] | None, name: bytes) -> int | None:
    """The Unix time in milliseconds that an option like EX 10 says; None without one."""
    if when is None:
        return None
    unit, text = when
    count = integer(text)
    ms = count * (_RELATIVE.get(unit) or _ABSOLUTE[unit])
    if unit in _RELATIVE:
        ms += client.store.now_ms
    if count <= 0 or ms > INT64_MAX:
        raise CommandError(b"ERR invalid expire time in '%b' command" % name)
    return ms


@command("setnx", 3, "write denyoom fast", (1, 1, 1))
def setnx(client: Client, args: Args) -> bytes:
    """Set a key that does not exist."""
    if client.db.find(args[1]) is not None:
        return number(0)
    _set(client, args[1], args[2])
    return number(1)


@command("setex", 4, "write denyoom", (1, 1, 1))
def setex(client: Client, args: Args) -> bytes:
    """Set a key that expires in so many seconds."""
    when_ms = _when_ms(client, (b"EX", args[2]), b"setex")
    return _set(client, args[1], args[3], when_ms)


@command("psetex", 4, "write denyoom", (1, 1, 1))
def psetex(client: Client, args: Args) -> bytes:
    """Set a key that expires in so many milliseconds."""
    when_ms = _when_ms(client, (b"PX", args[2]), b"psetex")
    return _set(client, args[1], args[3], when_ms)


@command("getset", 3, "write denyoom fast", (1, 1, 1))
def getset(client: Client, args: Args) -> bytes:
    """Set a key and answer the value that it had."""
    reply = get(client, args)
    _set(client, args[1], args[2])
    return reply


@command("getdel", 2, "write fast", (1, 1, 1))
def getdel(client: Client, args: Args) -> bytes:
    """The value of a key, which is removed."""
    reply = get(client, args)
    if client.db.remove(args[1]):
        client.db.changed(args[1], b"del", "g")
    return reply


@command("getex", -2, "write fast", (1, 1, 1))
def getex(client: Client, args: Args) -> bytes:
    """The value of a key, whose time to live is changed."""
    db, key = client.db, args[1]
    options, when = _options(args[2:], {b"PERSIST"})
    reply = get(client, args)
    if db.find(key) is None:
        return reply
    when_ms = _when_ms(client, when, b"getex")
    if when_ms is not None and when_ms <= client.store.now_ms:
        db.remove(key)
        db.changed(key, b"del", "g")
    elif when_ms is not None:
        db.expire_at(key, when_ms)
        db.changed(key, b"expire", "g")
    elif options and db.expires.pop(key, None) is not None:
        db.changed(key, b"persist", "g")
    return reply


@command("mget", -2, "readonly fast", (1, -1, 1))
def mget(client: Client, args: Args) -> bytes:
    """The values of keys."""
    nil = NULLS[client.protocol]
    values = [client.db.find(key) for key in args[1:]]
    return array([bulk(v) if isinstance(v, bytes | bytearray) else nil for v in values])


@command("mset", -3, "write denyoom", (1, -1, 2))
def mset(client: Client, args: Args) -> bytes:
    """Set keys to strings."""
    if len(args) % 2 == 0:
        raise wrong_count(b"mset")
    db, keys, values = client.db, args[1::2], args[2::2]
    if db.expires or db.waiting:
        for key, value in zip(keys, values, strict=True):
            _set(client, key, value)
    else:
        db.set_strings(keys, values)
    return OK


@command("msetnx", -3, "write denyoom", (1, -1, 2))
def msetnx(client: Client, args: Args) -> bytes:
    """Set keys of which none exists."""
    if len(args) % 2 == 0:
        raise wrong_count(b"msetnx")
    if any(client.db.find(key) is not None for key in args[1::2]):
        return number(0)
    mset(client, args)
    return number(1)


@command("append", 3, "write denyoom fast", (1, 1, 1))
def append(client: Client, args: Args) -> bytes:
    """Add to the end of a string."""
    db, key, tail = client.db, args[1], args[2]
    value = db.string(key)
    if value is None:
        db.put(key, tail)
        size = len(tail)
    else:
        size = len(value) + len(tail)
        check_size(client, size)
        writable(client, key, value).extend(tail)
    db.changed(key, b"append", "$")
    return number(size)


def check_size(client: Client, size: int) -> None:
    """Raises CommandError for a string that would be longer than strings may be."""
    if size > client.store.value_max:
        raise CommandError(b"ERR string exceeds maximum allowed size (proto-max-bulk-len)")


def writable(client: Client, key: bytes, value: bytes | bytearray | None) -> bytearray:
    """The value of a key in a form that is changed in place; `value` is what it has now."""
    if isinstance(value, bytearray):
        return value
    made = bytearray(value or b"")
    client.db.put(key, made, keep_ttl=True)
    return made


@command("strlen", 2, "readonly fast", (1, 1, 1))
def strlen(client: Client, args: Args) -> bytes:
    """The length of a string."""
    return number(len(client.db.string(args[1]) or b""))


@command("getrange", 4, "readonly", (1, 1, 1))
def getrange(client: Client, args: Args) -> bytes:
    """A part of a string: from one byte to another, this included; negative ones from its end."""
    start, end = integer(args[2]), integer(args[3])
    value = client.db.string(args[1]) or b""
    start, stop = bounds(start, end, len(value))
    return bulk(value[start:stop])


def bounds(start: int, end: int, size: int) -> tuple[int, int]:
    """Where a range of `size` things that commands describe starts and stops, as Python says it."""
    if start < 0 and end < 0 and start > end:
        return 0, 0
    return max(start + size if start < 0 else start, 0), max(end + size if end < 0 else end, 0) + 1


@command("substr", 4, "readonly", (1, 1, 1))
def substr(client: Client, args: Args) -> bytes:
    """What GETRANGE was called once."""
    return getrange(client, args)


@command("setrange", 4, "write denyoom", (1, 1, 1))
def setrange(client: Client, args: Args) -> bytes:
    """Overwrite a part of a string, from a byte on."""
    key, start, part = args[1], integer(args[2]), args[3]
    if start < 0:
        raise CommandError(b"ERR offset is out of range")
    value = client.db.string(key)
    if not part:
        return number(len(value or b""))
    check_size(client, start + len(part))
    longer = writable(client, key, value)
    if len(longer) < start:
        longer.extend(bytes(start - len(longer)))
    longer[start : start + len(part)] = part
    client.db.changed(key, b"setrange", "$")
    return number(len(longer))


@command("incr", 2, "write denyoom fast", (1, 1, 1))
def incr(client: Client, args: Args) -> bytes:
    """Add one to the integer that a key holds."""
    return _add(client, args[1], 1)


@command("decr", 2, "write denyoom fast", (1, 1, 1))
def decr(client: Client, args: Args) -> bytes:
    """Subtract one from the integer that a key holds."""
    return _add(client, args[1], -1)


@command("incrby", 3, "write denyoom fast", (1, 1, 1))
def incrby(client: Client, args: Args) -> bytes:
    """Add to the integer that a key holds."""
    return _add(client, args[1], integer(args[2]))


@command("decrby", 3, "write denyoom fast", (1, 1, 1))
def decrby(client: Client, args: Args) -> bytes:
    """Subtract from the integer that a key holds."""
    step = integer(args[2])
    if step == INT64_MIN:
        raise CommandError(b"ERR decrement would overflow")
    return _add(client, args[1], -step)


def _add(client: Client, key: bytes, step: int) -> bytes:
    value = client.db.string(key)
    total = step if value is None else integer(bytes(value)) + step
    if not INT64_MIN <= total <= INT64_MAX:
        raise CommandError(b"ERR increment or decrement would overflow")
    client.db.put(key, b"%d" % total, keep_ttl=True)
    client.db.changed(key, b"incrby", "$")
    return number(total)


@command("incrbyfloat", 3, "write denyoom fast", (1, 1, 1))
def incrbyfloat(client: Client, args: Args) -> bytes:
    """Add to the number that a key holds."""
    value = client.db.string(args[1])
    total = sum_of_reals(b"0" if value is None else bytes(value), args[2])
    client.db.put(args[1], total, keep_ttl=True)
    client.db.changed(args[1], b"incrbyfloat", "$")
    return bulk(total)
