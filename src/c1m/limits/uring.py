"""io_uring: whether this kernel and this container allow it, and the memory that it may lock."""

from __future__ import annotations

import errno
import os

from c1m.limits import needs
from c1m.limits.limit import SHORT, UNKNOWN, Advice, Bound, Finding, Limit, Situation, set_sysctl
from c1m.limits.needs import Request
from c1m.units import format_bytes

OLDEST = (6, 1)
MEMLOCK_SINCE = (6, 14)  # ring memory counts against RLIMIT_MEMLOCK (again)

DISABLED = "kernel.io_uring_disabled"  # Linux 6.6 and later
_OR_EPOLL = "Or use --engine epoll."


def uring_works(situation: Situation) -> bool:
    """As tried; where it was not tried, by version and sysctl."""
    if situation.uring_errno is not None:
        return situation.uring_errno == 0
    return situation.kernel >= OLDEST and not situation.number(DISABLED)


class Uring(Limit):
    """Whether io_uring may be used, by trying it. Short only with the uring engine."""

    name = "io_uring"
    sysctls = (DISABLED,)

    def find(self, request: Request, situation: Situation) -> Finding:
        """Ok, short (none fit), or unknown where it was not tried."""
        needed = "Linux " + ".".join(map(str, OLDEST))
        have = ".".join(map(str, situation.kernel)) if any(situation.kernel) else "?"
        works = uring_works(situation)
        if situation.uring_errno is None and (works or not any(situation.kernel)):
            text = "It has not been tried here."
            return self.finding(have, text, needed=needed, verdict=UNKNOWN)
        if works:
            other = request.engine if request.uses_descriptors else ""
            text = f"It works, though {other} is asked for." if other else ""
            return self.finding(have, text, needed=needed)
        why, advice = _refusal(situation)
        if request.uses_descriptors:
            text = f"{why} The {request.engine} engine works without it."
            return self.finding(have, text, advice, needed=needed)
        return self.finding(have, why, advice, needed=needed, verdict=SHORT, fits=0)


def _refusal(situation: Situation) -> tuple[str, Advice]:
    """Why io_uring cannot be used, and what to do."""
    code, disabled = situation.uring_errno, situation.number(DISABLED)
    if disabled and code in (None, errno.EPERM):
        advice = set_sysctl(DISABLED, 0, "lets every user have io_uring", f". {_OR_EPOLL}")
        return f"It is switched off ({DISABLED} = {disabled}).", advice
    if code == errno.EPERM:
        why = "The container refuses it (EPERM, by a seccomp filter)."
        remedy = (
            "Run with a seccomp profile that permits io_uring_setup, io_uring_enter and "
            f"io_uring_register (docker run --security-opt seccomp=FILE). {_OR_EPOLL}"
        )
        return why, Advice(remedy)
    if code == errno.ENOMEM:
        why = "No locked memory is left for it."
        return why, Advice(f"Raise it: ulimit -l, LimitMEMLOCK=. {_OR_EPOLL}")
    if situation.kernel >= OLDEST and code == errno.ENOSYS:
        why = "The kernel was built without it, or a sandbox hides it (ENOSYS)."
        return why, Advice("Use --engine epoll.")
    reason = f" ({os.strerror(code)})" if code else ""
    return f"This kernel is too old for it{reason}.", Advice(f"Use Linux 6.1 or later. {_OR_EPOLL}")


class LockedMemory(Bound):
    """RLIMIT_MEMLOCK, where rings count against it: Linux 6.14 and later, no CAP_IPC_LOCK."""

    name = "memlock"
    source = "The locked-memory limit in /proc/self/limits"
    unit = "bytes"
    uses_descriptors = False

    def applies(self, request: Request, situation: Situation) -> bool:
        is_counted = not situation.has_ipc_lock and situation.kernel >= MEMLOCK_SINCE
        return is_counted and super().applies(request, situation)

    def have(self, request: Request, situation: Situation) -> int | None:
        return situation.memlock_bytes

    def needed(self, request: Request, situation: Situation) -> int:
        return needs.locked_bytes(request, situation.hard_nofile)

    def note(self, request: Request, situation: Situation) -> str:
        return (
            f"{format_bytes(needs.FIRST_RING_BYTES)} for the first ring of a process, "
            f"{format_bytes(needs.RING_BYTES)} for each further one, of all rings of this user."
        )

    def advice(self, request: Request, situation: Situation) -> Advice:
        needed = self.needed(request, situation)
        return Advice(
            f"Raise it: ulimit -l {-(-needed // 1024)}, LimitMEMLOCK={needed}; or raise nofile, "
            "which makes fewer rings."
        )


LIMITS: tuple[Limit, ...] = (Uring(), LockedMemory())


def can_start(request: Request, situation: Situation) -> bool:
    """Whether an engine can be made: one with rings needs the first of them."""
    memory = LockedMemory().find(request, situation)
    has_room = memory is None or memory.verdict != SHORT
    return request.uses_descriptors or (uring_works(situation) and has_room)
