"""What the key-value server may be told."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from c1m.addresses import parse_url
from c1m.arguments import COUNT, DURATION, SIZE, TEXT, AppOption, Choice
from c1m.errors import UsageError
from c1m.files import secret_line
from c1m.kv.cluster import Cluster, Node
from c1m.protocols.resp.slots import SLOTS
from c1m.relay import options as relay
from c1m.relay.broker import Broker
from c1m.units import NS_PER_S

DURABILITIES = ("always", "everysec", "no")
POLICIES = (
    "noeviction", "allkeys-lru", "allkeys-random", "volatile-lru", "volatile-random",
    "volatile-ttl",
)  # fmt: skip
IDLE_MAX_NS = 12 * 3600 * NS_PER_S  # what a connection's row can tell
LISTEN = "tcp://127.0.0.1:6379"
RELAY_NAME = "c1m-kv"  # of the broker's channel

OPTIONS = (
    AppOption("data", TEXT, "Keep the data in this directory, which is made if it is not there.  "
              "[default: in memory only]", "DIR"),
    AppOption("durability", Choice(DURABILITIES),
              "When it is on the disk: always before a reply, every second, or when it suits the "
              "system.  [default: everysec]"),
    AppOption("password", TEXT, "Clients must say it first. Everybody on this machine can see it "
              "in the list of processes: a file of it is better.", "TEXT"),
    AppOption("password_file", TEXT, "The password is the first line of this file, which nobody "
              "else may read.", "FILE"),
    AppOption("max_clients", COUNT.within(1, 1 << 31),
              "Further ones are told so, and closed.  [default: as many as fit]"),
    AppOption("idle_timeout", DURATION.within(0, IDLE_MAX_NS),
              "Close connections that send nothing for so long, subscribers apart.  "
              "[default: never]"),
    AppOption("max_memory", SIZE, "Bytes of all data, estimated.  [default: no bound]"),
    AppOption("max_memory_policy", Choice(POLICIES),
              "Which keys go when that is reached; noeviction: commands that need memory are "
              "refused.  [default: noeviction]"),
    AppOption("max_value", SIZE.within(4 << 10, 512 << 20),
              "Bytes of one argument, and of a string.  [default: 512M]"),
    AppOption("cluster_nodes", TEXT, "Be a node of a Redis Cluster: all its nodes in their order, "
              "the same for each. Each has an equal share of the slots, for good.  [default: be "
              "alone]", "HOST:PORT,..."),
    AppOption("cluster_node", COUNT.within(0, SLOTS - 1), "Which of them this is, from 0 on."),
    *relay.OPTIONS,
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class KeyValueOptions:
    """Options as OPTIONS describes them. Raises UsageError for what cannot be meant together."""

    data: Any = None
    durability: Any = None
    password: Any = None
    password_file: Any = None
    max_clients: Any = None
    idle_timeout: Any = None  # seconds or "30s"; an int of nanoseconds once it is checked
    max_memory: Any = None
    max_memory_policy: Any = None
    max_value: Any = None
    cluster_nodes: Any = None
    cluster_node: Any = None
    relay: Any = None
    relay_password_file: Any = None
    broker: Broker | None = field(default=None, init=False)  # what those two say

    def __post_init__(self) -> None:
        by_name = {option.name: option for option in OPTIONS}
        for each in fields(self):
            if each.init:
                setattr(self, each.name, by_name[each.name].check(getattr(self, each.name)))
        self.broker = relay.broker_in(self.relay, self.relay_password_file, RELAY_NAME)
        if self.durability is not None and self.data is None:
            raise UsageError(
                "A durability without a data directory means nothing: all is in memory only.",
                "Give a directory, too (--data DIR), or leave it out.",
            )
        if self.max_memory_policy is not None and not self.max_memory:
            raise UsageError(
                "A policy of what to evict means nothing without a bound of memory.",
                "Give one, too (--max-memory SIZE), or leave it out.",
            )
        if self.password is not None and self.password_file is not None:
            raise UsageError("A password and a file of it are given.", "Give one of the two.")
        if self.password is not None:  # its bytes, as what a file has
            self.password = self.password.encode("utf-8", "surrogateescape").decode("latin-1")
        if self.password_file is not None:
            self.password = secret_line(self.password_file)
        if self.data == "":
            raise UsageError("The data directory has no name.", "Give one, or leave it out.")
        if self.password == "":
            raise UsageError("The password is empty.", "Give one, or leave it out.")
        if self.idle_timeout is not None and 0 < self.idle_timeout < NS_PER_S:
            raise UsageError("The idle timeout is below a second.", "Give 1s or more, or 0.")
        self.cluster()

    def cluster(self) -> Cluster | None:
        """The nodes, and which of them this is; None where neither is given."""
        return cluster_of(self.cluster_nodes, self.cluster_node)


def cluster_of(nodes: str | None, own: int | None) -> Cluster | None:
    """What --cluster-nodes and --cluster-node say. Raises UsageError."""
    if (nodes is None) != (own is None):
        raise UsageError(
            "A node of a cluster needs both: all nodes, and which of them it is.",
            "Give --cluster-nodes HOST:PORT,HOST:PORT and --cluster-node 0, 1, ...",
        )
    if nodes is None or own is None:
        return None
    found = [node for text in nodes.split(",") for node in _nodes(text.strip())]
    if len(set(found)) < len(found):
        raise UsageError(f"{nodes!r} (--cluster-nodes) names a node twice.", "Name each once.")
    if len(found) > SLOTS:
        raise UsageError(
            f"{len(found):,} nodes (--cluster-nodes) are more than there are slots.",
            f"Have {SLOTS:,} or fewer.",
        )
    if own >= len(found):
        raise UsageError(
            f"There is no node {own} (--cluster-node) among {len(found)} (--cluster-nodes).",
            f"Give 0 to {len(found) - 1}: they count from 0 on.",
        )
    return Cluster(found, own)


def _nodes(text: str) -> list[Node]:
    """HOST:PORT, HOST:FIRST-LAST, or :PORT for any host by which a client has come."""
    try:
        scheme, host, first, last = parse_url(f"0.0.0.0{text}" if text.startswith(":") else text)
    except UsageError as error:
        raise UsageError(f"--cluster-nodes: {error.message}", "Write HOST:PORT,...") from None
    if scheme != "tcp" or not first:
        raise UsageError(f"--cluster-nodes: {text!r} is no place.", "Write HOST:PORT,...")
    if host in ("0.0.0.0", "::"):
        host = ""
    return [Node(host, port) for port in range(first, last + 1)]
