"""Commands on strings."""

from __future__ import annotations

from c1m.kv.arguments import INT64_MAX, INT64_MIN, integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.protocols.resp.replies import NULLS, OK, bulk
from c1m.protocols.resp.replies import integer as number


@command("get", 2, "readonly fast", (1, 1, 1))
def get(client: Client, args: Args) -> bytes:
    """The value of a key."""
    value = client.db.string(args[1])
    return NULLS[client.protocol] if value is None else bulk(value)


@command("set", -3, "write denyoom", (1, 1, 1))
def set_(client: Client, args: Args) -> bytes:
    """Set a key to a string."""
    client.db.put(args[1], args[2])
    client.db.changed(args[1], b"set", "$")
    return OK


@command("incr", 2, "write denyoom fast", (1, 1, 1))
def incr(client: Client, args: Args) -> bytes:
    """Add one to the integer that a key holds."""
    return _add(client, args[1], 1)


def _add(client: Client, key: bytes, step: int) -> bytes:
    value = client.db.string(key)
    total = integer(bytes(value or b"0")) + step
    if not INT64_MIN <= total <= INT64_MAX:
        raise CommandError(b"ERR increment or decrement would overflow")
    client.db.put(key, b"%d" % total, keep_ttl=True)
    client.db.changed(key, b"incrby", "$")
    return number(total)
