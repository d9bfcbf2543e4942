"""What is asked of a run, as far as it says so itself: what is spoken, the scenario, the stages.

No machine is looked at: a run by many workers is outlined where it is started, and each worker
plans its part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from c1m.addresses import parse_url
from c1m.engine.choose import check_name
from c1m.errors import UsageError
from c1m.loadgen.arrivals import parse_spread
from c1m.loadgen.schemes.base import Scheme, shown
from c1m.loadgen.schemes.known import is_load, meant
from c1m.loadgen.split import Split
from c1m.loadgen.stages import Stage, most_connections, parse_stages, simple_stages
from c1m.results.options import LoadOptions
from c1m.results.share import Share
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import forget_files, rehearse
from c1m.scenarios.mix import Mix, weighed
from c1m.units import NS_PER_S

PUBLISHED_PER_S = 1.0  # where it is not said how often
# A first stage that says itself how many it opens ("hold 10k for 5s", not "hold for 5s").
_OPENS = re.compile(r"\s*(ramp\b|(hold|steps)\s+[0-9][0-9_,.kKmMgGbB]*(\s|$))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Outline:
    """What is asked. `options`: with targets as endpoints, and what holds where nothing is said."""

    given: LoadOptions
    options: LoadOptions
    scheme: Scheme
    scenario: Scenario  # not begun
    stages: list[Stage]  # of the whole run
    publishers: int | None = None  # None: all connections ask
    workers: int = 1  # that there are, of which `parts` have something to do

    @property
    def connections(self) -> int:
        """The most that there are at once."""
        return most_connections(self.stages)

    @property
    def assumed(self) -> str:
        """What is done so because nothing else was asked, in words; "" where all was."""
        said = _assumed(self.given, self.options)
        if self.parts == self.workers:
            return said
        few = f"{self.parts} of {self.workers} workers, as more would have nothing to do"
        return f"{few}, {said}" if said else few

    def over(self, workers: int) -> Outline:
        """The same, by so many workers."""
        return replace(self, workers=workers)

    def split(self, share: Share) -> Split:
        """How a part takes its share of it."""
        return Split(share, self.publishers, parse_spread(self.options.spread))

    @property
    def parts(self) -> int:
        """How many of the workers have something to do: each a connection, and one that hears what
        is published."""
        hearing = self.connections - (self.publishers or 0)
        return max(min(self.workers, hearing), 1)

    def asked(self, connections: int) -> LoadOptions:
        """As the record has it, of so many connections."""
        options = self.options
        is_named = isinstance(options.scenario, str)
        return replace(
            options,
            targets=self.scheme.shown(),
            connections=connections,
            stages=[stage.text for stage in self.stages],
            scenario=options.scenario if is_named else self.scenario.name,
            message=_shown(options.message),
            expect=_shown(options.expect),
            body=None if options.body is None else _shown(options.body),
            headers=[shown(field) for field in options.headers],
        )

    def check_load(self) -> None:
        """Raise UsageError where the scenario cannot do what the stages ask of it, or is not asked
        what it is for."""
        _check_load(self.scenario, self.stages)

    def rehearse(self) -> None:
        """See that a part of it could be done, without looking at a machine. Raises UsageError."""
        split, options = self.split(Share(0, self.parts)), self.options
        stretch = split.stretch(self.connections)
        rehearse(self.scenario, stretch.count, options.seed, options.pipeline, stretch)
        self.check_load()
        self.scheme.transport(self.scenario, stretch.count, options)


def outline(given: LoadOptions) -> Outline:
    """Raises UsageError for what cannot be done anywhere."""
    scheme, options = meant(given)
    for text in options.targets:
        parse_url(text)  # before all else: what is no target is not mended by further options
    parse_spread(options.spread)
    check_name(options.engine)
    if options.rate_per_s is not None and options.think_ns is not None:
        raise UsageError(
            "A rate and a think time were given.",
            "A rate is an open loop, a think time a closed one: give one of them.",
        )
    scenario = _scenario(options, scheme)
    options = _with_defaults(given, options, scenario)
    stages = _stages(options, scenario)
    if most_connections(stages) < 1:
        raise UsageError("The plan opens no connection.", "Begin with a stage such as 'ramp 10k'.")
    return Outline(given, options, scheme, scenario, stages, scenario.speakers)


def _scenario(options: LoadOptions, scheme: Scheme) -> Scenario:
    """The scenario that is meant, or several as one, told what is spoken on its connections."""
    forget_files()
    wanted = weighed(options.scenario)
    made = [scheme.scenario_for(replace(options, scenario=each)) for each, _ in wanted]
    scenario = made[0] if len(made) == 1 else Mix(made, [weight for _, weight in wanted])
    for each in dict.fromkeys([*made, scenario]):
        each.hears_messages = scheme.has_transport
        each.session = replace(scheme.session(), target=scheme.urls[0].text)
        if each.schemes and scheme.name not in each.schemes:
            raise UsageError(
                f"The scenario {each.name!r} cannot be spoken over {scheme.name}://.",
                f"It is for targets as {', '.join(f'{name}://' for name in each.schemes)}; without "
                f"--scenario it is {scheme.scenario!r} here.",
            )
        scheme.check(each, options)
    return scenario


def _check_load(scenario: Scenario, stages: Sequence[Stage]) -> None:
    """A scenario must be able to do what the stages ask of it, and be asked what it is for."""
    has_load = any(stage.has_load for stage in stages)
    if scenario.is_silent and has_load:
        raise UsageError(
            f"The scenario {scenario.name!r} says nothing, so no rate can be kept with it.",
            "Leave the rate and the think time out, or use another scenario.",
        )
    is_said = has_load or any(stage.name == "stampede" for stage in stages)
    if scenario.speakers is not None and not is_said:
        raise UsageError(
            f"The scenario {scenario.name!r} publishes, but nothing says how often.",
            "Add --hold 30s --rate 10/s, or stages with a rate.",
        )


def _with_defaults(asked: LoadOptions, options: LoadOptions, scenario: Scenario) -> LoadOptions:
    """What the scenario does unless the user says otherwise."""
    if scenario.pipeline > 1 and options.pipeline == 1:
        options = replace(options, pipeline=scenario.pipeline)
    if not is_load(asked):
        if scenario.is_silent or scenario.wants_end:
            return replace(options, think_ns=None)
        if scenario.speakers is not None and options.think_ns == 0:  # whoever publishes
            return replace(options, think_ns=None, rate_per_s=PUBLISHED_PER_S)
    is_told = options.rate_per_s is not None or options.think_ns is not None or options.stages
    asks = scenario.keeps_asking and options.hold_ns and not is_told
    return replace(options, think_ns=0) if asks else options


def _assumed(asked: LoadOptions, options: LoadOptions) -> str:
    """What is done so because nothing else was asked, in words; "" where all was."""
    parts = []
    if not (asked.connections or asked.stages):
        parts.append(f"{options.connections} connections")
    if options.hold_ns and not asked.hold_ns:
        parts.append(f"for {options.hold_ns / NS_PER_S:g} s")
    if not is_load(asked) and options.rate_per_s is not None:
        parts.append("one publication a second")
    elif not is_load(asked) and options.think_ns is not None:
        parts.append("each asks again as soon as it has its reply")
    return ", ".join(parts)


def _stages(options: LoadOptions, scenario: Scenario) -> list[Stage]:
    if not options.stages:
        return _stages_of_hold(options, scenario)
    if options.hold_ns:
        raise UsageError("--hold does not go with stages.", "Write a stage 'hold for 30s'.")
    texts, count = list(options.stages), options.connections
    if count and not _OPENS.match(texts[0]):
        texts.insert(0, f"ramp {count}")
    stages = parse_stages(texts, options)
    if count and most_connections(stages) != count:
        raise UsageError(
            f"The stages go up to {most_connections(stages):,} connections, --connections says "
            f"{count:,}.",
            "Leave --connections out.",
        )
    return stages


def _stages_of_hold(options: LoadOptions, scenario: Scenario) -> list[Stage]:
    stampedes = scenario.stampedes and not is_load(options)
    return simple_stages(options, stampede=stampedes, storm=scenario.storms)


def _shown(message: str | bytes | None) -> str:
    if isinstance(message, bytes):
        return f"{len(message):,} bytes of a file"
    return "" if message is None else message.encode("utf-8", "backslashreplace").decode()
