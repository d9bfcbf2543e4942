"""Run one command of one client: is it there, may it run, what does it answer.

What speaks against a command is looked at in Redis's order. A command that is refused before it
runs breaks the transaction that it was to be a part of.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterable

from c1m.kv.client import SILENT, TALKS_AGAIN, Client
from c1m.kv.cluster import REDIRECTIONS
from c1m.kv.commands import SPELLED, TABLE, Args, Command
from c1m.kv.errors import CommandError, wrong_count
from c1m.kv.monitoring import show, who, without_secrets
from c1m.kv.redirecting import check_slot, is_here
from c1m.kv.store import Store
from c1m.protocols.resp.replies import QUEUED, error

NO_AUTH = b"NOAUTH Authentication required."
NOT_SERVED = b"ERR '%b' is not served here: this is for publishing and subscribing only"
OUT_OF_MEMORY = b"OOM command not allowed when used memory > 'maxmemory'."
# A page that makes a browser send HTTP here must not get its body run as commands.
_OF_BROWSERS = frozenset({b"post", b"host:"})
_NOT_QUEUED = frozenset({"multi", "exec", "discard", "watch", "reset", "quit"})
_OF_SUBSCRIBERS = frozenset(
    {"ping", "quit", "reset"}
    | {kind + verb for kind in ("", "p", "s") for verb in ("subscribe", "unsubscribe")}
)
_PUSHED = {name.encode() for name in _OF_SUBSCRIBERS if name.endswith("subscribe")}
_SHOWN = 128  # bytes of what a client sent, in an error
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def execute(client: Client, args: Args) -> bytes | None:
    """The reply; None: there is none, or it comes later (a blocked client).

    Raises nothing for what a client sends.
    """
    store = client.store
    command = SPELLED.get(args[0])
    if (
        command is None or (store.is_guarded and not is_here(store, command, args))
        or (len(args) != command.arity and (command.arity > 0 or len(args) < -command.arity))
        or client.queue is not None or client.is_guest or client.is_subscriber or client.silence
    ):  # fmt: skip
        return _execute_with_care(client, args)
    reply = run(client, command, args)
    if store.ready:
        store.waiting.serve(store)
    return reply


def _execute_with_care(client: Client, args: Args) -> bytes | None:
    """The same where something may speak against the command."""
    if client.silence:
        return _silently(client, args)
    store = client.store
    command = TABLE.get(args[0].lower())
    if command is None and args[0].lower() in _OF_BROWSERS:
        client.is_closing = True
        return None
    try:
        if command is None or command.subcommands is not None:
            command = find_command(args)
        if len(args) != command.arity and (command.arity > 0 or len(args) < -command.arity):
            raise wrong_count(command.name.encode())
        if client.is_guest or client.is_subscriber or client.queue is not None or store.is_guarded:
            check(client, command, args)
            if store.pause.until_ms and store.pause.holds(client, command, args):
                return None
            if client.queue is not None and command.name not in _NOT_QUEUED:
                if not (client.is_broken or client.is_stale):  # else it will not run
                    client.enqueue(command, args)
                return QUEUED
    except CommandError as refusal:
        return _reject(client, args, command, refusal.text)
    reply = run(client, command, args)
    if store.monitors and command.name != "exec":  # which shows itself, and its commands before
        show(client, command, args)
    if store.ready:
        store.waiting.serve(store)
    return reply


def run(client: Client, command: Command, args: Args) -> bytes | None:
    """Run a command that may run; a fault in it is the client's reply, and nobody else's end."""
    store = client.store
    statistics = store.statistics
    statistics.calls[command.name] += 1
    try:
        if statistics.is_timing and (command.is_slow or statistics.is_timing_all):
            return _timed(client, command, args)
        if store.journal is None:
            return command.run(client, args)
        return _run(store, client, command, args)
    except Exception as error:
        return _failed(client, command, error)


def _failed(client: Client, command: Command, error: Exception) -> bytes:
    """The reply to a command that was refused as it ran, or that ended by a fault of ours."""
    statistics = client.store.statistics
    statistics.failed[command.name] += 1
    if isinstance(error, CommandError):
        return _said(client, error.text)
    lines = "".join(traceback.format_exception(error))
    statistics.fault(f"A fault in {command.name}: {lines}")
    return _said(client, b"ERR internal error")


def run_rows(client: Client, command: Command, rows: Iterable[tuple[bytes, ...]]) -> list[bytes]:
    """Replies to the same command with one row of arguments after the other, for clients that have
    nothing unusual about them; it is one that concerns the data only (`Command.is_of_data`).

    What is only looked at, takes its time and is asked for several times is looked at once.
    """
    store, function, replies = client.store, command.run, list[bytes]()
    if command.is_slow:
        answered: dict[tuple[bytes, ...], bytes] = {}
        for row in rows:
            reply = answered.get(row)
            if reply is None:
                reply = run(client, command, list(row)) or b""
                if store.ready:
                    store.waiting.serve(store)
                if command.is_repeatable and not reply.startswith(b"-"):
                    answered[row] = reply
            else:
                store.statistics.calls[command.name] += 1
            replies.append(reply)
        return replies
    for row in rows:
        try:
            replies.append(function(client, list(row)) or b"")
        except Exception as error:
            replies.append(_failed(client, command, error))
        if store.ready:
            store.waiting.serve(store)
    store.statistics.calls[command.name] += len(replies)
    return replies


def _run(store: Store, client: Client, command: Command, args: Args) -> bytes | None:
    if store.journal is not None and command.is_write:
        reply: bytes | None = store.journal.run(client, command, args)
        return reply
    return command.run(client, args)


def _timed(client: Client, command: Command, args: Args) -> bytes | None:
    statistics = client.store.statistics
    began_ns = statistics.now_ns()
    try:
        return _run(client.store, client, command, args)
    finally:
        took_ns = statistics.now_ns() - began_ns
        statistics.took_ns[command.name] += took_ns
        if statistics.is_noteworthy(took_ns) and "skip_slowlog" not in command.flags:
            event = b"command" if command.is_slow else b"fast-command"
            second = client.store.now_ms // 1000
            statistics.note(took_ns, event, second, without_secrets(args), who(client))


def find_command(args: Args) -> Command:
    """The command that a client names. Raises CommandError where there is none."""
    command = TABLE.get(args[0].lower())
    if command is None:
        raise CommandError(_unknown(args))
    if command.subcommands is None:
        return command
    if len(args) == 1:
        if command.arity != -1:  # all but COMMAND
            raise wrong_count(command.name.encode())
        return command
    found = command.subcommands.get(args[1].lower())
    if found is None:
        upper = command.name.upper().encode()
        raise CommandError(b"ERR unknown subcommand '%b'. Try %b HELP." % (_shown(args[1]), upper))
    return found


def check(client: Client, command: Command, args: Args) -> None:
    """Raise CommandError where a client may not run a command now."""
    store = client.store
    if client.is_guest and "no_auth" not in command.flags:
        raise CommandError(NO_AUTH)
    if client.queue is not None and "no_multi" in command.flags:
        raise CommandError(b"ERR Command not allowed inside a transaction")
    if store.cluster is not None:
        check_slot(client, store.cluster, command, args)
    if store.is_barred:
        if store.served is not None and command.name not in store.served:
            raise CommandError(NOT_SERVED % command.name.replace("|", " ").encode())
        kinds = {"denyoom", "write"} & command.flags
        if client.queue is not None:
            if command.name == "exec":
                kinds = {flag for queued, _ in client.queue for flag in queued.flags}
            elif command.name not in _NOT_QUEUED:
                kinds.add("denyoom")
        if store.make_room is not None and not store.make_room() and "denyoom" in kinds:
            raise CommandError(OUT_OF_MEMORY)
        if store.write_refusal and "write" in kinds:
            raise CommandError(store.write_refusal)
    if client.is_subscriber and client.protocol == 2 and command.name not in _OF_SUBSCRIBERS:
        raise CommandError(
            b"ERR Can't execute '%b': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET"
            b" are allowed in this context" % command.name.encode()
        )


def _reject(client: Client, args: Args, command: Command | None, text: bytes) -> bytes:
    """The reply to what does not run. EXEC's own refusal ends the transaction."""
    if command is not None:
        client.store.statistics.rejected[command.name] += 1
    if command is not None and command.name == "exec":
        client.end_transaction()
        if client.store.monitors:
            show(client, command, args)
        if text.startswith(REDIRECTIONS):
            return _said(client, text)
        words = text.removeprefix(b"ERR ")
        return _said(client, b"EXECABORT Transaction discarded because of: " + words)
    client.is_broken = client.queue is not None
    return _said(client, text)


