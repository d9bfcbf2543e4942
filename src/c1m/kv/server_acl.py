"""ACL: there is one user, `default`, who may do everything once the password is said."""

from __future__ import annotations

import hashlib

from c1m.kv.client import Client
from c1m.kv.command_info import ALL_CATEGORIES, categories, rows
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.protocols.resp.replies import EMPTY, NULL_ARRAYS, array, bulk, bulks, mapping

_FLAGS = "noscript loading stale"
_ADMIN = "admin " + _FLAGS


def _password(client: Client) -> str:
    """The password's digest, as ACL LIST shows it; "" where there is none."""
    password: str = client.store.settings["requirepass"]
    return hashlib.sha256(password.encode("latin-1")).hexdigest() if password else ""


@command("acl|whoami", 2, _FLAGS)
def acl_whoami(client: Client, args: Args) -> bytes:
    """Always default."""
    return bulk(b"default")


@command("acl|users", 2, _ADMIN)
def acl_users(client: Client, args: Args) -> bytes:
    """The one user."""
    return bulks([b"default"])


@command("acl|list", 2, _ADMIN)
def acl_list(client: Client, args: Args) -> bytes:
    """The one user's rules."""
    digest = _password(client)
    rule = f"#{digest}" if digest else "nopass"
    return bulks([f"user default on {rule} ~* &* +@all".encode()])


@command("acl|getuser", 3, _ADMIN)
def acl_getuser(client: Client, args: Args) -> bytes:
    """What a user may do; nil for any but default."""
    if args[2] != b"default":
        return NULL_ARRAYS[client.protocol]
    digest = _password(client)
    pairs = [
        bulk(b"flags"), bulks([b"on"] if digest else [b"on", b"nopass"]),
        bulk(b"passwords"), bulks([digest.encode()] if digest else []),
        bulk(b"commands"), bulk(b"+@all"),
        bulk(b"keys"), bulk(b"~*"),
        bulk(b"channels"), bulk(b"&*"),
        bulk(b"selectors"), EMPTY,
    ]  # fmt: skip
    return mapping(pairs, client.protocol)


@command("acl|cat", -2, _FLAGS)
def acl_cat(client: Client, args: Args) -> bytes:
    """The categories of commands, or the commands of one."""
    if len(args) == 2:
        return bulks([category.encode() for category in ALL_CATEGORIES])
    category = args[2].decode("latin-1").lower()
    if category not in ALL_CATEGORIES:
        raise CommandError(b"ERR Unknown category '%b'" % args[2])
    found = [row.name.encode() for row in rows() if category in categories(row)]
    return array([bulk(name) for name in found])
