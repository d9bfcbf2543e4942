"""A load run from what a user asks to its record: plan, check, generate, conclude."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.clock import SystemClock
from c1m.doctor.diagnose import diagnose
from c1m.doctor.needs import ports_before_scan
from c1m.doctor.situation import parse_ports
from c1m.engine.base import Engine
from c1m.engine.choose import choose
from c1m.errors import LimitError, UsageError
from c1m.kernel import procfs
from c1m.kernel.sock_diag import accept_queue_of
from c1m.kernel.sockets import resolve
from c1m.loadgen.generator import REQUEST_BYTES_MAX, Generator, LoadPlan, Progress
from c1m.loadgen.message import Message
from c1m.loadgen.sources import parse_sources, plan_addresses
from c1m.loadgen.window import Window
from c1m.report import derive, metadata
from c1m.report.reasons import connections_of, failures_of
from c1m.report.record import Asked, Latency, Metadata, Phase, ReplyFailure, Round, RunRecord
from c1m.report.record import Ramp as RampRecord
from c1m.report.sampler import Sampler
from c1m.units import parse_count, parse_duration, parse_rate

DEFAULT_MESSAGE = "client connections {n}\n"
PLANNED_FOR = ("net.ipv4.ip_local_port_range",)  # plan_addresses knows better what it has
SCENARIOS = ("echo",)


def load(
    target: str | Sequence[str],
    *,
    connections: int | str,
    scenario: str = "echo",
    hold: str | float = 0,
    connect_rate: str | float | None = None,
    message: str = DEFAULT_MESSAGE,
    sources: str = "",
    engine: str = "auto",
    timeout: str | float = "30s",
    connect_window: int | None = None,
    server_pid: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_signals: bool = False,
) -> RunRecord:
    """Open `connections` to `target`, check an echo on each, hold, stampede, close; the record.

    `hold` and `timeout` are durations ("30s", or seconds), `connect_rate` a rate ("50k/s", or per
    second; None: as fast as it can), `sources` as parse_sources takes them. `connect_window`: at
    most so many connects under way (None: as many as the server's accept queue takes).
    Raises UsageError, with nothing opened, for what cannot be done as asked. What goes wrong on
    the way is in the record, never an exception.
    """
    if scenario not in SCENARIOS:
        raise UsageError(
            f"There is no scenario {scenario!r}.", f"There is: {', '.join(SCENARIOS)}."
        )
    count = parse_count(connections) if isinstance(connections, str) else int(connections)
    if count < 1:
        raise UsageError(f"{count} connections were asked.", "Ask for at least one.")
    rate = parse_rate(connect_rate) if isinstance(connect_rate, str) else connect_rate
    if rate is not None and rate <= 0:
        raise UsageError(f"A connect rate of {rate} opens nothing.", "Give one above zero.")
    hold_ns, timeout_ns = _duration(hold), _duration(timeout)
    if timeout_ns <= 0:
        raise UsageError("A time-out of 0 gives everything up at once.", "Use for example 30s.")
    wanted = [target] if isinstance(target, str) else list(target)
    targets = [endpoint for text in wanted for endpoint in resolve(text)]
    check_targets(targets)
    own = parse_sources(sources) if sources else []
    check_routes(targets, own)
    check_fits(count, targets, engine)
    each = Message(message, count)
    plan = LoadPlan(
        connections=count,
        addresses=plan_addresses(count, targets, own, _ports()),
        message=each,
        window=_window(targets, rate, connect_window, REQUEST_BYTES_MAX // each.size_max),
        hold_ns=hold_ns,
        timeout_ns=timeout_ns,
    )
    clock = SystemClock()
    if server_pid is None:
        server_pid = _server_pid(targets)
    chosen = choose(engine)
    try:
        _check_capacity(chosen, count)
        sampler = Sampler(server_pid, clock)
        generator = Generator(plan, chosen, clock, sampler, on_progress)
        started = metadata.started_text()
        with _Signals(generator if on_signals else None):
            generator.run()
        extra = dict(chosen.statistics().extra)  # while its rings are there
    finally:
        chosen.shutdown()
    sampler.close()
    asked = Asked(count, rate, hold_ns / 1e9, message, engine)
    conditions = metadata.collect(chosen.name, chosen.reason, extra)
    return _record(generator, sampler, asked, conditions, started, ",".join(wanted), scenario)


def _duration(value: str | float) -> int:
    return parse_duration(value) if isinstance(value, str) else round(value * 1e9)


def check_targets(targets: Sequence[Endpoint]) -> None:
    """Raise UsageError for what can never be connected to."""
    for target in targets:
        if target.family != AF_UNIX and target.port == 0:
            raise UsageError(f"{target} has port 0, which nobody listens on.", "Name a port.")
        if target.family != AF_UNIX and target.host in ("0.0.0.0", "::"):
            raise UsageError(
                f"{target} stands for all addresses of this host, which is no target.",
                "Use tcp://127.0.0.1:PORT for a server on this machine.",
            )


def check_routes(targets: Sequence[Endpoint], sources: Sequence[str]) -> None:
    """Raise UsageError for a target without a route, or a source that is not of this host.

    Connecting a datagram socket asks the kernel for the route and sends nothing.
    """
    for target in targets[:1] if len({t.host for t in targets}) == 1 else targets:
        if target.family == AF_UNIX:
            continue
        with socket.socket(target.family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((target.host, target.port))
            except OSError as error:
                raise UsageError(
                    f"There is no way to {target}: {(error.strerror or str(error)).lower()}.",
                    "Look at the routes with `ip route get ADDRESS`.",
                ) from None
    for source in sources:
        family = AF_INET6 if ":" in source else AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((source, 0))
            except OSError:
                raise UsageError(
                    f"The source {source} is not an address of this host.",
                    "Add it with `ip address add`, or leave it out of --source.",
                ) from None


def check_fits(count: int, targets: Sequence[Endpoint], engine: str) -> None:
    """Raise LimitError, saying how many do fit, where this machine cannot hold so many.

    The doctor's checks decide, but for what the plan of addresses finds out by itself.
    """
    role = "both" if all(_is_here(t) for t in targets) else "client"
    findings = diagnose(count, role, engine, [8001]).findings
    hard = [f for f in findings if f.fits is not None and f.name not in PLANNED_FOR]
    least = min(hard, key=lambda f: f.fits or 0, default=None)
    if least is None or least.fits is None or least.fits >= count:
        return
    raise LimitError(
        f"{count:,} connections were asked; this machine can hold about {least.fits:,} "
        f"(what stops it is {least.name}).",
        f"{least.remedy} `c1m doctor --connections {count}` says more.".strip(),
    )


def _ports() -> int:
    """Local ports that connect() finds quickly for one source and target."""
    text = procfs.read_sysctl("net.ipv4.ip_local_port_range") or "32768 60999"
    low, high = (int(part) for part in text.split())
    reserved = parse_ports(procfs.read_sysctl("net.ipv4.ip_local_reserved_ports") or "")
    return ports_before_scan(low, high, reserved)


def _is_here(target: Endpoint) -> bool:
    return target.family == AF_UNIX or target.host.startswith("127.") or target.host == "::1"


def _window(
    targets: Sequence[Endpoint], rate: float | None, asked: int | None, most: int
) -> Window:
    """As asked, else by the targets' accept queues; `most` is what memory for messages allows."""
    if asked is not None and asked < 1:
        raise UsageError(f"A connect window of {asked} starts nothing.", "Give at least 1.")
    if asked is not None:
        window = Window(asked, 1, rate)
        window.size = asked
        return window
    queue = None
    if all(_is_here(t) for t in targets):
        queues = [accept_queue_of(t.path if t.family == AF_UNIX else t.port) for t in targets[:64]]
        queue = min((q for q in queues if q is not None), default=None)
    window = Window(queue, len(targets), rate)
    window.size = max(min(window.size, most), 1)
    return window


def _server_pid(targets: Sequence[Endpoint]) -> int | None:
    """The process behind a target on this machine, for its memory and CPU."""
    first = targets[0]
    if first.family not in (AF_INET, AF_INET6) or not _is_here(first):
        return None
    holders = procfs.listener_holders(first.port)
    return holders[0][0] if len(holders) == 1 else None


def _check_capacity(engine: Engine, count: int) -> None:
    reserve = 16 if engine.name == "epoll" else 0
    fits = engine.capacity - reserve
    if count > fits:
        why = (
            "its limit is RLIMIT_NOFILE"
            if engine.name == "epoll"
            else "that is all its tables hold"
        )
        raise LimitError(
            f"{count:,} connections were asked; the {engine.name} engine can hold about {fits:,} "
            f"here: {why}.",
            "Raise the limit (ulimit -n) or use --engine uring." if engine.name == "epoll" else "",
        )


class _Signals:
    """SIGINT and SIGTERM end a run with the results so far; a second one ends the process."""

    def __init__(self, generator: Generator | None) -> None:
        self._generator = generator
        self._before: dict[int, object] = {}

    def __enter__(self) -> None:
        if self._generator is not None:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._first)

    def _first(self, number: int, frame: FrameType | None) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)  # type: ignore[arg-type]
        assert self._generator is not None
        self._generator.interrupt()

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]


