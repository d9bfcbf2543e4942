"""Blocks of submissions, one function for each operation, and the user data they carry. Pure.

A submission is 8 words of 8 bytes (struct io_uring_sqe, see kernel/uring_abi.py): opcode u8, flags
u8, ioprio u16, fd i32; off; addr; len u32, op_flags u32; user data; buffer group u16, personality
u16, file index u32; addr3. `files` are indices into the ring's table of direct descriptors, `data`
is the user data.

User data is 64 bits that a completion brings back:

    63            48 47           32 31                                    0
    [  generation   ][  op          ][  slot (or listener, for accepts)    ]

Seen as two little-endian uint32: word 0 is the slot, word 1 the *tag*, generation << 16 | op. Each
part stands on a boundary of its own size, so that views, not arithmetic, take an array of
completions apart. A completion whose generation is no longer the slot's is late: its connection is
gone. Accepts have the ring that accepts in place of the generation.
"""

from __future__ import annotations

import socket

import numpy as np
import numpy.typing as npt

from c1m.engine.ragged import Ragged
from c1m.kernel import uring_abi as abi

Words = npt.NDArray[np.uint64]
Files = npt.NDArray[np.int32]

OP = 0xFFFF  # of a tag
GENERATION_SHIFT = 16  # of a tag


class Op:
    """What a submission was for. Plain numbers: access to an enumeration's member costs as much as
    a small array operation, and each batch makes a dozen.
    """

    NONE = 0  # nobody waits for it
    ACCEPT = 1
    RECEIVE = 2
    SEND = 3  # tried at once, completes only if it was short or refused
    OUTBOX = 4  # the outbox's head: completes with how much of it was sent
    CONNECT = 5
    SETUP = 6  # socket, option and bind before a connect: completes only if it failed
    WAKE = 7
    POLL = 8  # a parked connection has something
    READ = 9  # a single receive after a poll
    WRITABLE = 10  # there may be room for output again
    WATCH = 11  # the caller's descriptor is readable
    COMMAND = 12  # completes while it is submitted
    CLOSE = 13  # completes only if it failed


def pack(
    slots: npt.NDArray[np.int32], generations: npt.NDArray[np.uint16], op: int
) -> npt.NDArray[np.uint64]:
    """User data for an array of slots; `pack_one` is the scalar form."""
    data = generations.astype(np.uint64) << np.uint64(48)
    data |= np.uint64(op << 32)
    data |= slots.astype(np.uint64)
    return data


def pack_one(slot: int, generation: int, op: int) -> int:
    """User data for one slot."""
    return slot | op << 32 | generation << 48


# Words of a submission; see the top.
_FIRST, _OFF, _ADDR, _LENGTH_AND_FLAGS, _DATA, _GROUP_AND_INDEX, _ADDR3 = range(7)
_32 = np.uint64(32)


def _rows(count: int, words: dict[int, Words | np.uint64 | int]) -> Words:
    """`count` submissions with these words, each the same for all or one for each."""
    rows = np.zeros((count, 8), np.uint64)
    for column, values in words.items():
        rows[:, column] = values
    return rows


def _first(opcode: int, flags: int, ioprio: int = 0) -> np.uint64:
    return np.uint64(opcode | flags << 8 | ioprio << 16)


def _fd(files: Files) -> Words:
    return files.astype(np.uint64) << _32


def _place(files: Files) -> Words:
    """Where a direct descriptor is made or closed: file_index, counted from 1."""
    return (files.astype(np.uint64) + np.uint64(1)) << _32


