"""What this kernel's io_uring has, found by trying, and what each missing thing costs.

Everything up to Linux 6.1 is needed; what came later has a fallback and is named in `Features`.
"""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
from dataclasses import dataclass

import numpy as np

from c1m.errors import EngineUnavailable
from c1m.kernel import procfs
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import BufferArena, BufferRing
from c1m.kernel.refusals import ERRNOS, refusal
from c1m.kernel.ring import Ring, register_file, register_table

NEEDED_OPS = {
    "POLL_ADD": abi.OP_POLL_ADD,
    "ACCEPT": abi.OP_ACCEPT,
    "ASYNC_CANCEL": abi.OP_ASYNC_CANCEL,
    "CONNECT": abi.OP_CONNECT,
    "CLOSE": abi.OP_CLOSE,
    "SEND": abi.OP_SEND,
    "RECV": abi.OP_RECV,
    "SHUTDOWN": abi.OP_SHUTDOWN,
}


@dataclass(frozen=True, slots=True)
class Features:
    """The optional parts; False costs what the comment says."""

    no_sqarray: bool = True  # 6.6; else an index array of 4 bytes an entry is kept
    direct_socket: bool = True  # 6.11: SOCKET, setsockopt and BIND in the ring; else each outgoing
    # connection is made by three system calls and moved into the ring's table
    getsockopt: bool = True  # 6.7; else a peer's address cannot be asked for
    fd_install: bool = True  # 6.8; else there is no descriptor of a connection

    @property
    def descriptors(self) -> bool:
        """Whether a connection's descriptor and its peer's address can be had."""
        return self.getsockopt and self.fd_install

    def missing(self) -> list[str]:
        """Names of what this kernel does not have."""
        return [f.name for f in dataclasses.fields(self) if not getattr(self, f.name)]


OLDEST = Features(  # what Linux 6.1 has
    no_sqarray=False, direct_socket=False, getsockopt=False, fd_install=False
)


def probe() -> Features:
    """Try a small ring with all we use. Raises EngineUnavailable with the reason as text."""
    try:
        ring, no_sqarray = _small_ring()
    except OSError as error:
        raise _refused(error) from None
    try:
        features = _features(ring, no_sqarray)
        _receive(ring)
    except OSError as error:
        if error.errno in ERRNOS:
            raise EngineUnavailable(*refusal("io_uring", error)) from None
        raise EngineUnavailable(
            f"io_uring is there but lacks something c1m needs ({error.strerror or error})."
        ) from None
    finally:
        ring.close()
    return features


def _small_ring() -> tuple[Ring, bool]:
    try:
        return Ring(0, 8, 16, True), True
    except OSError:
        return Ring(0, 8, 16, False), False


def _features(ring: Ring, no_sqarray: bool) -> Features:
    arg = np.zeros(16 + 256 * 8, np.uint8)
    ring.register(abi.REGISTER_PROBE, arg, 256)
    last = int(arg[0])
    supported = {op for op in range(last + 1) if arg[16 + op * 8 + 2] & 1}
    lacking = [name for name, op in NEEDED_OPS.items() if op not in supported]
    if lacking:
        raise EngineUnavailable(f"io_uring on this kernel has no {', '.join(lacking)}.")
    register_table(ring, 4)
    direct = {abi.OP_SOCKET, abi.OP_URING_CMD, abi.OP_BIND} <= supported
    return Features(
        no_sqarray=no_sqarray,
        direct_socket=direct and _direct_socket_works(ring),
        getsockopt=abi.OP_URING_CMD in supported and _getsockopt_works(ring),
        fd_install=abi.OP_FIXED_FD_INSTALL in supported and _fd_install_works(ring),
    )


def _direct_socket_works(ring: Ring) -> bool:
    """Make a socket in the table and set an option on it, as a connect will."""
    rows = np.zeros(2, abi.SQE)
    rows[0] = _sqe(abi.OP_SOCKET, fd=socket.AF_INET, off=socket.SOCK_STREAM, file_index=1)
    value = np.ones(1, np.int32)
    rows[1] = _sqe(
        abi.OP_URING_CMD, flags=abi.FIXED_FILE, fd=0, off=abi.SOCKET_URING_OP_SETSOCKOPT,
        addr=socket.SOL_SOCKET | socket.SO_KEEPALIVE << 32, file_index=4, addr3=value.ctypes.data,
    )  # fmt: skip
    ring.push(rows.view(np.uint64).reshape(2, 8))
    ring.drain(2, 0, 0)
    into = np.zeros((4, 4), np.uint32)
    count = ring.reap(into)
    return count == 2 and bool((into[:2, 2] == 0).all())


