"""Blocks of submissions as [n, 8] words of 8 bytes, one function an operation. Pure.

Word 0 is opcode u8, flags u8, ioprio u16, fd i32; word 1 off; word 2 addr; word 3 len u32, op_flags
u32; word 4 user data; word 5 buffer group u16, personality u16, file index u32; word 6 addr3
(struct io_uring_sqe; see kernel/uring_abi.py). `files` are indices into the ring's table of direct
descriptors, `data` the user data.
"""

from __future__ import annotations

import socket

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.engine.uring.user_data import Op
from c1m.kernel import uring_abi as abi

Words = npt.NDArray[np.uint64]
Files = npt.NDArray[np.int32]

_32 = np.uint64(32)


def _first(opcode: int, flags: int, ioprio: int = 0) -> np.uint64:
    return np.uint64(opcode | flags << 8 | ioprio << 16)


_SEND_NOW = _first(abi.OP_SEND, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_SEND_NOW_FLAGS = np.uint64((abi.MSG_DONTWAIT | abi.MSG_WAITALL | abi.MSG_NOSIGNAL) << 32)
_SEND_HEAD = _first(abi.OP_SEND, abi.FIXED_FILE)
_RECEIVE = _first(abi.OP_RECV, abi.FIXED_FILE | abi.BUFFER_SELECT, abi.RECV_MULTISHOT)
_RECEIVE_ONCE = _first(abi.OP_RECV, abi.FIXED_FILE | abi.BUFFER_SELECT)
_POLL_FILE = _first(abi.OP_POLL_ADD, abi.FIXED_FILE)
_CANCEL = _first(abi.OP_ASYNC_CANCEL, abi.SKIP_SUCCESS)
_CLOSE = _first(abi.OP_CLOSE, abi.SKIP_SUCCESS)
_SOCKET = _first(abi.OP_SOCKET, abi.SKIP_SUCCESS)
_OPTION = _first(abi.OP_URING_CMD, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_BIND = _first(abi.OP_BIND, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_CONNECT = _first(abi.OP_CONNECT, abi.FIXED_FILE)


def _rows(count: int) -> Words:
    return np.zeros((count, 8), np.uint64)


def _fd(files: Files) -> Words:
    return files.astype(np.uint64) << _32


class SendBlock:
    """Sends tried at once, with no completion when all of it went; at most `size` in a block.

    MSG_DONTWAIT makes the kernel give up instead of waiting, MSG_WAITALL makes a short send
    complete with its count (without it a short send would be silent, because success is skipped).

    The rows are made once. What differs from send to send is written into columns of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows = _rows(size)
        self._rows[:, 0] = _SEND_NOW
        self._rows[:, 3] = _SEND_NOW_FLAGS
        self._rows[:, 4] = Op.SEND << 32
        halves = self._rows.view(np.int32)
        self._files, self._lengths, self._slots = halves[:, 1], halves[:, 6], halves[:, 8]
        self._addresses = self._rows.view(np.int64)[:, 2]
        self._generations = self._rows.view(np.uint16)[:, 19]

    def fill(
        self, files: Files, slots: Files, generations: npt.NDArray[np.uint16], data: Ragged
    ) -> Words:
        """Rows that are valid until the next call: piece i of `data` goes out on slots[i]."""
        n = len(files)
        self._files[:n] = files
        np.add(data.offsets, data.address, out=self._addresses[:n])
        self._lengths[:n] = data.lengths
        self._slots[:n] = slots
        self._generations[:n] = generations
        return self._rows[:n]


SEND_NOW = int(_SEND_NOW)  # words 0 and 3 of a send as in SendBlock, to be completed
SEND_NOW_FLAGS = int(_SEND_NOW_FLAGS)


def send_head(file: int, address: int, length: int, data: int) -> Words:
    """Try to send on one connection; completes with the count, or EAGAIN."""
    rows = _rows(1)
    rows[0, 0] = int(_SEND_HEAD) | file << 32
    rows[0, 2] = address
    rows[0, 3] = length | SEND_NOW_FLAGS
    rows[0, 4] = data
    return rows


def receive(files: Files, group: int, data: Words) -> Words:
    """Arm multishot receives into provided buffers.

    What is there already is taken while submitting. POLL_FIRST would save that attempt on idle
    sockets, but it loses the end of a connection: when data and a reset (for unix sockets also the
    end of the stream) are both there at arming, the poll fires once, the receive takes the data,
    and nothing fires again (seen on 6.18).
    """
    rows = _rows(len(files))
    rows[:, 0] = _RECEIVE | _fd(files)
    rows[:, 4] = data
    rows[:, 5] = group
    return rows


def receive_once(files: Files, group: int, data: Words) -> Words:
    """One receive each into a provided buffer, of what is there; it does not wait."""
    rows = _rows(len(files))
    rows[:, 0] = _RECEIVE_ONCE | _fd(files)
    rows[:, 3] = abi.MSG_DONTWAIT << 32
    rows[:, 4] = data
    rows[:, 5] = group
    return rows


def poll_files(files: Files, events: int, data: Words) -> Words:
    """Multishot polls: a completion a wake, and one at once where there is something already."""
    rows = _rows(len(files))
    rows[:, 0] = _POLL_FILE | _fd(files)
    rows[:, 3] = abi.POLL_MULTISHOT | events << 32
    rows[:, 4] = data
    return rows


def cancel(targets: Words, everyone: bool = False) -> Words:
    """Cancel by user data (a hash look-up; by descriptor it would walk all armed requests).

    `everyone`: all requests with that user data. Without it, several cancels in one block find
    the same request, which stays in the hash until its deferred work has run.
    """
    rows = _rows(len(targets))
    rows[:, 3] = (abi.CANCEL_ALL if everyone else 0) << 32
    rows[:, 0] = _CANCEL
    rows[:, 2] = targets
    return rows


def close(files: Files) -> Words:
    """Close direct descriptors. `fd` must be 0 and FIXED_FILE unset; the slot is file_index - 1."""
    rows = _rows(len(files))
    rows[:, 0] = _CLOSE
    rows[:, 5] = (files.astype(np.uint64) + np.uint64(1)) << _32
    return rows


def set_option(files: Files, level: int, name: int, address: int, size: int, data: Words) -> Words:
    """setsockopt with the same value for all; the value's memory must outlive the submission."""
    rows = _rows(len(files))
    rows[:, 0] = _OPTION | _fd(files)
    rows[:, 1] = abi.SOCKET_URING_OP_SETSOCKOPT
    rows[:, 2] = level | name << 32
    rows[:, 4] = data
    rows[:, 5] = size << 32
    rows[:, 6] = address
    return rows


def disconnect(files: Files) -> Words:
    """End TCP connections with a RST: connect(2) to AF_UNSPEC dissolves the association.

    Of any kernel that has rings, unlike setsockopt in a ring (Linux 6.7). On a unix socket it fails
    and does nothing.
    """
    addresses = np.full(len(files), _NOWHERE.ctypes.data, np.uint64)
    rows = connect(files, addresses, _NOWHERE.nbytes, np.zeros(len(files), np.uint64))
    rows[:, 0] |= _SKIP_SUCCESS
    return rows


_NOWHERE = np.zeros(16, np.uint8)  # struct sockaddr, AF_UNSPEC
_SKIP_SUCCESS = _first(0, abi.SKIP_SUCCESS)


def open_socket(files: Files, family: int, data: Words) -> Words:
    """Make stream sockets in these places of the table."""
    rows = _rows(len(files))
    rows[:, 0] = _SOCKET | np.uint64(family << 32)
    rows[:, 1] = socket.SOCK_STREAM
    rows[:, 4] = data
    rows[:, 5] = (files.astype(np.uint64) + np.uint64(1)) << _32
    return rows


def bind(files: Files, addresses: Words, size: int, data: Words) -> Words:
    """Bind to source addresses (struct sockaddr at `addresses`, copied when submitted)."""
    rows = _rows(len(files))
    rows[:, 0] = _BIND | _fd(files)
    rows[:, 1] = size
    rows[:, 2] = addresses
    rows[:, 4] = data
    return rows


def connect(files: Files, addresses: Words, size: int, data: Words) -> Words:
    """Connect to struct sockaddr at `addresses` (copied when submitted); always completes."""
    rows = _rows(len(files))
    rows[:, 0] = _CONNECT | _fd(files)
    rows[:, 1] = size
    rows[:, 2] = addresses
    rows[:, 4] = data
    return rows


def accept(listener_fd: int, count: int, multishot: bool, data: int) -> Words:
    """Accept into a free place of the table that the kernel chooses; `count` equal rows."""
    rows = _rows(count)
    ioprio = abi.ACCEPT_MULTISHOT if multishot else 0
    rows[:, 0] = abi.OP_ACCEPT | ioprio << 16 | listener_fd << 32
    rows[:, 4] = data
    rows[:, 5] = abi.FILE_INDEX_ALLOC << 32
    return rows


def poll(fd: int, events: int, data: int) -> Words:
    """A multishot poll of an ordinary descriptor."""
    rows = _rows(1)
    rows[0, 0] = abi.OP_POLL_ADD | fd << 32
    rows[0, 3] = abi.POLL_MULTISHOT | events << 32
    rows[0, 4] = data
    return rows