_SEND_NOW = _first(abi.OP_SEND, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_SEND_HEAD = _first(abi.OP_SEND, abi.FIXED_FILE)
_RECEIVE = _first(abi.OP_RECV, abi.FIXED_FILE | abi.BUFFER_SELECT, abi.RECV_MULTISHOT)
_RECEIVE_ONCE = _first(abi.OP_RECV, abi.FIXED_FILE | abi.BUFFER_SELECT)
_POLL_FILE = _first(abi.OP_POLL_ADD, abi.FIXED_FILE)
_CANCEL = _first(abi.OP_ASYNC_CANCEL, abi.SKIP_SUCCESS)
_CLOSE = _first(abi.OP_CLOSE, abi.SKIP_SUCCESS)
_SOCKET = _first(abi.OP_SOCKET, abi.SKIP_SUCCESS)
_OPTION = _first(abi.OP_URING_CMD, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_COMMAND = _first(abi.OP_URING_CMD, abi.FIXED_FILE)
_INSTALL = _first(abi.OP_FIXED_FD_INSTALL, abi.FIXED_FILE)
_SHUTDOWN = _first(abi.OP_SHUTDOWN, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_BIND = _first(abi.OP_BIND, abi.FIXED_FILE | abi.SKIP_SUCCESS)
_CONNECT = _first(abi.OP_CONNECT, abi.FIXED_FILE)
_DISCONNECT = _first(abi.OP_CONNECT, abi.FIXED_FILE | abi.SKIP_SUCCESS)

SEND_NOW = int(_SEND_NOW)  # of a send as in SendBlock: the first word without the file
SEND_NOW_FLAGS = abi.MSG_DONTWAIT | abi.MSG_WAITALL | abi.MSG_NOSIGNAL
_SEND_NOW_FLAGS = SEND_NOW_FLAGS << 32


class SendBlock:
    """Sends tried at once, with no completion when all of it went; at most `size` in a block.

    MSG_DONTWAIT makes the kernel give up instead of waiting, MSG_WAITALL makes a short send
    complete with its count (without it a short send would be silent, because success is skipped).

    The rows are made once. What differs from send to send is written into columns of them.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._rows = _rows(
            size, {_FIRST: _SEND_NOW, _LENGTH_AND_FLAGS: _SEND_NOW_FLAGS, _DATA: Op.SEND << 32}
        )
        halves = self._rows.view(np.int32)
        self._files, self._lengths, self._slots = halves[:, 1], halves[:, 6], halves[:, 8]
        self._addresses = self._rows.view(np.int64)[:, 2]
        self._generations = self._rows.view(np.uint16)[:, 19]

    def fill(
        self, files: Files, slots: Files, generations: npt.NDArray[np.uint16], data: Ragged
    ) -> Words:
        """Rows that are valid until the next call: piece i of `data` goes out on slots[i]."""
        n = len(files)
        assert n == len(slots) == len(data) <= self.size
        self._files[:n] = files
        np.add(data.offsets, data.address, out=self._addresses[:n])
        self._lengths[:n] = data.lengths
        self._slots[:n] = slots
        self._generations[:n] = generations
        return self._rows[:n]


def send_head(file: int, address: int, length: int, data: int) -> Words:
    """Try to send on one connection; completes with the count, or EAGAIN."""
    return _rows(1, {
        _FIRST: int(_SEND_HEAD) | file << 32, _ADDR: address,
        _LENGTH_AND_FLAGS: length | _SEND_NOW_FLAGS, _DATA: data,
    })  # fmt: skip


def receive(files: Files, group: int, data: Words) -> Words:
    """Arm multishot receives into provided buffers.

    What is there already is taken while submitting. POLL_FIRST would save that attempt on idle
    sockets, but it loses the end of a connection: when data and a reset (for unix sockets also the
    end of the stream) are both there at arming, the poll fires once, the receive takes the data,
    and nothing fires again (seen on 6.18).
    """
    return _rows(len(files), {_FIRST: _RECEIVE | _fd(files), _DATA: data, _GROUP_AND_INDEX: group})


def receive_once(files: Files, group: int, data: Words) -> Words:
    """One receive each into a provided buffer, of what is there; it does not wait."""
    return _rows(len(files), {
        _FIRST: _RECEIVE_ONCE | _fd(files), _LENGTH_AND_FLAGS: abi.MSG_DONTWAIT << 32,
        _DATA: data, _GROUP_AND_INDEX: group,
    })  # fmt: skip


def poll_files(files: Files, events: int, data: Words) -> Words:
    """Multishot polls: a completion for each wake-up, and one at once where something is there."""
    return _rows(len(files), {
        _FIRST: _POLL_FILE | _fd(files), _LENGTH_AND_FLAGS: abi.POLL_MULTISHOT | events << 32,
        _DATA: data,
    })  # fmt: skip


def cancel(targets: Words, everyone: bool = False) -> Words:
    """Cancel by user data (a hash look-up; by descriptor it would walk all armed requests).

    `everyone`: all requests with that user data. Without it, several cancels in one block find
    the same request, which stays in the hash until its deferred work has run.
    """
    flags = abi.CANCEL_ALL << 32 if everyone else 0
    return _rows(len(targets), {_FIRST: _CANCEL, _ADDR: targets, _LENGTH_AND_FLAGS: flags})


def close(files: Files, data: Words | int = 0) -> Words:
    """Close direct descriptors: `fd` must be 0 and FIXED_FILE unset."""
    return _rows(len(files), {_FIRST: _CLOSE, _DATA: data, _GROUP_AND_INDEX: _place(files)})


def set_option(files: Files, level: int, name: int, address: int, size: int, data: Words) -> Words:
    """setsockopt with the same value for all; the value's memory must outlive the submission."""
    return _rows(len(files), {
        _FIRST: _OPTION | _fd(files), _OFF: abi.SOCKET_URING_OP_SETSOCKOPT,
        _ADDR: level | name << 32, _DATA: data, _GROUP_AND_INDEX: size << 32, _ADDR3: address,
    })  # fmt: skip


def get_option(files: Files, name: int, addresses: Words, size: int, data: Words) -> Words:
    """getsockopt (of SOL_SOCKET) into the memory at `addresses`; completes with the length."""
    return _rows(len(files), {
        _FIRST: _COMMAND | _fd(files), _OFF: abi.SOCKET_URING_OP_GETSOCKOPT,
        _ADDR: int(socket.SOL_SOCKET) | name << 32, _DATA: data, _GROUP_AND_INDEX: size << 32,
        _ADDR3: addresses,
    })  # fmt: skip


def install(files: Files, data: Words) -> Words:
    """Make an ordinary descriptor of each; completes with it."""
    return _rows(len(files), {_FIRST: _INSTALL | _fd(files), _DATA: data})


def shut_writing(files: Files) -> Words:
    """shutdown(2) of the sending side, by a helper thread of the kernel."""
    return _rows(
        len(files), {_FIRST: _SHUTDOWN | _fd(files), _LENGTH_AND_FLAGS: int(socket.SHUT_WR)}
    )


_NOWHERE = np.zeros(16, np.uint8)  # struct sockaddr, AF_UNSPEC


def disconnect(files: Files) -> Words:
    """End TCP connections with a RST: connect(2) to AF_UNSPEC dissolves the association.

    Any kernel that has rings can do this, unlike setsockopt in a ring (Linux 6.7). On a unix socket
    it fails and does nothing.
    """
    return _rows(len(files), {
        _FIRST: _DISCONNECT | _fd(files), _OFF: _NOWHERE.nbytes, _ADDR: _NOWHERE.ctypes.data,
    })  # fmt: skip


def open_socket(files: Files, family: int, data: Words) -> Words:
    """Make stream sockets in these places of the table."""
    return _rows(len(files), {
        _FIRST: _SOCKET | np.uint64(family << 32), _OFF: int(socket.SOCK_STREAM),
        _DATA: data, _GROUP_AND_INDEX: _place(files),
    })  # fmt: skip


def bind(files: Files, addresses: Words, size: int, data: Words) -> Words:
    """Bind to source addresses (struct sockaddr at `addresses`, copied when submitted)."""
    return _rows(
        len(files), {_FIRST: _BIND | _fd(files), _OFF: size, _ADDR: addresses, _DATA: data}
    )


def connect(files: Files, addresses: Words, size: int, data: Words) -> Words:
    """Connect to struct sockaddr at `addresses` (copied when submitted); always completes."""
    return _rows(
        len(files), {_FIRST: _CONNECT | _fd(files), _OFF: size, _ADDR: addresses, _DATA: data}
    )


def accept(listener_fd: int, count: int, multishot: bool, data: int) -> Words:
    """Accept into a free place of the table that the kernel chooses; `count` equal rows."""
    ioprio = abi.ACCEPT_MULTISHOT if multishot else 0
    return _rows(count, {
        _FIRST: int(_first(abi.OP_ACCEPT, 0, ioprio)) | listener_fd << 32, _DATA: data,
        _GROUP_AND_INDEX: abi.FILE_INDEX_ALLOC << 32,
    })  # fmt: skip


def poll(fd: int, events: int, data: int, *, once: bool = False) -> Words:
    """A poll of an ordinary descriptor: for each wake-up, or `once`, also for what is there now."""
    length = 0 if once else abi.POLL_MULTISHOT
    return _rows(1, {
        _FIRST: abi.OP_POLL_ADD | fd << 32, _LENGTH_AND_FLAGS: length | events << 32, _DATA: data,
    })  # fmt: skip
