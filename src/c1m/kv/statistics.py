"""What a server counts: commands, errors, times of slow commands. Pure: the clock is given."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any


class Statistics:
    """Counters since the start, or since CONFIG RESETSTAT."""

    def __init__(self) -> None:
        self.now_ns: Callable[[], int] | None = None  # whoever runs commands may set it
        self.log: Callable[[str], object] = lambda text: None  # where faults are said
        self.is_timing = False  # commands that may be slow are timed
        self.faults = 0  # commands that ended by an exception of ours
        self.connections = 0  # since the start, those that were refused included
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.calls: dict[str, int] = defaultdict(int)  # by command
        self.failed: dict[str, int] = defaultdict(int)  # its reply was an error
        self.rejected: dict[str, int] = defaultdict(int)  # it did not run
        self.connections_refused = 0  # by maxclients
        self.errors: dict[bytes, int] = defaultdict(int)  # by an error's first word

    def fault(self, what: str) -> None:
        """A command ended by an exception of ours: said once, counted always."""
        self.faults += 1
        if self.faults == 1:
            self.log(what)

    @contextlib.contextmanager
    def timed(self, client: Any, command: Any, args: list[bytes]) -> Iterator[None]:
        """Around a command."""
        yield
