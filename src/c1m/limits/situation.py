"""What a machine has, as one process sees it: what every limit is held against. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


def numbers(sysctls: Mapping[str, str], name: str) -> tuple[int, ...]:
    """The numbers of a sysctl; () where it is not known or is not made of numbers."""
    words = sysctls.get(name, "").split()
    return tuple(map(int, words)) if all(word.lstrip("-").isdigit() for word in words) else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A machine, read once. None or empty: not known. Counts, or bytes where a name says so."""

    kernel: tuple[int, int] = (0, 0)
    sysctls: Mapping[str, str] = field(default_factory=dict)  # those that the limits name
    nofile: tuple[int, int] | None = None  # soft, hard
    memlock_bytes: int | None = None  # the soft RLIMIT_MEMLOCK
    memory_available_bytes: int | None = None
    cgroup_limit_bytes: int | None = None  # None: no group limits it
    cgroup_used_bytes: int | None = None
    slab_bytes: Mapping[str, int] = field(default_factory=dict)  # memory that one object takes
    softnet_dropped: int = 0  # packets, since the machine started
    uring_errno: int | None = None  # 0: works; None: not tried
    has_ipc_lock: bool = False
    has_sys_admin: bool = False

    def numbers(self, name: str) -> tuple[int, ...]:
        """The numbers of a sysctl; () where it is not known."""
        return numbers(self.sysctls, name)

    def number(self, name: str) -> int | None:
        """The first number of a sysctl; None where it is not known."""
        return next(iter(self.numbers(name)), None)

    @property
    def hard_nofile(self) -> int:
        """The limit that c1m works with: it raises its soft limit to the hard one."""
        return self.nofile[1] if self.nofile else 1024
