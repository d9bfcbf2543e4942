"""Calls of the fake kernel that give a resource, each of which may be refused at any occurrence."""

from __future__ import annotations

import errno
from collections import Counter

from c1m.kernel import uring_abi as abi
from c1m.testing.fake_sockets import error

REGISTRATIONS = {
    abi.REGISTER_FILES2: "files",
    abi.REGISTER_FILES_UPDATE: "move in",
    abi.REGISTER_PBUF_RING: "buffers",
    abi.REGISTER_EVENTFD: "eventfd",
    abi.REGISTER_IOWQ_MAX_WORKERS: "workers",
}
CALLS = ("ring", "memory", "start", *REGISTRATIONS.values(), "accept", "socket", "open socket")
"""A ring, memory, a ring's start and registrations, an accept, a socket by a call or in a ring."""


class Refusals:
    """Counts the calls by name in `calls`, what was refused in `refused`."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self._planned: dict[str, tuple[int, int, int]] = {}

    def refuse(self, call: str, first: int, times: int, code: int = errno.ENOMEM) -> None:
        """Refuse the calls of this name from the `first`th (from 1) on, so many times."""
        assert call in CALLS, call
        self._planned[call] = (first, first + times, code)

    def call(self, name: str) -> None:
        """One call. Raises OSError where it is to be refused."""
        self.calls[name] += 1
        first, end, code = self._planned.get(name, (0, 0, 0))
        if first <= self.calls[name] < end:
            self.refused[name] += 1
            raise error(code)

    def lift(self) -> None:
        """Refuse nothing any more."""
        self._planned.clear()
