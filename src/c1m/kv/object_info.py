"""OBJECT: how Redis 7.0 would keep a value, and how long nobody has used it."""

from __future__ import annotations

from typing import Any

from c1m.kv.arguments import is_integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.kv.keys import type_name
from c1m.kv.large_hash import LargeHash
from c1m.kv.store import Store
from c1m.protocols.resp.replies import NULLS, bulk
from c1m.protocols.resp.replies import integer as number

EMBEDDED_MAX = 44  # bytes of a string beside its header
COMPACT = {b"set": b"intset", b"hash": b"listpack", b"zset": b"listpack"}
LARGE = {b"set": b"hashtable", b"hash": b"hashtable", b"zset": b"skiplist"}
NO_FREQUENCY = (
    b"ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that "
    b"when switching between policies at runtime LRU and LFU data will take some time to adjust."
)


def encoding(store: Store, value: Any) -> bytes:
    """What OBJECT ENCODING says.

    It follows from the value as it is now. Redis does not always go back to a compact encoding.
    """
    if isinstance(value, bytearray):
        return b"raw"
    if isinstance(value, bytes):
        if is_integer(value):
            return b"int"
        return b"embstr" if len(value) <= EMBEDDED_MAX else b"raw"
    kind = type_name(value)
    if kind == b"list":
        return b"quicklist"
    return COMPACT[kind] if is_compact(store, value) else LARGE[kind]


def is_compact(store: Store, value: Any) -> bool:
    """A hash, set or sorted set that Redis would keep in one piece: a scan returns it whole."""
    if getattr(value, "was_large", False):
        return False
    settings = store.settings
    kind = type_name(value).decode()
    if kind == "set":
        most = settings["set-max-intset-entries"]
        return len(value) <= most and all(map(is_integer, value))
    if type(value) is LargeHash or len(value) > settings[f"{kind}-max-listpack-entries"]:
        return False
    texts = [*value, *value.values()] if isinstance(value, dict) else value.scores
    longest: int = settings[f"{kind}-max-listpack-value"]
    return max(map(len, texts), default=0) <= longest


@command("object|encoding", 3, "readonly", (2, 2, 1))
def object_encoding(client: Client, args: Args) -> bytes:
    """How Redis 7.0 would keep the value of a key."""
    value = client.db.find(args[2])
    return NULLS[client.protocol] if value is None else bulk(encoding(client.store, value))


@command("object|refcount", 3, "readonly", (2, 2, 1))
def object_refcount(client: Client, args: Args) -> bytes:
    """How many refer to the value of a key: 1."""
    return NULLS[client.protocol] if client.db.find(args[2]) is None else number(1)


@command("object|idletime", 3, "readonly", (2, 2, 1))
def object_idletime(client: Client, args: Args) -> bytes:
    """Seconds since a key was used; 0 where no policy of evicting keys asks for it."""
    db = client.db
    if args[2] not in db.data:  # `find` would use it
        return NULLS[client.protocol]
    times = None if db.weights is None else db.weights.used
    return number(client.store.now_s - times[args[2]] if times and args[2] in times else 0)


@command("object|freq", 3, "readonly", (2, 2, 1))
def object_freq(client: Client, args: Args) -> bytes:
    """How often a key is used: not counted."""
    if client.db.find(args[2]) is None:
        return NULLS[client.protocol]
    raise CommandError(NO_FREQUENCY)
