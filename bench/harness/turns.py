"""Peers one after the other, turn by turn, each started when it is first wanted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from harness.processes import RunFailed


class Named(Protocol):
    """A peer."""

    @property
    def name(self) -> str:
        """By which its runs are known."""
        ...


class Stops(Protocol):
    """A peer that runs."""

    def stop(self) -> None:
        """End it."""
        ...


P = TypeVar("P", bound=Named)
S = TypeVar("S", bound=Stops)
Runs = dict[str, list[dict[str, Any]]]


def in_turns(
    turns: int, peers: Sequence[P], begin: Callable[[P], S], run: Callable[[S], dict[str, Any]]
) -> tuple[Runs, dict[str, str]]:
    """Each peer's runs, and why those have failed that did: they are left out from there on."""
    running: dict[str, S] = {}
    runs: Runs = {peer.name: [] for peer in peers}
    failed: dict[str, str] = {}
    try:
        for _ in range(turns):
            for peer in peers:
                if peer.name in failed:
                    continue
                try:
                    if peer.name not in running:
                        running[peer.name] = begin(peer)
                    runs[peer.name].append(run(running[peer.name]))
                except RunFailed as failure:
                    failed[peer.name] = str(failure)
    finally:
        for each in running.values():
            each.stop()
    return runs, failed
