"""`c1m load --scenario resp` against Debian's redis-server: all right, and what is not is found.

What is true is asked of Redis itself: its keys, its counter, and MONITOR, which tells every command
in the order in which it was carried out.
"""

from __future__ import annotations

import ast
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, assert_as_asked, load
from e2e.debian_servers import free_port, program, running
from one_each import right_of_each

RUN = "c1m:00000007"  # what keys begin with, of --seed 7
SEED = ("--seed", "7")


class Client:
    """A connection to Redis that says words and hears one line, or a bulk string, for them."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._file = self._sock.makefile("rb")

    def __call__(self, *words: object) -> bytes:
        parts = [str(word).encode() for word in words]
        coded = [b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)]
        self._sock.sendall(b"".join(coded))
        return self.hear()

    def hear(self) -> bytes:
        line: bytes = self._file.readline()[:-2]
        if not line.startswith(b"$") or line == b"$-1":
            return line[1:]
        return self._file.read(int(line[1:]) + 2)[:-2]

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._sock.close()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where a redis-server listens that keeps nothing."""
    found = free_port()
    options = ["--save", "", "--appendonly", "no", "--maxclients", "20000", "--bind", "127.0.0.1"]
    options += ["--protected-mode", "no"]  # or it serves 127.0.0.1 only, and c1m comes from more
    options += ["--tcp-backlog", "4096", "--dir", str(tmp_path), "--port", str(found)]
    command = [program("redis-server", "redis-server"), *options]
    with running(command, found, tmp_path / "redis.log"):
        yield found


def test_ten_thousand_connections(tmp_path: Path, engine: str, port: int) -> None:
    """Each sets its key, gets it and counts one, all at the same moment; then some more."""
    count = 10_000
    status, record, said = load(
        tmp_path, f"tcp://127.0.0.1:{port}", "--scenario", "resp", "--engine", engine, *SEED,
        "--stage", f"ramp {count}", "--stage", "stampede", "--stage", "stampede",
        "--stage", "hold for 2s at 5k/s", "--require", "wrong == 0", "--require", "lost == 0",
        "--require", "missing == 0",
    )  # fmt: skip
    assert_as_asked(status, record, said)
    assert record.notes == [] and record.faults == []
    assert right_of_each(record) == [("first", count, count), *[("stampede", count, count)] * 2]
    r = record.requests
    assert (r.due, r.wrong, r.missing) == (10_000, 0, 0)
    assert record.connections.open_at_end == count
    with Client(port) as redis:
        assert redis("DBSIZE") == b"%d" % (count + 1)
        # The INCR of the second stampede, and of those that came to their third again in the hold.
        assert count <= int(redis("GET", f"{RUN}:counter")) <= count + r.right // 3
        for number in (0, 4_711, count - 1):
            assert redis("GET", f"{RUN}:{number:010}").startswith(b"%010d-00000000" % number)
        counted = int(redis("INFO", "commandstats").split(b"cmdstat_incr:calls=")[1].split(b",")[0])
        assert counted == int(redis("GET", f"{RUN}:counter"))


def test_its_scheme_says_all_that_is_needed(tmp_path: Path, port: int) -> None:
    status, record, said = load(
        tmp_path, f"redis://127.0.0.1:{port}", "--connections", 1000, "--hold", "1s"
    )
    assert status == 0 and record.verdict.complete, said
    assert record.notes == [] and record.faults == []
    with Client(port) as redis:
        assert redis("DBSIZE") == b"1001"


def test_a_second_client_that_writes_to_a_key_is_found(
    tmp_path: Path, engine: str, port: int
) -> None:
    key = f"{RUN}:{5:010}"
    is_over = threading.Event()
    commands: list[str] = []
    with Client(port) as intruder, Client(port) as monitor:
        assert monitor("MONITOR") == b"OK"

        def write() -> None:
            while not is_over.wait(0.001):
                intruder("SET", key, "not yours")
            intruder("SET", "the end", "")

        def watch() -> None:
            while not commands or '"the end"' not in commands[-1]:
                commands.append(monitor.hear().decode())

        threads = [threading.Thread(target=work, daemon=True) for work in (write, watch)]
        for thread in threads:
            thread.start()
        status, record, said = load(
            tmp_path, f"tcp://127.0.0.1:{port}", "--scenario", "resp", "--engine", engine, *SEED,
            "--connections", 10, "--hold", "1s", "--rate", "2k/s",
        )  # fmt: skip
        is_over.set()
        for thread in threads:
            thread.join(PATIENCE_S)
    truth = gets_of_anothers_value(commands, key)
    assert status == 1 and truth > 0
    assert record.requests.faults == {"garbled": truth}
    assert (record.requests.wrong, record.requests.missing) == (truth, 0)
    for fault in record.faults:
        assert fault.connection == 5
        assert ast.literal_eval(fault.received) == b"$9\r\nnot yours\r\n"
        assert ast.literal_eval(fault.expected).startswith(b"$38\r\n%010d-" % 5)
    assert re.search(rf"^  wrong: garbled +{truth:,} ", said, re.MULTILINE)
    assert "received b'$9\\r\\nnot yours\\r\\n'" in said


def gets_of_anothers_value(commands: list[str], key: str) -> int:
    """How many GET of this key came when it had the intruder's value, as MONITOR saw it."""
    value, count = "", 0
    for command in commands:
        words = re.findall(r'"([^"]*)"', command)
        if words[:2] == ["SET", key]:
            value = words[2]
        elif words[:2] == ["GET", key]:
            count += value == "not yours"
    return count


def test_a_second_client_that_counts_is_found(tmp_path: Path, engine: str, port: int) -> None:
    """The first INCR of all is before the run; the 7 in its middle are missing in its numbers."""
    is_over = threading.Event()
    done: list[bytes] = []

    def count() -> None:
        with Client(port) as other:
            while int(b"0" + other("GET", f"{RUN}:counter").removeprefix(b"-1")) < 50:
                if is_over.wait(0.001):
                    return
            done.extend(other("INCR", f"{RUN}:counter") for _ in range(7))

    thread = threading.Thread(target=count, daemon=True)
    thread.start()
    status, record, said = load(
        tmp_path, f"tcp://127.0.0.1:{port}", "--scenario", "resp", "--engine", engine, *SEED,
        "--connections", 10, "--hold", "1s", "--rate", "2k/s",
    )  # fmt: skip
    is_over.set()
    thread.join(PATIENCE_S)
    assert len(done) == 7
    assert status == 1 and record.requests.wrong == 0
    (note,) = record.notes
    assert re.search(r"\b7 numbers were not said to anybody", note)
    assert note in " ".join(said.split())
