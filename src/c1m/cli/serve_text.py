"""What `c1m serve` says to people: where it listens, its progress, its final figures."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from c1m.arguments import as_flag
from c1m.kernel.procfs import ProcessSample, process_sample
from c1m.server.figures import PAGES, handshakes
from c1m.server.processes import Processes
from c1m.server.spread import shares_of
from c1m.server.statistics import by_words
from c1m.units import (
    NS_PER_MS,
    format_bytes,
    format_count,
    format_duration,
    format_number_of,
    format_rate,
)

if TYPE_CHECKING:
    from c1m.serving import AnyServer


def hello(app: str, server: AnyServer | Processes, asked: int | None) -> list[str]:
    """Where it listens, with what, for how many; `asked`: --connections-max."""
    names = [str(e) for e in server.endpoints]
    shown = ", ".join(names)
    if len(names) > 4:
        shown = f"{names[0]} ... {names[-1]}, ({len(names)} endpoints)"
    lines = [f"{app}: listening on {shown}"]
    if isinstance(server, Processes):
        lines += _several(server, asked)
    else:
        lines += _engine(server.engine, 1, asked)
    if server.operators.admin is not None:
        lines.append(f"operators: {server.operators.admin.url} ({PAGES})")
    notes = getattr(getattr(server, "app", None), "notes", None)
    lines += notes(server) if notes is not None else []
    if server.security is not None:
        contexts = server.security.contexts
        lines += [*contexts.facts, *(f"note: {note}" for note in contexts.notes)]
    return lines


def _engine(engine: Any, processes: int, asked: int | None) -> list[str]:
    """With what, for how many: of one process, or of all."""
    room = _room(engine)
    who = "one thread" if processes == 1 else f"{processes} processes of one thread"
    lines = [f"engine {engine.name} ({engine.reason}), {who}, room for {room:,} connections"]
    is_limit = room == engine.room() and (asked is None or asked > room)
    if engine.uses_descriptors and is_limit:
        lines.append(
            f"{engine.name} needs a descriptor for each connection: RLIMIT_NOFILE "
            f"({engine.capacity:,}) is the limit here"
        )
    return lines


def _several(server: Processes, asked: int | None) -> list[str]:
    lines = _engine(server.engine, len(server.children), asked)
    if server.own_endpoints:
        own = ", ".join(map(str, server.own_endpoints))
        lines.append(f"each process by itself: {own}")
    return lines + server.notes


def _room(engine: Any) -> int:
    """How many connections fit: by what the engine may have, and by memory as the doctor has it."""
    from c1m.limits.forecast import forecast
    from c1m.limits.memory import CGROUP, MEMORY

    room: int = engine.room()
    findings = forecast(max(room, 1), "server", engine.name).findings
    bounds = (f.fits for f in findings if f.name in (MEMORY, CGROUP))
    return min([room, *(fits for fits in bounds if fits is not None)])


class Progress:
    """Makes one line from what changed since the last one."""

    def __init__(self, server: AnyServer | Processes) -> None:
        self._server = server
        self._then_ns = server.clock.now_ns()
        self._opened = self._messages = 0

    def line(self) -> str:
        """Connections, their rate, the last 1,000's time, messages, bytes, memory."""
        statistics, now_ns = self._server.update_statistics(), self._server.clock.now_ns()
        seconds = max((now_ns - self._then_ns) / 1e9, 1e-9)
        opened = (statistics.opened - self._opened) / seconds
        messages = (statistics.messages - self._messages) / seconds
        self._then_ns, self._opened, self._messages = now_ns, statistics.opened, statistics.messages
        step = self._server.ramp.last_step_ms()
        refused = sum(statistics.refused.values())
        limited = sum(statistics.limited.values())
        sample = _sample(self._server)
        parts = [
            f"{format_count(statistics.live)} connections",
            f"+{format_rate(opened)}" if opened else "+0/s",
            f"last 1,000 in {'-' if step is None else format_duration(step * NS_PER_MS)}",
            f"{format_rate(messages)} messages" if messages else "0/s messages",
            f"in {format_bytes(statistics.received_bytes)}",
            f"out {format_bytes(statistics.sent_bytes)}",
            f"memory {format_bytes(sample.rss_bytes)}" if sample else "",
            f"{format_count(refused)} times refused room" if refused else "",
            f"{format_count(limited)} times limited" if limited else "",
            f"{format_count(statistics.opening)} opening" if statistics.opening else "",
            _spread(self._server) if isinstance(self._server, Processes) else "",
        ]
        return "  ".join(part for part in parts if part)


