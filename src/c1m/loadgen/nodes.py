"""Whether a target of Redis's protocol is a node of a Redis Cluster, and which nodes that has.

It is asked once, before anything is opened, on a connection of its own, which begins as all others
do. Who does not answer, or is no node, is loaded as it was named.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from c1m.addresses import Endpoint
from c1m.clock import SystemClock
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.loadgen.tls import TlsPlan, expected_name
from c1m.protocols.resp.replies import command, reply_size
from c1m.protocols.resp.slots import SLOTS, Shards, shards_of
from c1m.protocols.resp.values import ErrorReply, value_of
from c1m.units import NS_PER_S

LOOK_S = 5.0  # for the whole answer
ASKED_MAX = 16  # targets: a range of ports may be long, and each may be silent
REPLY_BYTES_MAX = 1 << 24  # a node for each slot, with its replicas, is less
SELECT = b"SELECT"


@dataclass(frozen=True, slots=True)
class Nodes:
    """Of a cluster: their endpoints, the names that their certificates should have, and which of
    them has which slots."""

    endpoints: list[Endpoint]
    names: list[str]
    shards: Shards

    @property
    def turns(self) -> npt.NDArray[np.int64]:
        """See AddressPlan: a turn for each slot."""
        return self.shards.nodes_at(np.arange(SLOTS))

    def names_by_turn(self, asked: str | None) -> list[str]:
        """See TlsPlan: `asked` is the name for all, if there is one."""
        return [asked or self.names[turn] for turn in self.turns.tolist()]


def find_nodes(
    targets: Sequence[Endpoint],
    commands: Sequence[Sequence[bytes]],
    tls: TlsPlan | None = None,
    source: str = "",
) -> Nodes | None:
    """The nodes of the cluster that these targets are of; None: they are of none.

    `commands` are said first (AUTH, SELECT). Raises UsageError for clusters that cannot be loaded
    so: some slots are nobody's, a database is not there, or the targets are of several.
    """
    found: dict[Endpoint, Nodes | None] = {}
    for index, target in enumerate(list(dict.fromkeys(targets))[:ASKED_MAX]):
        replies = ask(target, [*commands, [b"CLUSTER", b"SLOTS"]], tls, index, source)
        if replies is not None:
            found[target] = nodes_of(target, commands, replies)
    shards = {
        (tuple(n.endpoints), n.shards.owners.tobytes()) if n else None for n in found.values()
    }
    if len(shards) > 1:
        raise UsageError(
            f"The targets {', '.join(map(str, found))} are not nodes of the same Redis Cluster.",
            "Name one node: the others are found by it.",
        )
    return next(iter(found.values()), None)


def nodes_of(
    target: Endpoint, commands: Sequence[Sequence[bytes]], replies: Sequence[bytes]
) -> Nodes | None:
    """What a target's replies say of its cluster; None: it is of none."""
    try:
        values = [value_of(reply) for reply in replies]
        shards, hosts = shards_of(values[-1], target.host)
    except ValueError:
        return None
    place = f"{target.host}:{target.port}"
    if missing := int((shards.owners < 0).sum()):
        raise UsageError(
            f"{place} is a node of a Redis Cluster in which {missing:,} of {SLOTS:,} hash slots "
            "are no node's.",
            "Give them to nodes first; redis-cli --cluster check says which they are.",
        )
    for words, value in zip(commands, values, strict=False):
        if words[0] == SELECT and isinstance(value, ErrorReply):
            raise UsageError(
                f"{place} is a node of a Redis Cluster, in which there is no database "
                f"{words[1].decode()} ({value.text}).",
                "Leave the number out of the target.",
            )
    names: dict[Endpoint, str] = {}
    places: list[int] = []  # of the nodes among the endpoints: two may have the same
    for host, port in hosts:
        written = f"[{host}]" if ":" in host else host
        endpoint = resolve(f"{target.scheme}://{written}:{port}")[0]
        names.setdefault(endpoint, expected_name(host))
        places.append(list(names).index(endpoint))
    owners = np.array(places)[shards.owners]
    return Nodes(list(names), list(names.values()), Shards(len(names), owners))


def ask(
    target: Endpoint, commands: Sequence[Sequence[bytes]], tls: TlsPlan | None, index: int,
    source: str,
) -> list[bytes] | None:  # fmt: skip
    """The replies to some commands; None where there are not so many. `index`: of the target."""
    clock = SystemClock()
    deadline_ns = clock.now_ns() + int(LOOK_S * NS_PER_S)
    stream, replies = b"", list[bytes]()
    try:
        with contextlib.ExitStack() as stack:
            place = target.host, target.port
            sock = socket.create_connection(place, LOOK_S, (source, 0) if source else None)
            stack.enter_context(sock)
            if tls is not None:
                name = tls.names[index % len(tls.names)]
                sock = stack.enter_context(tls.context.wrap_socket(sock, server_hostname=name))
            sock.sendall(b"".join(command(*words) for words in commands))
            while len(replies) < len(commands) and len(stream) <= REPLY_BYTES_MAX:
                sock.settimeout(max((deadline_ns - clock.now_ns()) / NS_PER_S, 0.001))
                if not (piece := sock.recv(1 << 20)):
                    break
                stream += piece
                while size := reply_size(stream):
                    replies.append(stream[:size])
                    stream = stream[size:]
    except (OSError, ValueError):
        return None
    return replies if len(replies) == len(commands) else None
