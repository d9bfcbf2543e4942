"""CLUSTER and its like: what clients read about the nodes and their slots.

The nodes are those that the server was started with: what would change them is refused.
"""

from __future__ import annotations

from c1m.kv.arguments import integer
from c1m.kv.client import Client
from c1m.kv.cluster import Cluster
from c1m.kv.commands import Args, command
from c1m.kv.errors import CommandError
from c1m.kv.redirecting import host_for
from c1m.protocols.resp.replies import EMPTY, OK, array, bulk, bulks, mapping, verbatim
from c1m.protocols.resp.replies import integer as number
from c1m.protocols.resp.slots import SLOTS, slot_of

_FLAGS = "loading stale"
_NO_CLUSTER = b"ERR This instance has cluster support disabled"
_BUS = 10_000  # what Redis adds to a port for the nodes' own talk, which there is none of here
_FIXED = b"ERR the nodes and slots of this cluster are fixed: they are given when it is started"


def _cluster(client: Client) -> Cluster:
    """Raises CommandError where there is none."""
    if client.store.cluster is None:
        raise CommandError(_NO_CLUSTER)
    return client.store.cluster


# --- the nodes --------------------------------------------------------------------------------


@command("cluster|slots", 2, _FLAGS)
def cluster_slots(client: Client, args: Args) -> bytes:
    """Rows of slots: the first, the last, and the node that has them."""
    cluster, rows = _cluster(client), []
    for index, node in enumerate(cluster.nodes):
        first, end = cluster.slots(index)
        host = bulk(host_for(client, node).encode())
        facts = mapping([], client.protocol)
        place = array([host, number(node.port), bulk(node.name.encode()), facts])
        rows.append(array([number(first), number(end - 1), place]))
    return array(rows)


@command("cluster|shards", 2, _FLAGS)
def cluster_shards(client: Client, args: Args) -> bytes:
    """The same, with more about each node."""
    cluster, shards = _cluster(client), []
    for index, node in enumerate(cluster.nodes):
        first, end = cluster.slots(index)
        host = bulk(host_for(client, node).encode())
        port = b"tls-port" if client.store.host.is_tls else b"port"
        facts = [
            bulk(b"id"), bulk(node.name.encode()),
            bulk(port), number(node.port),
            bulk(b"ip"), host,
            bulk(b"endpoint"), host,
            bulk(b"role"), bulk(b"master"),
            bulk(b"replication-offset"), number(0),
            bulk(b"health"), bulk(b"online"),
        ]  # fmt: skip
        row = [
            bulk(b"slots"), array([number(first), number(end - 1)]),
            bulk(b"nodes"), array([mapping(facts, client.protocol)]),
        ]  # fmt: skip
        shards.append(mapping(row, client.protocol))
    return array(shards)


@command("cluster|nodes", 2, _FLAGS)
def cluster_nodes(client: Client, args: Args) -> bytes:
    """A line for each node; whether the others are there is not known here."""
    cluster, lines = _cluster(client), []
    for index, node in enumerate(cluster.nodes):
        first, end = cluster.slots(index)
        place = f"{host_for(client, node)}:{node.port}@{node.port + _BUS}"
        flags = "myself,master" if index == cluster.own else "master"
        lines.append(f"{node.name} {place} {flags} - 0 0 {index + 1} connected {first}-{end - 1}\n")
    return verbatim("".join(lines).encode(), client.protocol)


@command("cluster|info", 2, _FLAGS)
def cluster_info(client: Client, args: Args) -> bytes:
    """That all slots are served, as far as this node knows, and by how many nodes."""
    cluster = _cluster(client)
    count = len(cluster.nodes)
    facts = {
        "cluster_state": "ok",
        "cluster_slots_assigned": SLOTS,
        "cluster_slots_ok": SLOTS,
        "cluster_slots_pfail": 0,
        "cluster_slots_fail": 0,
        "cluster_known_nodes": count,
        "cluster_size": count,
        "cluster_current_epoch": count,
        "cluster_my_epoch": cluster.own + 1,
        "cluster_stats_messages_sent": 0,
        "cluster_stats_messages_received": 0,
        "total_cluster_links_buffer_limit_exceeded": 0,
    }
    text = "".join(f"{name}:{value}\r\n" for name, value in facts.items())
    return verbatim(text.encode(), client.protocol)


