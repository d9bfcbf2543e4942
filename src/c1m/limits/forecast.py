"""All checks together: what was found, how many connections fit, and what stops them first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from c1m.errors import UsageError
from c1m.limits import needs
from c1m.limits.check import SHORT, UNKNOWN, Check, Finding
from c1m.limits.checks import (
    conntrack,
    epoll_watches,
    established_hash,
    file_max,
    io_uring,
    listen_ports,
    local_ports,
    memory,
    netdev_backlog,
    nofile,
    nr_open,
    somaxconn,
    syn_backlog,
    tcp_buffers,
    tcp_mem,
)
from c1m.limits.needs import Request
from c1m.limits.situation import Situation

CHECKS: tuple[Check, ...] = (
    io_uring.check,
    io_uring.memlock,
    nofile.soft,
    nofile.hard,
    nofile.rings,
    nr_open.check,
    file_max.check,
    epoll_watches.check,
    local_ports.check,
    listen_ports.check,
    somaxconn.check,
    syn_backlog.check,
    netdev_backlog.check,
    established_hash.check,
    tcp_mem.check,
    tcp_buffers.rmem,
    tcp_buffers.wmem,
    conntrack.table,
    conntrack.timeout,
    memory.machine,
    memory.cgroup,
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings for one request (its engine is the one chosen)."""

    request: Request
    findings: tuple[Finding, ...]

    @property
    def is_short(self) -> bool:
        """Whether the connections asked for do not fit."""
        return any(finding.verdict == SHORT for finding in self.findings)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """The checks that could not be made."""
        return tuple(finding for finding in self.findings if finding.verdict == UNKNOWN)

    @property
    def fits(self) -> int | None:
        """How many connections fit as things stand; None when nothing known bounds them."""
        return min((f.fits for f in self.findings if f.fits is not None), default=None)

    @property
    def first_limit(self) -> str | None:
        """Name of the check that stops the connections first."""
        bounds = [f for f in self.findings if f.fits is not None]
        return min(bounds, key=lambda f: f.fits or 0).name if bounds else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: request, fits, first_limit, verdict and findings."""
        return {
            "request": asdict(self.request),
            "verdict": SHORT if self.is_short else UNKNOWN if self.unknown else "ok",
            "fits": self.fits,
            "first_limit": self.first_limit,
            "findings": [asdict(finding) for finding in self.findings],
        }


def diagnose(
    connections: int,
    role: str = "both",
    engine: str = "auto",
    listen_ports: Sequence[int] = (8001,),
    situation: Situation | None = None,
    *,
    sources: int = needs.LOOPBACK_SOURCES,
) -> Diagnosis:
    """Hold what `connections` need against a situation (default: this machine's, read now).

    `engine` "auto" is uring where it works and may lock the memory of a ring, else epoll. `sources`
    are the addresses the client has (on loopback it has 127.0.0.0/8). Raises UsageError for a
    request that makes no sense.
    """
    _validate(connections, role, engine, listen_ports, sources)
    if situation is None:
        from c1m.limits.situation import read_situation

        situation = read_situation()
    ports = tuple(sorted(set(listen_ports)))
    if engine == "auto":
        # An engine is chosen before anything is open, by whether there is a first ring.
        first = Request(1, role, "uring", ports, sources)
        is_locked_out = io_uring.memlock_is_short(first, situation)
        engine = "uring" if situation.uring_works and not is_locked_out else "epoll"
    request = Request(connections, role, engine, ports, sources)
    found = (check(request, situation) for check in CHECKS)
    return Diagnosis(request, tuple(finding for finding in found if finding is not None))


def _validate(
    connections: int, role: str, engine: str, listen_ports: Sequence[int], sources: int
) -> None:
    if connections < 1:
        raise UsageError(f"{connections:,} connections were asked for.", "Ask for at least 1.")
    if role not in needs.ROLES:
        raise UsageError(f"The role {role!r} is unknown.", "It is server, client or both.")
    if engine not in ("auto", *needs.ENGINES):
        raise UsageError(f"The engine {engine!r} is unknown.", "It is auto, uring or epoll.")
    if not listen_ports or not all(0 < port < 65536 for port in listen_ports):
        raise UsageError("The listening ports are not all within 1 to 65535.", "Name one at least.")
    if sources < 1:
        raise UsageError(f"{sources:,} source addresses were named.", "Name at least 1.")
