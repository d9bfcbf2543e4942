"""Sockets for outgoing connections of the epoll engine: all that were asked for, or none."""

from __future__ import annotations

import errno
import os
import select

import numpy as np

from c1m.addresses import SockAddrs
from c1m.errors import LimitError
from c1m.kernel import socket_calls
from c1m.kernel.refusals import refusal


def open_sockets(family: int, count: int, capacity: int) -> list[int]:
    """`count` new sockets with descriptors below `capacity`. Raises LimitError, with none left."""
    fds: list[int] = []
    while len(fds) < count:
        fd = socket_calls.open_stream(family)
        if 0 <= fd < capacity:
            fds.append(fd)
            continue
        for opened in [fd, *fds] if fd >= 0 else fds:
            os.close(opened)
        why, remedy = refusal("further connection", -fd if fd < 0 else errno.EMFILE)
        raise LimitError(
            f"{why} {len(fds):,} of {count:,} connects could begin.",
            remedy,
            free=len(fds),
        )
    return fds


def start_connects(
    epoll: select.epoll, fds: list[int], sources: SockAddrs | None, destinations: SockAddrs
) -> list[int]:
    """Bind and connect each socket by its row, and have epoll tell when that is done.

    Returns 0 for what is under way, else the errno.
    """
    to = np.ascontiguousarray(destinations.rows)
    to_address, to_size = to.ctypes.data, destinations.size
    codes = [0] * len(fds)
    if sources is not None:
        own = np.ascontiguousarray(sources.rows)
        own_address, own_size = own.ctypes.data, sources.size
        for index, fd in enumerate(fds):
            codes[index] = -socket_calls.bind(fd, own_address + index * own_size, own_size)
    for index, fd in enumerate(fds):
        if codes[index]:
            continue
        code = -socket_calls.connect(fd, to_address + index * to_size, to_size)
        codes[index] = code if code not in (0, errno.EINPROGRESS) else _watch(epoll, fd)
    return codes


def _watch(epoll: select.epoll, fd: int) -> int:
    try:
        epoll.register(fd, select.EPOLLOUT)
    except OSError as error:  # ENOSPC: epoll's max_user_watches
        return error.errno or errno.EIO
    return 0
