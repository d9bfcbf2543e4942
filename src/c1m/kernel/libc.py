"""System calls that Python does not offer: io_uring's, and those on sockets by descriptor, with
addresses as the kernel wants them. Nobody else calls ctypes on libc.

Python's own sockets are objects and take addresses as text; the epoll engine has neither. All its
sockets are non-blocking, so none of these calls sleeps, and they keep the GIL, which saves its
hand-over; so does `enter_now`. Calls that can sleep release it.

Errors of the calls on sockets and of `enter` are results, as the kernel's own: -errno. Others come
back as OSError with the errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import socket
import struct
from typing import Any

from c1m.addresses import AF_UNIX
from c1m.errors import LimitError
from c1m.kernel.refusals import refusal

NR_IO_URING_SETUP = 425
NR_IO_URING_ENTER = 426
NR_IO_URING_REGISTER = 427
NR_EPOLL_PWAIT2 = 441  # Linux 5.11

PROT_READ_WRITE = 3
MAP_SHARED = 1
MAP_POPULATE = 0x8000
MADV_DONTFORK = 10

SOCK_STREAM_NONBLOCK = int(socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
SOCK_NONBLOCK = int(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
IP_BIND_ADDRESS_NO_PORT = 24  # include/uapi/linux/in.h
SOCKADDR_MAX = 128  # struct sockaddr_storage
DISCARD_MAX = 1 << 24  # bytes of unread input that one close throws away

INT, UINT, LONG = ctypes.c_int, ctypes.c_uint, ctypes.c_long
SIZE, SSIZE, POINTER = ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_void_p

_libc = ctypes.CDLL(None, use_errno=True)
_held = ctypes.PyDLL(None, use_errno=True)


def _function(name: str, *argtypes: type, result: type = INT, holds_gil: bool = False) -> Any:
    """A function of the C library: its arguments (none: undeclared) and its result."""
    found = (_held if holds_gil else _libc)[name]
    if argtypes:
        found.argtypes = argtypes
    found.restype = result
    return found


_setup = _function("syscall", LONG, UINT, POINTER, result=LONG)
_register = _function("syscall", LONG, INT, UINT, POINTER, UINT, result=LONG)
# Without argtypes, which halves the 1.1 us that a call with seven declared arguments takes. Numbers
# of Python's go as int then: right for what the kernel takes as 32 bits. The pointer and the size
# have 64, and are ctypes objects.
_enter = _function("syscall", result=LONG)
_enter_held = _function("syscall", result=LONG, holds_gil=True)
_NO_ARG = POINTER(None)
_NO_SIZE = SIZE(0)

_epoll_pwait2 = _function("syscall", result=LONG)
_EPOLL_EVENT = struct.Struct("=Ii4x" if platform.machine() == "x86_64" else "=I4xi4x")

_mmap = _function("mmap", POINTER, SIZE, INT, INT, INT, LONG, result=POINTER)
_munmap = _function("munmap", POINTER, SIZE)
_madvise = _function("madvise", POINTER, SIZE, INT)
_prctl = _function("prctl", INT, *[ctypes.c_ulong] * 4)
_accept4 = _function("accept4", INT, POINTER, POINTER, INT, holds_gil=True)
_socket = _function("socket", INT, INT, INT, holds_gil=True)
_bind = _function("bind", INT, POINTER, UINT, holds_gil=True)
_connect = _function("connect", INT, POINTER, UINT, holds_gil=True)
_setsockopt = _function("setsockopt", INT, INT, INT, POINTER, UINT, holds_gil=True)
_getsockopt = _function("getsockopt", INT, INT, INT, POINTER, POINTER, holds_gil=True)
_recv = _function("recv", INT, POINTER, SIZE, INT, result=SSIZE, holds_gil=True)

_getpeername = _function("getpeername", INT, POINTER, POINTER, holds_gil=True)
_shutdown = _function("shutdown", INT, INT, holds_gil=True)

_ONE = struct.pack("=i", 1)
_LINGER_RESET = struct.pack("=ii", 1, 0)  # struct linger: on, for 0 seconds

_trim = getattr(_libc, "malloc_trim", None)
_MAP_FAILED = ctypes.c_void_p(-1).value


def _bytes_at() -> int:
    """How far behind its id a bytes object of CPython has its bytes; 0 where that is not so."""
    offset = bytes.__basicsize__ - 1  # the object's head, then the bytes and a closing zero
    probe = b"where its bytes are"
    pointer = ctypes.cast(ctypes.c_char_p(probe), ctypes.c_void_p)
    return offset if pointer.value == id(probe) + offset else 0


BYTES_AT = _bytes_at()


def _raise(call: str) -> None:
    code = ctypes.get_errno()
    raise OSError(code, f"{call}: {os.strerror(code)}")


def io_uring_setup(entries: int, params_address: int) -> int:
    """The ring's descriptor; `params_address` points to 120 bytes of struct io_uring_params."""
    fd = int(_setup(NR_IO_URING_SETUP, entries, params_address))
    if fd < 0:
        _raise("io_uring_setup")
    return fd


