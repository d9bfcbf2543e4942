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
from c1m.units import (
    NS_PER_S,
    format_count,
    format_duration,
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
_WORDS = {
    "ramp": ("in", "at"),
    "hold": ("for", "at", "think", "churn"),
    "steps": ("by", "every", "at", "think"),
    "spike": ("for", "at", "think"),
    "drain": ("to", "in"),
    "stampede": (),
    "storm": (),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One part of the plan; None: not in this stage, or for `seconds`: until it is done."""

    name: str
    text: str
    connections_from: int
    connections_to: int
    seconds: float | None = None
    connect_rate: float | None = None
    rate_from: float | None = None
    rate_to: float | None = None
    think_s: float | None = None
    churn_rate: float | None = None
    share: float = 1.0  # of the open connections, in a storm

    @property
    def is_timed(self) -> bool:
        """Whether requests go on for the whole of it: what the rate and think time apply to."""
        return self.name in ("hold", "step", "spike")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What stages do that do not say it themselves."""

    connect_rate: float | None = None
    rate: float | None = None
    think_s: float | None = None
    churn_rate: float | None = None


def parse_stages(texts: Sequence[str], defaults: Defaults) -> list[Stage]:
    """The stages that are written; each begins with as many connections as the last one ended with.

    Raises UsageError in one sentence for what cannot be read, goes backwards or asks for what
    nothing could carry.
    """
    stages: list[Stage] = []
    for text in texts:
        now = stages[-1].connections_to if stages else 0
        stages.extend(_one(text, now))
    if len(stages) > STAGES_MAX:
        raise UsageError(
            f"The plan has {len(stages):,} stages; at most {STAGES_MAX} are kept apart.",
            "Use larger steps.",
        )
    stages = [_with(stage, defaults) for stage in stages]
    for stage in stages:
        _check(stage)
    return stages


def simple_stages(
    connections: int, hold_s: float, defaults: Defaults, *, stampede: bool, storm: bool = False
) -> list[Stage]:
    """The plan of --connections and --hold: ramp, hold, and where asked a stampede or a storm."""
    hold = f"hold for {format_duration(hold_s * NS_PER_S)}"
    stages = [Stage("ramp", f"ramp {format_count(connections)}", 0, connections)]
    if hold_s:
        stages.append(Stage("hold", hold, connections, connections, hold_s))
    if storm:
        stages.append(Stage("storm", "storm", connections, connections))
    if storm and hold_s:
        stages.append(Stage("hold", hold, connections, connections, hold_s))
    if stampede:
        stages.append(Stage("stampede", "stampede", connections, connections))
    stages = [_with(stage, defaults) for stage in stages]
    for stage in stages:
        _check(stage)
    return stages


def most_connections(stages: Sequence[Stage]) -> int:
    """The most that the plan has at once."""
    return max(stage.connections_to for stage in stages)


def _with(stage: Stage, defaults: Defaults) -> Stage:
    """A stage with what it does not say itself; a rate and a think time exclude each other."""
    paces = stage.name != "storm" and (stage.seconds is None or stage.is_timed)
    if stage.connect_rate is None and paces:
        stage = replace(stage, connect_rate=defaults.connect_rate)
    if not stage.is_timed:
        return stage
    if stage.rate_from is None and stage.think_s is None:
        stage = replace(
            stage, rate_from=defaults.rate, rate_to=defaults.rate, think_s=defaults.think_s
        )
    if stage.churn_rate is None:
        stage = replace(stage, churn_rate=defaults.churn_rate)
    return stage


def _check(stage: Stage) -> None:
    rate = max(stage.rate_from or 0, stage.rate_to or 0)
    carried = RATE_A_CONNECTION_MAX * stage.connections_to
    if rate > carried:
        what = (
            "no connection is open then"
            if not stage.connections_to
            else (
                f"its {format_count(stage.connections_to)} connection(s) carry at most "
                f"{format_rate(carried)}, a reply every 10 us on each"
            )
        )
        raise UsageError(
            f"The stage {stage.text!r} asks for {format_rate(rate)}, but {what}.",
            "Open more connections, or ask for less.",
        )
    if stage.churn_rate and not stage.connections_to:
        raise UsageError(f"The stage {stage.text!r} has no connection to close and open again.")


def _one(text: str, now: int) -> list[Stage]:
    words = re.sub(r"\s*\.\.\s*", "..", text.strip()).split()
    name = words[0].lower() if words else ""
    if name not in _WORDS:
        raise UsageError(f"{text!r} is not a stage.", _FORMS)
    value, given = _clauses(text, words[1:], _WORDS[name])
    return _READERS[name](text.strip(), value, given, now)


def _clauses(text: str, words: list[str], known: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """The word behind the stage's name ("" where there is none), and word -> what follows it."""
    value = ""
    if words and words[0].lower() not in known:
        value = words.pop(0)
    given: dict[str, str] = {}
    while words:
        word = words.pop(0).lower()
        if word not in known or not words or word in given:
            known_text = ", ".join(known) or "nothing"
            raise UsageError(
                f"The stage {text!r} has {word!r} where it can have {known_text}, each once and "
                "with a value.",
                _FORMS,
            )
        given[word] = words.pop(0)
    return value, given


def _in_stage(text: str, parse: Callable[[str], Any], value: str) -> Any:
    try:
        return parse(value)
    except UsageError as error:
        raise UsageError(f"In the stage {text!r}: {error.message}", error.remedy) from None


def _seconds(text: str, value: str | None) -> float | None:
    if value is None:
        return None
    ns: int = _in_stage(text, parse_duration, value)
    if ns <= 0:
        raise UsageError(f"The stage {text!r} takes no time.", "Give it some, for example 30s.")
    return ns / NS_PER_S


def _needed(text: str, given: dict[str, str], word: str) -> float:
    seconds = _seconds(text, given.get(word))
    if seconds is None:
        raise UsageError(f"The stage {text!r} does not say how long.", f"Add '{word} 30s' to it.")
    return seconds


def _count(text: str, value: str) -> int:
    count: int = _in_stage(text, parse_count, value)
    return count


def _rates(text: str, value: str | None) -> tuple[float | None, float | None]:
    """`50k/s` or `10k/s..50k/s`."""
    if value is None:
        return None, None
    ends = _with_unit(text, *value.split("..", 1))
    low: float = _in_stage(text, parse_rate, ends[0])
    return low, _in_stage(text, parse_rate, ends[-1])


def _with_unit(text: str, *rates: str) -> list[str]:
    """Rates of one unit; where only one of them has it, it is that of all: `10..50/m`."""
    units = {rate.partition("/")[2] for rate in rates if "/" in rate}
    if len(units) > 1:
        several = " and per ".join(sorted(units))
        raise UsageError(f"The stage {text!r} has rates per {several}.", "Write them in one unit.")
    unit = "".join(f"/{one}" for one in units)
    return [rate if "/" in rate else rate + unit for rate in rates]


def _rate(text: str, value: str | None) -> float | None:
    """One rate that does not change."""
    if value is None:
        return None
    rate: float = _in_stage(text, parse_rate, value)
    return rate


def _think(text: str, given: dict[str, str]) -> float | None:
    if "think" not in given:
        return None
    if "at" in given:
        raise UsageError(
            f"The stage {text!r} has a rate and a think time.",
            "A rate is an open loop, a think time a closed one: give one of them.",
        )
    ns: int = _in_stage(text, parse_duration, given["think"])
    return ns / NS_PER_S


def _ramp(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    first, dots, last = value.partition("..")
    low = _count(text, first) if dots else now
    high = _count(text, last if dots else value)
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
    seconds = _seconds(text, given.get("in"))
    rate = _rate(text, given.get("at"))
    if seconds is not None and rate is not None:
        raise UsageError(
            f"The stage {text!r} says twice how fast.", "Give either 'in TIME' or 'at RATE'."
        )
    return [Stage("ramp", text, low, high, seconds, connect_rate=rate)]


def _hold(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    count = _count(text, value) if value else now
    low, high = _rates(text, given.get("at"))
    churn = _rate(text, given.get("churn"))
    return [
        Stage(
            "hold", text, now, count, _needed(text, given, "for"), rate_from=low, rate_to=high,
            think_s=_think(text, given), churn_rate=churn,
        )
    ]  # fmt: skip


def _steps(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    first, dots, last = value.partition("..")
    if not dots or "by" not in given:
        raise UsageError(f"The stage {text!r} does not say which steps.", _FORMS)
    is_rate = "/" in value
    parse = parse_rate if is_rate else parse_count
    written = _with_unit(text, first, last, given["by"]) if is_rate else (first, last, given["by"])
    low, high, by = (_in_stage(text, parse, one) for one in written)
    if by <= 0 or high < low:
        raise UsageError(
            f"The stage {text!r} goes backwards or nowhere.", "Steps go up, by more than nothing."
        )
    if (high - low) / by > STAGES_MAX:
        raise UsageError(f"The stage {text!r} has over {STAGES_MAX} steps.", "Use larger ones.")
    seconds = _needed(text, given, "every")
    if is_rate and ("at" in given or "think" in given):
        what = "two rates" if "at" in given else "a rate and a think time"
        raise UsageError(f"The stage {text!r} has {what}.", "Leave one of them out.")
    if not is_rate and low < now:
        raise UsageError(
            f"The stage {text!r} goes backwards, from {format_count(now)} connections.",
            f"Write 'drain to {low}' before it.",
        )
    each = [low + by * i for i in range(int((high - low) / by + 1e-9) + 1)]
    rate, to = _rates(text, given.get("at"))
    think = _think(text, given)
    stages = []
    for step in each:
        if is_rate:
            label = f"step {format_rate(step)}"
            stages.append(Stage("step", label, now, now, seconds, rate_from=step, rate_to=step))
        else:
            label = f"step {format_count(step)}"
            stages.append(
                Stage("step", label, now, step, seconds, rate_from=rate, rate_to=to, think_s=think)
            )
            now = step
    return stages


def _spike(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    count = _count(text, value) if value else now
    if count < now:
        raise UsageError(
            f"The stage {text!r} goes backwards, from {format_count(now)} connections.",
            "A spike goes up and comes back.",
        )
    low, high = _rates(text, given.get("at"))
    stages = [
        Stage("spike", text, now, count, _needed(text, given, "for"), rate_from=low, rate_to=high,
              think_s=_think(text, given))
    ]  # fmt: skip
    if count > now:
        stages.append(Stage("drain", f"back to {format_count(now)}", count, now))
    return stages


def _drain(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    if value:
        raise UsageError(f"The stage {text!r} has {value!r} too much.", "Write 'drain to COUNT'.")
    count = _count(text, given["to"]) if "to" in given else 0
    if count > now:
        raise UsageError(
            f"The stage {text!r} goes backwards: the plan has {format_count(now)} connections "
            f"then.",
            f"To open more write 'ramp {count}'.",
        )
    return [Stage("drain", text, now, count, _seconds(text, given.get("in")))]


def _stampede(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    _nothing_more(text, value)
    return [Stage("stampede", text, now, now)]


def _storm(text: str, value: str, given: dict[str, str], now: int) -> list[Stage]:
    value, share = value or "100%", 0.0
    if value.endswith("%"):
        with suppress(UsageError):
            share = parse_share(value)
    if not share:
        raise UsageError(f"The stage {text!r} has {value!r} where a share stands.", "Write '50%'.")
    return [Stage("storm", text, now, now, share=share)]


def _nothing_more(text: str, value: str) -> None:
    if value:
        raise UsageError(f"The stage {text!r} has {value!r} too much.", _FORMS)


_READERS = {
    "ramp": _ramp,
    "hold": _hold,
    "steps": _steps,
    "spike": _spike,
    "drain": _drain,
    "stampede": _stampede,
    "storm": _storm,
}
