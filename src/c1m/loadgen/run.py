"""A load run from what a user asks to its record: plan, check, generate, conclude."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from c1m import arguments
from c1m.clock import SystemClock
from c1m.engine.choose import choose
from c1m.engine.ragged import Buffer
from c1m.errors import UsageError
from c1m.kernel import procfs
from c1m.loadgen import metadata
from c1m.loadgen.conclusion import conclude
from c1m.loadgen.generator import Generator
from c1m.loadgen.headed import HeaderEngine
from c1m.loadgen.plan import LoadPlan, make_plan
from c1m.loadgen.sampler import Sampler
from c1m.loadgen.targets import check_capacity, check_server_pid, server_pid_of
from c1m.loadgen.tls import check_trusted, in_words, that_it_speaks_tls
from c1m.loop import stopped_by_signals
from c1m.results.options import LoadOptions, checked
from c1m.results.record import RunRecord
from c1m.results.snapshot import Snapshot
from c1m.results.thresholds import parse as parse_threshold
from c1m.scenarios.base import Scenario
from c1m.scenarios.loader import AnyScenario

Duration = str | float
Rate = str | float


# fmt: off
def load(
    target: str | Sequence[str],
    *,
    connections: int | str | None = None,
    scenario: AnyScenario = "",
    hold: Duration = 0,
    rate: Rate | None = None,
    arrivals: str = "constant",
    spread: str = "uniform",
    think: Duration | None = None,
    churn: Rate | None = None,
    stages: str | Sequence[str] | None = None,
    connect_rate: Rate | None = None,
    message: str | Buffer | None = None,
    expect: str | Buffer | None = None,
    pipeline: int = 1,
    publishers: int | None = None,
    require: str | Sequence[str] | None = None,
    publish_to: str | None = None,
    headers: str | Sequence[str] | None = None,
    method: str | None = None, body: str | Buffer | None = None, url_file: str | None = None,
    expect_status: str = "", expect_headers: str | Sequence[str] | None = None,
    expect_contains: str | Sequence[str] | None = None,
    expect_json: str | Sequence[str] | None = None,
    binary: bool = False,
    topic: str | None = None, qos: int = 0, retain: bool = False, client_id: str | None = None,
    mqtt_version: str = "3.1.1", keep_alive: Duration = "60s", will: str | None = None,
    sources: str | Sequence[str] | None = None,
    engine: str = "auto",
    timeout: Duration = "30s",
    ramp_timeout: Duration | None = None,
    connect_window: int | None = None,
    server_pid: int | None = None,
    seed: int = 0,
    ca: str | None = None, insecure: bool = False, server_name: str | None = None,
    cert: str | None = None, key: str | None = None,
    tls_min: str = "1.2", tls_resume: bool = False, tls_handoff: bool = False,
    proxy_header: str | None = None,
    spin: bool = False,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
) -> RunRecord:
    """Open `connections` to `target`, have them say what the scenario says, check what comes back.

    Durations are "30s" or seconds, rates "50k/s" or per second. With nothing but a target ten
    connections ask for ten seconds, each again as soon as it has its reply; to tcp:// with
    `connections`, and without `rate`, `think`, `churn` and `stages`, every connection asks once
    when it is open and, after the hold, once more, all at the same moment. `stages` are as in
    loadgen/stages.py and replace `hold`. `scenario` is a name, FILE.py:NAME, or a Scenario or
    Conversation of your own. `require` are thresholds such as "p99 < 50ms"; whether they hold is in
    the record's `thresholds`. `connect_window`: at most so many connects under way (None: as many
    as the server's accept queue takes). `on_end` gets the record, to write it, while a first signal
    still ends nothing (with `on_signals`).

    Raises UsageError, with nothing opened, for what cannot be done as asked. What goes wrong on the
    way is in the record, never an exception.
    """
    given = locals()
    for name in ("on_progress", "on_end"):
        arguments.function(name, given[name])
    arguments.flag("on_signals", on_signals)
    return run(checked(given), on_progress=on_progress, on_signals=on_signals, on_end=on_end)
# fmt: on


def run(
    options: LoadOptions,
    *,
    on_progress: Callable[[Snapshot], None] | None = None,
    on_signals: bool = False,
    on_end: Callable[[RunRecord], None] | None = None,
    on_plan: Callable[[LoadPlan], None] | None = None,
) -> RunRecord:
    """As `load`, with options that are checked one by one. `on_plan` is told when all is."""
    thresholds = [parse_threshold(text) for text in options.require]
    if options.server_pid is not None:
        check_server_pid(options.server_pid)
    plan = make_plan(options)
    if plan.tls is not None and options.proxy_header is None:
        check_trusted(plan.tls, plan.targets[0])
    clock = SystemClock()
    chosen = choose(options.engine, is_light=plan.is_light)
    if options.proxy_header is not None:
        chosen = HeaderEngine(chosen, options.proxy_header)
    said: dict[int, str] = {}  # by ssl, of failed handshakes
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
        chosen, said = tls_engine, tls_engine.said
    with contextlib.ExitStack() as stack:
        stack.callback(chosen.shutdown)
        check_capacity(chosen, plan.asked.connections)
        pid = options.server_pid or server_pid_of(plan.targets)
        sampler = Sampler(pid, clock)
        stack.callback(sampler.close)
        if on_plan is not None:
            on_plan(plan)
        generator = Generator(plan, chosen, clock, sampler, on_progress, connector)
        started = metadata.started_text()
        if on_signals:
            stack.enter_context(stopped_by_signals(generator.loop.stop, exits_at_second=False))
        plan.scenario.set_up()
        try:
            generator.run()
        finally:
            generator.shortfalls += _torn_down(plan.scenario)
        if plan.tls is not None:
            first = generator.connections.tls_first
            generator.connections.said |= in_words(first, said, plan.tls, plan.addresses)
        elif generator.met_nobody:
            generator.shortfalls += that_it_speaks_tls(plan.asked, plan.targets)
        statistics = chosen.statistics()  # while its rings are there
        extra = statistics.extra | {f"refused_{k}": n for k, n in statistics.refused.items()}
        generator.loop.shutdown()
        sampler.close()  # before files are opened to conclude: it may have taken the last ones
        server_nofile = 0 if pid is None else procfs.nofile(pid=pid)[0]
        conditions = metadata.collect(chosen.name, chosen.reason, extra)
        record = conclude(generator, conditions, started, thresholds, server_nofile)
        if on_end is not None:
            on_end(record)
    return record


def _torn_down(scenario: Scenario) -> list[str]:
    """A scenario's end, and what is to be said of it."""
    try:
        scenario.tear_down()
    except UsageError as error:
        return [str(error)]
    return []
