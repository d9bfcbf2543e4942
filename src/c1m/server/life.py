"""The life of a serving process, besides its server: who started it, who is told, who comes next.

One thing for `c1m serve` and `c1m.serve`: sockets of systemd's or of the process before, what
systemd is told meanwhile, and the handing over to the next one. All of it is looked at from the
server's loop, so that a loop that hangs tells nobody that it is well.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from c1m import arguments
from c1m.clock import SystemClock
from c1m.errors import UsageError
from c1m.kernel.supervisor import NS_PER_US, Notifier, activated
from c1m.kernel.users import User
from c1m.server.takeover import Predecessor, Succession, predecessor
from c1m.units import NS_PER_MS, NS_PER_S

LOOK_NS = 100 * NS_PER_MS
GRACE_NS = 2 * NS_PER_S  # who connected last may take so long to ask; the next process serves
EXTEND_NS = 15 * NS_PER_S  # asked for each second while it drains


class Life:
    """Made before the server, whose `given` sockets it has; `begin` when there is one.

    `takeover`: the path of a unix socket; who listens there is taken over from. `user`: who this
    process will be. Raises UsageError.
    """

    def __init__(
        self,
        *,
        takeover: Any = None,
        user: str | None = None,
        app: str = "",
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._say = say
        self._about = {"app": app}
        self._path = None if takeover is None else arguments.text("takeover", takeover)
        uid = User.of(user).uid if isinstance(user, str) else os.geteuid()
        self._notifier = Notifier()
        self.given = activated()
        self._old: Predecessor | None = None
        self._next: Succession | None = None
        if self._path is not None:
            self._old = predecessor(self._path, uid)
        self.notes: list[str] = []  # for people, when the server listens
        if self._old is not None:
            self.given += self._old.given
            about = self._old.about
            whose = ", ".join(filter(None, [f"c1m {about['version']}", about["app"]]))
            self.notes = [f"takes over from process {about['pid']} ({whose})"]
        self._server: Any = None
        self._is_ready = self._is_asked = False
        self._beats_ns, self._beat_ns, self._told_ns = self._notifier.watchdog_ns // 2, 0, 0

    def listen(self) -> list[str]:
        """What systemd has opened for this process, as URLs."""
        return [str(each.bound) for each in self.given if each.is_shared]

    def wait_for_what_is_kept(self) -> None:
        """One process only may have it: the one before lets go."""
        if self._old is not None:
            pid = self._old.about["pid"]
            self._say(f"waits until process {pid} has ended its connections and let go of its data")
            self._old.wait_until_it_let_go()

    def begin(self, server: Any) -> None:
        """From its first tick on the server is ready."""
        self._server = server
        if self._path is None and not self._notifier.is_heard:
            return
        if self._path is not None and self._old is None:
            self._open_doorway()
        server.at_stop.append(self._tell)
        server.every(min(LOOK_NS, self._beats_ns // 2 or LOOK_NS), self._look)

    def _look(self, now_ns: int) -> None:
        if not self._is_ready:
            self._is_ready = True
            self._notifier.tell("READY=1", f"STATUS={self._status()}")
            if self._old is not None:
                self._old.ready()
        if self._old is not None and self._old.is_stopping():
            self._old.close()
            self._old = None
            self._server.listeners.remove_left()
            self._server.operators.take_over()
            try:
                self._open_doorway()
            except UsageError as error:  # nobody is left who would serve instead
                self._say(f"{error.message} {error.remedy}")
        if self._next is not None and not self._server.is_stopping:
            self._next.look()
        if self._beats_ns and now_ns >= self._beat_ns:
            self._beat_ns = now_ns + self._beats_ns
            self._notifier.tell("WATCHDOG=1")
        if now_ns >= self._told_ns:
            self._told_ns = now_ns + NS_PER_S
            self._tell()

    def _tell(self) -> None:
        lines = [f"STATUS={self._status()}"]
        if self._server.is_stopping:
            lines += ["STOPPING=1", f"EXTEND_TIMEOUT_USEC={EXTEND_NS // NS_PER_US}"]
        self._notifier.tell(*lines)

    def _status(self) -> str:
        live = self._server.statistics.live
        return f"{'draining, ' * self._server.is_stopping}{live:,} connections"

    def _open_doorway(self) -> None:
        assert self._path is not None
        listeners = self._server.listeners
        self._next = Succession(self._path, self._about, listeners, self._leave)

    def _leave(self, pid: int, must_hurry: bool) -> None:
        """The sockets are another process's from now on."""
        self._server.operators.leave()
        if must_hurry:
            self._server.drain_spread_ns = 0
        else:
            self._server.drain_grace_ns = GRACE_NS
            self._notifier.tell(f"MAINPID={pid}")
        self._say(f"process {pid} takes over; the connections that are here are drained")
        self._server.stop()

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Around a reload: systemd is told of its begin and its end."""
        self._notifier.tell("RELOADING=1", f"MONOTONIC_USEC={SystemClock.now_ns() // NS_PER_US}")
        try:
            yield
        finally:
            self._notifier.tell("READY=1")

    def stop(self, server: Any) -> None:
        """A signal asks for the end: this process does not begin anew then."""
        self._is_asked = True
        server.stop()

    def end(self) -> None:
        """The server has ended."""
        if self._next is not None:
            beat = partial(self._notifier.tell, "WATCHDOG=1")
            pid = self._next.end(beat, lambda: self._is_asked)
            if pid:
                self._notifier.tell(f"MAINPID={pid}")
        self.close()

    def close(self) -> None:
        """Where it has not begun, the process before goes on. May be called twice."""
        if self._old is not None:
            self._old.close()
            self._old = None
        if self._next is not None:
            self._next.close()
        self._notifier.close()
