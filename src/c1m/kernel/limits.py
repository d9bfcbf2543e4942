"""What this process itself is allowed: its descriptor limit, and whether it may use io_uring."""

from __future__ import annotations

import os
import resource

import numpy as np

from c1m.kernel import libc
from c1m.kernel import uring_abi as abi


def raise_nofile() -> tuple[int, int]:
    """Raise the soft RLIMIT_NOFILE to the hard one, which needs no privilege; returns both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def try_io_uring() -> int:
    """Set a small ring up as the engine does and close it: 0, or the errno of the refusal.

    ENOSYS: built without, or hidden by a sandbox. EPERM: kernel.io_uring_disabled, or a seccomp
    filter. EINVAL: older than Linux 6.1, whose flags are asked for. ENOMEM: locked memory.
    """
    params = np.zeros(1, abi.PARAMS)
    params["flags"] = abi.SETUP_SINGLE_ISSUER | abi.SETUP_DEFER_TASKRUN
    try:
        fd = libc.io_uring_setup(8, params.ctypes.data)
    except OSError as error:
        return int(error.errno or 0)
    os.close(fd)
    return 0