def _record(
    generator: Generator,
    sampler: Sampler,
    asked: Asked,
    conditions: Metadata,
    started: str,
    target: str,
    scenario: str,
) -> RunRecord:
    counts = generator.counts
    connect_failures = sum(counts.connect_errnos.values())
    connections = connections_of(
        opened=counts.opened,
        peak_open=counts.peak_open,
        open_at_end=counts.open_at_end,
        lost=counts.lost,
        connect_errnos=counts.connect_errnos,
        unfinished=counts.started - counts.opened - connect_failures,
    )
    start = generator.start_ns
    phases = [
        Phase(p.name, (p.start_ns - start) / 1e9, (p.end_ns - start) / 1e9)
        for p in generator.phases
    ]
    rounds = _rounds(generator, phases)
    also = list(generator.shortfalls)
    if generator.interrupted:
        also.append("The run was interrupted before its end.")
    samples = sampler.samples()
    ramp = generator.ramp
    seconds = (ramp.last_ns - ramp.start_ns) / 1e9
    return RunRecord(
        started=started,
        command=list(sys.argv),
        target=target,
        scenario=scenario,
        asked=asked,
        metadata=conditions,
        connections=connections,
        failures=[
            *failures_of("connect", counts.connect_errnos),
            *failures_of("open", counts.lost_errnos),
        ],
        phases=phases,
        ramp=RampRecord(
            ramp.step_seconds(),
            ramp.stride_seconds(),
            seconds,
            counts.opened / seconds if seconds else 0.0,
        ),
        rounds=rounds,
        latencies={
            name: Latency.of(histogram)
            for name, histogram in {
                "connect": generator.connect_latency, **generator.latencies,
            }.items()
            if histogram.count
        },
        samples=samples,
        memory=derive.memory_of(samples),
        kernel_counters=sampler.kernel_counters(),
        verdict=derive.judge(asked, connections, rounds, also),
    )  # fmt: skip


def _rounds(generator: Generator, phases: Sequence[Phase]) -> list[Round]:
    """What was sent and what came back; the first round's time is the ramp's."""
    rounds = []
    for each in (generator.first, generator.stampede):
        if each is None:
            continue
        phase = next(p for p in phases if p.name == ("ramp" if each.name == "first" else each.name))
        rounds.append(
            Round(
                each.name, each.sent, each.right, each.wrong, each.missing(), each.in_flight_peak,
                phase.end_s - phase.start_s,
                [ReplyFailure(n, repr(e), repr(g)) for n, e, g in each.failures],
            )
        )  # fmt: skip
    return rounds
