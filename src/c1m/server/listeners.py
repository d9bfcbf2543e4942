"""What a server listens on: what it is told, and what its applications ask for besides.

The sockets are the server's own, not the engine's: they may come from another process
(`kernel/supervisor.py`, `server/takeover.py`), and may go on to a next one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from c1m.addresses import Endpoint, ListeningSocket
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.kernel.sockets import Listener, given_listener, open_listeners, resolve
from c1m.kernel.supervisor import Given

LISTEN = "--listen"


class Listeners:
    """Endpoints, and whose they are: `owners[i]` is 0, or the place in `further` from 1 on.

    `further` has the name of an option and its URLs. Errors name the option. Raises UsageError for
    URLs that are none, and where two are the same.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], further: Sequence[tuple[str, Sequence[str]]] = ()
    ) -> None:
        self.endpoints = list(endpoints)
        self.owners = [0] * len(endpoints)
        self.sockets: list[Listener] = []  # in the same order, once they are bound
        self._names = [LISTEN] * len(endpoints)
        self._lent: list[Listener] = []
        self._left_files: list[str] = []
        for number, (name, urls) in enumerate(further, 1):
            for url in urls:
                try:
                    found = resolve(url)
                except UsageError as error:
                    raise UsageError(f"{name}: {error.message}", error.remedy) from None
                for endpoint in found:
                    self._add(endpoint, number, name)

    def _add(self, endpoint: Endpoint, number: int, name: str) -> None:
        is_chosen = bool(endpoint.port or endpoint.path)  # else each gets another port
        if is_chosen and endpoint in self.endpoints:
            other = self._names[self.endpoints.index(endpoint)]
            raise UsageError(
                f"{name} and {other} both say {endpoint}.", "Give each a port of its own."
            )
        self.endpoints.append(endpoint)
        self.owners.append(number)
        self._names.append(name)

    def bind(self, backlog: int, given: Sequence[Given] = ()) -> None:
        """Make the sockets, of those that are given as far as they fit.

        Raises UsageError where one cannot be had, with those closed that were made here, and for
        one of systemd's that nothing was asked for.
        """
        taken, rest = matched(self.endpoints, given)
        for each in rest:
            if each.is_shared:
                raise UsageError(
                    f"systemd has opened {each.bound}, and no --listen says it.",
                    f"Give --listen {each.bound}, or take it out of the socket unit.",
                )
        missing = [e for e, found in zip(self.endpoints, taken, strict=True) if found is None]
        with self._named():
            fresh = iter(open_listeners(missing, backlog))
        self.sockets = [
            next(fresh)
            if found is None
            else given_listener(found.fd, asked, is_shared=found.is_shared, backlog=backlog)
            for asked, found in zip(self.endpoints, taken, strict=True)
        ]
        for each in rest:
            os.close(each.fd)
            if each.bound.path:
                self._left_files.append(each.bound.path)

    def remove_left(self) -> None:
        """Files of unix sockets that were the process's before, and that nobody listens on now."""
        for path in self._left_files:
            with suppress(OSError):
                os.unlink(path)
        self._left_files.clear()

    def places(self) -> list[Endpoint | ListeningSocket]:
        """For an engine to listen on."""
        if self.sockets:
            return [ListeningSocket(each.fd, each.endpoint) for each in self.sockets]
        return [*self.endpoints]

    def paths(self) -> list[str]:
        """The files that were made here."""
        return [each.endpoint.path for each in self.sockets if each.has_file]

    def open(self, engine: Engine, backlog: int) -> list[Endpoint]:
        """Listen, and say what on, with the ports that the kernel chose."""
        with self._named():
            return engine.listen(self.places(), backlog)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors name the option that an endpoint was told by."""
        try:
            yield
        except UsageError as error:
            for endpoint, owner, name in zip(self.endpoints, self.owners, self._names, strict=True):
                if owner and str(endpoint) in error.message:
                    raise UsageError(f"{name}: {error.message}", error.remedy) from None
            raise

    # --- the end --------------------------------------------------------------------------------

    def turn_away(self) -> bool:
        """Let nobody new come; whether those in the accept queues are to be let in."""
        for each in self.sockets:
            each.turn_away()
        return any(not each.is_shared for each in self.sockets)

    def all(self) -> list[tuple[int, Endpoint, Endpoint, bool]]:
        """For another process: descriptor, what was asked, where it is bound, whether systemd's."""
        return [
            (each.fd, asked, each.endpoint, each.is_shared)
            for each, asked in zip(self.sockets, self.endpoints, strict=True)
        ]

    def share(self, on: bool) -> None:
        """Another process has them, too, or has them no more: till then files and accept queues
        are left alone."""
        for each in self.sockets:
            if each.is_shared != on and (on or each in self._lent):
                each.is_shared = on
                self._lent.append(each)

    def close(self) -> None:
        """Give the sockets back."""
        for each in self.sockets:
            each.close()
        self.sockets = []


def matched(
    endpoints: Sequence[Endpoint], given: Sequence[Given]
) -> tuple[list[Given | None], list[Given]]:
    """For each endpoint a socket that was opened for it, if there is one; and the others.

    First by where it is bound; then, for those that may have any port, one that was asked for so,
    else any.
    """
    left = list(given)
    taken: list[Given | None] = [None] * len(endpoints)
    ways: tuple[Callable[[Endpoint, Given], bool], ...] = (
        lambda asked, one: one.bound == asked,
        lambda asked, one: one.asked == asked,
        lambda asked, one: not asked.port and not asked.path and one.bound.host == asked.host,
    )
    for is_it in ways:
        for at, asked in enumerate(endpoints):
            found = next((one for one in left if is_it(asked, one)), None)
            if taken[at] is None and found is not None:
                taken[at] = found
                left.remove(found)
    return taken, left
