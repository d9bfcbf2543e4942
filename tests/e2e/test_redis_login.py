"""redis://USER:PASSWORD@HOST/DATABASE: against redis-server and c1m serve kv, good and bad."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, Server, load, run
from e2e.debian_servers import free_port, program, running

SECRET, OTHER = "s3cr3t-of-all", "s3cr3t/of@me"  # the second one percent-encoded in a URL
LOGINS = (f":{SECRET}", SECRET, "me:s3cr3t%2Fof%40me")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[int]:
    """Where a redis-server listens that wants a password, and knows a user `me`."""
    found = free_port()
    options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--port", str(found)]
    options += ["--dir", str(tmp_path), "--requirepass", SECRET]
    options += ["--user", "me", "on", f">{OTHER}", "~*", "&*", "+@all"]
    command = [program("redis-server", "redis-server"), *options]
    with running(command, found, tmp_path / "log"):
        yield found


def ask(port: int, *commands: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as client:
        client.sendall(b"".join(each + b"\r\n" for each in (*commands, b"QUIT")))
        return b"".join(iter(lambda: client.recv(65_536), b""))


@pytest.mark.parametrize("login", LOGINS)
def test_connections_log_in_and_select(tmp_path: Path, redis: int, login: str) -> None:
    target = f"redis://{login}@127.0.0.1:{redis}/3"
    status, record, said = load(tmp_path, target, "--connections", 100, "--hold", "1s")
    assert status == 0 and record.verdict.complete, said
    assert record.latencies["handshake"].count == 100
    assert b":0\r\n:101\r\n" in ask(
        redis, b"AUTH " + SECRET.encode(), b"DBSIZE", b"SELECT 3", b"DBSIZE"
    ).replace(b"+OK\r\n", b"")  # database 0 has nothing
    shown = {record.target, *record.asked.targets, *record.command, said, record.text()}
    assert not any("s3cr3t" in each for each in shown)
    user, colon, _ = login.rpartition(":")
    assert record.target == f"redis://{user}{colon}***@127.0.0.1:{redis}/3"


def test_a_wrong_password_in_the_servers_words(tmp_path: Path, redis: int) -> None:
    status, record, said = load(tmp_path, f"redis://me:wr0ng@127.0.0.1:{redis}", "--hold", "1s")
    assert status == 1
    assert (record.connections.handshake_failed, record.connections.opened) == (10, 0)
    (failure,) = record.failures
    assert (failure.phase, failure.errno, failure.count) == ("handshake", "AUTH refused", 10)
    assert "WRONGPASS" in failure.text and "10 x AUTH refused in the handshake" in said
    assert "wr0ng" not in record.text() + said


def test_a_database_that_is_not_there(tmp_path: Path, redis: int) -> None:
    target = f"redis://{SECRET}@127.0.0.1:{redis}/99"
    _, record, said = load(tmp_path, target, "--hold", "1s")
    assert [each.errno for each in record.failures] == ["SELECT refused"]
    assert "DB index is out of range" in " ".join(said.split())  # whatever the width of lines


def test_subscribers_log_in_and_churn_does_so_again(tmp_path: Path, redis: int) -> None:
    target = f"redis://:{SECRET}@127.0.0.1:{redis}"
    status, record, said = load(
        tmp_path, target, "--connections", 50, "--scenario", "redis-subscribe", "--hold", "1s",
        "--rate", "20/s",
    )  # fmt: skip
    assert status == 0 and record.fan_out is not None and record.fan_out.reach == 1, said
    status, record, said = load(
        tmp_path, target, "--connections", 50, "--hold", "2s", "--churn", "50/s"
    )
    assert status == 0 and record.connections.closed > 0, said
    assert record.latencies["handshake"].count == record.connections.opened


def test_the_key_value_server(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(SECRET)
    (tmp_path / "password").chmod(0o600)
    with Server(tmp_path, "--password-file", tmp_path / "password", app="kv") as server:
        target = f"redis://:{SECRET}@{server.urls[0].partition('://')[2]}/1"
        status, record, said = load(tmp_path, target, "--connections", 100, "--hold", "1s")
        assert status == 0 and record.verdict.complete, said
        _, record, said = load(tmp_path, target.replace(SECRET, "wr0ng"), "--hold", "1s")
        assert "WRONGPASS" in said and "wr0ng" not in record.text() + said


def test_something_else_listens_there(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        target = f"redis://:{SECRET}@{server.urls[0].partition('://')[2]}"
        _, record, said = load(tmp_path, target, "--hold", "1s")
    assert [each.errno for each in record.failures] == ["not Redis"]
    assert SECRET not in record.text() + said


@pytest.mark.parametrize(
    "target", [f"redis://:{SECRET}@127.0.0.1/x", f"redi://:{SECRET}@a", f"me:{SECRET}@a:1"]
)
def test_a_mistake_does_not_show_it_either(target: str) -> None:
    done = run("load", target)
    assert done.returncode == 2 and SECRET not in done.stdout + done.stderr
