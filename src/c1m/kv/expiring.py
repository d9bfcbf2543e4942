"""Commands about when keys expire."""

from __future__ import annotations

from c1m.kv.arguments import INT64_MAX, INT64_MIN, integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.protocols.resp.replies import integer as number

_CONDITIONS = {b"nx", b"xx", b"gt", b"lt"}


@command("expire", -3, "write fast", (1, 1, 1))
def expire(client: Client, args: Args) -> bytes:
    """Let a key expire in so many seconds."""
    return _expire(client, args, 1000, client.store.now_ms)


@command("pexpire", -3, "write fast", (1, 1, 1))
def pexpire(client: Client, args: Args) -> bytes:
    """Let a key expire in so many milliseconds."""
    return _expire(client, args, 1, client.store.now_ms)


@command("expireat", -3, "write fast", (1, 1, 1))
def expireat(client: Client, args: Args) -> bytes:
    """Let a key expire at a Unix time in seconds."""
    return _expire(client, args, 1000, 0)


@command("pexpireat", -3, "write fast", (1, 1, 1))
def pexpireat(client: Client, args: Args) -> bytes:
    """Let a key expire at a Unix time in milliseconds."""
    return _expire(client, args, 1, 0)


def _expire(client: Client, args: Args, unit: int, base_ms: int) -> bytes:
    key = args[1]
    conditions = {word.lower() for word in args[3:]} if len(args) > 3 else ()
    if conditions:
        _check(args, set(conditions))
    when_ms = integer(args[2]) * unit
    if not INT64_MIN <= when_ms <= INT64_MAX - base_ms:
        raise CommandError(b"ERR invalid expire time in '%b' command" % args[0].lower())
    when_ms += base_ms
    db = client.db
    if db.find(key) is None:
        return number(0)
    if conditions:
        before = db.expires.get(key)
        if (
            (b"nx" in conditions and before is not None)
            or (b"xx" in conditions and before is None)
            or (b"gt" in conditions and (before is None or when_ms <= before))
            or (b"lt" in conditions and before is not None and when_ms >= before)
        ):
            return number(0)
    if when_ms <= client.store.now_ms:
        client.store.garbage.throw(db.data[key])
        db.remove(key)
        db.changed(key, b"del", "g")
    else:
        db.expire_at(key, when_ms)
        db.changed(key, b"expire", "g")
    return number(1)


def _check(args: Args, conditions: set[bytes]) -> None:
    for word in args[3:]:
        if word.lower() not in _CONDITIONS:
            raise CommandError(b"ERR Unsupported option %b" % word)
    if b"nx" in conditions and len(conditions) > 1:
        raise CommandError(b"ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"gt", b"lt"} <= conditions:
        raise CommandError(b"ERR GT and LT options at the same time are not compatible")


@command("persist", 2, "write fast", (1, 1, 1))
def persist(client: Client, args: Args) -> bytes:
    """Let a key expire no longer."""
    db, key = client.db, args[1]
    if db.find(key) is None or not db.persist(key):
        return number(0)
    db.changed(key, b"persist", "g")
    return number(1)


@command("ttl", 2, "readonly fast", (1, 1, 1))
def ttl(client: Client, args: Args) -> bytes:
    """Seconds until a key expires; -1: it does not, -2: there is none."""
    return _time(client, args[1], 1000, client.store.now_ms)


@command("pttl", 2, "readonly fast", (1, 1, 1))
def pttl(client: Client, args: Args) -> bytes:
    """Milliseconds until a key expires; -1: it does not, -2: there is none."""
    return _time(client, args[1], 1, client.store.now_ms)


@command("expiretime", 2, "readonly fast", (1, 1, 1))
def expiretime(client: Client, args: Args) -> bytes:
    """The Unix time in seconds at which a key expires; -1: it does not, -2: there is none."""
    return _time(client, args[1], 1000, 0)


@command("pexpiretime", 2, "readonly fast", (1, 1, 1))
def pexpiretime(client: Client, args: Args) -> bytes:
    """The Unix time in milliseconds at which a key expires; -1: it does not, -2: no key."""
    return _time(client, args[1], 1, 0)


def _time(client: Client, key: bytes, unit: int, base_ms: int) -> bytes:
    if client.db.find(key) is None:
        return number(-2)
    when_ms = client.db.expires.get(key)
    if when_ms is None:
        return number(-1)
    return number((when_ms - base_ms + unit // 2) // unit)
