"""DUMP and RESTORE: a value as bytes, for a server of this kind.

The bytes are c1m's own (see `encoding`): Redis does not take them, and its own are refused here.
"""

from __future__ import annotations

import math
from typing import Any

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.encoding import VERSION, CorruptData, decode, encode, seal, unseal
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.sorted_set import SortedSet
from c1m.protocols.resp.replies import NULLS, OK, bulk

BAD_CHECKSUM = b"ERR DUMP payload version or checksum are wrong"
BAD_DATA = b"ERR Bad data format"


@command("dump", 2, "readonly", (1, 1, 1))
def dump(client: Client, args: Args) -> bytes:
    """The value of a key as bytes that RESTORE takes."""
    value = client.db.find(args[1])
    if value is None:
        return NULLS[client.protocol]
    kind, body = encode(value)
    return bulk(seal(bytes([VERSION, kind]) + body))


@command("restore", -4, "write denyoom", (1, 1, 1))
def restore(client: Client, args: Args) -> bytes:
    """Set a key to a value that DUMP made; after so many milliseconds it expires (0: never)."""
    db, key = client.db, args[1]
    words = _options(args[4:])
    if b"replace" not in words and db.find(key) is not None:
        raise CommandError(b"BUSYKEY Target key name already exists.")
    when_ms = integer(args[2])
    if when_ms < 0:
        raise CommandError(b"ERR Invalid TTL value, must be >= 0")
    value = _read(args[3])
    if when_ms and b"absttl" not in words:
        when_ms += db.store.now_ms
    db.store.garbage.throw(db.find(key))
    if when_ms and when_ms <= db.store.now_ms:
        if db.remove(key):
            db.changed(key, b"del", "g")
        return OK
    db.put(key, value)
    if when_ms:
        db.expire_at(key, when_ms)
    db.changed(key, b"restore", "g")
    return OK


def _options(words: list[bytes]) -> set[bytes]:
    """The words among REPLACE, ABSTTL, IDLETIME and FREQ, of which the last two have no effect."""
    found: set[bytes] = set()
    at = 0
    while at < len(words):
        word = words[at].lower()
        at += 1
        if word in (b"idletime", b"freq") and at < len(words) and b"idletime" not in found:
            number = integer(words[at])
            at += 1
            if number < 0 or (word == b"freq" and number > 255):
                bound = b" and <= 255" if word == b"freq" else b""
                raise CommandError(b"ERR Invalid %b value, must be >= 0%b" % (word.upper(), bound))
        elif word not in (b"replace", b"absttl"):
            raise CommandError(SYNTAX)
        found.add(word)
    return found


def _read(sealed: bytes) -> Any:
    """The value. Raises CommandError for bytes that DUMP did not make."""
    try:
        data = unseal(sealed)
    except CorruptData:
        raise CommandError(BAD_CHECKSUM) from None
    if len(data) < 2 or data[0] != VERSION:
        raise CommandError(BAD_CHECKSUM)
    try:
        value = decode(data[1], data[2:])
    except CorruptData:
        raise CommandError(BAD_DATA) from None
    if isinstance(value, SortedSet) and any(map(math.isnan, value.scores.values())):
        raise CommandError(BAD_DATA)
    if not isinstance(value, bytes | bytearray) and not len(value):
        raise CommandError(BAD_DATA)
    return value
