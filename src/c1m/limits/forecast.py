"""The doctor: every limit held against a request. How many fit, and what stops more of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from c1m.engine.choose import AUTO, ENGINES
from c1m.errors import UsageError
from c1m.kernel import procfs
from c1m.limits import needs
from c1m.limits.catalogue import LIMITS, SYSCTLS
from c1m.limits.limit import SHORT, UNKNOWN, Finding, Situation
from c1m.limits.needs import Request
from c1m.limits.uring import can_start

# Numbers of linux/capability.h.
_CAP_IPC_LOCK = 14
_CAP_SYS_ADMIN = 21


@dataclass(frozen=True, slots=True)
class Forecast:
    """The findings for one request (its engine is the one chosen)."""

    request: Request
    findings: tuple[Finding, ...]

    @property
    def is_short(self) -> bool:
        """Whether the connections asked for do not fit."""
        return any(finding.verdict == SHORT for finding in self.findings)

    @property
    def unknown(self) -> tuple[Finding, ...]:
        """The limits that are not known here."""
        return tuple(finding for finding in self.findings if finding.verdict == UNKNOWN)

    @property
    def first(self) -> Finding | None:
        """The limit that stops the connections first; None when nothing known bounds them."""
        bounds = [finding for finding in self.findings if finding.fits is not None]
        return min(bounds, key=lambda finding: finding.fits or 0, default=None)

    @property
    def fits(self) -> int | None:
        """How many connections fit as things stand; None when nothing known bounds them."""
        return self.first.fits if self.first else None

    @property
    def first_limit(self) -> str | None:
        """The name of the limit that stops the connections first."""
        return self.first.name if self.first else None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: request, fits, first_limit, verdict and findings."""
        return {
            "request": asdict(self.request),
            "verdict": SHORT if self.is_short else UNKNOWN if self.unknown else "ok",
            "fits": self.fits,
            "first_limit": self.first_limit,
            "findings": [asdict(finding) for finding in self.findings],
        }


def forecast(
    connections: int,
    role: str = "both",
    engine: str = "auto",
    listen_ports: Sequence[int] = (8001,),
    situation: Situation | None = None,
    *,
    sources: int = needs.LOOPBACK_SOURCES,
) -> Forecast:
    """Hold what `connections` need against a situation (default: this machine's, read now).

    `engine` "auto" is uring where it works and may lock the memory of a ring, else epoll. `sources`
    are the addresses the client has (on loopback it has 127.0.0.0/8). Raises UsageError for no
    connections and for no source.
    """
    if connections < 1:
        raise UsageError(f"{connections:,} connections were asked for.", "Ask for at least 1.")
    if sources < 1:
        raise UsageError(f"{sources:,} source addresses were named.", "Name at least 1.")
    if situation is None:
        situation = read_situation()
    ports = tuple(sorted(set(listen_ports)))
    if engine == AUTO:
        # An engine is chosen before anything is open, by whether there is a first ring.
        first = (Request(1, role, name, ports, sources) for name in ENGINES)
        engine = next(one.engine for one in first if can_start(one, situation))
    request = Request(connections, role, engine, ports, sources)
    found = (limit.find(request, situation) for limit in LIMITS)
    return Forecast(request, tuple(finding for finding in found if finding is not None))


def read_situation(root: Path = procfs.ROOT) -> Situation:
    """The machine under `root`; io_uring is tried on the real machine only, as the engine would."""
    sysctls = {name: procfs.read_sysctl(name, root) for name in SYSCTLS}
    memlock = procfs.process_limit("Max locked memory", root)
    cgroup_limit, cgroup_used = procfs.cgroup_memory(root)
    uring_errno = None
    if root == procfs.ROOT:
        from c1m.kernel.limits import try_io_uring  # here: nothing else needs NumPy

        uring_errno = try_io_uring()
    return Situation(
        kernel=procfs.kernel_version(root),
        sysctls={name: text for name, text in sysctls.items() if text is not None},
        nofile=procfs.process_limit("Max open files", root),
        memlock_bytes=memlock[0] if memlock else None,
        memory_available_bytes=procfs.meminfo(root).get("MemAvailable"),
        cgroup_limit_bytes=cgroup_limit,
        cgroup_used_bytes=cgroup_used,
        slab_bytes={name: slab.footprint_bytes for name, slab in procfs.slabs(root).items()},
        softnet_dropped=procfs.softnet(root).get("Softnet.dropped", 0),
        uring_errno=uring_errno,
        has_ipc_lock=procfs.has_capability(_CAP_IPC_LOCK, root),
        has_sys_admin=procfs.has_capability(_CAP_SYS_ADMIN, root),
    )
