"""Which keys a command names, and what it does to them, as COMMAND GETKEYS says it. Pure.

A key's flags: RO (read), RW (read and written), OW (overwritten), RM (removed); access (its value
is told or copied), update, insert, delete.
"""

from __future__ import annotations

from c1m.kv.commands import Args, Command
from c1m.kv.errors import CommandError
from c1m.kv.execute import find_command
from c1m.kv.named_keys import named_keys

_READ_ALL = "RO access"
_USES = {  # of the first key, and of the others where these differ
    "RO": "exists hexists hlen hstrlen llen memory|usage object|encoding object|freq "
    "object|idletime object|refcount scard sismember strlen touch type watch zcard",
    "RW access delete": "blmpop blpop brpop bzmpop bzpopmax bzpopmin getdel lmpop lpop rpop spop "
    "zmpop zpopmax zpopmin",
    "RW access update": "bitfield decr decrby getex getset hincrby hincrbyfloat incr incrby "
    "incrbyfloat move setbit zincrby",
    "RW update": "expire expireat hmset hset lset persist pexpire pexpireat setrange zadd",
    "RW insert": "append hsetnx linsert lpush lpushx rpush rpushx sadd",
    "RW delete": "hdel lrem ltrim srem zrem zremrangebylex zremrangebyrank zremrangebyscore",
    "OW update": "mset psetex restore set setex",
    "OW insert": "msetnx setnx",
    "RM delete": "del unlink",
    "OW update/RO access": "bitop sdiffstore sinterstore sunionstore zdiffstore zinterstore "
    "zrangestore zunionstore",
    "RW access delete/RW insert": "blmove brpoplpush lmove rpoplpush smove",
    "RO access/OW update": "copy sort",
    "RW access delete/OW update": "rename",
    "RW access delete/OW insert": "renamenx",
    "not_key": "spublish ssubscribe sunsubscribe",
}
USES = {name: uses.split("/") for uses, names in _USES.items() for name in names.split()}


def keys_of(args: Args) -> tuple[Command, list[bytes]]:
    """A command and the keys among its arguments. Raises CommandError where there are none."""
    try:
        row = find_command(args)
    except CommandError:
        raise CommandError(b"ERR Invalid command specified") from None
    if not row.has_keys:
        raise CommandError(b"ERR The command has no key arguments")
    if len(args) != row.arity and (row.arity > 0 or len(args) < -row.arity):
        raise CommandError(b"ERR Invalid number of arguments specified for command")
    return row, named_keys(row, args)


def uses_of(row: Command, args: Args, count: int) -> list[list[str]]:
    """The flags of each of `count` keys."""
    uses = USES.get(row.name, [_READ_ALL])
    if row.name == "set" and b"get" in [arg.lower() for arg in args[3:]]:
        uses = ["RW access update"]
    return [uses[min(at, len(uses) - 1)].split() for at in range(count)]
