"""Commands about the connection itself."""

from __future__ import annotations

import hmac

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.commands import Args, command
from c1m.kv.errors import SYNTAX, CommandError, wrong_count
from c1m.kv.pubsub import leave
from c1m.kv.rows import NO_LABEL
from c1m.protocols.resp.replies import EMPTY, OK, bulk, bulks, mapping
from c1m.protocols.resp.replies import integer as number

VERSION = b"7.0.15"  # of Redis, whose commands these are

_ALWAYS = "noscript loading stale fast no_auth allow_busy"
_WRONG_PASSWORD = b"WRONGPASS invalid username-password pair or user is disabled."


@command("ping", -1, "fast")
def ping(client: Client, args: Args) -> bytes:
    """Answer PONG, or what was given."""
    if len(args) > 2:
        raise wrong_count(b"ping")
    if client.is_subscriber and client.protocol == 2:
        return bulks([b"pong", args[1] if len(args) == 2 else b""])
    return bulk(args[1]) if len(args) == 2 else b"+PONG\r\n"


@command("echo", 2, "loading stale fast")
def echo(client: Client, args: Args) -> bytes:
    """Answer what was given."""
    return bulk(args[1])


@command("auth", -2, _ALWAYS)
def auth(client: Client, args: Args) -> bytes:
    """Say the password."""
    if len(args) > 3:
        raise CommandError(SYNTAX)
    if len(args) == 2 and not client.store.settings["requirepass"]:
        raise CommandError(
            b"ERR AUTH <password> called without any password configured for the default user. "
            b"Are you sure your configuration is correct?"
        )
    _authenticate(client, args[1] if len(args) == 3 else b"default", args[-1])
    return OK


def _authenticate(client: Client, user: bytes, password: bytes) -> None:
    wanted = client.store.settings["requirepass"].encode("latin-1")
    is_right = not wanted or hmac.compare_digest(password, wanted)
    if user != b"default" or not is_right:
        raise CommandError(_WRONG_PASSWORD)
    client.is_guest = False


@command("hello", -1, _ALWAYS)
def hello(client: Client, args: Args) -> bytes:
    """Choose the protocol, 2 or 3; with AUTH and SETNAME if wanted."""
    protocol = client.protocol
    if len(args) > 1:
        text = b"ERR Protocol version is not an integer or out of range"
        protocol = integer(args[1], text)
        if protocol not in (2, 3):
            raise CommandError(b"NOPROTO unsupported protocol version")
    rows, at = client.store.rows, 2
    while at < len(args):
        option, left = args[at].lower(), len(args) - at - 1
        if option == b"auth" and left >= 2:
            _authenticate(client, args[at + 1], args[at + 2])
            at += 3
        elif option == b"setname" and left:
            name = client_name(args[at + 1])
            rows.set_label(client.slot, rows.label(client.slot)._replace(name=name))
            at += 2
        else:
            raise CommandError(b"ERR Syntax error in HELLO option '%b'" % args[at])
    if client.is_guest:
        raise CommandError(
            b"NOAUTH HELLO must be called with the client already authenticated, otherwise the "
            b"HELLO AUTH <user> <pass> option can be used to authenticate the client and select "
            b"the RESP protocol version at the same time"
        )
    client.protocol = protocol
    mode = b"standalone" if client.store.cluster is None else b"cluster"
    return mapping(
        [
            bulk(b"server"), bulk(b"redis"),
            bulk(b"version"), bulk(VERSION),
            bulk(b"proto"), number(protocol),
            bulk(b"id"), number(rows.id_of(client.slot)),
            bulk(b"mode"), bulk(mode),
            bulk(b"role"), bulk(b"master"),
            bulk(b"modules"), EMPTY,
        ],
        protocol,
    )  # fmt: skip


def client_name(text: bytes) -> bytes:
    """A name as CLIENT SETNAME takes it. Raises CommandError."""
    if not all(33 <= byte <= 126 for byte in text):
        raise CommandError(
            b"ERR Client names cannot contain spaces, newlines or special characters."
        )
    return text


@command("reset", 1, _ALWAYS)
def reset(client: Client, args: Args) -> bytes:
    """Be as a new connection."""
    store = client.store
    client.end_transaction()
    leave(client)
    client.end_monitor()
    client.db = store.databases[0]
    client.protocol = 2
    client.silence = 0
    client.is_guest = bool(store.settings["requirepass"])
    label = store.rows.label(client.slot)
    if label is not NO_LABEL:
        store.rows.set_label(client.slot, label._replace(name=b""))
    return b"+RESET\r\n"


@command("quit", -1, _ALWAYS)
def quit_(client: Client, args: Args) -> bytes:
    """End the connection."""
    client.is_closing = True
    return OK
