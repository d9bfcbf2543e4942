"""Nodes of a Redis Cluster as processes, with the clients that people use for one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from redis.asyncio.cluster import RedisCluster as AsyncCluster
from redis.cluster import RedisCluster

from c1m.cli.serve import serve
from c1m.errors import UsageError
from e2e.cli_helpers import PATIENCE_S, free_ports
from e2e.debian_servers import program, running
from e2e.library_runs import eventually

Place = tuple[str, int]
KEYS = [f"key:{number}" for number in range(300)]


def node_of(place: Place, nodes: str, index: int, *options: object) -> list[str]:
    """The command of a node."""
    command = [sys.executable, "-m", "c1m", "serve", "kv", "--quiet"]
    command += ["--listen", f"tcp://{place[0]}:{place[1]}", *map(str, options)]
    return [*command, "--cluster-nodes", nodes, "--cluster-node", str(index)]


@contextlib.contextmanager
def cluster(folder: Path, count: int = 3, host: str = "127.0.0.1") -> Iterator[list[int]]:
    """Nodes on this machine for the time of a `with`: their ports."""
    first = free_ports(count)
    with contextlib.ExitStack() as stack:
        for index in range(count):
            nodes, place = f"{host}:{first}-{first + count - 1}", (host, first + index)
            log = folder / f"node-{index}.log"
            stack.enter_context(running(node_of(place, nodes, index), place[1], log))
        yield [first + index for index in range(count)]


@pytest.fixture
def ports(tmp_path: Path) -> Iterator[list[int]]:
    with cluster(tmp_path) as found:
        yield found


def sent_on(port: int) -> int:
    """How often a node has said MOVED."""
    with redis.Redis(port=port) as client:
        errors = client.info("errorstats")
    return int(errors.get("errorstat_MOVED", {"count": 0})["count"])


def said_by(*words: object) -> str:
    """What a command prints."""
    done = subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    return done.stdout


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(ports: list[int], protocol: int) -> None:
    with RedisCluster("127.0.0.1", ports[2], protocol=protocol) as client:
        assert sorted(node.port for node in client.get_nodes()) == ports
        with client.pipeline() as pipeline:
            for number, key in enumerate(KEYS):
                pipeline.set(key, number)
            assert all(pipeline.execute())
        assert client.mget_nonatomic(*KEYS) == [b"%d" % number for number in range(len(KEYS))]
        assert client.mset({"{user:1}:a": 1, "{user:1}:b": 2})
        assert client.mget("{user:1}:a", "{user:1}:b") == [b"1", b"2"]
        with pytest.raises(redis.exceptions.RedisClusterException, match="same key slot"):
            client.mget("a", "b")
        sizes = client.dbsize(target_nodes=RedisCluster.PRIMARIES)
        assert sizes == len(KEYS) + 2
        assert {key.decode() for key in client.scan_iter("key:*")} == set(KEYS)
        subscriber = client.pubsub()
        subscriber.ssubscribe("news")
        assert client.spublish("news", "hello") == 1
        kinds = []
        while "smessage" not in kinds:
            message = subscriber.get_sharded_message(timeout=1)
            kinds += [message["type"]] if message is not None else []
        assert kinds == ["ssubscribe", "smessage"]
        subscriber.close()
        assert client.flushall(target_nodes=RedisCluster.PRIMARIES)
        assert client.dbsize(target_nodes=RedisCluster.PRIMARIES) == 0


def test_redis_py_asyncio(ports: list[int]) -> None:
    async def run() -> list[Any]:
        async with AsyncCluster(host="127.0.0.1", port=ports[0]) as client:
            await asyncio.gather(*(client.incrby(key, 2) for key in KEYS[:50]))
            return list(await asyncio.gather(*(client.get(key) for key in KEYS[:50])))

    assert asyncio.run(run()) == [b"2"] * 50


def test_redis_cli_and_benchmark(ports: list[int]) -> None:
    client = program("redis-cli", "redis-tools")
    shown = said_by(client, "--cluster", "check", f"127.0.0.1:{ports[0]}")
    assert "[OK] All nodes agree about slots configuration." in shown
    assert "[OK] All 16384 slots covered." in shown
    for number in range(20):
        assert said_by(client, "-c", "-p", ports[0], "SET", f"k{number}", number) == "OK\n"
        assert said_by(client, "-c", "-p", ports[1], "GET", f"k{number}") == f"{number}\n"
    called = said_by(client, "--cluster", "call", f"127.0.0.1:{ports[0]}", "dbsize")
    assert sum(map(int, re.findall(r": (\d+)$", called, re.MULTILINE))) == 20
    moved = [sent_on(port) for port in ports]
    said = said_by(
        program("redis-benchmark", "redis-tools"), "--cluster", "-p", ports[0], "-n", "3000",
        "-t", "set,get", "-r", "1000", "-q", "--csv",
    )  # fmt: skip
    assert said.count('"SET"') == said.count('"GET"') == 1
    assert moved[1] > 0
    assert [sent_on(port) for port in ports] == moved  # it knows where to go


def test_a_node_goes_and_comes_back(tmp_path: Path) -> None:
    """Its keys are away meanwhile, others' are not; what it has kept is there again."""
    first = free_ports(2)
    nodes, data = f"127.0.0.1:{first},127.0.0.1:{first + 1}", tmp_path / "data"
    places = [("127.0.0.1", first), ("127.0.0.1", first + 1)]
    keeping = node_of(places[1], nodes, 1, "--data", data, "--durability", "always")
    with running(node_of(places[0], nodes, 0), first, tmp_path / "0.log"):
        second = running(keeping, first + 1, tmp_path / "1.log")
        with second, RedisCluster("127.0.0.1", first) as client:
            assert client.set("bar", 1) and client.set("foo", 1)  # the first's, the second's
        with RedisCluster("127.0.0.1", first) as client:
            assert client.get("bar") == b"1"
            with pytest.raises(redis.exceptions.RedisError):
                client.get("foo")
        second = running(keeping, first + 1, tmp_path / "1.log")
        with second, RedisCluster("127.0.0.1", first) as client:
            assert client.get("foo") == b"1"
    for moved in ([*keeping[:-1], "0"], [*keeping[:-3], f"{nodes},127.0.0.1:1", *keeping[-2:]]):
        done = subprocess.run(moved, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 2
        assert "holds 1 key that node" in done.stderr


def test_the_host_is_the_one_that_a_client_came_to(tmp_path: Path) -> None:
    first = free_ports(2)
    with contextlib.ExitStack() as stack:
        for index in range(2):
            place = ("0.0.0.0", first + index)
            command = node_of(place, f":{first},:{first + 1}", index)
            stack.enter_context(running(command, place[1], tmp_path / f"{index}.log"))
        for host in ("127.0.0.1", "127.0.0.2"):
            with RedisCluster(host, first) as client:
                assert {node.host for node in client.get_nodes()} == {host}
                assert client.set("foo", 1) and client.set("bar", 1)
            moved = pytest.raises(redis.exceptions.MovedError, match=f"{host}:{first + 1}")
            with redis.Redis(host, first) as one, moved:
                one.get("foo")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--listen", "unix:///tmp/c1m-none.sock"], "needs a TCP port"),
        (
            ["--cluster-nodes", "127.0.0.1:1,127.0.0.1:2", "--cluster-node", "0"],
            "--cluster-nodes names another",
        ),
    ],
)
def test_processes_that_could_not_share_keys(words: list[str], said: str) -> None:
    refused = CliRunner().invoke(serve, ["kv", "--processes", "2", *words]).exception
    assert isinstance(refused, UsageError)
    assert said in str(refused)


