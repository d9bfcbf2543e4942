"""The plan of a run as stages: how many connections, how many requests, for how long. Pure.

A stage is written as people say it:

    ramp 0..1M in 60s            linearly        ramp 1M        as fast as they open
    ramp 1M at 20k/s             at that connect rate
    hold 1M for 5m at 50k/s      at a rate of requests (open loop); at 10k/s..50k/s: rising
    hold for 30s think 1s        each connection asks again 1 s after its reply (closed loop)
    hold for 30s churn 5k/s      so many connections a second are closed and opened again
    steps 10k..50k by 10k every 30s at 5k/s
    steps 10k/s..50k/s by 10k/s every 30s
    spike 50k for 10s at 200k/s  to so many connections, and back to what was before
    drain to 10k in 10s          drain: all of them
    stampede                     all open connections ask at the same moment
    storm 50%                    that share is reset, and connects again as fast as it can
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from c1m.errors import UsageError
from c1m.results.options import LoadOptions
from c1m.units import (
    format_count,
    format_duration,
    format_number_of,
    format_rate,
    parse_count,
    parse_duration,
    parse_rate,
    parse_share,
)

STAGES_MAX = 200  # each keeps its own distributions
RATE_A_CONNECTION_MAX = 100_000.0  # a reply within 10 us: no TCP round trip is that quick
_FORMS = (
    "Write for example 'ramp 0..1M in 60s', 'hold 1M for 5m at 50k/s', 'steps 10k..50k by 10k "
    "every 30s', 'spike 50k for 10s', 'drain in 10s', 'stampede' or 'storm 50%'."
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the plan. None: not in this stage; as `duration_ns`: until it is done."""

    name: str
    text: str
    connections_from: int
    connections_to: int
    duration_ns: int | None = None
    connect_rate: float | None = None
    rate_from: float | None = None
    rate_to: float | None = None
    think_ns: int | None = None
    churn_rate: float | None = None
    share: float = 1.0  # of the open connections, in a storm
    phase: float = 0.0  # by how many requests of its rate the first is later than its start

    @property
    def is_timed(self) -> bool:
        """Whether requests go on for the whole of it: what the rate and think time apply to."""
        return self.name in ("hold", "step", "spike")

    @property
    def has_load(self) -> bool:
        """Whether there are requests in it, by a rate or a think time."""
        return self.rate_from is not None or self.think_ns is not None

    @property
    def pace_ns(self) -> int:
        """How long its connects take by their rate; 0: they have none."""
        count = max(self.connections_to - self.connections_from, 0)
        return round(count / self.connect_rate * 1e9) if self.connect_rate else 0

    def wanted(self, elapsed_ns: int) -> int:
        """How many connections it wants so long after it began."""
        if self.is_timed or self.duration_ns is None:
            return self.connections_to
        share = min(elapsed_ns / self.duration_ns, 1.0)
        return self.connections_from + round(share * (self.connections_to - self.connections_from))


def parse_stages(texts: Sequence[str], options: LoadOptions) -> list[Stage]:
    """The stages that are written; each begins with as many connections as the last one ended with.

    What a stage does not say itself, the options say. Raises UsageError in one sentence for what
    cannot be read, goes backwards or asks for what nothing could carry.
    """
    stages: list[Stage] = []
    for text in texts:
        stages.extend(_parse(text, stages[-1].connections_to if stages else 0))
    if len(stages) > STAGES_MAX:
        raise UsageError(
            f"The plan has {len(stages):,} stages; at most {STAGES_MAX} are kept apart.",
            "Use larger steps.",
        )
    return _completed(stages, options)


def simple_stages(options: LoadOptions, *, stampede: bool, storm: bool = False) -> list[Stage]:
    """The plan of --connections and --hold: ramp, hold, and where asked a stampede or a storm."""
    count, hold_ns = options.connections, options.hold_ns
    hold = Stage("hold", f"hold for {format_duration(hold_ns)}", count, count, hold_ns)
    holds = [hold] if hold_ns else []
    stages = [Stage("ramp", f"ramp {format_count(count)}", 0, count), *holds]
    if storm:
        stages += [Stage("storm", "storm", count, count), *holds]
    if stampede:
        stages.append(Stage("stampede", "stampede", count, count))
    return _completed(stages, options)


def most_connections(stages: Sequence[Stage]) -> int:
    """The most that the plan has at once."""
    return max(stage.connections_to for stage in stages)


def _completed(stages: Sequence[Stage], options: LoadOptions) -> list[Stage]:
    stages = [_with(stage, options) for stage in stages]
    for stage in stages:
        _check(stage)
    return stages


