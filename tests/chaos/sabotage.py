"""Faults of an application: methods that raise now and then, before or behind what they do."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from random import Random
from typing import Any

LOG = logging.getLogger("c1m.server")


class Planned(Exception):
    """On purpose."""


class Saboteur:
    """`raised`: how often something has."""

    def __init__(self, random: Random, chance: float) -> None:
        self.random = random
        self.chance = chance
        self.raised = 0

    def strike(self) -> None:
        """Perhaps."""
        if self.chance and self.random.random() < self.chance:
            self.raised += 1
            raise Planned("on purpose")

    def spoil(self, owner: Any, name: str) -> None:
        """This method of an object raises at times."""
        method = getattr(owner, name)

        def call(*args: Any, **options: Any) -> Any:
            self.strike()
            found = method(*args, **options)
            self.strike()
            return found

        setattr(owner, name, call)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """What servers say of it is not shown."""
    before, LOG.disabled = LOG.disabled, True
    try:
        yield
    finally:
        LOG.disabled = before
