"""Commands about the server: its time, its end, and what it has not."""

from __future__ import annotations

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError
from c1m.kv.information import last_save_ms
from c1m.protocols.resp.replies import EMPTY, OK, array, bulk, bulks
from c1m.protocols.resp.replies import integer as number

_NOTHING_KEPT = b"ERR this server keeps its data in memory only: start it with --data DIR"


@command("time", 1, "loading stale fast")
def time_(client: Client, args: Args) -> bytes:
    """The Unix time: seconds, and microseconds of the second."""
    store = client.store
    now_us = store.host.now_us() if store.host.now_us is not None else store.now_ms * 1000
    return bulks([b"%d" % part for part in divmod(now_us, 1_000_000)])


@command("wait", 3, "noscript")
def wait(client: Client, args: Args) -> bytes:
    """How many replicas have what was written: there are none."""
    integer(args[1])
    if integer(args[2], b"ERR timeout is not an integer or out of range") < 0:
        raise CommandError(b"ERR timeout is negative")
    return number(0)


@command("role", 1, "noscript loading stale fast")
def role(client: Client, args: Args) -> bytes:
    """Master, without replicas."""
    return array([bulk(b"master"), number(0), EMPTY])


@command("replicaof", 3, "admin noscript stale no_async_loading")
def replicaof(client: Client, args: Args) -> bytes:
    """NO ONE is accepted; to follow another server is refused."""
    if [word.lower() for word in args[1:]] == [b"no", b"one"]:
        return OK
    raise CommandError(b"ERR replication is not supported by this server")


@command("slaveof", 3, "admin noscript stale no_async_loading")
def slaveof(client: Client, args: Args) -> bytes:
    """REPLICAOF's old name."""
    return replicaof(client, args)


@command("lolwut", -1, "readonly fast")
def lolwut(client: Client, args: Args) -> bytes:
    """Which server this is."""
    return bulk(b"c1m ver. %b\n" % client.store.host.version.encode())


@command("monitor", 1, "admin noscript loading stale")
def monitor(client: Client, args: Args) -> bytes:
    """See the commands of all clients as they run."""
    if client.in_transaction:
        raise CommandError(b"ERR MONITOR isn't allowed for DENY BLOCKING client")
    if not client.is_monitor:
        client.is_monitor = True
        client.store.monitors.append(client.slot)
        client.store.guard()
    return OK


# --- keeping the data -------------------------------------------------------------------------


@command("save", 1, "admin noscript no_async_loading no_multi")
def save(client: Client, args: Args) -> bytes:
    """Answer when all is on disk."""
    if client.store.host.save is None:
        raise CommandError(_NOTHING_KEPT)
    client.store.host.save()
    return OK


@command("bgsave", -1, "admin noscript no_async_loading")
def bgsave(client: Client, args: Args) -> bytes:
    """Take care that all is on disk soon."""
    if len(args) > 2 or (len(args) == 2 and args[1].lower() != b"schedule"):
        raise CommandError(SYNTAX)
    save(client, args)
    return b"+Background saving started\r\n"


@command("bgrewriteaof", 1, "admin noscript no_async_loading")
def bgrewriteaof(client: Client, args: Args) -> bytes:
    """The same as BGSAVE: what is kept is rewritten as it goes."""
    save(client, args)
    return b"+Background append only file rewriting started\r\n"


@command("lastsave", 1, "loading stale fast")
def lastsave(client: Client, args: Args) -> bytes:
    """When all was on disk last (Unix time); the start where nothing is kept."""
    return number(last_save_ms(client.store) // 1000)


@command("shutdown", -1, "admin noscript loading stale no_multi allow_busy")
def shutdown(client: Client, args: Args) -> bytes | None:
    """End the server; what is kept is on disk then, whatever is asked for."""
    words = {word.lower() for word in args[1:]}
    if not words <= {b"save", b"nosave", b"now", b"force", b"abort"} or words >= {
        b"save",
        b"nosave",
    }:
        raise CommandError(SYNTAX)
    if b"abort" in words:
        raise CommandError(SYNTAX if len(words) > 1 else b"ERR No shutdown in progress.")
    stop = client.store.host.stop
    if stop is None:
        raise CommandError(b"ERR this server cannot be ended by a client")
    stop()
    return None


# --- what there is none of --------------------------------------------------------------------


@command("debug", -2, "admin noscript loading stale")
def debug(client: Client, args: Args) -> bytes:
    """Refused, as where enable-debug-command is no."""
    raise CommandError(
        b"ERR DEBUG command not allowed. If the enable-debug-command option is set to"
        b' "local", you can run it from a local connection, otherwise you need to set this option'
        b" in the configuration file, and then restart the server."
    )


@command("failover", -1, "admin noscript stale")
def failover(client: Client, args: Args) -> bytes:
    """Refused: there are no replicas."""
    raise CommandError(b"ERR FAILOVER requires connected replicas.")


@command("module|list", 2, "admin noscript")
def module_list(client: Client, args: Args) -> bytes:
    """No modules."""
    return EMPTY


@command("function|flush", -2, "write noscript")
def function_flush(client: Client, args: Args) -> bytes:
    """There are no functions to remove."""
    return OK


@command("function|list", -2, "noscript")
def function_list(client: Client, args: Args) -> bytes:
    """No functions."""
    return EMPTY


@command("script|flush", -2, "noscript")
def script_flush(client: Client, args: Args) -> bytes:
    """There are no scripts to remove."""
    return OK


@command("script|exists", -3, "noscript")
def script_exists(client: Client, args: Args) -> bytes:
    """None of them is there."""
    return array([number(0)] * len(args[2:]))