def io_uring_register(fd: int, opcode: int, arg_address: int, count: int) -> int:
    """The result (>= 0) of one registration; raises OSError."""
    result = int(_register(NR_IO_URING_REGISTER, fd, opcode, arg_address, count))
    if result < 0:
        _raise("io_uring_register")
    return result


def enter(
    fd: int, submit: int, least: int, flags: int, arg: ctypes.c_void_p, arg_size: ctypes.c_size_t
) -> int:
    """io_uring_enter that may sleep: the number submitted, or -errno."""
    result: int = _enter(NR_IO_URING_ENTER, fd, submit, least, flags, arg, arg_size)
    return result if result >= 0 else -ctypes.get_errno()


def enter_now(fd: int, submit: int, least: int, flags: int) -> int:
    """io_uring_enter that never sleeps: the number submitted, or -errno."""
    result: int = _enter_held(NR_IO_URING_ENTER, fd, submit, least, flags, _NO_ARG, _NO_SIZE)
    return result if result >= 0 else -ctypes.get_errno()


class EpollWait:
    """epoll_wait with a timeout in nanoseconds, for one thread; the sleep releases the GIL."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._events = ctypes.create_string_buffer(_EPOLL_EVENT.size * most)
        self._memory = memoryview(self._events).cast("B")
        self._timeout = (ctypes.c_long * 2)()  # struct timespec
        self._pointers = (
            POINTER(ctypes.addressof(self._events)),
            POINTER(ctypes.addressof(self._timeout)),
        )

    def wait(self, fd: int, timeout_ns: int) -> list[tuple[int, int]] | None:
        """(descriptor, mask) of what is ready in the set; none after a signal. None: this kernel
        does not have the call."""
        self._timeout[0], self._timeout[1] = divmod(timeout_ns, 1_000_000_000)
        events, timeout = self._pointers
        count = _epoll_pwait2(NR_EPOLL_PWAIT2, fd, events, self._most, timeout, _NO_ARG, _NO_SIZE)
        if count <= 0:
            return None if count < 0 and ctypes.get_errno() != errno.EINTR else []
        came = self._memory[: count * _EPOLL_EVENT.size]
        return [(ready, mask) for mask, ready in _EPOLL_EVENT.iter_unpack(came)]


def map_shared(fd: int, length: int, offset: int) -> int:
    """Map a ring's memory; returns its address.

    Not mmap.mmap: that duplicates the descriptor, which would cost three of them a ring.
    """
    address = _mmap(None, length, PROT_READ_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset)
    if address == _MAP_FAILED or address is None:
        _raise("mmap")
    assert isinstance(address, int)
    _madvise(address, length, MADV_DONTFORK)
    return address


def unmap(address: int, length: int) -> None:
    """Give mapped memory back; nothing may look at it any more."""
    _munmap(address, length)


def prctl(option: int, value: int) -> int:
    """One of the calling thread's settings, or of its process: the result, -1 where refused."""
    return int(_prctl(option, value, 0, 0, 0))


def trim() -> None:
    """Give free pages of the heap back; does nothing where the C library is not glibc."""
    if _trim is not None:
        _trim(0)


def view_of(address: int, length: int) -> memoryview:
    """The memory at an address as a writable view; the caller keeps it mapped."""
    return memoryview((ctypes.c_ubyte * length).from_address(address)).cast("B")


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


class PeerName:
    """Asks for peers' addresses, one by one, into a memory of its own."""

    def __init__(self) -> None:
        self._memory, self._size = ctypes.create_string_buffer(SOCKADDR_MAX), ctypes.c_uint()
        self._at = ctypes.addressof(self._memory), ctypes.addressof(self._size)

    def of(self, fd: int) -> bytes:
        """The peer's struct sockaddr; b"" where there is none."""
        self._size.value = SOCKADDR_MAX
        if _getpeername(fd, *self._at):
            return b""
        return ctypes.string_at(self._memory, self._size.value)


def shut_writing(fd: int) -> None:
    """Send a FIN behind what was sent. A connection that is gone is reported elsewhere."""
    _shutdown(fd, socket.SHUT_WR)


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