def _with(stage: Stage, options: LoadOptions) -> Stage:
    """A stage with what it does not say itself; a rate and a think time exclude each other."""
    paces = stage.name != "storm" and (stage.duration_ns is None or stage.is_timed)
    if stage.connect_rate is None and paces:
        stage = replace(stage, connect_rate=options.connect_rate_per_s)
    if not stage.is_timed:
        return stage
    if not stage.has_load:
        rate = options.rate_per_s
        stage = replace(stage, rate_from=rate, rate_to=rate, think_ns=options.think_ns)
    if stage.churn_rate is None:
        stage = replace(stage, churn_rate=options.churn_per_s)
    return stage


def _check(stage: Stage) -> None:
    rate = max(stage.rate_from or 0, stage.rate_to or 0)
    carried = RATE_A_CONNECTION_MAX * stage.connections_to
    if rate > carried:
        what = (
            "no connection is open then"
            if not stage.connections_to
            else (
                f"its {format_number_of(stage.connections_to, 'connection')} can carry at most "
                f"{format_rate(carried)}, a reply every 10 us on each"
            )
        )
        raise UsageError(
            f"The stage {stage.text!r} asks for {format_rate(rate)}, but {what}.",
            "Open more connections, or ask for less.",
        )
    if stage.churn_rate and not stage.connections_to:
        raise UsageError(f"The stage {stage.text!r} has no connection to close and open again.")


# --- what is written ------------------------------------------------------------------------------

Fields = dict[str, Any]  # of a Stage


def _time(value: str) -> Fields:
    duration_ns = parse_duration(value)
    if not duration_ns:
        raise UsageError("it takes no time.", "Give it some, for example 30s.")
    return {"duration_ns": duration_ns}


def _rates(value: str) -> Fields:
    """`50k/s` or `10k/s..50k/s`."""
    ends = [parse_rate(one) for one in _with_unit(*value.split("..", 1))]
    return {"rate_from": ends[0], "rate_to": ends[-1]}


def _with_unit(*rates: str) -> list[str]:
    """Rates of one unit; where only one of them has it, it is that of all: `10..50/m`."""
    units = {rate.partition("/")[2] for rate in rates if "/" in rate}
    if len(units) > 1:
        several = " and per ".join(sorted(units))
        raise UsageError(f"it has rates per {several}.", "Write them in one unit.")
    unit = "".join(f"/{one}" for one in units)
    return [rate if "/" in rate else rate + unit for rate in rates]


def _as(field: str, parse: Callable[[str], Any]) -> Callable[[str], Fields]:
    return lambda value: {field: parse(value)}


_think = _as("think_ns", parse_duration)
# What a stage can say, and how it is read.
CLAUSES: dict[str, dict[str, Callable[[str], Fields]]] = {
    "ramp": {"in": _time, "at": _as("connect_rate", parse_rate)},
    "hold": {
        "for": _time, "at": _rates, "think": _think, "churn": _as("churn_rate", parse_rate),
    },
    "steps": {"by": _as("by", str), "every": _time, "at": _rates, "think": _think},
    "spike": {"for": _time, "at": _rates, "think": _think},
    "drain": {"to": _as("connections_to", parse_count), "in": _time},
    "stampede": {},
    "storm": {},
}  # fmt: skip
_FORM = {
    "ramp": "ramp COUNT in TIME' or 'ramp COUNT at RATE",
    "hold": "hold COUNT for TIME at RATE churn RATE' or 'hold COUNT for TIME think TIME",
    "steps": "steps FROM..TO by STEP every TIME at RATE' or the same with 'think TIME",
    "spike": "spike COUNT for TIME at RATE' or 'spike COUNT for TIME think TIME",
    "drain": "drain to COUNT in TIME",
    "stampede": "stampede",
    "storm": "storm SHARE",
}
_HOW_LONG = {"hold": "for", "steps": "every", "spike": "for"}  # what they cannot do without


def _parse(text: str, now: int) -> list[Stage]:
    """What one text says, with so many connections before it."""
    words = re.sub(r"\s*\.\.\s*", "..", text.strip()).split()
    name = words.pop(0).lower() if words else ""
    if name not in CLAUSES:
        raise UsageError(f"{text!r} is not a stage.", _FORMS)
    value, said = _clauses(text, words, name)
    text = text.strip()
    if name == "steps":
        return _steps(text, value, said, now)
    _check_clauses(text, name, said)
    if name == "ramp":
        low, high = _ramp(text, value, now)
        return [Stage(name, text, low, high, **said)]
    if name in ("hold", "spike"):
        count = _read(text, parse_count, value) if value else now
        stages = [Stage(name, text, now, count, **said)]
        if name == "spike" and count < now:
            raise UsageError(
                f"The stage {text!r} goes backwards, from {format_count(now)} connections.",
                "A spike goes up and comes back.",
            )
        if name == "spike" and count > now:
            stages.append(Stage("drain", f"back to {format_count(now)}", count, now))
        return stages
    if name == "storm":
        return [Stage(name, text, now, now, share=_share(text, value or "100%"))]
    if value:
        remedy = "Write 'drain to COUNT'." if name == "drain" else _FORMS
        raise UsageError(f"The stage {text!r} has {value!r} too much.", remedy)
    if name == "stampede":
        return [Stage(name, text, now, now)]
    count = said.pop("connections_to", 0)
    if count > now:
        raise UsageError(
            f"The stage {text!r} goes backwards: the plan has {format_count(now)} connections "
            "then.",
            f"To open more write 'ramp {count}'.",
        )
    return [Stage(name, text, now, count, **said)]


