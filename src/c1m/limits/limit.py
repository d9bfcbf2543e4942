"""A limit: one thing that bounds the connections of a machine, and everything known about it.

Each is one class, in `uring`, `descriptors`, `ports`, `queues`, `conntrack` or `memory`. It says

- before a run, what so many connections need, what is there, and how to raise it (`find`);
- after a run, by what it is recognised when it was met: errnos, kernel counters, a gauge at its
  bound, a number at which connections stop or become slow; and what to do then (`remedy`).

The doctor, the diagnosis of missing connections, the sampler, the record's sysctls and the
reference page read these classes and nothing else. A limit reads nothing itself: it gets what a
machine has (`Situation`) or what a run knows (`Evidence`), and can be tried with made-up ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from c1m.errors import LimitError
from c1m.limits.needs import Request, largest
from c1m.results.record import Metadata, Ramp, Samples

OK = "ok"
SHORT = "short"
UNKNOWN = "unknown"


def numbers(sysctls: Mapping[str, str], name: str) -> tuple[int, ...]:
    """The numbers of a sysctl; () where it is not known or is not made of numbers."""
    words = sysctls.get(name, "").split()
    return tuple(map(int, words)) if all(word.lstrip("-").isdigit() for word in words) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A machine, read once. None or empty: not known. Counts, or bytes where a name says so."""

    kernel: tuple[int, int] = (0, 0)
    sysctls: Mapping[str, str] = field(default_factory=dict)  # those that the limits name
    nofile: tuple[int, int] | None = None  # soft, hard
    memlock_bytes: int | None = None  # the soft RLIMIT_MEMLOCK
    memory_available_bytes: int | None = None
    cgroup_limit_bytes: int | None = None  # None: no group limits it
    cgroup_used_bytes: int | None = None
    slab_bytes: Mapping[str, int] = field(default_factory=dict)  # memory that one object takes
    softnet_dropped: int = 0  # packets, since the machine started
    uring_errno: int | None = None  # 0: works; None: not tried
    has_ipc_lock: bool = False
    has_sys_admin: bool = False

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers of a sysctl; () where it is not known."""
        return numbers(self.sysctls, name)

    def number(self, name: str) -> int | None:
        """The first number of a sysctl; None where it is not known."""
        return next(iter(self.numbers(name)), None)

    @property
    def hard_nofile(self) -> int:
        """The limit that c1m works with: it raises its soft limit to the hard one."""
        return self.nofile[1] if self.nofile else 1024


@dataclass(frozen=True, slots=True)
class Fix:
    """A sysctl that would help, the value it should have, and why."""

    sysctl: str
    value: str
    why: str


class Advice(NamedTuple):
    """What to do: in words, and the sysctls to set."""

    remedy: str = ""
    fixes: tuple[Fix, ...] = ()


NO_ADVICE = Advice()


def set_sysctl(sysctl: str, value: int | str, why: str, then: str = "") -> Advice:
    """Advice to set one sysctl; `then` continues the command into a sentence."""
    text = str(value)
    quoted = f"'{text}'" if " " in text else text
    return Advice(f"sysctl -w {sysctl}={quoted}{then}", (Fix(sysctl, text, why),))


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor found about one limit.

    `needed` and `have` are numbers of `unit` ("bytes" or a plural noun), or text. `fits` is how
    many connections this limit allows; None: it bounds none. SHORT means exactly that more were
    asked for than `fits`. `text` is for people and may be empty; `remedy` says what to do by hand
    (with OK: what would be better).
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


@dataclass(frozen=True, slots=True)
class Counter:
    """One of the kernel's counters, and the symptoms that it explains when it rises.

    `explains` are "PHASE ERRNO" as in a record's failures, "connect unfinished" for connects that
    never ended. `is_alarm`: reported even where nothing of that kind is missing, because it delays
    or loses what the run measured. `of_server`: counted on the machine that accepts.
    """

    name: str
    meaning: str  # continues "12 x": "a handshake ended while ..."
    remedy: str = ""  # "": that of its limit
    explains: tuple[str, ...] = ()
    is_alarm: bool = False
    of_server: bool = False
    includes: str = ""  # a counter whose events it counts, too: only what is beyond them is its own


@dataclass(frozen=True, slots=True)
class Gauge:
    """A number that rises and falls; a run keeps its highest.

    `limit` is the sysctl that bounds it, `position` which of the sysctl's numbers does: those of
    its limit.
    """

    name: str
    meaning: str
    limit: str = ""
    position: int = 0
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Wall:
    """A number of connections at which runs stop: `at`, met from `at - below` on."""

    at: int
    below: int
    kind: str
    cause: str
    remedy: str

    def is_near(self, peak: int) -> bool:
        """Whether a run that stopped at `peak` may have met it."""
        return self.at - self.below <= peak <= self.at


class Silence(NamedTuple):
    """A time (s) in which a stage waited for connects or first replies, and none came.

    `is_end`: the stage was ended for that with more to begin; otherwise it waited for nothing else.
    """

    start_s: float
    end_s: float
    is_end: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything a run knows besides its connections; any of it may be absent.

    `gauges` are the highest values seen (Sampler.gauges). `triples`: pairs of source and target
    that the run used.
    """

    kernel_counters: Mapping[str, int] = field(default_factory=dict)
    gauges: Mapping[str, int] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    metadata: Metadata = field(default_factory=Metadata)
    ramp: Ramp = field(default_factory=Ramp)
    triples: int | None = None
    is_server_here: bool | None = None  # None: not known
    findings: Sequence[Finding] = ()  # the doctor's, for this machine
    unanswered: int = 0  # connections that opened and never had a first reply
    server_nofile: int = 0  # RLIMIT_NOFILE (soft) of the server's process; 0: not known
    silence: Silence | None = None  # in which the server answered no connect
    refusal: LimitError | None = None  # the limit of this machine at which connects stopped

    def moved(self, counter: Counter) -> int:
        """How much a counter rose; 0 where it says nothing about this run's server."""
        if counter.of_server and self.is_server_here is False:
            return 0
        count = self.kernel_counters.get(counter.name, 0)
        return max(0, count - self.kernel_counters.get(counter.includes, 0))


