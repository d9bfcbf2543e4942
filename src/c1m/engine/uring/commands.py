"""What the uring engine asks the kernel for one connection at a time, and gets at once.

A command completes while it is submitted, so it is asked for and answered in the middle of a tick.
What else completes then is kept for the next pass (`settle`, the engine's).

- A descriptor of a connection in the table is made by FIXED_FD_INSTALL (Linux 6.8).
- The peer's name comes by getsockopt SO_PEERNAME (6.7). It is told into memory that may not be
  longer than the address.
- A half-close is shutdown(2) on a descriptor that is made for it: three system calls. The ring's
  own SHUTDOWN is left to a helper thread, 12 us and a thread that was not there; it is for the case
  that there is no descriptor to be had (EMFILE), since the peer waits for the FIN.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import numpy as np

from c1m.addresses import AF_INET, AF_INET6, SOCKADDR_IN, SOCKADDR_IN6
from c1m.engine.contract import Slots
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.submissions import Op, pack
from c1m.engine.uring.table import ConnTable
from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import Completions

_NAME_SIZES = {AF_INET: SOCKADDR_IN.itemsize, AF_INET6: SOCKADDR_IN6.itemsize}


class Commands:
    """Descriptors, names and half-closes of connections."""

    def __init__(self, rings: RingSet, table: ConnTable, settle: Callable[[], Completions]) -> None:
        self._rings = rings
        self._table = table
        self._settle = settle  # submits; returns the completions of commands

    def _ask(self, slots: Slots, rows: sub.Words) -> dict[int, int]:
        """The result of each slot, or -errno."""
        self._rings.push(slots, rows)
        done = self._settle()
        results = done[:, 2].view(np.int32).tolist()
        return dict(zip(done[:, 0].view(np.int32).tolist(), results, strict=True))

    def _data(self, slots: Slots) -> sub.Words:
        return pack(slots, self._table.generations[slots], Op.COMMAND)

    def descriptor(self, slot: int) -> int:
        """See Engine.descriptor."""
        if not self._rings.kernel.features.fd_install:
            raise OSError(
                errno.EOPNOTSUPP,
                "This kernel makes no descriptor of a connection in a ring (Linux 6.8 does).",
            )
        if not self._table.states[slot]:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        slots = np.array([slot], np.int32)
        rows = sub.install(self._rings.files(slots), self._data(slots))
        result = self._ask(slots, rows).get(slot, -errno.EIO)
        if result < 0:
            raise OSError(-result, f"No descriptor can be made: {os.strerror(-result)}.")
        return result

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        """See Engine.peers."""
        size = _NAME_SIZES.get(family)
        if size is None or not self._rings.kernel.features.getsockopt:
            return [b""] * len(slots)
        memory = np.zeros((len(slots), size), np.uint8)
        known = np.flatnonzero(self._table.states[slots])
        asked = slots[known]
        addresses = (known * size + memory.ctypes.data).astype(np.uint64)
        files = self._rings.files(asked)
        rows = sub.get_option(files, abi.SO_PEERNAME, addresses, size, self._data(asked))
        results = self._ask(asked, rows)
        return [
            memory[i].tobytes() if results.get(slot, -1) > 0 else b""
            for i, slot in enumerate(slots.tolist())
        ]

    def shut(self, slot: int) -> None:
        """A FIN behind what was sent. That a connection is gone is reported elsewhere."""
        kernel = self._rings.kernel
        try:
            fd = self.descriptor(slot)
        except OSError:
            slots = np.array([slot], np.int32)
            self._rings.push(slots, sub.shut_writing(self._rings.files(slots)))
            return
        try:
            kernel.shut_writing(fd)
        finally:
            kernel.close(fd)
