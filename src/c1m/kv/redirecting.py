"""Where in a cluster a command belongs: it is run here, is refused, or goes to its node. Pure."""

from __future__ import annotations

from contextlib import suppress

import numpy as np

from c1m.kv.client import Client
from c1m.kv.cluster import CROSS_SLOT, Cluster, Node
from c1m.kv.commands import Args, Command
from c1m.kv.errors import CommandError
from c1m.kv.named_keys import named_keys
from c1m.kv.store import Store
from c1m.protocols.resp.slots import slot_of

HERE = "127.0.0.1"  # who has come by a unix socket is on this machine


def is_here(store: Store, command: Command, args: Args) -> bool:
    """Whether a command of a node of a cluster has no key, or one that is this node's, and nothing
    else need be looked at; False: look more closely.

    A key that the node holds is in one of its slots: no other ever comes into its data.
    """
    cluster, at = store.cluster, command.only_key(len(args) - 1)
    if cluster is None or store.is_barred or at < 0:
        return False
    key = args[at]
    return not at or key in store.databases[0].data or cluster.has(slot_of(key))


def check_slot(client: Client, cluster: Cluster, command: Command, args: Args) -> None:
    """Raise CommandError where its keys, or those of a transaction, are not all in one slot that
    this node has."""
    keys: list[bytes] = []
    if command.key_at == 0 and command.name != "exec":
        return
    for row, words in (client.queue or ()) if command.name == "exec" else [(command, args)]:
        with suppress(CommandError):  # it names no keys rightly, and will say so itself
            keys += named_keys(row, words)
    if not keys:
        return
    slot = cluster.slot_of_all(keys)
    if slot < 0:
        raise CommandError(CROSS_SLOT)
    if not cluster.has(slot):
        node = cluster.owner(slot)
        host = host_for(client, node).encode()
        raise CommandError(b"MOVED %d %b:%d" % (slot, host, node.port))


def host_for(client: Client, node: Node) -> str:
    """Where a client reaches a node: that of its own connection, where the node names none."""
    if node.host:
        return node.host
    _, local = client.store.addresses(np.array([client.slot], np.int32))[0]
    host = local.rpartition(":")[0].strip("[]")
    return HERE if host == "?" or host.startswith("/") else host