def _sample(server: AnyServer | Processes) -> ProcessSample | None:
    return server.sample() if isinstance(server, Processes) else process_sample()


def _handshakes(server: AnyServer | Processes) -> dict[str, Any]:
    return server.handshakes() if isinstance(server, Processes) else handshakes(server)


def _spread(server: Processes) -> str:
    """How unevenly connections are spread, where there are any."""
    held = [child.live for child in server.children]
    parts = [f"{100 * share:.0f}" for share in shares_of(held)]
    restarts = sum(child.restarts for child in server.children)
    said = [f"spread {'/'.join(parts)} %"] if any(held) and len(held) <= 8 else []
    return "  ".join([*said, format_number_of(restarts, "restart")] if restarts else said)


def final_figures(server: AnyServer | Processes) -> dict[str, Any]:
    """The final figures as JSON values; opened = live + the sum of closed."""
    statistics = server.update_statistics()
    sample = _sample(server)
    found = dataclasses.asdict(statistics) | {
        "closed": {reason.name.lower(): count for reason, count in statistics.closed.items()},
        "never_opened": by_words(statistics.never_opened),
        "tls": _handshakes(server) or None,
        "engine": {"name": server.engine.name, "reason": server.engine.reason},
        "threads": sample.threads if sample else None,
        "rss_peak_bytes": sample.peak_rss_bytes if sample else None,
        "cpu_user_s": sample.user_s if sample else None,
        "cpu_system_s": sample.system_s if sample else None,
    }
    return found | {"processes": server.each()} if isinstance(server, Processes) else found


def _handshakes_in_words(server: AnyServer | Processes) -> list[str]:
    found = _handshakes(server)
    if not found:
        return []
    failed = sum(found["failed"].values())
    said = [
        f"{format_count(found['done'])} done",
        *(f"{format_count(n)} by {name}" for name, n in sorted(found["versions"].items())),
        f"{format_count(found['resumed'])} resumed",
        *([f"{format_count(found['handed'])} handed off"] if found["handed"] else []),
        f"{format_count(failed)} failed",
        *([f"{format_count(found['under_way'])} under way"] if found["under_way"] else []),
    ]
    return [f"TLS handshakes: {', '.join(said)}"]


def final_text(server: AnyServer | Processes) -> str:
    """The final figures for people."""
    statistics = server.update_statistics()
    sample = _sample(server)
    lines = [
        f"{format_count(statistics.opened)} connections opened, at most "
        f"{format_count(statistics.peak)} at once, {format_count(statistics.live)} left open"
    ]
    for reason, count in statistics.closed.items():
        if count:
            lines.append(f"  {format_count(count):>12}  {reason.text}")
    for why, count in by_words(statistics.never_opened).items():
        lines.append(f"  {format_count(count):>12}  never opened: {why}")
    lines += _handshakes_in_words(server)
    lines.append(
        f"{format_count(statistics.messages)} messages, in "
        f"{format_bytes(statistics.received_bytes)}, out {format_bytes(statistics.sent_bytes)}"
        + (
            f", {format_bytes(statistics.unsent_bytes)} owed to peers that had gone"
            if statistics.unsent_bytes
            else ""
        )
    )
    for name, count in statistics.limited.items():
        lines.append(f"  {format_count(count):>12}  times limited by {as_flag(name)}")
    for what, count in statistics.failed.items():
        lines.append(f"  {format_count(count):>12}  times {what} of the application failed")
    for what, count in statistics.refused.items():
        lines.append(f"  {format_count(count):>12}  times the kernel refused a further {what}")
    if statistics.refusal:
        lines.append(f"  {statistics.refusal}")
    if sample is not None:
        lines.append(
            f"memory at most {format_bytes(sample.peak_rss_bytes)}, CPU "
            f"{format_duration(sample.user_s * 1e9)} user and "
            f"{format_duration(sample.system_s * 1e9)} system, {sample.threads} thread"
            + ("s" if sample.threads != 1 else "")
        )
    if isinstance(server, Processes):
        lines += _of_each(server)
    return "\n".join(lines)


def _of_each(server: Processes) -> list[str]:
    return [
        f"process {n}: {format_count(each['opened'])} connections opened, "
        f"{format_count(each['messages'])} messages, CPU {format_duration(each['cpu_s'] * 1e9)}"
        + (f", {format_number_of(each['restarts'], 'restart')}" if each["restarts"] else "")
        for n, each in enumerate(server.each())
    ]
