"""A sample of tests/torture/ordinary.py: who is not root, and what a container leaves out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from e2e.cli_helpers import PATIENCE_S, Server, finish, run, start
from torture import ordinary
from torture.ordinary import FILTER, USERS, read_only, without
from torture.verdict import Verdict

EPERM, ENOSYS = 1, 38


def skip_where_it_cannot_be(before: tuple[str, ...]) -> None:
    """Only root can mount, and not in every container."""
    tried = subprocess.run([*before, "true"], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"no mount namespace can be made here: {tried.stderr.strip()}")


@pytest.mark.parametrize("user", USERS, ids=[user.name for user in USERS])
def test_as_many_as_fit_and_it_goes_on(user: ordinary.User) -> None:
    """Some of them only, where so many fit that it takes long."""
    if user.before[:1] == ("unshare",):
        skip_where_it_cannot_be(without("/sys"))
    verdict = Verdict()
    ordinary.hold(user, 1_500 if user.most > 2_000 else 300, verdict)
    assert verdict.wrong == []


@pytest.mark.parametrize("code", [EPERM, ENOSYS])
def test_both_ends_under_a_containers_filter(tmp_path: Path, code: int) -> None:
    before = (sys.executable, FILTER, str(code))
    with Server(tmp_path, before=before) as server:
        done = run("load", server.url, "--connections", 50, before=before)
        assert (done.returncode, done.stderr) == (0, "")
        assert "COMPLETE: 50 of 50" in done.stdout
        assert server.stop() == 0
    for command in (("serve", "echo", "--listen", server.url), ("load", server.url)):
        refused = run(*command, "--engine", "uring", before=before)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1
        assert "seccomp profile that permits io_uring_setup, io_uring_enter" in refused.stderr


@pytest.mark.parametrize("before", [read_only(), without("/sys")], ids=["read-only", "no /sys"])
def test_the_other_commands(tmp_path: Path, before: tuple[str, ...]) -> None:
    skip_where_it_cannot_be(before)
    done = run("doctor", "--connections", "100", cwd=tmp_path, before=before)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "words",
    [
        ("serve", "echo", "--listen", "tcp://127.0.0.1:0", "--json", "figures.json"),
        ("serve", "kv", "--listen", "tcp://127.0.0.1:0", "--data", "data"),
        ("load", "tcp://127.0.0.1:1", "--json", "run.json"),
        ("demo", "--connections", "20", "--hold", "0s"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_written_is_said_before_anything_is_opened(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    skip_where_it_cannot_be(read_only())
    process = start(*words, cwd=tmp_path, before=read_only())
    try:
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        said, errors = finish(process)
    assert process.returncode == 2, said
    assert errors.startswith("c1m: ") and errors.count("\n") == 1, errors
    assert "read-only file system" in errors
