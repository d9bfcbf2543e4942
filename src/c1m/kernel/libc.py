"""The few raw system calls that Python does not offer, for io_uring (by descriptor, for the epoll
engine: socket_calls.py). Nobody else calls ctypes on libc.

Errors come back as OSError with the errno. Calls that can sleep release the GIL; `enter_now`, which
cannot, keeps it and so saves its hand-over.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

NR_IO_URING_SETUP = 425
NR_IO_URING_ENTER = 426
NR_IO_URING_REGISTER = 427

PROT_READ_WRITE = 3
MAP_SHARED = 1
MAP_POPULATE = 0x8000
MADV_DONTFORK = 10

INT, UINT, LONG = ctypes.c_int, ctypes.c_uint, ctypes.c_long
SIZE, SSIZE, POINTER = ctypes.c_size_t, ctypes.c_ssize_t, ctypes.c_void_p

_libc = ctypes.CDLL(None, use_errno=True)
_held = ctypes.PyDLL(None, use_errno=True)


def function(name: str, *argtypes: type, result: type = INT, holds_gil: bool = False) -> Any:
    """A function of the C library: its arguments (none: undeclared) and its result."""
    found = (_held if holds_gil else _libc)[name]
    if argtypes:
        found.argtypes = argtypes
    found.restype = result
    return found


_setup = function("syscall", LONG, UINT, POINTER, result=LONG)
_register = function("syscall", LONG, INT, UINT, POINTER, UINT, result=LONG)
# Without argtypes, which halves the 1.1 us that a call with seven declared arguments takes. Numbers
# of Python's go as int then: right for what the kernel takes as 32 bits. The pointer and the size
# have 64, and are ctypes objects.
_enter = function("syscall", result=LONG)
_enter_held = function("syscall", result=LONG, holds_gil=True)
_NO_ARG = POINTER(None)
_NO_SIZE = SIZE(0)

_mmap = function("mmap", POINTER, SIZE, INT, INT, INT, LONG, result=POINTER)
_munmap = function("munmap", POINTER, SIZE)
_madvise = function("madvise", POINTER, SIZE, INT)
_prctl = function("prctl", INT, *[ctypes.c_ulong] * 4)
_trim = getattr(_libc, "malloc_trim", None)
_MAP_FAILED = ctypes.c_void_p(-1).value


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
