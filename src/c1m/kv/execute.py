"""Run one command of one client: is it there, may it run, what does it answer."""

from __future__ import annotations

from c1m.kv.client import Client
from c1m.kv.commands import TABLE, Args
from c1m.kv.errors import CommandError, wrong_count
from c1m.protocols.resp.replies import QUEUED, error

_RUN_AT_ONCE = {b"multi", b"exec", b"discard", b"watch", b"unwatch", b"reset", b"quit"}


def execute(client: Client, args: Args) -> bytes | None:
    """The reply; None: there is none, or it comes later (a blocked client).

    Raises nothing for what a client sends.
    """
    name = args[0].lower()
    command = TABLE.get(name)
    try:
        if command is None:
            raise CommandError(_unknown(args))
        if len(args) != command.arity and (command.arity > 0 or len(args) < -command.arity):
            raise wrong_count(name)
        if client.queue is not None and name not in _RUN_AT_ONCE:
            client.queue.append(args)
            return QUEUED
        return command.run(client, args)
    except CommandError as refusal:
        if client.queue is not None and name != b"exec":
            client.is_broken = True
        return error(refusal.text)


def _unknown(args: Args) -> bytes:
    shown = b""
    for arg in args[1:]:
        if len(shown) >= 128:
            break
        shown += b"'%b' " % arg[: 128 - len(shown)]
    return b"ERR unknown command '%b', with args beginning with: %b" % (args[0][:128], shown)
