"""Open files of the fake kernel: counted references, and requests that wait on them."""

from __future__ import annotations

from typing import Protocol

POLLIN = 0x0001
POLLOUT = 0x0004
POLLERR = 0x0008
POLLHUP = 0x0010
POLLRDHUP = 0x2000
_ALWAYS = POLLERR | POLLHUP


class Waiter(Protocol):
    """Something that wants to know when a file becomes ready."""

    def wake(self) -> None:
        """The file may be ready."""
        ...


class File:
    """A file lives while a descriptor, a table or a request holds it: `release` ends it."""

    def __init__(self) -> None:
        self._references = 0
        self._waiters: dict[Waiter, int] = {}

    def hold(self) -> None:
        """One reference more."""
        self._references += 1

    def drop(self) -> None:
        """One reference less."""
        assert self._references > 0
        self._references -= 1
        if self._references == 0:
            self.release()

    def release(self) -> None:
        """Nobody holds it any more."""

    def ready(self) -> int:
        """Poll bits that are set now."""
        return 0

    def watch(self, waiter: Waiter, events: int) -> None:
        """Wake `waiter` at every event of these kinds, errors in any case."""
        self._waiters[waiter] = events | _ALWAYS

    def forget(self, waiter: Waiter) -> None:
        """Wake it no more."""
        self._waiters.pop(waiter, None)

    def notify(self, events: int) -> None:
        """Something happened."""
        for waiter, wanted in list(self._waiters.items()):
            if wanted & events:
                waiter.wake()


class Event(File):
    """An eventfd. Nobody reads it: it stays readable, and each signal is an event of its own.

    `has_rung` is what an edge-triggered epoll sees: set by a signal, cleared by who looks.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_rung = False
        self._count = 0

    def signal(self) -> None:
        """Add one; wakes everybody."""
        self._count += 1
        self.has_rung = True
        self.notify(POLLIN)

    def take(self) -> bool:
        """Whether there was a signal since the last look."""
        rang, self.has_rung = self.has_rung, False
        return rang

    def ready(self) -> int:
        return POLLIN if self._count else 0
