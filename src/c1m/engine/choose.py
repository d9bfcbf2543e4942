"""Pick an engine and say why, as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from c1m.bounds import LINGER_NS, OUTBOX_HIGH
from c1m.engine.contract import Engine
from c1m.errors import EngineUnavailable, LimitError, UsageError
from c1m.kernel.limits import raise_nofile

ENGINES = ("auto", "uring", "epoll")


def choose(
    name: str = "auto",
    *,
    live_max: int | None = None,
    outbox_high: int = OUTBOX_HIGH,
    linger_ns: int = LINGER_NS,
    busy_poll_ns: int = 0,
    **options: Any,
) -> Engine:
    """The engine asked for, or for `auto` uring where the kernel has it and epoll elsewhere.

    An engine is there when it has what its first connections need: the uring engine a whole ring
    with its table and buffers, after what is done with one was tried on a small one.

    `busy_poll_ns`: how long the uring engine looks for more before it sleeps; the epoll engine
    does not. `options` go to the uring engine. Raises UsageError when the one asked for cannot run
    here.
    """
    from c1m.engine.uring.engine import UringEngine
    from c1m.engine.uring.rings import Tuning

    if name not in ENGINES:
        raise UsageError(f"There is no engine {name!r}.", f"Choose one of {', '.join(ENGINES)}.")
    raise_nofile()  # needs no privilege: the soft limit is only a default
    if busy_poll_ns:
        options["tuning"] = replace(options.get("tuning", Tuning()), busy_poll_ns=busy_poll_ns)
    common: dict[str, Any] = {
        "live_max": live_max,
        "outbox_high": outbox_high,
        "linger_ns": linger_ns,
    }
    if name == "epoll":
        return _epoll("asked for", common)
    try:
        why = "asked for" if name == "uring" else "this kernel has all that it needs"
        return UringEngine(reason=why, **common, **options)
    except EngineUnavailable as refusal:
        if name == "uring":
            raise UsageError(
                f"The uring engine was asked for. {refusal.message}",
                f"{refusal.remedy} Or use --engine epoll.".strip(),
            ) from None
        why = refusal.message
    return _epoll(f"instead of uring: {why}", common)


def _epoll(reason: str, options: dict[str, Any]) -> Engine:
    from c1m.engine.epoll.engine import EpollEngine

    try:
        return EpollEngine(reason=reason, **options)
    except EngineUnavailable as refusal:
        but = "" if reason == "asked for" else f" (It was chosen {reason.rstrip('.')}.)"
        raise LimitError(f"{refusal.message}{but}", refusal.remedy) from None
