"""From what a user asks to a plan that can be run, checked before anything is opened."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.doctor.diagnose import diagnose
from c1m.doctor.needs import ports_before_scan
from c1m.doctor.situation import parse_ports
from c1m.engine.base import Engine
from c1m.errors import LimitError, UsageError
from c1m.kernel import procfs
from c1m.kernel.sock_diag import accept_queue_of
from c1m.kernel.sockets import resolve
from c1m.loadgen.generator import REQUEST_BYTES_MAX, LoadPlan
from c1m.loadgen.registry import make_scenario
from c1m.loadgen.scenario import Scenario
from c1m.loadgen.sources import parse_sources, plan_addresses
from c1m.loadgen.stages import (
    Defaults,
    Stage,
    most_connections,
    parse_stages,
    simple_stages,
)
from c1m.loadgen.window import Window
from c1m.report.record import Asked

PLANNED_FOR = ("net.ipv4.ip_local_port_range",)  # plan_addresses knows better what it has
PIPELINE_MAX = 1024
STORM = "reconnect-storm"  # echo, with a storm between two holds
ARRIVALS = ("constant", "poisson")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What was asked for, parsed but not checked: times in ns, rates per second."""

    targets: list[str]
    connections: int | None = None
    scenario: str | Scenario = "echo"
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
    sources: str = ""
    engine: str = "auto"
    timeout_ns: int = 30_000_000_000
    connect_window: int | None = None
    seed: int = 0


def make_plan(wishes: Wishes) -> tuple[LoadPlan, list[Endpoint], Asked]:
    """The plan, its targets, and what the record will say was asked.

    Raises UsageError, or LimitError where this machine cannot hold so many.
    """
    zipf = parse_spread(wishes.spread)
    _check_numbers(wishes)
    stages = _stages(wishes)
    count = most_connections(stages)
    if count < 1:
        raise UsageError("The plan opens no connection.", "Begin with a stage such as 'ramp 10k'.")
    scenario = wishes.scenario
    if isinstance(scenario, str):
        name = "echo" if scenario == STORM else scenario
        scenario = make_scenario(
            name, message=wishes.message, expect=wishes.expect, connections=count, seed=wishes.seed
        )
    else:
        scenario.begin(count, wishes.seed)
    if scenario.is_silent and any(s.rate_from is not None or s.think_s is not None for s in stages):
        raise UsageError(
            f"The scenario {scenario.name!r} says nothing, so no rate can be kept with it.",
            "Leave the rate and the think time out, or use another scenario.",
        )
    targets = [endpoint for text in wishes.targets for endpoint in resolve(text)]
    check_targets(targets)
    own = parse_sources(wishes.sources) if wishes.sources else []
    check_routes(targets, own)
    check_fits(count, targets, wishes.engine)
    size = _message_bytes(scenario, count)
    plan = LoadPlan(
        connections=count,
        stages=stages,
        scenario=scenario,
        addresses=plan_addresses(count, targets, own, local_ports()),
        window=_window(targets, wishes.connect_window, REQUEST_BYTES_MAX // size),
        timeout_ns=wishes.timeout_ns,
        pipeline=wishes.pipeline,
        is_poisson=wishes.arrivals == "poisson",
        zipf=zipf,
        seed=wishes.seed,
        message_bytes=size,
        target=",".join(wishes.targets),
    )
    return plan, targets, _asked(wishes, plan)


def _message_bytes(scenario: Scenario, count: int) -> int:
    """About how long its messages are; 64 where it cannot say so without a conversation."""
    if scenario.is_silent:
        return 1
    try:
        last = scenario.requests(np.array([count - 1]), np.array([0]))
    except NotImplementedError:
        return 64
    return max(last.nbytes(), 1)


def _stages(wishes: Wishes) -> list[Stage]:
    think_s = None if wishes.think_ns is None else wishes.think_ns / 1e9
    defaults = Defaults(wishes.connect_rate, wishes.rate, think_s, wishes.churn)
    if not wishes.stages:
        if wishes.connections is None:
            raise UsageError(
                "It is not said how many connections to open.",
                "Add --connections 10k, or stages such as --stage 'ramp 10k'.",
            )
        has_load = wishes.rate is not None or think_s is not None or wishes.churn is not None
        if has_load and not wishes.hold_ns:
            raise UsageError(
                "A rate, a think time and churn need time to go on for.", "Add --hold 30s."
            )
        is_own = isinstance(wishes.scenario, Scenario)
        speaks = is_own or wishes.scenario not in ("hold", "half-open", "slow-reader", "publish")
        is_storm = wishes.scenario == STORM
        return simple_stages(
            wishes.connections, wishes.hold_ns / 1e9, defaults,
            stampede=speaks and not has_load and not is_storm, storm=is_storm,
        )  # fmt: skip
    if wishes.hold_ns:
        raise UsageError("--hold does not go with stages.", "Write a stage 'hold for 30s'.")
    texts = list(wishes.stages)
    if wishes.connections is not None and not texts[0].lstrip().startswith("ramp"):
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


def parse_spread(text: str) -> float | None:
    """`uniform` -> None, `zipf` -> 1.0, `zipf:1.2` -> 1.2. Raises UsageError."""
    match = re.fullmatch(r"zipf(?::([0-9]+(?:\.[0-9]+)?))?", text)
    if text == "uniform":
        return None
    if match is None or float(match[1] or 1) <= 0:
        raise UsageError(f"There is no spread {text!r}.", "Choose uniform, zipf or zipf:1.2.")
    return float(match[1] or 1)


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
    )


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
    role = "both" if all(is_here(t) for t in targets) else "client"
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


def local_ports() -> int:
    """Local ports that connect() finds quickly for one source and target."""
    text = procfs.read_sysctl("net.ipv4.ip_local_port_range") or "32768 60999"
    low, high = (int(part) for part in text.split())
    reserved = parse_ports(procfs.read_sysctl("net.ipv4.ip_local_reserved_ports") or "")
    return ports_before_scan(low, high, reserved)


def is_here(target: Endpoint) -> bool:
    """Whether a target is on this machine for sure."""
    return target.family == AF_UNIX or target.host.startswith("127.") or target.host == "::1"


def _window(targets: Sequence[Endpoint], asked: int | None, most: int) -> Window:
    """As asked, else by the targets' accept queues; `most` is what memory for messages allows."""
    if asked is not None and asked < 1:
        raise UsageError(f"A connect window of {asked} starts nothing.", "Give at least 1.")
    if asked is not None:
        window = Window(asked, 1)
        window.size = asked
        return window
    queue = None
    if all(is_here(t) for t in targets):
        queues = [accept_queue_of(t.path if t.family == AF_UNIX else t.port) for t in targets[:64]]
        queue = min((q for q in queues if q is not None), default=None)
    window = Window(queue, len(targets))
    window.size = max(min(window.size, most), 1)
    return window


def server_pid_of(targets: Sequence[Endpoint]) -> int | None:
    """The process behind a target on this machine, for its memory and CPU."""
    first = targets[0]
    if first.family not in (AF_INET, AF_INET6) or not is_here(first):
        return None
    holders = procfs.listener_holders(first.port)
    return holders[0][0] if len(holders) == 1 else None


def check_capacity(engine: Engine, count: int) -> None:
    """Raise LimitError where the engine that was chosen cannot hold so many."""
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
