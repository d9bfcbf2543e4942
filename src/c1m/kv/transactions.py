"""Transactions: commands that run one after another, if what is watched has not changed."""

from __future__ import annotations

from c1m.kv.client import Client
from c1m.kv.commands import TABLE, Args, Command, command
from c1m.kv.errors import CommandError
from c1m.kv.execute import run
from c1m.kv.monitoring import show
from c1m.protocols.resp.replies import NIL, NULL_ARRAYS, OK, array

_FLAGS = "noscript loading stale fast allow_busy"


@command("multi", 1, _FLAGS)
def multi(client: Client, args: Args) -> bytes:
    """Begin a transaction: what follows is queued until EXEC."""
    if client.queue is not None:
        raise CommandError(b"ERR MULTI calls can not be nested")
    client.queue = []
    return OK


@command("discard", 1, _FLAGS)
def discard(client: Client, args: Args) -> bytes:
    """Forget what was queued, and what is watched."""
    if client.queue is None:
        raise CommandError(b"ERR DISCARD without MULTI")
    client.end_transaction()
    return OK


@command("exec", 1, "noscript loading stale skip_slowlog")
def exec_(client: Client, args: Args) -> bytes:
    """Run what was queued; nothing of it if what is watched has changed."""
    queue = client.queue
    if queue is None:
        raise CommandError(b"ERR EXEC without MULTI")
    for database, key in client.watched or ():
        database.find(key)  # what has expired meanwhile has changed
    is_broken, is_stale = client.is_broken, client.is_stale
    client.end_transaction()
    replies = []
    if not (is_broken or is_stale):
        client.in_transaction = True
        replies = [_run(client, queued, words) for queued, words in queue]
        client.in_transaction = False
    if client.store.monitors:
        show(client, TABLE[b"exec"], args)
    if is_broken:
        raise CommandError(b"EXECABORT Transaction discarded because of previous errors.")
    return NULL_ARRAYS[client.protocol] if is_stale else array(replies)


def _run(client: Client, queued: Command, words: Args) -> bytes:
    """One reply, of which what the command has said to its client itself is a part."""
    pieces = client.store.out.of(client.slot)
    before = len(pieces)
    reply = run(client, queued, words)
    said = b"".join(pieces[before:])
    del pieces[before:]
    if client.store.monitors:
        show(client, queued, words)
    return said + (reply or b"") or NIL


@command("watch", -2, _FLAGS, (1, -1, 1))
def watch(client: Client, args: Args) -> bytes:
    """The next EXEC does nothing if one of these keys has changed until then."""
    if client.queue is not None:
        raise CommandError(b"ERR WATCH inside MULTI is not allowed")
    if client.watched is None:
        client.watched = []
    for key in args[1:]:
        client.db.find(key)  # what has expired already is not there: that is no change
        watchers = client.db.watchers.setdefault(key, set())
        if client not in watchers:
            watchers.add(client)
            client.watched.append((client.db, key))
    return OK


@command("unwatch", 1, _FLAGS)
def unwatch(client: Client, args: Args) -> bytes:
    """Watch no key."""
    client.unwatch()
    return OK