# Symptoms of packets that are lost on the way to a connection, or of none that is opened.
NO_ANSWER = ("connect ETIMEDOUT", "connect unfinished")


class Limit:
    """One limit. Subclasses set what applies and leave the rest.

    Where nothing says beforehand how much of a limit will be needed it has no `judge`: the doctor
    leaves it out, and it is only recognised when it was met.
    """

    name: ClassVar[str]
    sysctls: ClassVar[tuple[str, ...]] = ()  # its settings, first the one that is the bound
    position: ClassVar[int] = 0  # which of that one's numbers is the bound
    usage: ClassVar[str] = ""  # a sysctl that says how much is taken
    is_recorded: ClassVar[bool] = True  # a run's record has `sysctls` as a condition
    source: ClassVar[str] = ""  # what it is read from, if not from a sysctl
    unit: ClassVar[str] = ""
    uses_descriptors: ClassVar[bool | None] = None  # only engines whose connections do, or do not,
    end: ClassVar[str] = ""  # and only a machine with this end, server or client, are concerned
    is_optional: ClassVar[bool] = False  # nothing is said where it cannot be read

    remedy: ClassVar[str] = ""  # in general; a finding's knows this machine's numbers
    remedy_elsewhere: ClassVar[str] = ""  # where it is not this machine's; "": the same
    errnos: ClassVar[Mapping[str, str]] = {}  # name -> what it means
    counters: ClassVar[tuple[Counter, ...]] = ()
    gauge: ClassVar[Gauge | None] = None
    kind: ClassVar[str] = ""  # what is used up at a wall
    near: ClassVar[int] = 0  # how far below a wall runs stop at it: so many connections,
    near_share: ClassVar[float] = 0.0  # and such a share of it
    usual: ClassVar[Mapping[int, str]] = {}  # walls: values that many machines have -> what it is

    def applies(self, request: Request, situation: Situation) -> bool:
        """Whether the doctor looks at it at all."""
        has_end = {"server": request.has_server, "client": request.has_client}.get(self.end, True)
        return has_end and self.uses_descriptors in (None, request.uses_descriptors)

    def have(self, request: Request, situation: Situation) -> int | None:
        """What is there; None: it cannot be read."""
        return next(iter(situation.numbers(self.sysctls[0])[self.position :]), None)

    def judge(self, have: int, request: Request, situation: Situation) -> Finding | None:
        """What the doctor says, given what is there."""
        return None

    def find(self, request: Request, situation: Situation) -> Finding | None:
        """What the doctor says of it; None where it does not apply."""
        if not self.applies(request, situation):
            return None
        have = self.have(request, situation)
        if have is not None:
            return self.judge(have, request, situation)
        text = f"{self.source or self.name} cannot be read here."
        return None if self.is_optional else Finding(self.name, UNKNOWN, text=text)

    def finding(
        self,
        have: int | str | None,
        text: str = "",
        advice: Advice = NO_ADVICE,
        *,
        needed: int | str | None = None,
        verdict: str = OK,
        fits: int | None = None,
    ) -> Finding:
        """What the doctor says of it; see Finding."""
        remedy, fixes = advice
        return Finding(self.name, verdict, needed, have, self.unit, text, remedy, fits, fixes)

    def wall(self, at: int, cause: str, *, below: int | None = None, is_here: bool = True) -> Wall:
        """A number of this limit at which runs stop."""
        if below is None:
            below = self.near + math.ceil(at * self.near_share)
        remedy = self.remedy if is_here else self.remedy_elsewhere or self.remedy
        return Wall(at, below, self.kind, cause, remedy)

    def own_walls(self, evidence: Evidence) -> Iterable[Wall]:
        """The numbers at which it stops connections on the run's own machine."""
        return ()

    def is_ruled_out(self, evidence: Evidence) -> bool:
        """Whether the run shows that it cannot have been met."""
        return False

    def slows(self, at: int, evidence: Evidence) -> str:
        """Why connects become slow after connection `at`; "" where it is not the reason."""
        return ""

    def seen(self, evidence: Evidence) -> list[str]:
        """What the run's own figures add to one of `errnos`: sentences."""
        return []


