"""io_uring: whether this kernel and this container let it be used, and the memory it may lock."""

from __future__ import annotations

import errno
import os

from c1m.limits import needs
from c1m.limits.check import OK, SHORT, UNKNOWN, Finding, Fix, bounded, unknown
from c1m.limits.needs import Request
from c1m.limits.situation import Situation
from c1m.units import format_bytes

NAME = "io_uring"
DISABLED = "kernel.io_uring_disabled"
MEMLOCK_NAME = "memlock"
OLDEST = (6, 1)
MEMLOCK_SINCE = (6, 14)  # ring memory counts against RLIMIT_MEMLOCK (again)


def check(request: Request, situation: Situation) -> Finding:
    """By trying it. Short only with the uring engine; epoll does without."""
    needed = f"Linux {OLDEST[0]}.{OLDEST[1]}"
    have = f"{situation.kernel[0]}.{situation.kernel[1]}" if any(situation.kernel) else "?"
    code = situation.uring_errno
    if code is None:
        known = any(situation.kernel) and not situation.uring_works
        if not known:
            return Finding(NAME, UNKNOWN, needed, have, text="It has not been tried here.")
    if situation.uring_works:
        text = "" if request.engine == "uring" else "It works, though epoll is asked for."
        return Finding(NAME, OK, needed, have, text=text)
    why, remedy, fixes = _refusal(situation)
    if request.engine == "epoll":
        text = f"{why} The epoll engine does without it."
        return Finding(NAME, OK, needed, have, text=text, remedy=remedy, fixes=fixes)
    return Finding(NAME, SHORT, needed, have, "", why, remedy, 0, fixes)


def _refusal(situation: Situation) -> tuple[str, str, tuple[Fix, ...]]:
    """Why it cannot be used, what to do, and the sysctl that does it."""
    code = situation.uring_errno
    epoll = "Or use --engine epoll."
    if situation.uring_disabled and code in (None, errno.EPERM):
        why = f"It is switched off ({DISABLED} = {situation.uring_disabled})."
        fix = Fix(DISABLED, "0", "lets every user have io_uring")
        return why, f"sysctl -w {DISABLED}=0. {epoll}", (fix,)
    if code == errno.EPERM:
        why = "The container refuses it (EPERM, by a seccomp filter)."
        remedy = (
            "Run with a seccomp profile that permits io_uring_setup, io_uring_enter and "
            f"io_uring_register (docker run --security-opt seccomp=FILE). {epoll}"
        )
        return why, remedy, ()
    if code == errno.ENOMEM:
        return (
            "No locked memory is left for it.",
            f"Raise it: ulimit -l, LimitMEMLOCK=. {epoll}",
            (),
        )
    if situation.kernel >= OLDEST and code == errno.ENOSYS:
        why = "The kernel was built without it, or a sandbox hides it (ENOSYS)."
        return why, epoll.removeprefix("Or ").capitalize(), ()
    told = f" ({os.strerror(code)})" if code else ""
    return f"This kernel is too old for it{told}.", f"Use Linux 6.1 or later. {epoll}", ()


def memlock_is_short(request: Request, situation: Situation) -> bool:
    """Whether the rings that a request needs may not be locked."""
    have = situation.memlock_bytes
    if have is None or not _is_counted(situation):
        return False
    return needs.locked_bytes(request, situation.hard_nofile) > have


def _is_counted(situation: Situation) -> bool:
    """Whether rings count against RLIMIT_MEMLOCK."""
    return not situation.has_ipc_lock and situation.kernel >= MEMLOCK_SINCE


def memlock(request: Request, situation: Situation) -> Finding | None:
    """RLIMIT_MEMLOCK, where rings count against it: Linux 6.14 and later, no CAP_IPC_LOCK."""
    if request.engine != "uring" or not _is_counted(situation):
        return None
    have = situation.memlock_bytes
    if have is None:
        return unknown(MEMLOCK_NAME, "The locked-memory limit in /proc/self/limits")
    nofile = situation.hard_nofile
    needed = needs.locked_bytes(request, nofile)
    return bounded(
        MEMLOCK_NAME,
        request,
        lambda r: needs.locked_bytes(r, nofile),
        have,
        unit="bytes",
        text=f"{format_bytes(needs.FIRST_RING_BYTES)} for the first ring of a process, "
        f"{format_bytes(needs.RING_BYTES)} for each further one, of all rings of this user.",
        remedy=f"Raise it: ulimit -l {-(-needed // 1024)}, LimitMEMLOCK={needed}; or raise nofile, "
        "which makes fewer rings.",
    )