def heard_by_all(*ports: int) -> None:
    """What is published at one node is heard at each, once."""
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(redis.Redis(port=port, socket_timeout=PATIENCE_S)) for port in ports
        ]
        subscribers = [stack.enter_context(contextlib.closing(node.pubsub())) for node in nodes]
        for each in subscribers:
            each.subscribe("news")
            assert each.get_message(timeout=PATIENCE_S)["type"] == "subscribe"
        eventually(lambda: published(nodes[0], "begin"), "the relay is there")
        nodes[0].publish("news", "end")
        for each in subscribers:
            heard = [each.get_message(timeout=PATIENCE_S)["data"] for _ in range(2)]
            assert heard == [b"begin", b"end"]


def published(node: redis.Redis, message: str) -> bool:
    """Whether a node took it."""
    try:
        node.publish("news", message)
    except redis.exceptions.ResponseError:  # the relay is not there yet
        return False
    return True


def test_processes_of_one_server(tmp_path: Path) -> None:
    """Each has the shared port and one of its own; one that is killed comes back with its data."""
    port = free_ports(3)
    command = [sys.executable, "-m", "c1m", "serve", "kv", "--quiet", "--processes", "2"]
    command += ["--listen", f"tcp://127.0.0.1:{port}", "--data", str(tmp_path / "data")]
    with (
        running([*command, "--durability", "always"], port, tmp_path / "server.log"),
        RedisCluster("127.0.0.1", port, socket_timeout=PATIENCE_S) as client,
    ):
        assert sorted(node.port for node in client.get_nodes()) == [port + 1, port + 2]
        for number, key in enumerate(KEYS):
            assert client.set(key, number)
        heard_by_all(port + 1, port + 2)
        owner = client.get_node_from_key("foo")
        killed = client.info("server", target_nodes=owner)["process_id"]
        os.kill(killed, signal.SIGKILL)
        with redis.Redis(port=owner.port, socket_timeout=PATIENCE_S) as again:
            # its sockets have waited for the next process
            assert again.info("server")["process_id"] != killed
        expected = [b"%d" % number for number in range(len(KEYS))]
        assert client.mget_nonatomic(*KEYS) == expected
