"""How much more memory this user may lock: what bounds rings where RLIMIT_NOFILE does not.

Facts
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
import resource

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import RingLike

_GROUP = 0xFFFF  # no buffer ring of the engine has this id
_PAGE = mmap.PAGESIZE


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
