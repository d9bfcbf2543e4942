"""A load run from what a user asks to its record: plan, check, generate, conclude."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace

from c1m.clock import Clock, SystemClock
from c1m.engine.choose import choose
from c1m.engine.contract import Engine
from c1m.errors import UsageError
from c1m.kernel import procfs
from c1m.loadgen import metadata
from c1m.loadgen.conclusion import conclude
from c1m.loadgen.generator import Generator
from c1m.loadgen.headed import HeaderEngine
from c1m.loadgen.plan import LoadPlan, make_plan
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.steps import ALONE, Steps
from c1m.loadgen.targets import check_capacity, check_server_pid, server_pid_of
from c1m.loadgen.tls import check_trusted, in_words, met_nobody, that_it_speaks_tls
from c1m.loop import stopped_by_signals
from c1m.results.options import LoadOptions
from c1m.results.record import RunRecord
from c1m.results.share import WHOLE, Share
from c1m.results.snapshot import Snapshot
from c1m.results.tally import Tally
from c1m.results.thresholds import parse as parse_threshold
from c1m.scenarios.base import Scenario
from c1m.tls.connector import Connector


def run(
    options: LoadOptions,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
    on_plan: Callable[[LoadPlan], None] | None = None,
    share: Share = WHOLE,
    steps: Steps = ALONE,
    on_tally: Callable[[Tally], None] | None = None,
) -> RunRecord:
    """As `load`, with options that are checked one by one. `on_plan` is told when all is.

    Where several load clients do what is asked together, this one has a `share` of it, and `steps`
    says when each of its stages begins; `on_tally` gets all counts each second.
    """
    thresholds = [parse_threshold(text) for text in options.require]
    if options.server_pid is not None:
        check_server_pid(options.server_pid)
    plan = make_plan(options, share)
    if plan.tls is not None and options.proxy_header is None:
        check_trusted(plan.tls, plan.targets[0])
    clock = SystemClock()
    chosen, connector, said = _engine(plan, clock)
    with contextlib.ExitStack() as stack:
        stack.callback(chosen.shutdown)
        check_capacity(chosen, plan.asked.connections)
        pid = options.server_pid or server_pid_of(plan.targets)
        sampler = Sampler(pid, clock)
        stack.callback(sampler.close)
        if on_plan is not None:
            on_plan(plan)
        plan.scenario.set_up()
        try:
            start_ns = steps.ready()
            generator = Generator(
                plan, chosen, clock, sampler, on_progress, connector, steps, start_ns, on_tally
            )
            started = metadata.started_text()
            if on_signals:
                stack.enter_context(stopped_by_signals(generator.loop.stop, exits_at_second=False))
            generator.run()
        finally:
            torn_down = _torn_down(plan.scenario)
        generator.shortfalls += torn_down
        if plan.tls is not None:
            first = generator.connections.tls_first
            generator.connections.said |= in_words(first, said, plan.tls, plan.addresses)
        elif met_nobody(generator.connections, generator.recorder.first_requests):
            generator.shortfalls += that_it_speaks_tls(plan.asked, plan.targets)
        statistics = chosen.statistics()  # while its rings are there
        extra = statistics.extra | {f"refused_{k}": n for k, n in statistics.refused.items()}
        generator.loop.shutdown()
        sampler.close()  # before files are opened to conclude: it may have taken the last ones
        server_nofile = 0 if pid is None else procfs.nofile(pid=pid)[0]
        conditions = metadata.collect(chosen.name, chosen.reason, extra)
        conditions = replace(conditions, redis_nodes=plan.redis_nodes)
        record = conclude(generator, conditions, started, thresholds, server_nofile)
        if on_end is not None:
            on_end(record)
    return record


def _engine(plan: LoadPlan, clock: Clock) -> tuple[Engine, Connector | None, Mapping[int, str]]:
    """What opens connections, over TLS where the plan says so; and what ssl will say of failed
    handshakes, by slot."""
    chosen = choose(plan.asked.engine, is_light=plan.is_light)
    if plan.asked.proxy_header is not None:
        chosen = HeaderEngine(chosen, plan.asked.proxy_header, plan.stretch.first)
    connector = None if plan.tls is None else plan.tls.connector(plan.asked)
    if connector is not None:
        from c1m.tls.engine import TlsEngine

        tls_engine = TlsEngine(
            chosen,
            clock,
            connector=connector,
            handoff=plan.asked.tls_handoff,
            handshake_ns=2 * plan.asked.timeout_ns,  # the pool gives them up before
        )
        return tls_engine, connector, tls_engine.said
    return chosen, connector, {}


def _torn_down(scenario: Scenario) -> list[str]:
    """A scenario's end, and what is to be said of it."""
    try:
        scenario.tear_down()
    except UsageError as error:
        return [str(error)]
    return []
