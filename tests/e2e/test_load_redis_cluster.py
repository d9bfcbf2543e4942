"""`c1m load redis://` against clusters: Debian's redis-server, and `c1m serve kv` of two processes.

What is true is asked of the nodes themselves: how many commands each has run, of which keys.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from c1m.protocols.resp.slots import SLOTS, slot_of
from c1m.results.record import RunRecord
from e2e.cli_helpers import PATIENCE_S, assert_as_asked, free_ports, load, run
from e2e.debian_servers import program, running
from e2e.library_runs import eventually

SECRET = "s3cr3t-of-all"
ENDS = (8192, 12_288, SLOTS)  # the slots behind each node's last
COMMANDS = ("set", "get", "incr")
CARTS = """
import c1m


def carts(n):
    cart = f"cart{c1m.hash_tag(n)}:{n}"
    yield c1m.Command("SET", cart, n)
    yield c1m.Command("GET", cart, expect=str(n))


def keys(n):
    yield c1m.Command("SET", f"key:{n}", n)
"""


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[list[int]]:
    """Three redis-servers, of which the first has half of the slots, with a password: ports."""
    first = free_ports(6)
    ports = [first, first + 1, first + 2]
    with contextlib.ExitStack() as stack:
        clients = []
        for port in ports:
            options = ["--save", "", "--cluster-enabled", "yes", "--bind", "127.0.0.1"]
            options += ["--cluster-port", str(port + 3), "--cluster-config-file", f"{port}.conf"]
            options += ["--dir", str(tmp_path), "--port", str(port), "--requirepass", SECRET]
            options += ["--protected-mode", "no", "--tcp-backlog", "4096"]
            command = [program("redis-server", "redis-server"), *options]
            stack.enter_context(running(command, port, tmp_path / f"{port}.log"))
            clients.append(stack.enter_context(node_at(port)))
        for client, start, end in zip(clients, (0, *ENDS), ENDS, strict=False):
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", start, end - 1)
        for port in ports[1:]:
            clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", port, port + 3)

        def is_whole() -> bool:
            states = [client.execute_command("CLUSTER", "INFO") for client in clients]
            slots = [len(client.execute_command("CLUSTER", "SLOTS")) for client in clients]
            ok = [b"cluster_state:ok" in bytes(str(state), "utf-8") for state in states]
            return all(ok) and slots == [3, 3, 3]

        eventually(is_whole, "three redis-servers are a cluster")
        for client in clients:
            client.config_resetstat()
        yield ports


@contextlib.contextmanager
def processes(folder: Path, *options: object, url: str = "tcp://127.0.0.1") -> Iterator[list[int]]:
    """`c1m serve kv --processes 2`: the ports of its processes."""
    port = free_ports(3)
    command = [sys.executable, "-m", "c1m", "serve", "kv", "--quiet", "--processes", "2"]
    command += ["--listen", f"{url}:{port}", "--password", SECRET, *map(str, options)]
    with running(command, port, folder / "server.log"):
        yield [port + 1, port + 2]


def node_at(port: int, *, ssl: bool = False) -> redis.Redis:
    return redis.Redis(
        port=port, password=SECRET, socket_timeout=PATIENCE_S, ssl=ssl, ssl_cert_reqs="none"
    )


def ran_by(port: int, *, ssl: bool = False) -> int:
    """How many of the scenario's commands a node ran; all of them were for its own keys."""
    with node_at(port, ssl=ssl) as client:
        found = client.info("commandstats")
        assert "errorstat_MOVED" not in client.info("errorstats")
    return sum(found.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in COMMANDS)


def assert_all_ran(record: RunRecord, ports: list[int], *, ssl: bool = False) -> None:
    """The nodes' commands in sum are those that were sent, and each node has had some."""
    ran = [ran_by(port, ssl=ssl) for port in ports]
    assert sum(ran) == record.all_requests.sent
    assert all(ran)
    assert record.all_requests.right == record.all_requests.sent


def test_all_nodes_are_loaded_by_their_slots(tmp_path: Path, engine: str, nodes: list[int]) -> None:
    count = 400
    status, record, said = load(
        tmp_path, f"redis://:{SECRET}@127.0.0.1:{nodes[2]}", "--connections", count, "--seed", 7,
        "--engine", engine, "--stage", f"ramp {count}", "--stage", "stampede",
        "--stage", "hold for 2s at 500/s",
    )  # fmt: skip
    assert_as_asked(status, record, said)
    assert_all_ran(record, nodes)
    assert record.connections.opened == count
    assert SECRET not in said + record.text()
    assert record.metadata.redis_nodes == 3
    assert "(a Redis Cluster of 3 nodes), scenario resp" in " ".join(said.split())
    keys = {port: node_keys(port) for port in nodes}
    for start, end, port in zip((0, *ENDS), ENDS, nodes, strict=False):
        assert all(start <= slot_of(key) < end for key in keys[port])
        own = [key for key in keys[port] if b"counter" not in key]
        assert len(keys[port]) - len(own) == 1
        assert abs(len(own) - count * (end - start) / SLOTS) <= 3
    assert sum(map(len, keys.values())) == count + len(nodes)


def node_keys(port: int) -> list[bytes]:
    with node_at(port) as client:
        found: list[bytes] = client.keys("c1m:00000007:{*")
        assert len(found) == client.dbsize()
    return found


def test_processes_of_the_key_value_server(tmp_path: Path) -> None:
    with processes(tmp_path) as ports:
        status, record, said = load(
            tmp_path, f"redis://:{SECRET}@127.0.0.1:{ports[0] - 1}", "--connections", 200,
            "--hold", "2s", "--rate", "500/s", "--churn", "20/s",
        )  # fmt: skip
        assert_as_asked(status, record, said)
        assert_all_ran(record, ports)
        assert record.connections.closed > 0


