"""What a server listens on: what it is told, and what its applications ask for besides."""

from __future__ import annotations

from collections.abc import Sequence

from c1m.addresses import Endpoint
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve

LISTEN = "--listen"


class Listeners:
    """Endpoints, and whose they are: `owners[i]` is 0, or the place in `further` from 1 on.

    `further` has the name of an option and its URLs. Errors name the option. Raises UsageError for
    URLs that are none, and where two are the same.
    """

    def __init__(
        self, endpoints: Sequence[Endpoint], further: Sequence[tuple[str, Sequence[str]]]
    ) -> None:
        self.endpoints = list(endpoints)
        self.owners = [0] * len(endpoints)
        self._names = [LISTEN] * len(endpoints)
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

    def open(self, engine: Engine, backlog: int) -> list[Endpoint]:
        """Listen, and say what on, with the ports that the kernel chose."""
        try:
            return engine.listen(self.endpoints, backlog)
        except UsageError as error:
            for endpoint, owner, name in zip(self.endpoints, self.owners, self._names, strict=True):
                if owner and str(endpoint) in error.message:
                    raise UsageError(f"{name}: {error.message}", error.remedy) from None
            raise
