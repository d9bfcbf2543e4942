"""What this process is allowed: how many descriptors, and whether it may use io_uring."""

from __future__ import annotations

import os
import resource

import numpy as np

from c1m.kernel import libc
from c1m.kernel import uring_abi as abi

DESCRIPTORS_MAX = 1 << 30  # where RLIMIT_NOFILE is "unlimited"


def raise_nofile() -> tuple[int, int]:
    """Raise the soft RLIMIT_NOFILE to the hard one (needs no privilege). Returns both."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def descriptors_left() -> int:
    """How many more descriptors this process may open, by its soft RLIMIT_NOFILE.

    Without /proc the number of open ones is not known; then the lowest free one is taken for it.
    """
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        soft = DESCRIPTORS_MAX
    try:
        lowest = os.open("/", os.O_PATH)
    except OSError:
        return 0
    os.close(lowest)
    try:
        used = len(os.listdir("/proc/self/fd")) - 1  # the one that lists them is gone again
    except OSError:
        used = lowest
    return max(soft - used, 0)


def try_io_uring() -> int:
    """Set up a small ring as the engine does, and close it: 0, or the errno of the refusal.

    ENOSYS: built without, or hidden by a sandbox. EPERM: kernel.io_uring_disabled, or a seccomp
    filter. EINVAL: older than Linux 6.1, whose flags this uses. ENOMEM: no locked memory left.
    """
    params = np.zeros(1, abi.PARAMS)
    params["flags"] = abi.SETUP_SINGLE_ISSUER | abi.SETUP_DEFER_TASKRUN
    try:
        fd = libc.io_uring_setup(8, params.ctypes.data)
    except OSError as error:
        return int(error.errno or 0)
    os.close(fd)
    return 0
