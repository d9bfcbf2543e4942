"""Kept data comes back, failures are said and got over, wrong directories are refused."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from c1m.apps.kv import data_file, persistence
from c1m.apps.kv.data_directory import DATA, LOCK
from c1m.apps.kv.options import DURABILITIES
from c1m.apps.kv.persistence import RETRY_NS_MAX, Persistence
from c1m.errors import C1mError, UsageError
from c1m.kv.store import Store
from kv_kept import Kept
from kv_session import Refused

FULL = "database or disk is full"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


class Disk:
    """Stands before a DataFile; it fails while `why` is set."""

    def __init__(self, kept: Kept) -> None:
        self.why: str | None = None
        self._file: Any = kept.persistence._file
        kept.persistence._file = self  # type: ignore[assignment]

    def write(self, *arguments: Any) -> None:
        """DataFile.write, or an error."""
        if self.why is not None:
            raise sqlite3.OperationalError(self.why)
        self._file.write(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@pytest.fixture
def kept(directory: Path) -> Iterator[Kept]:
    kept = Kept(directory)
    yield kept
    kept.persistence.release()


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("is_killed", [True, False])
def test_all_comes_back(directory: Path, durability: str, is_killed: bool) -> None:
    kept = Kept(directory, durability)
    kept("SET", "k", b"\0\r\n\xff")
    kept("SET", "long key " * 1000, 1)
    kept("RPUSH", "list", 1, 2)
    kept("PEXPIRE", "list", 5000)
    kept("SELECT", 3)
    kept("ZADD", "sorted", "-inf", "a", 0.1, "b")
    kept.tick()
    before = kept.contents()
    kept.kill() if is_killed else kept.close()
    assert set(os.listdir(directory)) == {DATA, LOCK} or is_killed
    again = Kept(directory, durability)
    again.store.now_ms = kept.store.now_ms
    assert again.contents() == before
    assert again("PTTL", "list") == 5000
    again.close()


def test_a_key_whose_time_comes_while_nobody_runs_is_gone(directory: Path) -> None:
    kept = Kept(directory)
    kept("SET", "k", 1, "PX", 100)
    kept("SET", "other", 1)
    kept.close()
    again = Kept(directory)
    again.wait(200)
    assert again("EXISTS", "k", "other") == 1
    again.close()


def test_databases_that_were_swapped_stay_so(directory: Path) -> None:
    kept = Kept(directory)
    kept("SET", "k", 0)
    kept.tick()
    kept("SWAPDB", 0, 1)
    kept.tick()
    kept.kill()
    again = Kept(directory)
    assert again("DBSIZE") == 0
    again("SELECT", 1)
    assert again("GET", "k") == b"0"
    again("FLUSHDB")
    again.close()
    assert Kept(directory).contents()[1] == {}


@pytest.mark.parametrize("seed", range(4))
def test_random_commands_ends_and_starts(
    directory: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is written again all the time, and rows are cut that are not long at all."""
    monkeypatch.setattr(persistence, "LOG_BYTES", 2000)
    monkeypatch.setattr(persistence, "LOG_TIMES", 0)
    monkeypatch.setattr(persistence, "SLICE_KEYS", 1)
    monkeypatch.setattr(persistence, "SLICE_BYTES", 100)
    monkeypatch.setattr(persistence, "FORGET_BYTES", 500)
    monkeypatch.setattr(data_file, "PART_BYTES", 200)
    draw = random.Random(seed)
    kept, rewrites = Kept(directory, draw.choice(DURABILITIES)), 0
    for _ in range(8):
        for _ in range(draw.randrange(60)):
            for _ in range(draw.randrange(8)):
                kept(*command(draw))
            kept.wait(draw.choice([0, 0, 0, 10_000]))
            kept.tick()
        rewrites += kept.persistence.rewrites
        before = kept.contents()
        draw.choice([kept.close, kept.kill])()
        now_ms, kept = kept.store.now_ms, Kept(directory, draw.choice(DURABILITIES))
        kept.store.now_ms = now_ms
        assert kept.contents() == before
    assert rewrites
    kept.close()


