"""What the kernel refuses, in sentences: which limit it was and what to do."""

from __future__ import annotations

import errno
import os
import resource

from c1m.units import format_bytes

UNLIMITED = 1 << 63
ERRNOS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC))
"""Errnos that mean that a resource is used up, and may be available again later."""
NO_MEMORY = frozenset((errno.ENOBUFS, errno.ENOMEM))
"""Of a call on a connection: that is as it was, and the call may be made again later."""


def refusal(what: str, error: OSError | MemoryError | int) -> tuple[str, str]:
    """Message and remedy for `what` ("io_uring number 2") that was refused with this errno.

    Python's own MemoryError counts as ENOMEM.
    """
    code = errno.ENOMEM
    if isinstance(error, int):
        code = error
    elif isinstance(error, OSError):
        code = error.errno or 0
    why, remedy = _reason(code, "io_uring" in what)
    return f"The kernel gives no {what}: {why}.", remedy


def _reason(code: int, is_ring: bool) -> tuple[str, str]:
    if code == errno.EMFILE:
        soft = _soft(resource.RLIMIT_NOFILE)
        return (
            f"RLIMIT_NOFILE is {soft:,}, and no descriptor is left"
            + " or its table is larger" * is_ring,
            "Raise it: ulimit -n, LimitNOFILE=.",
        )
    if code == errno.ENFILE:
        return "this machine's table of open files is full", "Raise the sysctl fs.file-max."
    if code == errno.ENOSPC:
        return "this user watches too much with epoll", "Raise fs.epoll.max_user_watches."
    if code == errno.ENOMEM:
        return _memory(is_ring)
    if code == errno.ENOBUFS:
        return "the kernel has no memory for its buffers", "Look at net.ipv4.tcp_mem and memory."
    return os.strerror(code) if code else "it does not say why", ""


def _memory(is_ring: bool) -> tuple[str, str]:
    """ENOMEM: the limit that it most likely was."""
    space = address_space()
    if space < UNLIMITED:
        return (
            f"the address space (RLIMIT_AS) is {format_bytes(space)}",
            "Raise it: ulimit -v, LimitAS=.",
        )
    locked = _soft(resource.RLIMIT_MEMLOCK)
    if is_ring and locked != resource.RLIM_INFINITY:
        return (
            f"RLIMIT_MEMLOCK is {format_bytes(locked)} for all rings of this user",
            "Raise it: ulimit -l, LimitMEMLOCK=.",
        )
    return "this machine has none left", "Free some memory, or ask for fewer connections."


def address_space() -> int:
    """Bytes of address space that this process may have, UNLIMITED where that has no limit."""
    space = _soft(resource.RLIMIT_AS)
    return UNLIMITED if space == resource.RLIM_INFINITY else space


def _soft(limit: int) -> int:
    """Also where a filter refuses the question: who explains a refusal must not fail by another."""
    try:
        return resource.getrlimit(limit)[0]
    except OSError:
        return resource.RLIM_INFINITY
