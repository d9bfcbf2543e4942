"""CONFIG: the settings."""

from __future__ import annotations

from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError, wrong_count
from c1m.kv.glob import matcher
from c1m.protocols.resp.replies import OK, bulk, mapping

_FLAGS = "admin noscript loading stale"


@command("config|get", -3, _FLAGS)
def config_get(client: Client, args: Args) -> bytes:
    """The settings whose names match one of these patterns."""
    settings = client.store.settings
    patterns = [matcher(pattern.lower()) for pattern in args[2:]]
    replies = []
    for name in settings.names():
        if any(matches(name.encode()) for matches in patterns):
            replies += [bulk(name.encode()), bulk(settings.text(name).encode("latin-1"))]
    return mapping(replies, client.protocol)


@command("config|set", -4, _FLAGS)
def config_set(client: Client, args: Args) -> bytes:
    """Change settings: all of these, or none."""
    if len(args) % 2:
        raise wrong_count(b"config|set")
    client.store.settings.change(list(zip(args[2::2], args[3::2], strict=True)))
    return OK


@command("config|resetstat", 2, _FLAGS)
def config_resetstat(client: Client, args: Args) -> bytes:
    """Count from zero what INFO counts."""
    client.store.statistics.reset()
    return OK


@command("config|rewrite", 2, _FLAGS)
def config_rewrite(client: Client, args: Args) -> bytes:
    """Refused: there is no file of settings."""
    raise CommandError(b"ERR The server is running without a config file")