class Bound(Limit):
    """A limit that bounds the number of connections: short where `needed` passes `have`.

    As it stands it is a sysctl of which `usage` says how much is taken, and which may be raised.
    """

    taken: ClassVar[str] = ""  # "are open": said of what `usage` counts
    why: ClassVar[str] = ""  # to raise it
    then: ClassVar[str] = ""  # what else to do

    def used(self, situation: Situation) -> int | None:
        """How much of the sysctl is taken; None: it cannot be read."""
        return situation.number(self.usage) if self.usage else 0

    def have(self, request: Request, situation: Situation) -> int | None:
        """What is left; None: it cannot be read."""
        most, used = super().have(request, situation), self.used(situation)
        return None if most is None or used is None else max(0, most - used)

    def needed(self, request: Request, situation: Situation) -> int:
        """What so many connections take; must not fall when connections grow."""
        raise NotImplementedError

    def note(self, request: Request, situation: Situation) -> str:
        """Words for people, short or not."""
        if not self.usage:
            return ""
        return f"{self.used(situation):,} of {situation.number(self.sysctls[0]):,} {self.taken}."

    def advice(self, request: Request, situation: Situation) -> Advice:
        """What to do where it is short."""
        value = with_room(self.needed(request, situation) + (self.used(situation) or 0))
        return set_sysctl(self.sysctls[0], value, self.why, self.then)

    def judge(self, have: int, request: Request, situation: Situation) -> Finding:
        """Ok or short; how many connections fit comes from the same formula as what is needed."""
        needed, note = self.needed(request, situation), self.note(request, situation)
        fits = largest(lambda n: self.needed(request.of(n), situation) <= have)
        if request.connections <= fits:
            return self.finding(have, note, needed=needed, fits=fits)
        advice = self.advice(request, situation)
        return self.finding(have, note, advice, needed=needed, verdict=SHORT, fits=fits)


def with_room(needed: int) -> int:
    """A value to set: a quarter above what is needed, with three leading digits."""
    value = needed + needed // 4
    step = int(10 ** max(0, len(str(value)) - 3))
    return -(-value // step) * step
