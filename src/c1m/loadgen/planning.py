"""From what a user asks to a plan that can be run, checked before anything is opened."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from c1m.addresses import Endpoint, parse_url
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.limits.limit import Finding
from c1m.loadgen.plan import REQUEST_BYTES_MAX, LoadPlan
from c1m.loadgen.sources import parse_sources, plan_addresses
from c1m.loadgen.stages import (
    Defaults,
    Stage,
    most_connections,
    parse_stages,
    simple_stages,
)
from c1m.loadgen.targets import check_fits, check_routes, check_targets, local_ports, window_for
from c1m.results.record import Asked
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import AnyScenario, find_scenario, rehearse
from c1m.units import parse_number

PIPELINE_MAX = 1024
IN_FLIGHT_MAX = 100_000_000
ARRIVALS = ("constant", "poisson")
# A first stage that says itself how many it opens ("hold 10k for 5s", not "hold for 5s").
_OPENS = re.compile(r"\s*(ramp\b|(hold|steps)\s+[0-9][0-9_,.kKmMgGbB]*(\s|$))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for, parsed but not checked: times in ns, rates per second."""

    targets: list[str]
    connections: int | None = None
    scenario: AnyScenario = "echo"
    message: str | bytes | None = None
    expect: str | bytes | None = None
    hold_ns: int = 0
    rate: float | None = None
    arrivals: str = "constant"
    spread: str = "uniform"
    think_ns: int | None = None
    churn: float | None = None
    connect_rate: float | None = None
    stages: list[str] = field(default_factory=list)
    pipeline: int = 1
    publishers: int | None = None
    sources: str = ""
    engine: str = "auto"
    timeout_ns: int = 30_000_000_000
    connect_window: int | None = None
    seed: int = 0
    spin: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, its targets, what the record will say was asked, and what the doctor said."""

    plan: LoadPlan
    targets: list[Endpoint]
    asked: Asked
    findings: list[Finding]


def make_plan(wishes: Wishes) -> Planned:
    """Raises UsageError, or LimitError where this machine cannot hold so many."""
    for text in wishes.targets:
        parse_url(text)  # before all else: what is no target is not mended by further options
    zipf = parse_spread(wishes.spread)
    _check_numbers(wishes)
    scenario = find_scenario(
        wishes.scenario, message=wishes.message, expect=wishes.expect, publishers=wishes.publishers
    )
    wishes = _with_defaults(wishes, scenario)
    stages = _stages(wishes, scenario)
    count = most_connections(stages)
    if count < 1:
        raise UsageError("The plan opens no connection.", "Begin with a stage such as 'ramp 10k'.")
    targets = [endpoint for text in wishes.targets for endpoint in resolve(text)]
    check_targets(targets)
    own = parse_sources(wishes.sources) if wishes.sources else []
    check_routes(targets, own)
    findings = check_fits(count, targets, wishes.engine)  # first: a scenario may keep columns
    _check_pipeline(count, wishes.pipeline)
    size = rehearse(scenario, count, wishes.seed, wishes.pipeline)
    _check_load(scenario, stages)
    plan = LoadPlan(
        connections=count,
        stages=stages,
        scenario=scenario,
        addresses=plan_addresses(count, targets, own, local_ports()),
        window=window_for(targets, wishes.connect_window, REQUEST_BYTES_MAX // size),
        timeout_ns=wishes.timeout_ns,
        pipeline=wishes.pipeline,
        is_poisson=wishes.arrivals == "poisson",
        zipf=zipf,
        seed=wishes.seed,
        spins=wishes.spin,
        message_bytes=size,
        target=",".join(wishes.targets),
    )
    return Planned(plan, targets, _asked(wishes, plan), findings)


def _check_load(scenario: Scenario, stages: Sequence[Stage]) -> None:
    """A scenario must be able to do what the stages ask of it, and be asked what it is for."""
    has_load = any(s.rate_from is not None or s.think_s is not None for s in stages)
    if scenario.is_silent and has_load:
        raise UsageError(
            f"The scenario {scenario.name!r} says nothing, so no rate can be kept with it.",
            "Leave the rate and the think time out, or use another scenario.",
        )
    if scenario.speakers is not None and not has_load:
        raise UsageError(
            f"The scenario {scenario.name!r} was not told how often to publish.",
            "Add --hold 30s --rate 10/s, or stages with a rate.",
        )


def _with_defaults(wishes: Wishes, scenario: Scenario) -> Wishes:
    """What the scenario does unless the user says otherwise."""
    has_load = wishes.rate is not None or wishes.think_ns is not None or wishes.stages
    asks = scenario.keeps_asking and wishes.hold_ns and not has_load
    return replace(
        wishes,
        think_ns=0 if asks else wishes.think_ns,
        pipeline=scenario.pipeline if wishes.pipeline == 1 else wishes.pipeline,
    )


def _stages(wishes: Wishes, scenario: Scenario) -> list[Stage]:
    think_s = None if wishes.think_ns is None else wishes.think_ns / 1e9
    defaults = Defaults(wishes.connect_rate, wishes.rate, think_s, wishes.churn)
    if not wishes.stages:
        if wishes.connections is None:
            raise UsageError(
                "How many connections?",
                "Add --connections 10k, or stages such as --stage 'ramp 10k'.",
            )
        has_load = wishes.rate is not None or think_s is not None or wishes.churn is not None
        if has_load and not wishes.hold_ns:
            raise UsageError(
                "A rate, a think time and churn need time to go on for.", "Add --hold 30s."
            )
        return simple_stages(
            wishes.connections, wishes.hold_ns / 1e9, defaults,
            stampede=scenario.stampedes and not has_load, storm=scenario.storms,
        )  # fmt: skip
    if wishes.hold_ns:
        raise UsageError("--hold does not go with stages.", "Write a stage 'hold for 30s'.")
    texts = list(wishes.stages)
    if wishes.connections is not None and not _OPENS.match(texts[0]):
        texts.insert(0, f"ramp {wishes.connections}")
    stages = parse_stages(texts, defaults)
    if wishes.connections is not None and most_connections(stages) != wishes.connections:
        raise UsageError(
            f"The stages go up to {most_connections(stages):,} connections, --connections says "
            f"{wishes.connections:,}.",
            "Leave --connections out.",
        )
    return stages


def _check_numbers(wishes: Wishes) -> None:
    count = wishes.connections
    if count is not None and count < 1:
        raise UsageError(f"{count} connections were asked.", "Ask for at least one.")
    for name, rate in (
        ("connect rate", wishes.connect_rate), ("rate", wishes.rate), ("churn", wishes.churn),
    ):  # fmt: skip
        if rate is not None and not rate > 0:
            raise UsageError(f"A {name} of {rate} does nothing.", "Give one above zero.")
    if wishes.rate is not None and wishes.think_ns is not None:
        raise UsageError(
            "A rate and a think time were given.",
            "A rate is an open loop, a think time a closed one: give one of them.",
        )
    if wishes.hold_ns < 0:
        raise UsageError("A hold below zero cannot be waited for.", "Use for example 30s.")
    if wishes.think_ns is not None and wishes.think_ns < 0:
        raise UsageError("A think time below zero cannot be waited for.", "Use for example 1s.")
    if wishes.timeout_ns <= 0:
        raise UsageError("A time-out of 0 gives everything up at once.", "Use for example 30s.")
    if not 1 <= wishes.pipeline <= PIPELINE_MAX:
        raise UsageError(
            f"A pipeline of {wishes.pipeline} is not possible.", f"Use 1 to {PIPELINE_MAX:,}."
        )
    if wishes.arrivals not in ARRIVALS:
        raise UsageError(
            f"There are no arrivals {wishes.arrivals!r}.", f"Choose {' or '.join(ARRIVALS)}."
        )


def _check_pipeline(count: int, pipeline: int) -> None:
    """Each request that may be in flight has a row of 17 bytes."""
    if count * pipeline > IN_FLIGHT_MAX:
        raise UsageError(
            f"{count:,} connections with a pipeline of {pipeline:,} are {count * pipeline:,} "
            f"requests in flight; at most {IN_FLIGHT_MAX:,} are kept track of.",
            f"Use a pipeline of {max(IN_FLIGHT_MAX // count, 1):,}.",
        )


def parse_spread(text: str) -> float | None:
    """`uniform` -> None, `zipf` -> 1.0, `zipf:1.2` -> 1.2. Raises UsageError."""
    if text == "uniform":
        return None
    kind, colon, exponent = text.partition(":")
    with suppress(UsageError):
        value = parse_number(exponent) if colon else 1.0
        if kind == "zipf" and value > 0:
            return value
    raise UsageError(f"There is no spread {text!r}.", "Choose uniform, zipf or zipf:1.2.")


def _asked(wishes: Wishes, plan: LoadPlan) -> Asked:
    def shown(message: str | bytes | None) -> str:
        if isinstance(message, bytes):
            return f"{len(message):,} bytes of a file"
        return "" if message is None else message.encode("utf-8", "backslashreplace").decode()

    return Asked(
        connections=plan.connections,
        connect_rate_per_s=wishes.connect_rate,
        hold_s=wishes.hold_ns / 1e9,
        message=shown(wishes.message),
        engine=wishes.engine,
        expect=shown(wishes.expect),
        stages=[stage.text for stage in plan.stages],
        rate_per_s=wishes.rate,
        arrivals=wishes.arrivals,
        spread=wishes.spread,
        think_s=None if wishes.think_ns is None else wishes.think_ns / 1e9,
        churn_per_s=wishes.churn,
        pipeline=wishes.pipeline,
        timeout_s=wishes.timeout_ns / 1e9,
        seed=wishes.seed,
        spin=wishes.spin,
    )
