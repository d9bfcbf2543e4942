"""The key-value server's connections, with redis-py, redis-cli and plain sockets."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from c1m.apps.kv.app import KeyValue
from c1m.protocols.resp.replies import command
from c1m.server.statistics import CloseReason
from e2e.library_runs import WAIT_S, ServerThread, eventually, serving

Running = tuple[KeyValue, ServerThread]


def start(engine: str, listen: Any = "tcp://127.0.0.1:0", **options: Any) -> Iterator[Running]:
    app = KeyValue(**options)
    with serving(app, listen, engine=engine) as run:
        eventually(lambda: hasattr(app, "notifications"), "it has begun")
        yield app, run


@pytest.fixture(params=["uring", "epoll"])
def app(request: pytest.FixtureRequest) -> Iterator[Running]:
    yield from start(request.param)


def client(run: ServerThread, protocol: int = 2, **options: Any) -> redis.Redis:
    return redis.Redis(run.host, run.port, protocol=protocol, socket_timeout=WAIT_S, **options)


def raw(run: ServerThread) -> socket.socket:
    return socket.create_connection((run.host, run.port), WAIT_S)


def said_until_closed(sock: socket.socket) -> bytes:
    said = b""
    while piece := sock.recv(4096):
        said += piece
    return said


@pytest.mark.parametrize("protocol", [2, 3])
def test_redis_py(app: Running, protocol: int) -> None:
    _, run = app
    with client(run, protocol, client_name="me", decode_responses=True) as one:
        assert one.ping()
        assert one.set("k", "v")
        assert one.config_get("maxm*-policy") == {"maxmemory-policy": "noeviction"}
        assert one.config_set("notify-keyspace-events", "KEA")
        assert one.info("server")["redis_version"] == "7.0.15"
        assert one.info()["db0"]["keys"] == 1
        assert one.command_count() == len(one.command())
        assert one.memory_usage("k") > 50
        assert one.time()[0] > 1_700_000_000
        (own,) = one.client_list()
        assert own["name"] == "me"
        assert own["lib-name"].startswith("redis-py")
        assert own["resp"] == str(protocol)
        assert own["laddr"] == f"{run.host}:{run.port}"
        assert own["addr"].startswith("127.0.0.1:")
        assert one.client_info()["id"] == one.client_id()
        assert one.slowlog_get() == []
        assert one.acl_whoami() == "default"
        with one.pipeline() as pipe:
            pipe.watch("k")
            pipe.multi()
            assert pipe.set("k", 1).incr("k").get("k").execute() == [True, 2, "2"]
        pipe = one.pipeline()
        pipe.watch("k")
        one.set("k", 3)
        pipe.multi()
        with pytest.raises(redis.WatchError):
            pipe.get("k").execute()
        pipe.reset()
        with pytest.raises(redis.ResponseError, match="unknown command 'XADD'"):
            one.xadd("s", {"a": 1})


def test_many_clients_without_names_are_rows_only(app: Running) -> None:
    kv, run = app
    clients = [client(run, 3) for _ in range(50)]
    for each in clients:
        each.ping()
    assert kv.store.rows.count == 50
    assert not kv.clients.kept
    assert not kv.store.rows._own_labels
    ids = {int(row["id"]) for row in clients[0].client_list()}
    assert len(ids) == 50
    for each in clients:
        each.close()
    eventually(lambda: kv.store.rows.count == 0, "all have left")


def test_a_killed_client_is_closed(app: Running) -> None:
    _, run = app
    with client(run) as one, raw(run) as other:
        other.sendall(command(b"CLIENT", b"ID"))
        number = int(other.recv(100)[1:-2])
        (row,) = [row for row in one.client_list() if row["id"] == str(number)]
        assert one.client_kill(row["addr"])
        with pytest.raises(ConnectionResetError):
            other.recv(100)
        assert one.client_kill_filter(_id=number) == 0


def test_quit_and_what_follows_it(app: Running) -> None:
    _, run = app
    with raw(run) as sock:
        sock.sendall(command(b"SET", b"k", b"1") + command(b"QUIT") + command(b"SET", b"k", b"2"))
        assert said_until_closed(sock) == b"+OK\r\n+OK\r\n"
    with client(run) as one:
        assert one.get("k") == b"1"


def test_monitor(app: Running) -> None:
    kv, run = app
    with client(run) as one, client(run) as other, one.monitor() as monitor:
        other.set("k", "a b")
        seen = [monitor.next_command()["command"] for _ in range(1)]
        while not seen[-1].startswith("SET"):
            seen.append(monitor.next_command()["command"])
        assert seen[-1] == "SET k a b"
    eventually(lambda: not kv.store.monitors, "nobody watches")


def test_keyspace_notifications(app: Running) -> None:
    _, run = app
    with client(run) as one, one.pubsub() as heard:
        one.config_set("notify-keyspace-events", "Kx")
        heard.psubscribe("__keyspace@0__:*")
        assert heard.get_message(timeout=WAIT_S)["type"] == "psubscribe"
        one.set("k", 1, px=20)
        message = heard.get_message(timeout=WAIT_S)
        assert (message["channel"], message["data"]) == (b"__keyspace@0__:k", b"expired")


@pytest.mark.parametrize("for_ms", [20, 600_000])
def test_a_pause_ends_by_itself_or_by_a_word(app: Running, for_ms: int) -> None:
    kv, run = app
    with client(run) as one, raw(run) as held:
        assert one.client_pause(for_ms, all=False)
        held.sendall(command(b"SET", b"k", b"1") + command(b"GET", b"k"))
        if for_ms > 1000:
            eventually(lambda: kv.store.pause.held, "a client waits")
            assert one.get("k") is None
            one.client_unpause()
        expected, said = b"+OK\r\n$1\r\n1\r\n", b""
        while len(said) < len(expected):
            said += held.recv(100)
        assert said == expected
    eventually(lambda: not kv.clients.kept, "nothing is kept of them")


def test_shutdown_ends_the_server(app: Running) -> None:
    _, run = app
    with client(run) as one:
        one.shutdown(nosave=True)
    run._thread.join(WAIT_S)
    assert not run._thread.is_alive()


def test_a_password_and_a_bound() -> None:
    for kv, run in start("auto", password="secret", max_clients=2):
        with client(run) as one, pytest.raises(redis.AuthenticationError):
            one.ping()
        with client(run, 3, password="wrong") as one, pytest.raises(redis.AuthenticationError):
            one.ping()
        eventually(lambda kv=kv: kv.store.rows.count == 0, "both have left")
        with client(run, 3, password="secret") as one, raw(run):
            assert one.ping()
            eventually(lambda kv=kv: kv.store.rows.count == 2, "all that may be there are")
            with raw(run) as refused:
                assert said_until_closed(refused) == b"-ERR max number of clients reached\r\n"
            assert one.info()["rejected_connections"] == 1


def test_who_is_idle_is_closed_unless_it_is_a_subscriber() -> None:
    for kv, run in start("auto", idle_timeout="1s"):
        with raw(run) as idle, raw(run) as subscriber:
            subscriber.sendall(command(b"SUBSCRIBE", b"a"))
            assert subscriber.recv(100)
            assert said_until_closed(idle) == b""
            eventually(lambda kv=kv: kv.store.rows.count == 1, "the idle one has gone")
            assert run.server.statistics.closed[CloseReason.IDLE] == 1
            with client(run) as one:
                assert one.publish("a", "x") == 1
            assert subscriber.recv(100).endswith(b"x\r\n")


def test_redis_cli(tmp_path: Path) -> None:
    if shutil.which("redis-cli") is None:
        pytest.skip("redis-cli is not installed")
    path = tmp_path / "kv.sock"
    for kv, _ in start("epoll", [f"unix://{path}"], password="secret"):

        def cli(*words: str, password: str = "secret") -> str:
            own = ["redis-cli", "-s", str(path), "-a", password, "--no-auth-warning", "--raw"]
            done = subprocess.run([*own, *words], capture_output=True, text=True, timeout=WAIT_S)
            return done.stdout.strip()

        assert cli("-3", "set", "k", "v") == "OK"
        assert cli("get", "k") == "v"
        assert "NOAUTH" in cli("get", "k", password="wrong")
        assert "addr=" in cli("client", "list")
        assert f"laddr={path}:0" in cli("client", "list")
        assert "# Keyspace\r\ndb0:keys=1" in cli("info").replace("\n", "\r\n").replace("\r\r", "\r")
        assert cli("config", "get", "requirepass").split() == ["requirepass", "secret"]
        assert kv.store.statistics.faults == 0