@command("cluster|myid", 2, _FLAGS)
def cluster_myid(client: Client, args: Args) -> bytes:
    """This node's name."""
    cluster = _cluster(client)
    return bulk(cluster.nodes[cluster.own].name.encode())


@command("cluster|links", 2, _FLAGS)
def cluster_links(client: Client, args: Args) -> bytes:
    """None: the nodes do not talk to each other."""
    _cluster(client)
    return EMPTY


@command("cluster|replicas", 3, _FLAGS)
def cluster_replicas(client: Client, args: Args) -> bytes:
    """None: a node has no replicas."""
    _named(client, args[2])
    return EMPTY


@command("cluster|slaves", 3, _FLAGS)
def cluster_slaves(client: Client, args: Args) -> bytes:
    """CLUSTER REPLICAS' old name."""
    return cluster_replicas(client, args)


def _named(client: Client, name: bytes) -> None:
    """Raise CommandError where no node is called so."""
    if name.lower() not in [node.name.encode() for node in _cluster(client).nodes]:
        raise CommandError(b"ERR Unknown node %b" % name.partition(b"\0")[0])


# --- keys and slots ---------------------------------------------------------------------------


@command("cluster|keyslot", 3, _FLAGS)
def cluster_keyslot(client: Client, args: Args) -> bytes:
    """The slot of a key."""
    _cluster(client)
    return number(slot_of(args[2]))


@command("cluster|countkeysinslot", 3, _FLAGS)
def cluster_countkeysinslot(client: Client, args: Args) -> bytes:
    """How many keys a slot has: all keys are looked at."""
    _cluster(client)
    slot = integer(args[2])
    if not 0 <= slot < SLOTS:
        raise CommandError(b"ERR Invalid slot")
    return number(len(_keys_in(client, slot)))


@command("cluster|getkeysinslot", 4, _FLAGS)
def cluster_getkeysinslot(client: Client, args: Args) -> bytes:
    """So many of the keys that a slot has: all keys are looked at."""
    _cluster(client)
    slot, count = integer(args[2]), integer(args[3])
    if not 0 <= slot < SLOTS or count < 0:
        raise CommandError(b"ERR Invalid slot or number of keys")
    return bulks(_keys_in(client, slot)[:count])


def _keys_in(client: Client, slot: int) -> list[bytes]:
    return [key for key in client.store.databases[0].data if slot_of(key) == slot]


# --- what changes nothing here ----------------------------------------------------------------


@command("readonly", 1, "loading stale fast")
def readonly(client: Client, args: Args) -> bytes:
    """Accepted in a cluster, and without effect: there are no replicas to read from."""
    _cluster(client)
    return OK


@command("readwrite", 1, "loading stale fast")
def readwrite(client: Client, args: Args) -> bytes:
    """Accepted in a cluster, and without effect."""
    _cluster(client)
    return OK


@command("asking", 1, "fast")
def asking(client: Client, args: Args) -> bytes:
    """Accepted in a cluster, and without effect: no slot moves."""
    _cluster(client)
    return OK


def _fixed(client: Client, args: Args) -> bytes:
    """Refused: the nodes and their slots are fixed."""
    _cluster(client)
    raise CommandError(_FIXED)


for _name, _arity in (
    ("addslots", -3), ("addslotsrange", -4), ("failover", -2), ("forget", 3), ("meet", -4),
    ("replicate", 3), ("reset", -2), ("setslot", -4),
):  # fmt: skip
    command(f"cluster|{_name}", _arity, "admin noscript stale no_async_loading")(_fixed)
