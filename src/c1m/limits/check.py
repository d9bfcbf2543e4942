"""What a check is and what it finds.

A check is a function of a request and a situation (both plain data): it reads nothing itself, so it
can be tried with made-up machines. It finds ok, short or unknown. Short means exactly that the
connections asked for are more than `fits`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from c1m.limits.needs import Request, largest
from c1m.limits.situation import Situation

OK = "ok"
SHORT = "short"
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fix:
    """A sysctl that would help, the value it should have, and why."""

    sysctl: str
    value: str
    why: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    `needed` and `have` are numbers of `unit` ("bytes" or a plural noun), or text. `fits` is how
    many connections fit as things stand because of this check; None: it sets no bound. `text` is
    for people and may be empty; `remedy` says what to do by hand (with ok: what would be better).
    """

    name: str
    verdict: str
    needed: int | str | None = None
    have: int | str | None = None
    unit: str = ""
    text: str = ""
    remedy: str = ""
    fits: int | None = None
    fixes: tuple[Fix, ...] = ()


class Check(Protocol):
    """Looks at one thing; None where it does not apply (epoll's limits with io_uring)."""

    def __call__(self, request: Request, situation: Situation) -> Finding | None:
        """The finding, without reading or changing anything."""
        ...


def bounded(
    name: str,
    request: Request,
    needed: Callable[[Request], int],
    have: int,
    *,
    unit: str = "",
    text: str = "",
    remedy: str = "",
    fixes: tuple[Fix, ...] = (),
) -> Finding:
    """A finding of a check that bounds the connections: short where `needed` passes `have`.

    `needed` must not fall when connections grow. Remedy and fixes are kept only when short.
    """
    fits = largest(lambda n: needed(request.of(n)) <= have)
    is_short = request.connections > fits
    return Finding(
        name=name,
        verdict=SHORT if is_short else OK,
        needed=needed(request),
        have=have,
        unit=unit,
        text=text,
        remedy=remedy if is_short else "",
        fits=fits,
        fixes=fixes if is_short else (),
    )


def unknown(name: str, what: str, remedy: str = "") -> Finding:
    """A finding where the kernel does not tell: `what` cannot be read."""
    return Finding(name, UNKNOWN, text=f"{what} cannot be read here.", remedy=remedy)


def with_room(needed: int) -> int:
    """A value to set: a quarter above what is needed, with three leading digits."""
    value = needed + needed // 4
    step = int(10 ** max(0, len(str(value)) - 3))
    return -(-value // step) * step
