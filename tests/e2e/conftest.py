"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def hang_ups_arrive() -> Iterator[None]:
    """Commands that the tests start get SIGHUP, also where the tests themselves run under nohup.

    A signal that is ignored stays so in children; a handler becomes the default in them.
    """
    was_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    if was_ignored:
        signal.signal(signal.SIGHUP, lambda *_: None)
    yield
    if was_ignored:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of both ends."""
    return str(request.param)
