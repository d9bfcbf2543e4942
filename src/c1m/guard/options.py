"""What a server's limits are: `c1m.Limits`, and options of `c1m serve`. Opens nothing."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from c1m.arguments import (
    COUNT,
    DURATION,
    RATE,
    SIZE,
    TEXT,
    TEXTS,
    AppOption,
    Choice,
    texts,
)
from c1m.errors import UsageError
from c1m.guard.networks import Network, network_of
from c1m.guard.sources import V4_BITS, V6_BITS
from c1m.units import NS_PER_S

TIMEOUT_MAX_NS = 9 * 3600 * NS_PER_S  # what a row of `deadlines` can tell
TIMEOUT = DURATION.within(NS_PER_S, TIMEOUT_MAX_NS)
WAIT, REFUSE = "wait", "refuse"
_NEEDS = (  # an option, what it needs, what it is
    ("source_bits", "per_source", "The width of a source"),
    ("accept_burst", "accept_rate", "A burst"),
    ("unsent_soft_time", "unsent_soft", "A time for unsent bytes"),
)

OPTIONS = (
    AppOption("when_full", Choice((WAIT, REFUSE)), "Beyond --connections-max further connections "
              "wait in the accept queue, or are told so and closed.  [default: wait]"),
    AppOption("per_source", COUNT.within(1, 1 << 31), "The most connections of one source address "
              "(of IPv6: of one /64).  [default: no bound]"),
    AppOption("source_bits", TEXT, "How many of an address's first bits say whose it is: of IPv4 "
              "(1 to 32), of IPv6 (1 to 64).  [default: 32,64]", "BITS,BITS"),
    AppOption("accept_rate", RATE, "The most connections accepted in a second; others wait in the "
              "accept queue.  [default: no bound]"),
    AppOption("accept_burst", COUNT.within(1, 1 << 31), "So many may be accepted at once, after a "
              "time with fewer.  [default: what --accept-rate allows in 100 ms]"),
    AppOption("allow", TEXTS, "Only these may connect. May be given more than once.  [default: "
              "all]", "ADDRESS[/BITS]"),
    AppOption("deny", TEXTS, "These may not, whatever --allow says. May be given more than once.",
              "ADDRESS[/BITS]"),
    AppOption("memory_max", SIZE, "While the process has more than this, further connections "
              "wait.  [default: no bound]"),
    AppOption("first_byte_timeout", TIMEOUT, "Close a connection that has sent nothing for so long "
              "after it was opened.  [default: never]"),
    AppOption("idle_timeout", TIMEOUT, "Close a connection that sends nothing and is sent nothing "
              "for so long.  [default: never]"),
    AppOption("unread_timeout", TIMEOUT, "Reset a connection whose output is over --outbox and "
              "that takes none of it for so long.  [default: never]"),
    AppOption("unsent_max", SIZE, "Reset a connection that has more than this unsent.  [default: "
              "no bound]"),
    AppOption("unsent_soft", SIZE, "The same for one that has more than this for longer than "
              "--unsent-soft-time.  [default: no bound]"),
    AppOption("unsent_soft_time", TIMEOUT, "See --unsent-soft.  [default: 60s]"),
    AppOption("unsent_total", SIZE, "Beyond this in all those who are owed most are reset.  "
              "[default: no bound]"),
    AppOption("turn", SIZE.within(1 << 10, 1 << 30), "Bytes that one connection may bring into one "
              "tick; the rest of what it has sent has its turn in the next ones.  [default: 64K "
              "for kv and what speaks HTTP, else no bound]"),
    AppOption("keepalive", TIMEOUT, "The kernel asks a silent peer after so long whether it is "
              "still there, and ends the connection if it says nothing for as long again. For some "
              "thousand connections: probes of many go out at once.  [default: never]"),
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Limits:
    """Who may connect, how many, and what they may take. Options are as in `c1m serve`.

    Raises UsageError for what cannot be meant.
    """

    when_full: Any = None
    per_source: Any = None
    source_bits: Any = None
    accept_rate: Any = None
    accept_burst: Any = None
    allow: Any = None
    deny: Any = None
    memory_max: Any = None
    first_byte_timeout: Any = None
    idle_timeout: Any = None
    unread_timeout: Any = None
    unsent_max: Any = None
    unsent_soft: Any = None
    unsent_soft_time: Any = None
    unsent_total: Any = None
    turn: Any = None
    keepalive: Any = None

    def __post_init__(self) -> None:
        by_name = {option.name: option for option in OPTIONS}
        for field in fields(self):
            by_name[field.name].check(getattr(self, field.name), f"limits.{field.name}")
        for name, needed, what in _NEEDS:
            if getattr(self, name) is not None and getattr(self, needed) is None:
                flag, other = by_name[name].flag, by_name[needed].flag
                raise UsageError(
                    f"{what} ({flag}) means nothing without {other}.",
                    f"Give {other}, too, or leave it out.",
                )
        self.networks()
        self.source_widths()

    def networks(self) -> tuple[list[Network], list[Network]]:
        """Those that are allowed, and those that are denied. Raises UsageError."""
        allow, deny = texts("allow", self.allow or ()), texts("deny", self.deny or ())
        return (
            [network_of(text, "allow (--allow)") for text in allow],
            [network_of(text, "deny (--deny)") for text in deny],
        )

    def source_widths(self) -> tuple[int, int]:
        """How many bits of an address of IPv4, and of IPv6, say whose it is. Raises UsageError."""
        if self.source_bits is None:
            return V4_BITS, V6_BITS
        words = str(self.source_bits).split(",")
        widths = [int(word) for word in words if word.strip().isdecimal() and len(word) < 4]
        if len(widths) != len(words) or len(words) != 2:
            raise UsageError(f"source_bits is {self.source_bits!r}.", 'Write two numbers: "32,64".')
        for family, bits, most in zip(("IPv4", "IPv6"), widths, (V4_BITS, V6_BITS), strict=True):
            if not 1 <= bits <= most:
                raise UsageError(f"{bits} is no width for {family}.", f"Give 1 to {most}.")
        return widths[0], widths[1]

    def asks_names(self) -> bool:
        """Whether the engine must be able to say peers' addresses."""
        return any(self.networks()) or self.per_source is not None

    def with_turn(self, turn: int | None) -> Limits:
        """The same, with this turn where none is given."""
        return self if turn is None or self.turn is not None else replace(self, turn=turn)

    def value(self, name: str) -> Any:
        """The checked value of an option: times in ns; None where it is not given."""
        option = next(each for each in OPTIONS if each.name == name)
        return option.check(getattr(self, name), f"limits.{name}")

    def any(self) -> bool:
        """Whether anything is limited by a guard; `keepalive` is the kernel's affair."""
        names = (field.name for field in fields(self) if field.name != "keepalive")
        return any(getattr(self, name) not in (None, (), []) for name in names)