def command(draw: random.Random) -> tuple[object, ...]:
    """One of those that write, on few keys."""
    key, member = f"k{draw.randrange(12)}", f"m{draw.randrange(60)}"
    kind, size = int(key[1:]) % 6, draw.randrange(3000)
    odd = [
        ("DEL", key), ("RENAME", key, "k0"), ("COPY", key, "k1", "REPLACE"), ("PERSIST", key),
        ("EXPIRE", key, draw.randrange(-1, 60)), ("FLUSHDB",), ("SWAPDB", 0, 1),
        ("SELECT", draw.randrange(2)),
    ]  # fmt: skip
    if draw.random() < 0.1:
        return draw.choices(odd, (4, 4, 4, 4, 8, 1, 1, 3))[0]
    other = f"k{draw.randrange(2) * 6 + kind}"
    return draw.choice(
        {
            0: [("SET", key, size), ("MSET", key, 1, other, 2), ("GETDEL", key)],
            1: [("APPEND", key, "x" * (size // 9)), ("SETBIT", key, size, 1)],
            2: [("HSET", key, member, size, size, 1), ("HDEL", key, member)],
            3: [
                ("RPUSH", key, member, 1, 2), ("LPOP", key), ("LTRIM", key, 1, 50),
                ("LREM", key, 0, member), ("LMOVE", key, other, "LEFT", "RIGHT"),
            ],
            4: [("SADD", key, member, size), ("SPOP", key), ("SMOVE", key, other, member)],
            5: [("ZADD", key, size, member, 1, size), ("ZPOPMIN", key), ("ZINCRBY", key, 1, "a")],
        }[kind]
    )  # fmt: skip


def test_a_single_item_goes_round(directory: Path) -> None:
    kept = Kept(directory, "always")
    kept("RPUSH", "list", *range(100))
    kept("EXPIRE", "list", 1000)
    for move in (
        ("LMOVE", "list", "list", "LEFT", "RIGHT"), ("RPOPLPUSH", "list", "list"),
        ("BLMOVE", "list", "list", "right", "left", 0), ("BRPOPLPUSH", "list", "list", 0),
    ):  # fmt: skip
        kept.tick()
        kept("LTRIM", "list", 0, 0)
        kept(*move)
        kept("RPUSH", "list", *range(1, 100))
        kept(*move)
    kept.tick()
    before = kept.contents()
    kept.close()
    again = Kept(directory)
    assert again.contents() == before
    again.close()


def test_a_value_beyond_what_is_allowed_now_comes_back(directory: Path) -> None:
    kept = Kept(directory, "always")
    kept("SET", "k", "x" * 5000)
    kept.tick()
    kept("APPEND", "k", "x" * 5000)
    kept.tick()
    kept.close()
    store = Store()
    store.value_max = 6000
    persistence = Persistence(str(directory), "always")
    persistence.load(store)
    persistence.release()
    assert len(store.databases[0].data[b"k"]) == 10_000 and store.value_max == 6000


def test_a_large_value_costs_what_changes(kept: Kept) -> None:
    kept("SADD", "set", *range(100_000))
    kept.tick()
    before = kept.persistence.log_bytes
    kept("SADD", "set", "one more")
    kept("SPOP", "set")
    kept("EXPIRE", "set", 100)
    kept.tick()
    assert kept.persistence.log_bytes - before < 300


def test_nothing_is_written_where_nothing_changed(kept: Kept) -> None:
    kept("GET", "k")
    kept("DEL", "k")
    assert kept.tick() is None
    assert kept.persistence.commits == 0


def told(kept: Kept, *words: object) -> None:
    """As the server does: a command's reply goes to the outbox, and is marked."""
    kept.store.journal.has_written = False
    reply = kept.raw(*words)
    assert reply is not None
    kept.store.out.say(0, reply)
    if kept.store.journal.has_written:
        kept.store.journal.mark(0)


def test_a_failing_disk(kept: Kept) -> None:
    """No write of its tick is confirmed, later ones are refused, reads go on; it recovers."""
    kept("SET", "before", 1)
    kept.tick()
    disk = Disk(kept)
    disk.why = FULL
    misconf = Refused(f"MISCONF Errors writing to the data store: {FULL}")
    told(kept, "GET", "before")
    told(kept, "SET", "k", 1)
    told(kept, "GET", "k")
    told(kept, "INCR", "k")
    due_ns = kept.tick()
    assert kept.heard() == [b"1", misconf, b"1", misconf]
    assert kept("SET", "k", 2) == misconf
    assert kept("GET", "k") == b"2"
    kept("MULTI")
    assert kept("SET", "k", 2) == misconf
    assert kept("EXEC") == Refused("EXECABORT Transaction discarded because of previous errors.")
    assert due_ns is not None and due_ns > kept.clock.now_ns()
    for _ in range(10):  # tried again, but less and less often
        kept.clock.advance(due_ns - kept.clock.now_ns())
        due_ns = kept.tick()
        assert due_ns is not None and due_ns <= kept.clock.now_ns() + RETRY_NS_MAX
    assert kept.persistence.failures == 11
    disk.why = None
    kept.tick()
    assert kept("SET", "k", 3) == misconf  # it is not time to try yet
    kept.clock.advance(RETRY_NS_MAX)
    assert kept.tick() is None
    assert kept("GET", "k") == b"2"
    told(kept, "INCR", "k")
    kept.tick()
    assert kept.heard() == [3]
    kept.kill()


def test_a_key_that_expires_while_the_disk_fails_is_no_write(kept: Kept) -> None:
    kept("SET", "k", 1, "PX", 10)
    kept.tick()
    Disk(kept).why = FULL
    kept.wait(20)
    told(kept, "GET", "k")
    kept.tick()
    assert kept.heard() == [None]
    kept.kill()


def test_what_failed_at_the_end_is_there_when_it_works_again(directory: Path) -> None:
    kept = Kept(directory)
    disk = Disk(kept)
    disk.why = "disk I/O error"
    kept("SET", "k", 1)
    kept("LPUSH", "list", *range(100))
    kept.tick()
    disk.why = None
    kept.clock.advance(RETRY_NS_MAX)
    kept.tick()
    kept.kill()
    assert set(Kept(directory).contents()[0]) == {b"k", b"list"}


def test_a_reply_that_came_late_is_no_confirmation_either(kept: Kept) -> None:
    assert kept.raw("BLPOP", "list", 0, client=1) is None
    disk = Disk(kept)
    disk.why = FULL
    told(kept, "RPUSH", "list", "item")
    kept.tick()
    assert [str(reply)[:7] for reply in kept.heard(1)] == ["MISCONF"]
    assert [str(reply)[:7] for reply in kept.heard(0)] == ["MISCONF"]


def test_with_everysec_what_was_confirmed_stays_so(directory: Path) -> None:
    kept = Kept(directory, "everysec")
    disk = Disk(kept)
    disk.why = FULL
    told(kept, "SET", "k", 1)
    kept.tick()
    assert kept.heard() == ["OK"]
    assert str(kept("SET", "k", 2)).startswith("MISCONF")
    disk.why = None
    kept.close()
    assert Kept(directory).contents()[0] == {b"k": (("string", b"1"), None)}


def test_a_flusher_that_fails_refuses_writes(directory: Path) -> None:
    kept = Kept(directory, "everysec")
    flusher = kept.persistence.flusher
    assert flusher is not None
    kept("SET", "k", 1)
    kept.tick()
    assert kept.persistence.unsaved == 1
    flusher.end()
    flusher.failure = "disk I/O error"
    kept.tick()
    assert str(kept("SET", "k", 2)).startswith("MISCONF")
    flusher.round()
    kept.tick()
    assert kept("SET", "k", 2) == "OK"
    assert kept.persistence.unsaved == 1
    kept.close()


def test_the_flusher_keeps_the_write_ahead_log_short(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("c1m.apps.kv.data_flusher.LOG_BYTES_MAX", 100_000)
    kept = Kept(directory, "no")
    flusher = kept.persistence.flusher
    assert flusher is not None
    flusher.end()
    kept("SET", "k", "x" * 50_000)
    kept.tick()
    flusher.round()
    assert flusher.rounds == 0  # not much has gathered
    kept("SET", "other", "x" * 100_000)
    kept.tick()
    flusher.round()
    assert (flusher.rounds, flusher.failure) == (1, "")
    assert os.path.getsize(directory / (DATA + "-wal")) == 0
    kept.kill()
    assert len(Kept(directory).contents()[0]) == 2


def test_a_busy_file_is_tried_in_the_next_tick(directory: Path) -> None:
    kept = Kept(directory, "no")
    other = sqlite3.connect(directory / DATA, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    kept("SET", "k", 1)
    due_ns = kept.tick()
    assert due_ns is not None and not kept.store.write_refusal
    assert kept("SET", "k", 2) == "OK"
    other.execute("ROLLBACK")
    kept.clock.advance(due_ns)
    assert kept.tick() is None
    kept.close()


# --- refusals ---------------------------------------------------------------------------------


def refusal(directory: Path | str, **options: Any) -> str:
    """What is said of a directory that cannot be used."""
    with pytest.raises(UsageError) as raised:
        Kept(Path(directory), **options)
    return str(raised.value)


def files(directory: Path) -> dict[str, bytes]:
    """Names and contents, without the lock and SQLite's shared memory."""
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.name != LOCK and not path.name.endswith("-shm")
    }


def filled(directory: Path, *, is_killed: bool = False) -> None:
    """A store with some keys."""
    kept = Kept(directory)
    for number in range(500):
        kept("SET", f"k{number}", "v" * 100)
    kept.tick()
    kept.kill() if is_killed else kept.close()


def test_a_directory_of_another_program(directory: Path) -> None:
    directory.mkdir()
    (directory / "dump.rdb").write_bytes(b"REDIS0011")
    assert "has files of another program (dump.rdb)" in refusal(directory)
    assert os.listdir(directory) == ["dump.rdb"]


def test_a_database_of_another_program(directory: Path) -> None:
    directory.mkdir()
    other = sqlite3.connect(directory / DATA)
    other.executescript("CREATE TABLE theirs(x)")
    other.close()
    before = files(directory)
    assert "is of another program" in refusal(directory)
    assert files(directory) == before


def test_another_version(directory: Path) -> None:
    filled(directory)
    other = sqlite3.connect(directory / DATA)
    other.execute("PRAGMA user_version = 99")
    other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    other.close()
    before = files(directory)
    assert "has version 99 of the data's form; this c1m has version 1" in refusal(directory)
    assert files(directory) == before


def test_another_process_has_it(directory: Path) -> None:
    code = (
        "import sys; from c1m.apps.kv.data_directory import make; make(sys.argv[1]);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        other.stdout.readline()
        assert f"is in use by another process (pid {other.pid})" in refusal(directory)
        other.stdin.close()
    Kept(directory).close()


def test_nothing_is_made_before_the_server_runs(directory: Path) -> None:
    Persistence(str(directory)).release()
    assert not directory.exists()
    directory.mkdir()
    first, second = Persistence(str(directory)), Persistence(str(directory))
    assert os.listdir(directory) == []
    first.start(Store())
    with pytest.raises(UsageError, match=r"is in use by another process|has data now"):
        second.start(Store())
    first.close()


@pytest.mark.parametrize("is_killed", [True, False])
def test_corruption_is_noticed(directory: Path, is_killed: bool, tmp_path: Path) -> None:
    """Each changed byte leads to a refusal, or to the same data; what is there stays as it is."""
    filled(directory, is_killed=is_killed)
    whole = Kept(directory)
    wanted = whole.contents()
    whole.kill()
    draw, noticed = random.Random(1), 0
    for number in range(60):
        copy = tmp_path / str(number)
        shutil.copytree(directory, copy)
        path = copy / (DATA + "-wal" if is_killed and number % 2 else DATA)
        content = bytearray(path.read_bytes())
        if not content:
            continue
        content[draw.randrange(len(content))] ^= draw.randrange(1, 256)
        path.write_bytes(content)
        before = files(copy)
        try:
            kept = Kept(copy)
        except UsageError as error:
            noticed += 1
            assert (
                "corrupted" in str(error) or "version" in str(error) or "of another" in str(error)
            )
            assert files(copy) == before
        else:
            got = kept.contents()
            kept.kill()
            # A broken end of the write-ahead log is what a power failure leaves: cut off.
            assert got == wanted or (path.name.endswith("-wal") and not any(got.values()))
    assert noticed or is_killed


def test_a_file_that_is_no_database(directory: Path) -> None:
    directory.mkdir()
    (directory / DATA).write_bytes(b"x" * 5000)
    assert "is corrupted" in refusal(directory)
    assert files(directory) == {DATA: b"x" * 5000}


def test_what_was_not_made_to_the_end_is_made_again(directory: Path) -> None:
    directory.mkdir()
    (directory / (DATA + ".new")).write_bytes(b"half")
    filled(directory)
    assert set(files(directory)) == {DATA}


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used: not a directory" in refusal(tmp_path / "file")
    assert "cannot be used: no such file or directory" in refusal(tmp_path / "no" / "where")
    assert "cannot be used: file name too long" in refusal(tmp_path / ("x" * 300))
    assert "There is no durability 'often'" in refusal(tmp_path / "d", durability="often")
    assert sorted(os.listdir(tmp_path)) == ["file"]


def test_a_directory_that_may_not_be_written_to(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    assert "cannot be used: permission denied" in refusal(tmp_path)


def test_the_end_says_what_could_not_be_kept(kept: Kept) -> None:
    Disk(kept).why = FULL
    kept("SET", "k", 1)
    with pytest.raises(C1mError, match=r"The last changes could not be written to .*full"):
        kept.close()


def test_loading_says_how_far_it_is(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("c1m.apps.kv.data_loading.LOOK_EACH", 1)
    monkeypatch.setattr("c1m.apps.kv.data_loading.REPORT_NS", 0)
    filled(directory)
    kept = Kept(directory)
    assert kept.lines and "keys" in kept.lines[-1] and "%" in kept.lines[-1]
    kept.close()


@pytest.mark.parametrize("durability", ["everysec", "no"])
def test_without_a_thread_it_does_not_start_and_says_so(
    directory: Path, durability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    keeps = Persistence(str(directory), durability)
    keeps.load(Store(16))
    with pytest.raises(UsageError, match="no thread to be had that flushes"):
        keeps.start(Store(16))
    keeps.close()
    Persistence(str(directory), "always").release()
