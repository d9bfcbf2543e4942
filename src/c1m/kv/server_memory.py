"""MEMORY: what keys take, and the process."""

from __future__ import annotations

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.information import used_memory
from c1m.kv.weights import ENTRY, EXPIRY, SAMPLES, value_weight
from c1m.protocols.resp.replies import NULLS, OK, bulk, double, mapping, verbatim
from c1m.protocols.resp.replies import integer as number


@command("memory|usage", -3, "readonly", (2, 2, 1))
def memory_usage(client: Client, args: Args) -> bytes:
    """About how many bytes a key and its value take; SAMPLES: members looked at, 0: all."""
    samples = SAMPLES
    if len(args) > 3:
        if len(args) != 5 or args[3].lower() != b"samples":
            raise CommandError(SYNTAX)
        samples = integer(args[4])
        if samples < 0:
            raise CommandError(SYNTAX)
    key = args[2]
    value = client.db.find(key)
    if value is None:
        return NULLS[client.protocol]
    size = ENTRY + len(key) + value_weight(value, samples)
    return number(size + EXPIRY * (key in client.db.expires))


@command("memory|stats", 2, "")
def memory_stats(client: Client, args: Args) -> bytes:
    """What takes memory."""
    store = client.store
    usage, used = store.host.usage(), used_memory(store)
    keys = sum(len(database.data) for database in store.databases)
    pairs = [
        bulk(b"peak.allocated"), number(usage.rss_peak_bytes),
        bulk(b"total.allocated"), number(used),
        bulk(b"startup.allocated"), number(0),
        bulk(b"clients.slaves"), number(0),
        bulk(b"clients.normal"), number(usage.unsent_bytes),
        bulk(b"keys.count"), number(keys),
        bulk(b"keys.bytes-per-key"), number(used // keys if keys else 0),
        bulk(b"dataset.bytes"), number(used),
        bulk(b"fragmentation"), double(usage.rss_bytes / max(used, 1), client.protocol),
    ]  # fmt: skip
    return mapping(pairs, client.protocol)


@command("memory|doctor", 2, "")
def memory_doctor(client: Client, args: Args) -> bytes:
    """What takes memory, in a few words."""
    store = client.store
    most, used = store.settings["maxmemory"], used_memory(store)
    text = f"{used:,} bytes are used; " + (f"maxmemory is {most:,}.\n" if most else "no bound.\n")
    return verbatim(text.encode(), client.protocol)


@command("memory|purge", 2, "")
def memory_purge(client: Client, args: Args) -> bytes:
    """Accepted, and without effect."""
    return OK


@command("memory|malloc-stats", 2, "")
def memory_malloc_stats(client: Client, args: Args) -> bytes:
    """What the allocator says: nothing here."""
    return verbatim(b"Stats not supported for the current allocator", client.protocol)
