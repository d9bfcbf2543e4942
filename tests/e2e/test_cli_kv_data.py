"""`c1m serve kv --data`: what it has comes back, and refusals are one sentence."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import redis

from e2e.cli_helpers import Server, run


def client(server: Server) -> redis.Redis:
    """A client of it."""
    return redis.Redis.from_url(server.url.replace("tcp://", "redis://"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_was_confirmed_comes_back(tmp_path: Path, number: int) -> None:
    options = ["--data", tmp_path / "data", "--durability", "always", "--quiet"]
    with Server(tmp_path, *options, app="kv") as server, client(server) as one:
        one.mset({f"k{number}": "v" * 100 for number in range(1000)})
        one.rpush("list", "a", "b")
        if number == signal.SIGKILL:
            server.process.kill()
        else:
            assert server.stop(number) == 0
            assert sorted(os.listdir(tmp_path / "data")) == ["data.sqlite", "lock"]
    with Server(tmp_path, *options, app="kv") as server:
        with client(server) as one:
            assert one.dbsize() == 1001
            assert one.lrange("list", 0, -1) == [b"a", b"b"]
        assert server.stop(signal.SIGTERM) == 0
        assert f"data in {tmp_path / 'data'} (durability always), 1,001 keys" in server.output


def test_refusals_are_one_sentence(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    (theirs / "dump.rdb").write_text("")
    with Server(tmp_path, "--data", ours, "--quiet", app="kv") as server:
        for directory, said in (
            (theirs, f"The directory {theirs} has files of another program (dump.rdb)."),
            (ours, f"{ours} is in use by another process (pid {server.pid})."),
            (tmp_path / "no" / "such", "cannot be used: no such file or directory."),
        ):
            done = run("serve", "kv", "--listen", "tcp://127.0.0.1:0", "--data", directory)
            assert (done.returncode, done.stdout) == (2, "")
            assert said in done.stderr and "Traceback" not in done.stderr
        assert server.stop(signal.SIGTERM) == 0
    (ours / "data.sqlite").write_bytes(b"nonsense" * 1000)
    done = run("serve", "kv", "--listen", "tcp://127.0.0.1:0", "--data", ours)
    assert done.returncode == 2 and "is corrupted" in done.stderr
    assert os.listdir(theirs) == ["dump.rdb"]
