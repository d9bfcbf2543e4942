"""What this process is allowed: descriptors, io_uring, and memory that it may lock for rings.

Facts about locked memory, which bounds rings where RLIMIT_NOFILE does not
- Since Linux 6.14 the pages of rings and of buffer rings count against RLIMIT_MEMLOCK: those of all
  processes of a user together, unless the process has CAP_IPC_LOCK in the first user namespace.
- The kernel does not report what a user has locked. But it refuses a page where the limit is below
  what is locked already plus that page; and a process may lower its soft limit and raise it again,
  up to the hard one, without any privilege.
- An unregistered buffer ring gives its page back at once; a closed ring does so later.

Choice: a ring registers one page for a moment, about a dozen times, with lowered soft limits. The
lowest limit at which that is granted says what was locked before. It takes some 200 us, and the
lowered limit concerns this process only.
"""

from __future__ import annotations

import mmap
import os
import resource

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import Ring, RingLike

_GROUP = 0xFFFF  # no buffer ring of the engine has this id
_PAGE = mmap.PAGESIZE
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

    Facts. From Linux 6.2 on the size of /proc/self/fd is the number of open descriptors; before
    that it is 0, and they have to be listed.
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
        directory = os.open("/proc/self/fd", os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return max(soft - lowest, 0)
    try:
        used = os.fstat(directory).st_size or len(os.listdir("/proc/self/fd")) - 1
    finally:
        os.close(directory)
    used -= 1  # the directory itself
    return max(soft - used, 0)


def try_io_uring() -> int:
    """Set up a small ring as the engine does, and close it: 0, or the errno of the refusal.

    ENOSYS: built without, or hidden by a sandbox. EPERM: kernel.io_uring_disabled, or a seccomp
    filter. EINVAL: older than Linux 6.1, whose flags this uses. ENOMEM: no locked memory left.
    """
    try:
        Ring(0, 8, 16, no_sqarray=False).close()
    except OSError as error:
        return int(error.errno or 0)
    return 0


def may_ever_lock(length: int) -> bool:
    """Whether the limit allows `length` bytes when nothing of this user is locked yet."""
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    return soft == resource.RLIM_INFINITY or length <= soft


def left_to_lock(ring: RingLike) -> int | None:
    """Bytes that further rings of this user may lock; None: no limit counts them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY:
        return None
    page = mmap.mmap(-1, _PAGE)
    memory = np.frombuffer(page, np.uint8)
    try:
        if _is_granted(ring, memory, 0, hard):
            return None
        low, high = 0, soft // _PAGE + 1  # pages: refused at `low`; `high` is more than the limit
        while high - low > 1:
            middle = (low + high) // 2
            if _is_granted(ring, memory, middle * _PAGE, hard):
                high = middle
            else:
                low = middle
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    # One page more than what is locked was granted at `high`.
    return max(soft - (high - 1) * _PAGE, 0)


def _is_granted(
    ring: RingLike, memory: np.ndarray[tuple[int], np.dtype[np.uint8]], limit: int, hard: int
) -> bool:
    """Whether one more page may be locked under this limit."""
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, hard))
    arg = np.zeros(1, abi.BUFFER_REGISTER)
    arg["ring_addr"] = memory.ctypes.data
    arg["ring_entries"] = _PAGE // abi.BUFFER.itemsize
    arg["bgid"] = _GROUP
    try:
        ring.register(abi.REGISTER_PBUF_RING, arg, 1)
    except OSError:
        return False
    ring.register(abi.UNREGISTER_PBUF_RING, arg, 1)
    return True
