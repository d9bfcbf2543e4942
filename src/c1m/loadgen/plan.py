"""What a load client is to do: the plan of a run, or of its part of one, checked before anything is
opened."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from c1m.addresses import Endpoint, pack_many, parse_url
from c1m.engine.choose import FEW
from c1m.errors import UsageError
from c1m.kernel.sockets import resolve
from c1m.limits.limit import Finding
from c1m.loadgen.connections import TLS_WINDOW_MAX, Window
from c1m.loadgen.nodes import Nodes, find_nodes
from c1m.loadgen.outline import outline
from c1m.loadgen.schemes.base import Scheme
from c1m.loadgen.sources import AddressPlan, parse_sources, plan_addresses
from c1m.loadgen.stages import Stage, most_connections
from c1m.loadgen.targets import check_fits, check_routes, check_targets, local_ports, window_for
from c1m.loadgen.tls import TlsPlan, check_unused, context_of, names_of
from c1m.loadgen.transports.base import Transport
from c1m.results.options import LoadOptions
from c1m.results.share import ALL, WHOLE, Share, Stretch
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import rehearse, tell

REQUEST_BYTES_MAX = 1 << 26  # messages made before the engine is waited for again
IN_FLIGHT_MAX = 100_000_000


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
    whole: list[Stage] = field(default_factory=list)  # the stages of all parts together
    stretch: Stretch = ALL  # which of the run's connections are this plan's

    def statuses(self) -> dict[str, int]:
        """Over HTTP: how many responses had which status so far."""
        counted = Counter[int]() if self.transport is None else self.transport.statuses()
        return {str(status): count for status, count in sorted(counted.items())}

    @property
    def redis_nodes(self) -> int:
        """Of the Redis Cluster that the targets are of; 0: of none."""
        shards = self.scenario.session.shards
        return 0 if shards is None else shards.count

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
    """Of a run, or of one's `share` of it. Raises UsageError, or LimitError where this machine
    cannot hold so many."""
    whole = outline(options)
    options, scheme, scenario = whole.options, whole.scheme, whole.scenario
    split = whole.split(share)
    stages = split.stages(whole.stages)
    count = most_connections(stages)
    if count < 1:
        raise UsageError(
            f"The plan opens no connection in part {share.index} of {share.of}.", "Use fewer parts."
        )
    stretch = split.stretch(most_connections(whole.stages))
    targets = [endpoint for text in options.targets for endpoint in resolve(text)]
    check_targets(targets)
    tls = _tls(options, scheme, stretch.first)
    sources = parse_sources(",".join(options.sources)) if options.sources else []
    sources = check_routes(targets, sources, is_part=not share.is_whole)
    findings = check_fits(count, targets, options.engine)  # first: a scenario may keep columns
    _check_pipeline(count, options.pipeline)
    size = rehearse(scenario, count, options.seed, options.pipeline, stretch)
    whole.check_load()
    # What is wrong so far is told without a connection to anybody.
    nodes, turns = _nodes(options, scheme, targets, sources, tls), None
    if nodes is not None:
        targets, turns = nodes.endpoints, nodes.turns
        tls = tls and replace(tls, names=nodes.names_by_turn(options.server_name))
        tell(scenario, nodes.shards)
        size = rehearse(scenario, count, options.seed, options.pipeline, stretch)
    addresses = plan_addresses(count, targets, sources, local_ports(), stretch, turns)
    transport = scheme.transport(scenario, count, options)
    if scheme.apart:
        publishers = scenario.speakers or 0
        addresses = _apart(addresses, scheme.apart, publishers)
        apart = names_of([scheme.apart], options.server_name)[0]
        tls = tls and replace(tls, apart=apart, apart_below=publishers)
    return LoadPlan(
        asked=whole.asked(count),
        stages=stages,
        scenario=scenario,
        addresses=addresses,
        window=window_for(targets, options.connect_window, _window_most(size, tls), share),
        message_bytes=size,
        targets=targets,
        findings=findings,
        transport=transport,
        tls=tls,
        assumed=whole.assumed,
        whole=whole.stages,
        stretch=stretch,
    )


def _window_most(size: int, tls: TlsPlan | None) -> int:
    most = REQUEST_BYTES_MAX // size
    return most if tls is None else min(most, TLS_WINDOW_MAX)


def _tls(options: LoadOptions, scheme: Scheme, first: int) -> TlsPlan | None:
    """What is shown and trusted, where the targets are over TLS; files are looked at."""
    if not Endpoint(0, scheme=parse_url(options.targets[0])[0]).is_tls:
        check_unused(options)
        return None
    context = context_of(options, alpn=scheme.alpn)
    return TlsPlan(context, names_of(options.targets, options.server_name), first=first)


def _nodes(
    options: LoadOptions, scheme: Scheme, targets: list[Endpoint], sources: list[str],
    tls: TlsPlan | None,
) -> Nodes | None:  # fmt: skip
    """Those of the cluster that the targets are of. Behind a proxy they could not be reached."""
    if scheme.commands is None or options.proxy_header is not None:
        return None
    return find_nodes(targets, scheme.commands, tls, next(iter(sources), ""))


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


def _check_pipeline(count: int, pipeline: int) -> None:
    """Each request that may be in flight has a row of 17 bytes."""
    if count * pipeline > IN_FLIGHT_MAX:
        raise UsageError(
            f"{count:,} connections with a pipeline of {pipeline:,} are {count * pipeline:,} "
            f"requests in flight; at most {IN_FLIGHT_MAX:,} are kept track of.",
            f"Use a pipeline of {max(IN_FLIGHT_MAX // count, 1):,}.",
        )
