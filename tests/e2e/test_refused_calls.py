"""System calls of running servers, refused by seccomp: a sample of tests/torture/refused.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from c1m.errors import EngineUnavailable
from c1m.kernel import uring_probe
from seccomp_refusing import is_there
from torture.refused import ERRNOS, SERVERS, Refusing

NEVER = {"close", "epoll_delete", "futex", "fcntl", "newfstatat", "getdents64", "prlimit64"}
EVERY = 10  # of the occurrences; the torture takes all of them


def needs(name: str) -> None:
    """Skip the test where this cannot be."""
    if not is_there():
        pytest.skip("seccomp's user notification is not to be had here")
    if not name.endswith("epoll"):
        try:
            uring_probe.probe()
        except EngineUnavailable as reason:
            pytest.skip(str(reason))


@pytest.mark.parametrize("name", SERVERS)
def test_whatever_call_is_refused_all_are_served(name: str, tmp_path: Path) -> None:
    needs(name)
    refusing = Refusing(name, tmp_path)
    refusing.count()
    assert {call for call in refusing.calls if call not in ERRNOS} <= NEVER
    refusing.refuse_each(EVERY)
    refusing.end()
    assert refusing.wrong == []
    assert refusing.lost == 0
    assert refusing.refused > 0


@pytest.mark.parametrize("name", ["echo-epoll", "echo-uring"])
def test_what_is_refused_for_a_while_is_asked_for_now_and_then(name: str, tmp_path: Path) -> None:
    needs(name)
    refusing = Refusing(name, tmp_path)
    refusing.count()
    refusing.refuse_for_a_while()
    refusing.end()
    assert refusing.wrong == []
