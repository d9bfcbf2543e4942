"""Commands about the connection itself."""

from __future__ import annotations

from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import wrong_count
from c1m.protocols.resp.replies import bulk, bulks


@command("ping", -1, "fast")
def ping(client: Client, args: Args) -> bytes:
    """Answer PONG, or what was given."""
    if len(args) > 2:
        raise wrong_count(b"ping")
    if client.is_subscriber and client.protocol == 2:
        return bulks([b"pong", args[1] if len(args) == 2 else b""])
    return bulk(args[1]) if len(args) == 2 else b"+PONG\r\n"
