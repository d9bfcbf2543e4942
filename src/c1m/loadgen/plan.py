"""What a run is to do: from the options to a plan, checked before anything is opened."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from c1m.addresses import Endpoint, pack_many, parse_url
from c1m.engine.choose import FEW, check_name
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.limits.limit import Finding
from c1m.loadgen.arrivals import parse_spread
from c1m.loadgen.connections import TLS_WINDOW_MAX, Window
from c1m.loadgen.schemes.base import Scheme, shown
from c1m.loadgen.schemes.known import is_load, meant
from c1m.loadgen.sources import AddressPlan, parse_sources, plan_addresses
from c1m.loadgen.stages import Stage, most_connections, parse_stages, parts_of, simple_stages
from c1m.loadgen.targets import check_fits, check_routes, check_targets, local_ports, window_for
from c1m.loadgen.tls import TlsPlan, check_unused, context_of, names_of
from c1m.loadgen.transports.base import Transport
from c1m.results.options import LoadOptions
from c1m.results.share import WHOLE, Share
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import forget_files, rehearse
from c1m.scenarios.mix import Mix, weighed
from c1m.units import NS_PER_S

REQUEST_BYTES_MAX = 1 << 26  # messages made before the engine is waited for again
IN_FLIGHT_MAX = 100_000_000
PUBLISHED_PER_S = 1.0  # where it is not said how often
# A first stage that says itself how many it opens ("hold 10k for 5s", not "hold for 5s").
_OPENS = re.compile(r"\s*(ramp\b|(hold|steps)\s+[0-9][0-9_,.kKmMgGbB]*(\s|$))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What a run is to do."""

    asked: LoadOptions  # as the record has them: `connections` is the most that there are at once
    stages: list[Stage]
    scenario: Scenario  # begun for so many connections
    addresses: AddressPlan
    window: Window
    message_bytes: int = 64  # about: bounds what is made at once
    targets: list[Endpoint] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)  # the doctor's
    transport: Transport | None = None  # None: the scenario's bytes are the connection's
    tls: TlsPlan | None = None  # None: without TLS
    assumed: str = ""  # what was not asked otherwise

    def statuses(self) -> dict[str, int]:
        """Over HTTP: how many responses had which status so far."""
        counted = Counter[int]() if self.transport is None else self.transport.statuses()
        return {str(status): count for status, count in sorted(counted.items())}

    @property
    def ramp_timeout_ns(self) -> int:
        """How long a ramp may come no further."""
        return self.asked.ramp_timeout_ns or self.asked.timeout_ns

    @property
    def is_light(self) -> bool:
        """Whether there are few connections, asked at a rate, in no closed loop: see `choose`."""
        rates = [stage.rate_from is not None for stage in self.stages if stage.has_load]
        return self.asked.connections <= FEW and any(rates) and all(rates)


def make_plan(options: LoadOptions, share: Share = WHOLE) -> LoadPlan:
    """Raises UsageError, or LimitError where this machine cannot hold so many."""
    asked = options
    scheme, options = meant(asked)
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
    options = _with_defaults(asked, options, scenario)
    stages = parts_of(_stages(options, scenario), share)
    count = most_connections(stages)
    if count < 1:
        raise UsageError("The plan opens no connection.", "Begin with a stage such as 'ramp 10k'.")
    targets = [endpoint for text in options.targets for endpoint in resolve(text)]
    check_targets(targets)
    tls = _tls(options, scheme)
    sources = parse_sources(",".join(options.sources)) if options.sources else []
    check_routes(targets, sources)
    findings = check_fits(count, targets, options.engine)  # first: a scenario may keep columns
    _check_pipeline(count, options.pipeline)
    size = rehearse(scenario, count, options.seed, options.pipeline)
    _check_load(scenario, stages)
    addresses = plan_addresses(count, targets, sources, local_ports())
    transport = scheme.transport(scenario, count, options)
    if scheme.apart:
        publishers = scenario.speakers or 0
        addresses = _apart(addresses, scheme.apart, publishers)
        apart = names_of([scheme.apart], options.server_name)[0]
        tls = tls and replace(tls, apart=apart, apart_below=publishers)
    return LoadPlan(
        asked=replace(
            options,
            targets=scheme.shown(),
            connections=count,
            stages=[stage.text for stage in stages],
            scenario=options.scenario if isinstance(options.scenario, str) else scenario.name,
            message=_shown(options.message),
            expect=_shown(options.expect),
            body=None if options.body is None else _shown(options.body),
            headers=[shown(field) for field in options.headers],
        ),
        stages=stages,
        scenario=scenario,
        addresses=addresses,
        window=window_for(targets, options.connect_window, _window_most(size, tls)),
        message_bytes=size,
        targets=targets,
        findings=findings,
        transport=transport,
        tls=tls,
        assumed=_assumed(asked, options),
    )


def _window_most(size: int, tls: TlsPlan | None) -> int:
    most = REQUEST_BYTES_MAX // size
    return most if tls is None else min(most, TLS_WINDOW_MAX)


def _tls(options: LoadOptions, scheme: Scheme) -> TlsPlan | None:
    """What is shown and trusted, where the targets are over TLS; files are looked at."""
    if not Endpoint(0, scheme=parse_url(options.targets[0])[0]).is_tls:
        check_unused(options)
        return None
    context = context_of(options, alpn=scheme.alpn)
    return TlsPlan(context, names_of(options.targets, options.server_name))


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


def _apart(addresses: AddressPlan, place: str, publishers: int) -> AddressPlan:
    """Publishers connect to another place than subscribers."""
    there = resolve(place)[:1]
    check_targets(there)
    if there[0].family != addresses.targets.family:
        raise UsageError(
            "Publishers and subscribers go to different address families.",
            "Use IPv4 for both, or IPv6.",
        )
    packed = pack_many(there[0].family, [there[0].host], [there[0].port])
    return replace(addresses, apart=packed, apart_below=publishers)


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


def _check_pipeline(count: int, pipeline: int) -> None:
    """Each request that may be in flight has a row of 17 bytes."""
    if count * pipeline > IN_FLIGHT_MAX:
        raise UsageError(
            f"{count:,} connections with a pipeline of {pipeline:,} are {count * pipeline:,} "
            f"requests in flight; at most {IN_FLIGHT_MAX:,} are kept track of.",
            f"Use a pipeline of {max(IN_FLIGHT_MAX // count, 1):,}.",
        )


def _shown(message: str | bytes | None) -> str:
    if isinstance(message, bytes):
        return f"{len(message):,} bytes of a file"
    return "" if message is None else message.encode("utf-8", "backslashreplace").decode()
