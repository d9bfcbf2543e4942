"""Commands on keys of any type."""

from __future__ import annotations

from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.protocols.resp.replies import integer


@command("del", -2, "write", (1, -1, 1))
def del_(client: Client, args: Args) -> bytes:
    """Remove keys."""
    count = 0
    for key in args[1:]:
        if client.db.find(key) is not None:
            client.db.remove(key)
            client.db.changed(key, b"del", "g")
            count += 1
    return integer(count)
