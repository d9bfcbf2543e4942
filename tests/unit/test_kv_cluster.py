"""Hash slots, and what a node of a cluster answers for its own keys and for others'."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from c1m.addresses import AF_INET, Endpoint
from c1m.apps.kv.app import KeyValue
from c1m.apps.kv.options import KeyValueOptions
from c1m.errors import UsageError
from c1m.kv.clients import Clients
from c1m.kv.cluster import Cluster, Node
from c1m.kv.intake import Intake
from c1m.protocols.resp.replies import command
from c1m.protocols.resp.slots import SLOTS, slot_of
from kv_session import Refused, Session

NODES = [Node("10.0.0.1", 7000), Node("10.0.0.2", 7001)]
OURS, THEIRS = ("bar", "hello"), ("foo", "c1m")  # keys of the first node's slots, and others
CROSS_SLOT = Refused("CROSSSLOT Keys in request don't hash to the same slot")
MOVED = Refused("MOVED 12182 10.0.0.2:7001")  # of foo


def joined(own: int = 0, nodes: list[Node] = NODES, protocol: int = 2) -> Session:
    session = Session(protocol=protocol)
    session.store.join(Cluster(nodes, own))
    return session


@pytest.mark.parametrize(
    ("key", "slot"),
    [  # what redis-server 7.0 says to CLUSTER KEYSLOT
        (b"foo", 12182), (b"123456789", 0x31C3), (b"", 0), (b"foo{bar}baz", 5061), (b"bar", 5061),
        (b"{}x", 10595), (b"{a}{b}", 15495), (b"}{x}", 16287), (b"foo{", 7673), (b"{{bar}}", 4015),
    ],
)  # fmt: skip
def test_slots_of_keys(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1000, SLOTS])
def test_each_slot_has_one_owner(count: int) -> None:
    nodes = [Node("h", port) for port in range(1, count + 1)]
    for own in (0, count // 2, count - 1):
        cluster = Cluster(nodes, own)
        first, end = cluster.slots(own)
        assert [slot for slot in range(SLOTS) if cluster.has(slot)] == list(range(first, end))
        assert cluster.owner(first) == cluster.owner(end - 1) == nodes[own]
    sizes = [end - first for first, end in map(cluster.slots, range(count))]
    found = [first for first, _ in map(cluster.slots, range(count))]
    assert sum(sizes) == SLOTS
    assert found == sorted(set(found))
    assert max(sizes) - min(sizes) <= 1


def test_many_keys_at_once_as_one_by_one() -> None:
    cluster = Cluster(NODES, 0)
    keys = [b"k%d" % number for number in range(500)] + [b"{a}%d" % number for number in range(9)]
    ours = [key for key in keys if cluster.has(slot_of(key))]
    assert 100 < len(ours) < 400
    for row in (keys, ours, ours[:1], keys[-9:]):
        assert cluster.has_all(row) == all(cluster.has(slot_of(key)) for key in row)


@pytest.mark.parametrize(
    ("words", "reply"),
    [
        (["get", "bar"], None),
        (["get", "foo"], MOVED),
        (["set", "foo", 1, "nonsense"], MOVED),
        (["mget", "{bar}1", "{bar}2"], [None, None]),
        (["mget", "{foo}1", "{foo}2"], MOVED),
        (["mget", "bar", "hello"], CROSS_SLOT),
        (["mset", "bar", 1, "foo", 2], CROSS_SLOT),
        (["object", "encoding", "foo"], MOVED),
        (["lmpop", 2, "foo", "bar", "left"], CROSS_SLOT),
        (["lmpop", 1, "foo", "left"], MOVED),
        (["lmpop", "x", "foo", "left"], Refused("ERR numkeys should be greater than 0")),
        (["lmpop", 5, "foo", "left"], Refused("ERR syntax error")),
        (["sort", "bar", "by", "nosort", "store", "foo"], CROSS_SLOT),
        (["sort", "bar", "store", "{bar}2"], 0),
        (["sort", "bar", "by", "nosort"], []),
        (["sort", "bar", "by", "w*"], Refused("ERR BY option of SORT denied in Cluster mode.")),
        (["sort", "bar", "get", "#"], Refused("ERR GET option of SORT denied in Cluster mode.")),
        (["watch", "bar", "hello"], CROSS_SLOT),
        (["blpop", "foo", 0], MOVED),
        (["spublish", "foo", "x"], MOVED),
        (["ssubscribe", "foo"], MOVED),
        (["ssubscribe", "foo", "bar"], CROSS_SLOT),
        (["publish", "foo", "x"], 0),
        (["get"], Refused("ERR wrong number of arguments for 'get' command")),
        (["select", 0], "OK"),
        (["select", 1], Refused("ERR SELECT is not allowed in cluster mode")),
        (["select", "x"], Refused("ERR value is not an integer or out of range")),
        (["move", "bar", 1], Refused("ERR MOVE is not allowed in cluster mode")),
        (["swapdb", 0, 1], Refused("ERR SWAPDB is not allowed in cluster mode")),
        (
            ["copy", "bar", "bar", "db", 1],
            Refused("ERR Copying to another database is not allowed in cluster mode"),
        ),
        (["readonly"], "OK"),
        (["readwrite"], "OK"),
        (["asking"], "OK"),
        (["dbsize"], 0),
        (["keys", "*"], []),
        (["config", "get", "cluster-enabled"], [b"cluster-enabled", b"yes"]),
    ],
)  # fmt: skip
def test_what_a_node_answers(words: list[object], reply: object) -> None:
    assert joined()(*words) == reply


def test_a_transaction_is_for_one_slot() -> None:
    session = joined()
    for word in (["multi"], ["set", "bar", 1], ["set", "hello", 1]):
        session(*word)
    assert session("exec") == CROSS_SLOT
    assert session("exec") == Refused("ERR EXEC without MULTI")
    session("multi")
    session("get", "bar")
    assert session("get", "foo") == MOVED
    session("get", "hello")
    assert session("exec") == Refused("EXECABORT Transaction discarded because of previous errors.")
    for word in (["multi"], ["set", "bar", 1], ["incr", "{bar}2"]):
        session(*word)
    assert session("exec") == ["OK", 1]
    session("multi")
    assert session("exec") == []


def test_who_came_first_is_asked_who_he_is() -> None:
    session = joined()
    session.store.settings.apply("requirepass", "x")
    session.clients[0].is_guest = True
    assert session("get", "foo") == Refused("NOAUTH Authentication required.")


def test_where_the_nodes_are() -> None:
    session = joined(own=1)
    first, second = NODES[0].name, NODES[1].name
    assert session("cluster", "slots") == [
        [0, 8191, [b"10.0.0.1", 7000, first.encode(), []]],
        [8192, 16383, [b"10.0.0.2", 7001, second.encode(), []]],
    ]
    assert session("cluster", "myid") == second.encode()
    assert session("cluster", "nodes").decode() == (
        f"{first} 10.0.0.1:7000@17000 master - 0 0 1 connected 0-8191\n"
        f"{second} 10.0.0.2:7001@17001 myself,master - 0 0 2 connected 8192-16383\n"
    )
    assert b"cluster_state:ok\r\n" in session("cluster", "info")
    assert session("cluster", "keyslot", "foo") == 12182
    shard = session("cluster", "shards")[1]
    assert shard[:2] == [b"slots", [8192, 16383]]
    assert dict(zip(shard[3][0][::2], shard[3][0][1::2], strict=True)) == {
        b"id": second.encode(), b"port": 7001, b"ip": b"10.0.0.2", b"endpoint": b"10.0.0.2",
        b"role": b"master", b"replication-offset": 0, b"health": b"online",
    }  # fmt: skip
    assert session("cluster", "links") == session("cluster", "replicas", first) == []
    assert session("cluster", "replicas", "x") == Refused("ERR Unknown node x")
    assert session("cluster", "reset", "hard") == Refused(
        "ERR the nodes and slots of this cluster are fixed: they are given when it is started"
    )
    assert session("cluster", "nope") == Refused("ERR unknown subcommand 'nope'. Try CLUSTER HELP.")
    assert b"redis_mode:cluster\r\n" in session("info", "server")
    assert session("info", "cluster") == b"# Cluster\r\ncluster_enabled:1\r\n"
    assert session("hello")[9] == b"cluster"


def test_a_node_is_where_the_client_came_to() -> None:
    session = joined(nodes=[Node("", 7000), Node("", 7001)])
    for local, host in (
        ("10.1.2.3:6379", "10.1.2.3"),
        ("[fe80::1]:6379", "fe80::1"),
        ("/run/c1m.sock:0", "127.0.0.1"),
        ("?:0", "127.0.0.1"),
    ):
        session.store.addresses = lambda slots, local=local: [("?:0", local)]  # type: ignore[misc]
        assert session("get", "foo") == Refused(f"MOVED 12182 {host}:7001")
        assert session("cluster", "slots")[0][2][0] == host.encode()


def test_keys_of_a_slot() -> None:
    session = joined()
    for name in ("bar", "{bar}1", "hello"):
        session("set", name, 1)
    assert session("cluster", "countkeysinslot", 5061) == 2
    assert session("cluster", "getkeysinslot", 5061, 10) == [b"bar", b"{bar}1"]
    assert session("cluster", "getkeysinslot", 5061, 1) == [b"bar"]
    assert session("cluster", "countkeysinslot", SLOTS) == Refused("ERR Invalid slot")
    assert session("cluster", "getkeysinslot", 0, -1) == Refused(
        "ERR Invalid slot or number of keys"
    )


def test_without_a_cluster_all_of_it_is_refused() -> None:
    session = Session()
    for words in (["cluster", "slots"], ["cluster", "meet", "a", 1], ["cluster", "myid"],
                  ["asking"], ["readonly"], ["readwrite"]):  # fmt: skip
        assert session(*words) == Refused("ERR This instance has cluster support disabled")
    assert not session.store.is_guarded


# --- many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [*OURS, *THEIRS])
@pytest.mark.parametrize(
    "words", [["GET"], ["SET", "v"], ["INCR"], ["LPUSH", "v"], ["DEL"], ["PING"], ["SORT"]]
)  # fmt: skip
def test_alike_commands_as_one_by_one(key: str, words: list[str]) -> None:
    sent = [*words[:1], key, *words[1:]] if words != ["PING"] else words
    alone = joined(own=0)
    one_by_one = [alone.raw(*sent) for _ in range(30)]
    store = joined(own=0).store
    clients = Clients(store)
    Intake(clients).take([(0, command(*(word.encode() for word in sent)) * 30)])
    assert b"".join(b"".join(pieces) for pieces in store.out.replies.values()) + b"".join(
        piece for _, pieces in store.out.batches for piece in pieces
    ) == b"".join(reply or b"" for reply in one_by_one)
    assert dict(store.databases[0].data) == dict(alone.store.databases[0].data)


# --- the server ---------------------------------------------------------------------------------


def test_what_it_says_at_the_start() -> None:
    app = KeyValue(cluster_nodes="a:1,b:2", cluster_node=1)
    listens = SimpleNamespace(endpoints=[Endpoint(AF_INET, "127.0.0.1", 3)])
    assert app.notes(listens) == [  # type: ignore[arg-type]
        "node 1 of a cluster of 2: slots 8192 to 16383",
        "clients are sent to port 2 for these slots, and nothing listens on it here (--listen)",
    ]
    listens.endpoints.append(Endpoint(AF_INET, "127.0.0.1", 2))
    assert len(app.notes(listens)) == 1  # type: ignore[arg-type]


# --- options ------------------------------------------------------------------------------------


def test_nodes_as_they_are_given() -> None:
    given = "10.0.0.1:7000, :7001,0.0.0.0:7002,[::1]:7003-7004,host:7005"
    cluster = KeyValueOptions(cluster_nodes=given, cluster_node=5).cluster()
    assert cluster is not None
    assert cluster.nodes == [
        ("10.0.0.1", 7000), ("", 7001), ("", 7002), ("::1", 7003), ("::1", 7004), ("host", 7005),
    ]  # fmt: skip
    assert cluster.own == 5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cluster_nodes": "a:1,b:2"}, "needs both"),
        ({"cluster_node": 0}, "needs both"),
        ({"cluster_nodes": "a:1,b:2", "cluster_node": 2}, "no node 2"),
        ({"cluster_nodes": "a:1,a:1", "cluster_node": 0}, "twice"),
        ({"cluster_nodes": "", "cluster_node": 0}, "not an endpoint"),
        ({"cluster_nodes": "a", "cluster_node": 0}, "not an endpoint"),
        ({"cluster_nodes": "a:0", "cluster_node": 0}, "no place"),
        ({"cluster_nodes": "unix:///x", "cluster_node": 0}, "no place"),
        ({"cluster_nodes": "a:1", "cluster_node": -1}, "too small"),
        ({"cluster_nodes": "a:1-4000,b:1-4000,c:1-4000,d:1-4000,e:1-4000", "cluster_node": 0},
         "more than there are slots"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        KeyValueOptions(**options)
