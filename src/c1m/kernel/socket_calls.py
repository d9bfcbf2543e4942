"""System calls on sockets by descriptor, with addresses as the kernel wants them.

Python's own sockets are objects and take addresses as text; an engine has neither. All sockets here
are non-blocking, so no call sleeps and none hands the GIL over. Results are like the kernel's own:
0 or above, or -errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from typing import Any

from c1m.addresses import AF_UNIX
from c1m.errors import LimitError
from c1m.kernel.libc import INT, POINTER, SIZE, SSIZE, UINT, function
from c1m.kernel.refusals import refusal

SOCK_STREAM_NONBLOCK = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
SOCK_NONBLOCK = int(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h
DISCARD_MAX = 1 << 24  # bytes of unread input that one close throws away


def _function(name: str, *argtypes: type, result: type = INT) -> Any:
    return function(name, *argtypes, result=result, holds_gil=True)


_accept4 = _function("accept4", INT, POINTER, POINTER, INT)
_socket = _function("socket", INT, INT, INT)
_bind = _function("bind", INT, POINTER, UINT)
_connect = _function("connect", INT, POINTER, UINT)
_setsockopt = _function("setsockopt", INT, INT, INT, POINTER, UINT)
_getsockopt = _function("getsockopt", INT, INT, INT, POINTER, POINTER)
_recv = _function("recv", INT, POINTER, SIZE, INT, result=SSIZE)

_ONE = struct.pack("=i", 1)
_LINGER_RESET = struct.pack("=ii", 1, 0)  # struct linger: on, for 0 seconds


def _result(value: int) -> int:
    return value if value >= 0 else -ctypes.get_errno()


def accept(listener: int) -> int:
    """The next connection of a listener's accept queue, non-blocking: its descriptor."""
    return _result(_accept4(listener, None, None, SOCK_NONBLOCK))


def open_stream(family: int) -> int:
    """A new stream socket; without Nagle's delay where it is TCP."""
    fd = _result(_socket(family, SOCK_STREAM_NONBLOCK, 0))
    if fd >= 0 and family != AF_UNIX:
        _setsockopt(fd, socket.IPPROTO_TCP, socket.TCP_NODELAY, _ONE, len(_ONE))
    return fd


def open_streams(family: int, count: int, below: int) -> list[int]:
    """`count` new stream sockets whose descriptors are all less than `below`, or none.

    Raises LimitError, whose `free` says how many could be had.
    """
    fds: list[int] = []
    while len(fds) < count:
        fd = open_stream(family)
        if 0 <= fd < below:
            fds.append(fd)
            continue
        for opened in [fd, *fds] if fd >= 0 else fds:
            os.close(opened)
        why, remedy = refusal("further connection", -fd if fd < 0 else errno.EMFILE)
        raise LimitError(f"{why} {len(fds):,} of {count:,} connects could begin.", remedy, len(fds))
    return fds


def bind(fd: int, address: int, size: int) -> int:
    """Bind to the struct sockaddr at an address in memory.

    Where its port is 0 the kernel chooses one at connect time, when it knows the destination: one
    port then serves many destinations (IP_BIND_ADDRESS_NO_PORT, Linux 4.2).
    """
    _setsockopt(fd, socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, _ONE, len(_ONE))
    return _result(_bind(fd, address, size))


def connect(fd: int, address: int, size: int) -> int:
    """Start connecting to the struct sockaddr at an address in memory."""
    return _result(_connect(fd, address, size))


def pending_error(fd: int) -> int:
    """SO_ERROR, which this clears: the errno (positive) the socket failed with, or 0."""
    value, size = ctypes.c_int(0), ctypes.c_uint(ctypes.sizeof(ctypes.c_int))
    if _getsockopt(
        fd, socket.SOL_SOCKET, socket.SO_ERROR, ctypes.addressof(value), ctypes.addressof(size)
    ):
        return ctypes.get_errno()
    return value.value


def reset_on_close(fd: int) -> None:
    """Let close(2) drop unsent output and send a RST instead of a FIN."""
    _setsockopt(fd, socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET, len(_LINGER_RESET))


def discard_input(fd: int) -> None:
    """Throw unread input away without copying it.

    close(2) on a TCP socket with unread input sends a RST and drops what is still in the send
    buffer; after this it sends what is owed and a FIN. (TCP only: tcp(7), MSG_TRUNC. On a unix
    socket the call fails without harm, as there close(2) never takes sent bytes back.)
    """
    _recv(fd, None, DISCARD_MAX, socket.MSG_TRUNC | socket.MSG_DONTWAIT)