def test_over_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3"]
    words += ["-subj", "/CN=c1m", "-addext", "subjectAltName=IP:127.0.0.1"]
    words += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True, timeout=PATIENCE_S)
    tls = ["--tls-cert", certificate, "--tls-key", key]
    with processes(tmp_path, *tls, url="rediss://127.0.0.1") as ports:
        status, record, said = load(
            tmp_path, f"rediss://:{SECRET}@127.0.0.1:{ports[0] - 1}", "--ca", certificate,
            "--connections", 50, "--hold", "1s", "--rate", "100/s",
        )  # fmt: skip
        assert_as_asked(status, record, said)
        assert record.connections.secured == 50
        assert_all_ran(record, ports, ssl=True)


def test_by_several_workers(tmp_path: Path, nodes: list[int]) -> None:
    path = tmp_path / "run.json"
    done = run(
        "load", f"redis://:{SECRET}@127.0.0.1:{nodes[0]}", "--connections", 90, "--cluster",
        "local:2", "--stage", "ramp 90", "--stage", "hold for 2s at 200/s", "--quiet", "--seed", 7,
        "--json", path,
    )  # fmt: skip
    assert done.stderr == ""
    record = RunRecord.read(path)
    assert record.verdict.complete, done.stdout
    assert record.connections.opened == record.connections.open_at_end == 90
    assert record.metadata.redis_nodes == 3
    assert_all_ran(record, nodes)
    assert sum(len(node_keys(port)) for port in nodes) == 90 + 2 * len(
        nodes
    )  # each worker has a counter of its own with each node


def test_conversations_with_tags_and_without(tmp_path: Path, nodes: list[int]) -> None:
    (tmp_path / "own.py").write_text(CARTS)
    target = f"redis://:{SECRET}@127.0.0.1:{nodes[0]}"
    status, record, said = load(
        tmp_path, target, "--scenario", f"{tmp_path}/own.py:carts", "--connections", 60,
        "--hold", "1s", "--rate", "200/s",
    )  # fmt: skip
    assert_as_asked(status, record, said)
    status, record, said = load(
        tmp_path, target, "--scenario", f"{tmp_path}/own.py:keys", "--connections", 60,
        "--stage", "ramp 60", "--stage", "stampede",
    )  # fmt: skip
    assert status == 1 and "put c1m.hash_tag(n) into the keys" in " ".join(said.split())
    requests = record.all_requests
    assert set(requests.faults) == {"moved"}
    assert requests.right + requests.faults["moved"] == requests.sent
    assert record.connections.opened == record.connections.open_at_end == 60


def test_a_node_that_is_not_asked_for_others(tmp_path: Path, nodes: list[int]) -> None:
    """tcp:// is one server; of what it says, MOVED is told apart."""
    with node_at(nodes[0]) as client:
        client.config_set("requirepass", "")
    status, record, said = load(
        tmp_path, f"tcp://127.0.0.1:{nodes[0]}", "--scenario", "resp", "--connections", 60,
        "--stage", "ramp 60", "--stage", "stampede",
    )  # fmt: skip
    assert status == 1 and "write the target as redis://HOST:PORT" in " ".join(said.split())
    assert set(record.all_requests.faults) == {"moved"}
    assert {fault.kind for fault in record.faults} == {"moved"}


def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    """Its connections are refused, and those of the other are as they would be with both."""
    first = free_ports(2)
    listed = f"127.0.0.1:{first}-{first + 1}"
    command = [sys.executable, "-m", "c1m", "serve", "kv", "--quiet", "--password", SECRET]
    command += ["--listen", f"tcp://127.0.0.1:{first}", "--cluster-nodes", listed]
    with running([*command, "--cluster-node", "0"], first, tmp_path / "log"):
        status, record, said = load(
            tmp_path, f"redis://:{SECRET}@127.0.0.1:{first}", "--connections", 100, "--stage",
            "ramp 100", "--stage", "hold for 1s at 100/s",
        )  # fmt: skip
        assert ran_by(first) == record.all_requests.sent == record.all_requests.right
    assert status == 1, said
    assert (record.connections.refused, record.connections.opened) == (50, 50)
    assert record.connections.open_at_end == 50


def test_what_no_cluster_can_do_is_refused(tmp_path: Path, nodes: list[int]) -> None:
    place = f":{SECRET}@127.0.0.1:{nodes[0]}"
    for words, said in (
        ([f"redis://{place}/2"], "in which there is no database 2 (ERR SELECT is not allowed"),
        ([f"redis://{place}", f"redis://:{SECRET}@127.0.0.1:{nodes[1]}"], ""),
    ):
        done = run("load", *words, "--connections", 10, "--stage", "ramp 10", "--json", "-")
        if said:
            assert done.returncode == 2 and said in done.stderr and SECRET not in done.stderr
        else:  # two nodes of one cluster
            assert done.returncode == 0 and json.loads(done.stdout)["connections"]["opened"] == 10
    with node_at(nodes[1]) as client:
        client.execute_command("CLUSTER", "DELSLOTS", 9000)
    done = run("load", f"redis://:{SECRET}@127.0.0.1:{nodes[1]}", "--connections", 10)
    assert done.returncode == 2
    assert "in which 1 of 16,384 hash slots" in done.stderr
    alone = free_ports(1)
    command = [program("redis-server", "redis-server"), "--save", "", "--port", str(alone)]
    with running(command, alone, tmp_path / "alone.log"):
        two = [f"redis://:{SECRET}@127.0.0.1:{port}" for port in (nodes[0], alone)]
        done = run("load", *two, "--connections", 10)
    assert done.returncode == 2
    assert "are not nodes of the same Redis Cluster" in done.stderr
