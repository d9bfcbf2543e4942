"""A server's sockets go on to the next process: what the two say to each other.

The new one connects and says hello; the old one answers with its listening sockets. When the new
one serves, it says ready, and the old one stops accepting, drains and ends. Where both need
something that one process only may have (kept data), the new one says `let go` first: the old one
ends its connections, commits, says gone, and waits. If the new one ends before it was ready, the
old one goes on, or begins anew where it has let go. Meanwhile whoever connects waits in the accept
queues, which are of the sockets and not of a process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, NoReturn

from c1m.addresses import Endpoint
from c1m.errors import UsageError
from c1m.kernel.channel import FDS_MAX, Channel, Doorway, Message, knock
from c1m.kernel.sockets import listens_on
from c1m.kernel.supervisor import Given, pass_on
from c1m.server.listeners import Listeners

FORM = 1  # of what is said; another one is refused
ANSWER_MS = 10_000  # the old one looks every 100 ms
_PLACE = ("family", "host", "port", "path", "scheme", "is_proxied")


class Predecessor:
    """As the new process sees the old one; `given` has its sockets. Raises UsageError."""

    def __init__(self, channel: Channel, path: str) -> None:
        self._channel = channel
        self._path = path
        self.given: list[Given] = []
        self.about: Message = {}
        channel.say(hello=FORM, version=version("c1m"), pid=os.getpid())
        left = 1
        while left:
            heard = channel.hear(ANSWER_MS)
            if heard is None or not heard[0]:
                raise self._refused("it does not answer, or is being taken over already")
            message, fds = heard
            if "error" in message:
                raise self._refused(message["error"])
            try:
                left = self._take(message, fds)
            except (AttributeError, KeyError, TypeError, ValueError):
                raise self._refused(f"it speaks another form of take-over than {FORM}") from None

    def _take(self, message: Message, fds: list[int]) -> int:
        """How many are to come. Raises ValueError and others of this kind for what is none."""
        about, left = message["about"], message["left"]
        self.about = {name: str(about[name]) for name in ("version", "app", "pid")}
        for fd, (asked, bound, is_shared) in zip(fds, message["sockets"], strict=True):
            self.given.append(Given(fd, Endpoint(**asked), Endpoint(**bound), is_shared))
        if message["hello"] != FORM or None in map(listens_on, fds) or (left and not fds):
            raise ValueError(message)
        return int(left)

    def _refused(self, why: str) -> UsageError:
        self._channel.close()
        for each in self.given:
            os.close(each.fd)
        return UsageError(
            f"The server that listens at {self._path} cannot be taken over from: {why}.",
            "Try again, or stop it first.",
        )

    def wait_until_it_let_go(self) -> None:
        """Have it end all that it does; it keeps the sockets."""
        self._channel.say(say="let go")
        while (heard := self._channel.hear(ANSWER_MS)) is not None:
            if heard[0].get("say") == "gone":
                return

    def ready(self) -> None:
        """Say that we serve."""
        self._channel.say(say="ready")

    def is_stopping(self) -> bool:
        """Whether it has heard that, or has gone."""
        return self._channel.hear() != ({}, [])

    def close(self) -> None:
        """Where we were not ready, it goes on."""
        self._channel.close()


def predecessor(path: str, uid: int) -> Predecessor | None:
    """Who serves, and listens at this path; None: nobody. Raises UsageError."""
    channel = knock(path, uid)
    return None if channel is None else Predecessor(channel, path)


class Succession:
    """As the old process sees the new one: `look` is called now and then.

    `leave(pid, must_hurry)` is called when the sockets are another one's: the server is to stop.
    """

    def __init__(
        self,
        path: str,
        about: Message,
        listeners: Listeners,
        leave: Callable[[int, bool], object],
    ) -> None:
        self._doorway = Doorway(path)
        self._about = {**about, "version": version("c1m"), "pid": os.getpid()}
        self._listeners = listeners
        self._leave = leave
        self._next: Channel | None = None
        self._pid = 0
        self._unsaid: list[tuple[list[int], Message]] = []  # a channel takes so much at a time
        self._passed: list[int] = []  # descriptors, should we have to begin anew
        self.has_left = False

    def look(self) -> None:
        """Answer what was said."""
        if self.has_left:
            return
        if self._next is None:
            self._next = self._doorway.next()
        self._say_some()
        heard = None if self._next is None else self._next.hear()
        if self._next is None or (heard is not None and not heard[0]):
            return
        said, fds = ({}, []) if heard is None else heard
        for fd in fds:  # nobody asked for any
            os.close(fd)
        if said.get("hello") == FORM:
            pid = said.get("pid")
            self._pid = pid if isinstance(pid, int) else 0
            self._offer()
        elif said.get("say") in ("ready", "let go") and self._pid:
            self._go(self._next, said["say"] == "let go")
        else:
            if said:
                self._next.say(error=f"it is c1m {version('c1m')}, whose take-over has form {FORM}")
            self._next.close()
            self._next, self._pid, self._unsaid = None, 0, []
            self._listeners.share(False)

    def _offer(self) -> None:
        rows = [
            (fd, (_plain(asked), _plain(bound), is_shared))
            for fd, asked, bound, is_shared in self._listeners.all()
        ]
        self._listeners.share(True)  # a stop in between is to leave them as they are
        for at in range(0, max(len(rows), 1), FDS_MAX):
            some, left = rows[at : at + FDS_MAX], len(rows[at + FDS_MAX :])
            about = {"hello": FORM, "about": self._about, "left": left}
            message = {**about, "sockets": [row for _, row in some]}
            self._unsaid.append(([fd for fd, _ in some], message))
        self._say_some()

    def _say_some(self) -> None:
        while self._unsaid and self._next is not None:
            fds, message = self._unsaid[0]
            if not self._next.say(fds, **message):  # it is full, or gone: the next look shows
                return
            del self._unsaid[0]

    def _go(self, channel: Channel, must_hurry: bool) -> None:
        self.has_left = True
        self._doorway.close()
        if must_hurry:
            self._passed = [os.dup(fd) for fd, *_ in self._listeners.all()]
        self._leave(self._pid, must_hurry)
        if not must_hurry:
            channel.say(say="stopping")
            channel.close()

    def end(self, beat: Callable[[], object], is_asked: Callable[[], bool]) -> int:
        """The server has ended. Where it had to let go: wait until the next one serves, its number.

        Where that one ends before it does, this process begins anew, with the same sockets, unless
        it `is_asked` to end. `beat` is called once a second meanwhile.
        """
        try:
            if self._next is None or not self._passed:
                return 0
            return self._waited(self._next, beat, is_asked)
        finally:
            self.close()

    def close(self) -> None:
        """Nobody is answered any more. May be called twice."""
        if not self.has_left:
            self.has_left = True
            self._doorway.close()
        if self._next is not None:
            self._next.close()

    def _waited(
        self, channel: Channel, beat: Callable[[], object], is_asked: Callable[[], bool]
    ) -> int:
        channel.say(say="gone")
        while not is_asked():
            heard = channel.hear(1000)
            if heard is None and not is_asked():
                self._begin_anew()
            if heard is not None and heard[0].get("say") == "ready":
                channel.say(say="stopping")
                return self._pid
            beat()
        return 0

    def _begin_anew(self) -> NoReturn:
        pass_on(self._passed)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _plain(endpoint: Endpoint) -> dict[str, Any]:
    return {name: value for name, value in asdict(endpoint).items() if name in _PLACE}