def _said(client: Client, text: bytes) -> bytes:
    """An error reply, counted by its first word."""
    client.store.statistics.errors[text.partition(b" ")[0]] += 1
    return error(text.translate(_ONE_LINE))


def _silently(client: Client, args: Args) -> bytes | None:
    """CLIENT REPLY SKIP or OFF was said: run it, and say nothing, unless it is CLIENT REPLY ON."""
    before, client.silence = client.silence, 0
    reply = execute(client, args)
    if client.silence == TALKS_AGAIN:
        client.silence, before = 0, TALKS_AGAIN
    elif before == SILENT and not client.silence:
        client.silence = SILENT
    is_push = args[0].lower() in _PUSHED and reply is not None and reply[:1] in b"*>"
    return reply if is_push or before == TALKS_AGAIN else None


def _unknown(args: Args) -> bytes:
    shown = b""
    for arg in args[1:]:
        if len(shown) >= _SHOWN:
            break
        shown += b"'%b' " % _shown(arg, _SHOWN - len(shown))
    return b"ERR unknown command '%b', with args beginning with: %b" % (_shown(args[0]), shown)


def _shown(arg: bytes, most: int = _SHOWN) -> bytes:
    """As C shows it: up to its first zero byte."""
    return arg[:most].partition(b"\0")[0]