def _clauses(text: str, words: list[str], name: str) -> tuple[str, Fields]:
    """The word behind the stage's name ("" where there is none), and what the clauses say."""
    known = CLAUSES[name]
    value = words.pop(0) if words and words[0].lower() not in known else ""
    open_, said = dict(known), dict[str, Any]()
    while words:
        word = words.pop(0).lower()
        if word not in open_ or not words:
            why = f"{word!r} is not understood"
            if word in known:
                why = f"{word!r} " + ("has no value" if word in open_ else "stands twice")
            elif value.isalpha():  # a word where a number stands: 'spike to 400'
                why = f"{value!r} is not understood"
            raise UsageError(f"In the stage {text!r}: {why}.", f"Write '{_FORM[name]}'.")
        said |= _read(text, open_.pop(word), words.pop(0))
    return value, said


def _read(text: str, parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except UsageError as error:
        raise UsageError(f"In the stage {text!r}: {error.message}", error.remedy) from None


def _check_clauses(text: str, name: str, said: Fields) -> None:
    """What the clauses say together."""
    if name in _HOW_LONG and "duration_ns" not in said:
        raise UsageError(
            f"The stage {text!r} does not say how long.", f"Add '{_HOW_LONG[name]} 30s' to it."
        )
    if "rate_from" in said and "think_ns" in said:
        raise UsageError(
            f"The stage {text!r} has a rate and a think time.",
            "A rate is an open loop, a think time a closed one: give one of them.",
        )
    if "connect_rate" in said and "duration_ns" in said:
        raise UsageError(
            f"The stage {text!r} says twice how fast.", "Give either 'in TIME' or 'at RATE'."
        )


def _ramp(text: str, value: str, now: int) -> tuple[int, int]:
    """From how many connections to how many."""
    first, dots, last = value.partition("..")
    low = _read(text, parse_count, first) if dots else now
    high = _read(text, parse_count, last if dots else value)
    if high < low:
        raise UsageError(
            f"The stage {text!r} goes backwards, from {format_count(low)} to {format_count(high)}.",
            f"To close connections write 'drain to {high}'.",
        )
    if low != now:
        raise UsageError(
            f"The stage {text!r} begins with {format_count(low)} connections; the plan has "
            f"{format_count(now)} then.",
            f"Write 'ramp {now}..{last}', or leave the beginning out.",
        )
    return low, high


def _steps(text: str, value: str, said: Fields, now: int) -> list[Stage]:
    """A stage for each step: of connections, or of the rate."""
    first, dots, last = value.partition("..")
    if not dots or "by" not in said:
        raise UsageError(f"The stage {text!r} does not say which steps.", _FORMS)
    written, is_rate = [first, last, said.pop("by")], "/" in value
    if is_rate:
        written = _read(text, lambda _: _with_unit(*written), value)
    low, high, by = (_read(text, parse_rate if is_rate else parse_count, one) for one in written)
    if by <= 0 or high < low:
        raise UsageError(
            f"The stage {text!r} goes backwards or nowhere.", "Steps go up, by more than nothing."
        )
    if (high - low) / by > STAGES_MAX:
        raise UsageError(f"The stage {text!r} has over {STAGES_MAX} steps.", "Use larger ones.")
    _check_clauses(text, "steps", said)
    if is_rate and ("rate_from" in said or "think_ns" in said):
        what = "two rates" if "rate_from" in said else "a rate and a think time"
        raise UsageError(f"The stage {text!r} has {what}.", "Leave one of them out.")
    if not is_rate and low < now:
        raise UsageError(
            f"The stage {text!r} goes backwards, from {format_count(now)} connections.",
            f"Write 'drain to {low}' before it.",
        )
    each = [low + by * i for i in range(int((high - low) / by + 1e-9) + 1)]
    if is_rate:
        return [
            Stage(
                "step", f"step {format_rate(rate)}", now, now, **said, rate_from=rate, rate_to=rate
            )
            for rate in each
        ]
    befores = [now, *each]
    return [
        Stage("step", f"step {format_count(count)}", before, count, **said)
        for before, count in zip(befores, each, strict=False)
    ]


def _share(text: str, value: str) -> float:
    share = 0.0
    if value.endswith("%"):
        with suppress(UsageError):
            share = parse_share(value)
    if not share:
        raise UsageError(f"The stage {text!r} has {value!r} where a share stands.", "Write '50%'.")
    return share
