"""The engines there are; pick one and say why, as text.

Nothing heavy is imported before an engine is made: the command line names the engines in its help.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.errors import EngineUnavailable, LimitError, UsageError

if TYPE_CHECKING:
    from c1m.engine.contract import Engine

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class EngineKind:
    """An engine's class. To make one raises EngineUnavailable, saying why, where it cannot run."""

    module: str
    class_name: str
    uses_descriptors: bool  # see Engine
    good: str  # why it is taken where nobody asks for one

    def make(self, **options: object) -> Engine:
        """A new engine. `options` are those of `choose`, and `reason`."""
        return cast(
            "Engine", getattr(importlib.import_module(self.module), self.class_name)(**options)
        )


ENGINES = {
    "uring": EngineKind(
        "c1m.engine.uring.engine", "UringEngine", False, "this kernel has all that it needs"
    ),
    "epoll": EngineKind(
        "c1m.engine.epoll", "EpollEngine", True, "it needs nothing but descriptors"
    ),
}
"""By name, the best first."""


FEW = 256
"""First connections in an epoll set where a tick's data stays in arrays: beyond some hundred that
are busy the rings win then."""

_LIGHT = ("epoll", "uring")  # the best first where few connections say little


def check_name(name: str) -> None:
    """Raise UsageError for the name of no engine."""
    if name != AUTO and name not in ENGINES:
        names = ", ".join([AUTO, *ENGINES])
        raise UsageError(f"There is no engine {name!r}.", f"Choose one of {names}.")


def choose(
    name: str = AUTO,
    *,
    live_max: int | None = None,
    outbox_high: int = OUTBOX_HIGH,
    linger_ns: int = LINGER_NS,
    busy_poll_ns: int = 0,
    few_first: int = 0,
    needs_descriptors: bool = False,
    is_light: bool = False,
) -> Engine:
    """The engine asked for, or for `auto` the first of ENGINES that can run here.

    An engine can run where it has what its first connections need: the uring engine a whole ring
    with its table and buffers, after what is done with one was tried on a small one.

    `busy_poll_ns`: how long an engine that can looks for more before it sleeps. `few_first`: for
    `auto` where rings can be had, so many connections at most, the first, are held by the epoll
    engine (see engine/tiered.py). `needs_descriptors`: only one that can make a descriptor of a
    connection and name its peer, as an event loop needs. `is_light`: at most FEW connections will
    say little, so for `auto` the epoll engine comes first: its way is shorter then. Raises
    UsageError when the one asked for cannot run here.
    """
    check_name(name)
    from c1m.kernel.limits import raise_nofile

    raise_nofile()  # needs no privilege: the soft limit is only a default
    refused: dict[str, EngineUnavailable] = {}
    order = _LIGHT if is_light else tuple(ENGINES)
    for each in order if name == AUTO else [name]:
        good = "for a few connections its way is the shortest" if is_light else ENGINES[each].good
        reason = _instead_of(refused) or ("asked for" if each == name else good)
        try:
            options: dict[str, Any] = {
                "live_max": live_max, "outbox_high": outbox_high, "linger_ns": linger_ns,
                "busy_poll_ns": busy_poll_ns, "needs_descriptors": needs_descriptors,
            }  # fmt: skip
            made = ENGINES[each].make(reason=reason, **options)
            return _tiered(made, options, few_first) if few_first and name == AUTO else made
        except EngineUnavailable as error:
            refused[each] = error
    last, refusal = refused.popitem()
    resort = order[-1]
    if last != resort:
        raise UsageError(
            f"The {last} engine was asked for. {refusal.message}",
            f"{refusal.remedy} Or use --engine {resort}.".strip(),
        )
    but = f" (It was chosen {_instead_of(refused).rstrip('.')}.)" if refused else ""
    raise LimitError(f"{refusal.message}{but}", refusal.remedy)


def _tiered(engine: Engine, options: dict[str, Any], few_max: int) -> Engine:
    """Rings, with an epoll set for the first connections where that can be had."""
    if engine.uses_descriptors:
        return engine
    try:
        few = ENGINES["epoll"].make(**options)
    except EngineUnavailable:
        return engine
    tiered = importlib.import_module("c1m.engine.tiered")
    return cast(
        "Engine", tiered.TieredEngine(few, engine, live_max=options["live_max"], few_max=few_max)
    )


def _instead_of(refused: dict[str, EngineUnavailable]) -> str:
    return " ".join(f"instead of {name}: {error.message}" for name, error in refused.items())
