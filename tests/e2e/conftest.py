"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from e2e.devtools import Browser, find


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


@pytest.fixture(autouse=True, scope="session")
def runs_are_kept_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What runs by several workers keep is no user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("C1M_STATE_DIR", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(params=["uring", "epoll"])
def engine(request: pytest.FixtureRequest) -> str:
    """The engine of both ends."""
    return str(request.param)


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A headless Chromium; `make test` installs it where it runs as root on Debian."""
    path = find()
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with Browser(path, tmp_path_factory.mktemp("chromium")) as started:
        started.call("Browser.getVersion")  # it is there and answers
        yield started
