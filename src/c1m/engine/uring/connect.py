"""Outgoing connections of the uring engine.

A connection is five submissions on one place of the table: SOCKET, setsockopt TCP_NODELAY (a small
piece behind another one is not to wait for that one's ACK), setsockopt IP_BIND_ADDRESS_NO_PORT,
BIND (both only with a source address) and CONNECT. All but the last run inline, in the order in
which they were submitted, and are silent when they succeed; linking them would only cost. If one
fails, its completion gives the true reason, and the connect counts as failed whatever it reports
itself.

Where the kernel cannot make sockets in a ring (before 6.11), they are made by system calls and
moved into the table.
"""

from __future__ import annotations

import socket

import numpy as np
import numpy.typing as npt

from c1m.addresses import SockAddrs
from c1m.engine.contract import Slots
from c1m.engine.uring import submissions as sub
from c1m.engine.uring.rings import RingSet
from c1m.engine.uring.submissions import GENERATION_SHIFT, Op, pack
from c1m.engine.uring.table import ConnTable
from c1m.kernel.libc import IP_BIND_ADDRESS_NO_PORT
from c1m.kernel.ring import Completions


class Connector:
    """Starts connects, and says how they went."""

    def __init__(self, rings: RingSet, table: ConnTable) -> None:
        self._rings = rings
        self._table = table
        self._errors: dict[int, int] = {}  # why a preparation failed, by slot
        self._one = np.ones(1, np.int32)  # the option's value: read by the kernel when issued
        self._addresses: list[SockAddrs] = []  # alive until submitted

    def start(self, slots: Slots, sources: SockAddrs | None, destinations: SockAddrs) -> None:
        """Start a connect on each slot, which must be in state CONNECTING."""
        assert len(slots) == len(destinations)
        for slot in slots.tolist() if self._errors else ():
            self._errors.pop(slot, None)  # of a connect that was given up
        generations = self._table.generations[slots]
        setup = pack(slots, generations, Op.SETUP)
        if self._rings.kernel.features.direct_socket:
            self._prepare_in_ring(slots, sources, destinations.family, setup)
        else:
            self._prepare_by_calls(slots, sources, destinations.family)
        rows = sub.connect(
            self._rings.files(slots),
            self._addresses_of(destinations),
            destinations.size,
            pack(slots, generations, Op.CONNECT),
        )
        self._rings.push(slots, rows)

    def submitted(self) -> None:
        """All that was started is in the kernel, which has copied the addresses."""
        self._addresses.clear()

    def setups_failed(self, setups: Completions) -> None:
        """Completions of preparations: each connect's first says why it is going to fail."""
        for slot, tag, result, _ in setups.tolist():
            if self._table.generations[slot] == tag >> GENERATION_SHIFT:
                self._errors.setdefault(slot, (1 << 32) - result)

    def done(self, connects: Completions) -> tuple[Slots, npt.NDArray[np.int32]]:
        """Completions of connects -> slots, and 0 or the errno of each; late ones left out."""
        slots = connects[:, 0].view(np.int32).copy()
        errnos = -connects[:, 2].view(np.int32)
        current = self._table.generations[slots] == connects[:, 1] >> GENERATION_SHIFT
        slots, errnos = slots[current], errnos[current]
        if self._errors:
            for i, slot in enumerate(slots.tolist()):
                errnos[i] = self._errors.pop(slot, int(errnos[i]))
        return slots, errnos

    def _addresses_of(self, addresses: SockAddrs) -> sub.Words:
        rows = np.ascontiguousarray(addresses.rows)
        self._addresses.append(SockAddrs(addresses.family, rows))
        start = np.uint64(rows.ctypes.data)
        return np.arange(len(rows), dtype=np.uint64) * np.uint64(addresses.size) + start

    def _prepare_in_ring(
        self, slots: Slots, sources: SockAddrs | None, family: int, data: sub.Words
    ) -> None:
        files = self._rings.files(slots)
        self._rings.push(slots, sub.open_socket(files, family, data))
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY)]
        if sources is not None:
            options.append((socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT))
        for level, name in options if family != socket.AF_UNIX else ():
            one = self._one.ctypes.data, self._one.itemsize
            self._rings.push(slots, sub.set_option(files, level, name, *one, data))
        if sources is None:
            return
        rows = sub.bind(files, self._addresses_of(sources), sources.size, data)
        self._rings.push(slots, rows)

    def _prepare_by_calls(self, slots: Slots, sources: SockAddrs | None, family: int) -> None:
        kernel = self._rings.kernel
        for ring in set(self._rings.rings_of(slots).tolist()):
            # Moving in takes effect at once: a close of the same place that is still queued must
            # go first, or it would hit the new socket.
            self._rings.places[ring].ring.submit()
        for i, slot in enumerate(slots.tolist()):
            source = bytes(sources.rows[i]) if sources is not None else None
            try:
                fd = kernel.socket(family, source)
                ring = self._rings.place_of(slot).ring
                kernel.move_in(ring, fd, slot % self._rings.files_per_ring)
            except OSError as error:
                self._errors[slot] = error.errno or 0
