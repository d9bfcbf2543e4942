"""Targets whose scheme says what their servers speak: redis://HOST[:PORT], ws://, sse://, and the
same over TLS: tls://, rediss://, wss://, sses://. Pure.

Such a target needs no further options: the scheme names the scenario, and where no load is asked
for, every connection keeps asking for a while.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from c1m.errors import UsageError
from c1m.loadgen.transports.wanted import SPOKEN, place_of, scheme_of
from c1m.results.options import LoadOptions

HOLD_NS = 10_000_000_000  # where it is not said how long

_PLACE = re.compile(
    r"(?P<login>.*@)?(?P<host>\[[^\]]*\]|[^:/@]*)(?P<ports>[^/@]+)?(?P<path>/.*)?", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Scheme:
    """What is meant by it: a scenario, where none is named."""

    scenario: str


SCHEMES = {"redis": Scheme("resp"), "ws": Scheme("echo"), "sse": Scheme("hold")}
REDIS_PORT = 6379


def with_schemes(options: LoadOptions) -> LoadOptions:
    """The same with targets that are tcp, tls or unix, and what their scheme stands for.

    Raises UsageError for what cannot be done, and for targets that speak different things.
    """
    schemes = [scheme_of(text) for text in options.targets]
    names = [name for name, _ in schemes]
    for (name, is_tls), text in zip(schemes, options.targets, strict=True):
        if name == "http":
            ws, sse, tcp = ("wss", "sses", "tls") if is_tls else ("ws", "sse", "tcp")
            raise UsageError(
                f"{text!r} asks for HTTP requests, which c1m load does not send.",
                f"Use {ws}:// for WebSockets, {sse}:// for streams of events, {tcp}:// for plain "
                "bytes.",
            )
    if len({is_tls for _, is_tls in schemes}) > 1:
        raise UsageError(
            "Some targets are over TLS, others are not.",
            "Load them one after the other, or give all of them as tls://, rediss://, wss:// or "
            "sses://.",
        )
    scheme = SCHEMES.get(names[0]) if names else None
    if any(SCHEMES.get(name) is not scheme for name in names):
        raise UsageError(
            "The targets speak different things.",
            f"Give all of them as {options.targets[0].partition('://')[0]}://, or none.",
        )
    if scheme is None:
        return options
    place = place_of if names[0] in SPOKEN else _place
    options = replace(
        options,
        targets=[place(text) for text in options.targets],
        scenario=scheme.scenario if options.scenario == "echo" else options.scenario,
    )
    has_load = (options.rate_per_s, options.think_ns, options.churn_per_s) != (None, None, None)
    if has_load or options.stages:
        return options
    is_silent = options.scenario == "hold" or getattr(options.scenario, "is_silent", False)
    return replace(options, think_ns=None if is_silent else 0, hold_ns=options.hold_ns or HOLD_NS)


def _place(text: str) -> str:
    match = _PLACE.fullmatch(text.partition("://")[2])
    assert match is not None  # what is wrong with a host and a port is said by parse_url
    if match["login"]:
        raise UsageError(
            "The target has a user or a password, and connections do not log in.",
            "Test a server that asks for none, on a port that only you reach.",
        )
    if (match["path"] or "/") not in ("/", "/0"):
        raise UsageError(
            f"{text!r} names a database, and connections stay in database 0.", "Leave it out."
        )
    kind = "tls" if scheme_of(text)[1] else "tcp"
    return f"{kind}://{match['host']}{match['ports'] or f':{REDIS_PORT}'}"
