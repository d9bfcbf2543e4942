"""Engines whose kernel refuses what they ask for, at any call of any kind.

On the fake kernel the calls are those of `fake_host.CALLS`. For epoll, which runs on the real
one, they are put in between: epoll_create1, eventfd, epoll_ctl to add, accept and socket.
"""

from __future__ import annotations

import errno
import os
import select
from collections import Counter
from typing import Any

import pytest

from c1m.engine.epoll import EpollEngine
from c1m.engine.uring.rings import Tuning
from c1m.kernel import libc
from c1m.kernel.uring_probe import OLDEST
from c1m.testing.fake_host import CALLS
from contract.harness import Harness, SocketHarness
from contract.uring_harnesses import FakeHarness

SMALL_TABLES = Tuning(
    capacity=64, files_per_ring=16, sq_entries=8, cq_entries=16,
    buffer_size=256, buffers_first=8, buffers_each=4, buffers_max=64,
)  # fmt: skip
EPOLL_CALLS = ("epoll", "eventfd", "add", "accept", "socket")
KINDS = {"uring": CALLS, "uring-oldest": CALLS, "epoll": EPOLL_CALLS}
AS_DATA = ("socket", "open socket", "move in")  # of the uring engine: that connect fails
LONG = 1 << 30


class Refused:
    """The calls of one epoll engine; the same as `fake_kernel.Refusals` otherwise."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._planned: tuple[str, int, int, int] = ("", 0, 0, 0)
        make_epoll, make_event = select.epoll, os.eventfd
        accept, open_stream = libc.accept, libc.open_stream

        def epoll() -> Adding:
            self.call("epoll")
            return Adding(self, make_epoll())

        def eventfd(*arguments: int) -> int:
            self.call("eventfd")
            return make_event(*arguments)

        patch.setattr(select, "epoll", epoll)
        patch.setattr(os, "eventfd", eventfd)
        patch.setattr(libc, "accept", lambda fd: self.code("accept") or accept(fd))
        patch.setattr(libc, "open_stream", lambda af: self.code("socket") or open_stream(af))

    def refuse(self, call: str, first: int, times: int, code: int) -> None:
        self._planned = (call, first, first + times, code)

    def lift(self) -> None:
        self._planned = ("", 0, 0, 0)

    def code(self, name: str) -> int:
        """0, or the errno below zero."""
        self.calls[name] += 1
        call, first, end, code = self._planned
        if name != call or not first <= self.calls[name] < end:
            return 0
        self.refused[name] += 1
        return -code

    def call(self, name: str) -> None:
        code = -self.code(name)
        if code:
            raise OSError(code, os.strerror(code))


class Adding:
    """An epoll that may refuse to add a descriptor."""

    def __init__(self, refused: Refused, epoll: select.epoll) -> None:
        self._refused = refused
        self._epoll = epoll

    def register(self, fd: int, events: int) -> None:
        self._refused.call("add")
        self._epoll.register(fd, events)

    def modify(self, fd: int, events: int) -> None:
        self._refused.call("modify")
        self._epoll.modify(fd, events)

    def __enter__(self) -> Adding:
        return self

    def __exit__(self, *_: object) -> None:
        self._epoll.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._epoll, name)


class Scene:
    """A harness and what its kernel refuses: `calls`, `refused`, `refuse`, `lift`."""

    def __init__(self, kind: str, patch: pytest.MonkeyPatch) -> None:
        self.harness: Harness
        if kind == "epoll":
            self.kernel: Any = Refused(patch)
            self.harness = SocketHarness(EpollEngine)
            return
        features = OLDEST if kind == "uring-oldest" else None
        fake = FakeHarness(SMALL_TABLES, features=features)
        self.kernel, self.harness = fake.kernel.refusals, fake


def code_for(call: str, occurrence: int) -> int:
    """An errno that this call may be refused with; accepts have them in turn."""
    if call == "add":
        return errno.ENOSPC
    if call == "accept":
        return (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)[occurrence % 4]
    return errno.ENOMEM if call not in ("epoll", "eventfd", "socket") else errno.EMFILE
