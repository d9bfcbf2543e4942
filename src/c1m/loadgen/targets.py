"""The targets of a run: whether they can be reached, how many connections fit, and the pace."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint
from c1m.engine.contract import Engine
from c1m.errors import LimitError, UsageError
from c1m.kernel import procfs
from c1m.kernel.sock_diag import accept_queue_of
from c1m.limits.forecast import forecast
from c1m.limits.limit import Finding
from c1m.limits.ports import RANGE, RESERVED, Ephemeral
from c1m.loadgen.connections import Window
from c1m.results.share import WHOLE, Share

# plan_addresses knows better what ports it has, and the engine that is chosen what fits into it.
PLANNED_FOR = ("net.ipv4.ip_local_port_range", "io_uring", "memlock", "nofile (hard)", "rings")


def check_targets(targets: Sequence[Endpoint]) -> None:
    """Raise UsageError for what can never be connected to."""
    if not targets:
        raise UsageError("There is no target.", "Name one, as in tcp://127.0.0.1:8001.")
    for target in targets:
        if target.family != AF_UNIX and target.port == 0:
            raise UsageError(f"{target} has port 0, on which nothing listens.", "Name a port.")
        if target.family != AF_UNIX and target.host in ("0.0.0.0", "::"):
            raise UsageError(
                f"{target} stands for all addresses of this host, which is no target.",
                "Use tcp://127.0.0.1:PORT for a server on this machine.",
            )


def check_routes(
    targets: Sequence[Endpoint], sources: Sequence[str], *, is_part: bool = False
) -> list[str]:
    """The sources that this host has: all of them, or of a part's, which are those of all hosts,
    some. Raises UsageError for a target without a route, and for sources that are not there.

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
    found: list[str] = []
    for source in sources:
        family = AF_INET6 if ":" in source else AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((source, 0))
            except OSError:
                if is_part:
                    continue
                raise UsageError(
                    f"The source {source} is not an address of this host.",
                    "Add it with `ip address add`, or leave it out of --source.",
                ) from None
        found.append(source)
    if sources and not found:
        raise UsageError(
            f"None of the {len(sources):,} source addresses is one of this host, "
            f"{socket.gethostname()}.",
            "Add one with `ip address add`, or give --source those of every worker's host.",
        )
    return found


def check_fits(count: int, targets: Sequence[Endpoint], engine: str) -> list[Finding]:
    """What the doctor says of so many. Raises LimitError, saying how many do fit, where this
    machine cannot hold them.

    The doctor's checks decide, but for what is found out by itself: by the plan of addresses, and
    by the engine (`check_capacity`).
    """
    role = "both" if all(is_here(t) for t in targets) else "client"
    findings = forecast(count, role, engine, [8001]).findings
    hard = [f for f in findings if f.fits is not None and f.name not in PLANNED_FOR]
    least = min(hard, key=lambda f: f.fits or 0, default=None)
    if least is None or least.fits is None or least.fits >= count:
        return list(findings)
    raise LimitError(
        f"{count:,} connections were asked for; this machine can hold about {least.fits:,} "
        f"(what stops it is {least.name}).",
        f"{least.remedy} `c1m doctor --connections {count}` says more.".strip(),
    )


def local_ports() -> int:
    """Local ports that connect() finds quickly for one source and target."""
    return Ephemeral.of({name: procfs.read_sysctl(name) or "" for name in (RANGE, RESERVED)}).quick


def is_here(target: Endpoint) -> bool:
    """Whether a target is certainly on this machine."""
    return target.family == AF_UNIX or target.host.startswith("127.") or target.host == "::1"


def window_for(
    targets: Sequence[Endpoint], asked: int | None, most: int, share: Share = WHOLE
) -> Window:
    """As asked, else by the targets' accept queues, of which all parts together fill one's length;
    `most` is what memory for messages allows."""
    if asked is not None:
        asked = share.at_least_one(asked)
        window = Window(asked, 1)
        window.size = asked
        return window
    queue = None
    if all(is_here(t) for t in targets):
        queues = [accept_queue_of(t.path if t.family == AF_UNIX else t.port) for t in targets[:64]]
        queue = min((q for q in queues if q is not None), default=None)
    window = Window(queue, len(targets))
    window.size = max(min(share.at_least_one(window.size), most), 1)
    return window


def server_pid_of(targets: Sequence[Endpoint]) -> int | None:
    """The one process behind the targets on this machine, for its memory and CPU: it has the first
    and the last of them."""
    holders: list[int] = []
    for target in dict.fromkeys([targets[0], targets[-1]]):
        if target.family not in (AF_INET, AF_INET6) or not is_here(target):
            return None
        holders += [pid for pid, _ in procfs.listener_holders(target.port)] or [0]
    return holders[0] or None if len(set(holders)) == 1 else None


def check_server_pid(pid: int) -> None:
    """Raise UsageError for a process that is not there. Signal 0 asks, and needs no /proc."""
    try:
        if pid < 1:  # the kernel's words for groups of processes
            raise ProcessLookupError
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        raise UsageError(
            f"There is no process {pid} on this machine to measure as the server.",
            "Leave --server-pid out, and it is found by its port.",
        ) from None
    except PermissionError:
        pass  # it is there, and somebody else's


def check_capacity(engine: Engine, count: int) -> None:
    """Raise LimitError where the engine that was chosen cannot hold so many."""
    fits = engine.room()
    if count <= fits:
        return
    if engine.uses_descriptors:
        why = "each takes a descriptor, and RLIMIT_NOFILE bounds those"
        remedy = "Raise it (ulimit -n) or use --engine uring."
    else:
        why = (
            "a ring holds no more than RLIMIT_NOFILE, and RLIMIT_MEMLOCK bounds the rings of all "
            "processes of this user"
        )
        remedy = "Raise them (ulimit -n, ulimit -l)."
    instead = f" ({engine.reason})" if engine.reason.startswith("instead") else ""
    raise LimitError(
        f"{count:,} connections were asked for; the {engine.name} engine{instead} can hold about "
        f"{fits:,} here: {why}.",
        f"{remedy} `c1m doctor --connections {count}` says more.",
        fits,
    )