def _getsockopt_works(ring: Ring) -> bool:
    """Ask for the name of a peer: a nameless unix socket's, which is its family alone."""
    name = np.zeros(1, np.uint16)
    row = _sqe(
        abi.OP_URING_CMD, flags=abi.FIXED_FILE, fd=2, off=abi.SOCKET_URING_OP_GETSOCKOPT,
        addr=socket.SOL_SOCKET | abi.SO_PEERNAME << 32, file_index=name.nbytes,
        addr3=name.ctypes.data,
    )  # fmt: skip
    return _result_of_a_pair(ring, row) == name.nbytes and int(name[0]) == socket.AF_UNIX


def _fd_install_works(ring: Ring) -> bool:
    """Make an ordinary descriptor. Raises OSError where only a limit is in the way."""
    row = _sqe(abi.OP_FIXED_FD_INSTALL, flags=abi.FIXED_FILE, fd=2)
    result = _result_of_a_pair(ring, row)
    if -result in ERRNOS:
        raise OSError(-result, os.strerror(-result))
    if result >= 0:
        os.close(result)
    return result >= 0


def _result_of_a_pair(ring: Ring, row: np.void) -> int:
    """What a submission gives with one of a pair of sockets at place 2 of the table."""
    near, far = socket.socketpair()
    with near, far:
        register_file(ring, 2, near.fileno())
        ring.push(np.array([row]).view(np.uint64).reshape(1, 8))
        ring.drain(1, 0, 0)
        into = np.zeros((4, 4), np.uint32)
        count = ring.reap(into)
    return int(into[0, 2:3].view(np.int32)[0]) if count == 1 else -errno.EIO


def _receive(ring: Ring) -> None:
    """Receive into a provided buffer, on a socket in the table, as the engine does."""
    said = b"c1m"
    arena = BufferArena(2, 64)
    buffers = BufferRing(ring, arena, 2, 2)
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)  # an event loop may try this while it runs, where nothing may block
        far.send(said)
        register_file(ring, 1, near.fileno())
    row = _sqe(
        abi.OP_RECV, flags=abi.FIXED_FILE | abi.BUFFER_SELECT, ioprio=abi.RECV_MULTISHOT, fd=1
    )
    ring.push(np.array([row]).view(np.uint64).reshape(1, 8))
    ring.drain(1, 0, 0)
    into = np.zeros((4, 4), np.uint32)  # all zero, which is no data, where nothing comes
    ring.reap(into)
    del buffers  # the kernel has looked at its memory until now
    length, flags = into[0, 2:].tolist()
    at = (flags >> abi.CQE_BUFFER_SHIFT) * arena.size
    if arena.memory[at : at + length].tobytes() != said:
        raise EngineUnavailable("io_uring is there but what it receives is not what was sent.")


def _sqe(opcode: int, **fields: int) -> np.void:
    row = np.zeros(1, abi.SQE)
    row["opcode"] = opcode
    for name, value in fields.items():
        row[name] = value
    return row[0]  # type: ignore[no-any-return]


def _refused(error: OSError) -> EngineUnavailable:
    """Why there is no ring at all, and what to do."""
    if error.errno in ERRNOS:
        return EngineUnavailable(*refusal("io_uring", error))
    remedy = "Use Linux 6.1 or later, or the epoll engine."
    profile = (
        "in a container with a seccomp profile that permits io_uring_setup, io_uring_enter and "
        "io_uring_register."
    )
    if error.errno == errno.EPERM:
        remedy = f"Allow it with 'sysctl kernel.io_uring_disabled=0', or {profile}"
    elif error.errno == errno.ENOSYS:  # a filter's answer, too
        remedy = f"Use Linux 6.1 or later that is built with it, {profile}"
    why = f"This kernel ({os.uname().release}) or container refuses io_uring: "
    why += f"{error.strerror or error}."
    disabled = procfs.read_sysctl("kernel.io_uring_disabled") or "0"
    if disabled != "0":
        why = f"io_uring is switched off here (kernel.io_uring_disabled = {disabled})."
    return EngineUnavailable(why, remedy)
