"""Submissions of a fake ring, and what each operation does when it is issued or woken by its file.

An operation returns `Done` (its last or only completion) or `Wait`. Completions before the last,
those with MORE, it posts itself. What the engine never asks for is an AssertionError.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass

from c1m.addresses import unpack
from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import IP_BIND_ADDRESS_NO_PORT
from c1m.kernel.uring_abi import POLLERR, POLLHUP, POLLIN, POLLOUT
from c1m.testing.fake_network import ListeningSocket, Socket, error
from c1m.testing.fake_requests import Buffer, FakeRequest, ProvidedBuffers

READS_MAX = 32  # reads of one wake, then other requests have their turn (MULTISHOT_MAX_RETRY)
_ACCEPT_ERRORS = (errno.ECONNABORTED, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO)
_SEND_FLAGS = abi.MSG_DONTWAIT | abi.MSG_WAITALL | abi.MSG_NOSIGNAL
_AF_UNSPEC = bytes(2)


@dataclass(frozen=True, slots=True)
class Done:
    """An operation has ended. `failed`: a completion is due even if success is skipped."""

    result: int
    flags: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """An operation goes on when its file has one of these events; `again`: in any case."""

    events: int
    again: bool = False


Outcome = Done | Wait


def accept(request: FakeRequest) -> Outcome:
    """Take connections into free places of the table.

    With the table full the connection *is* taken and then dropped: that client is lost.
    """
    listener, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(listener, ListeningSocket)
    assert sqe.len == 0 and sqe.file_index == abi.FILE_INDEX_ALLOC, "not as the engine asks"
    while True:
        if listener.queue and ring.chance.strikes("accept_error"):
            return Done(-ring.chance.random.choice(_ACCEPT_ERRORS))
        if listener.queue:
            ring.refusals.call("accept")
        accepted = listener.accept()
        if accepted is None:
            return Wait(POLLIN)
        place = ring.table.install(accepted)
        accepted.drop()  # the accept queue's reference
        if place is None:
            ring.chance.counts["dropped_accepts"] += 1
            return Done(-errno.ENFILE)
        flags = abi.CQE_SOCK_NONEMPTY if listener.queue else 0
        if not sqe.ioprio & abi.ACCEPT_MULTISHOT or not ring.post_more(request, place, flags):
            return Done(place, flags)


def receive(request: FakeRequest) -> Outcome:
    """Into provided buffers: once without waiting, or multishot, READS_MAX at each wake-up."""
    sock, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(sock, Socket)
    assert request.has(abi.BUFFER_SELECT) and not sqe.ioprio & abi.RECV_POLL_FIRST
    is_multishot = bool(sqe.ioprio & abi.RECV_MULTISHOT)
    assert is_multishot != bool(sqe.op_flags & abi.MSG_DONTWAIT), "not as the engine asks"
    for _ in range(READS_MAX + 1):
        picked = _pick_buffer(request, sock)
        if picked is None:
            return Done(-errno.ENOBUFS)
        buffers, buffer = picked
        try:
            data = sock.read(buffer.size)
        except BlockingIOError:
            return Wait(POLLIN) if is_multishot else Done(-errno.EAGAIN)
        has_more = sock.has_more()
        flags = abi.CQE_SOCK_NONEMPTY if has_more else 0
        if not data:
            return Done(0, flags)  # TCP says at the end that there is more, though nothing is
        buffers.fill(buffer, data)
        flags |= abi.CQE_BUFFER | buffer.id << abi.CQE_BUFFER_SHIFT
        if not is_multishot or not ring.post_more(request, len(data), flags):
            return Done(len(data), flags)
        if not has_more:
            return Wait(POLLIN)
    return Wait(POLLIN, again=True)


def _pick_buffer(request: FakeRequest, sock: Socket) -> tuple[ProvidedBuffers, Buffer] | None:
    """The buffer that a receive takes next; None where there is none.

    It is picked before the socket is asked: with none there, even an idle socket ends the receive.
    """
    ring = request.ring
    buffers = ring.buffers.get(request.sqe.buf_group)
    buffer = buffers.first() if buffers is not None else None
    if buffers is None or buffer is None or ring.chance.strikes("no_buffers"):
        ring.chance.counts["out_of_buffers"] += 1
        return None
    if sock.inbox and ring.chance.strikes("reset"):
        sock.reset_by_network()
    return buffers, buffer


def send(request: FakeRequest) -> Outcome:
    """Send what fits, at once; a completion is due where that is not all (MSG_WAITALL)."""
    sock, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(sock, Socket)
    assert sqe.op_flags == _SEND_FLAGS, "not as the engine asks"
    if ring.chance.strikes("refuse_send"):
        sock.notify(POLLOUT)  # as polls report room to whoever was refused
        return Done(-errno.EAGAIN)
    if ring.chance.strikes("reset"):
        sock.reset_by_network()
    data = ctypes.string_at(sqe.addr, sqe.len)
    if len(data) > 1 and ring.chance.strikes("short_send"):
        data = data[: ring.chance.random.randrange(1, len(data))]
        sock.notify(POLLOUT)
    taken = sock.write(data)
    return Done(taken, failed=taken < sqe.len)


def poll(request: FakeRequest) -> Outcome:
    """Once, or multishot: a completion at each wake, and one at once if the file is ready."""
    file, ring, sqe = request.file, request.ring, request.sqe
    assert file is not None and sqe.len in (0, abi.POLL_MULTISHOT)
    events = file.ready() & (sqe.op_flags | POLLERR | POLLHUP)
    if events and (not sqe.len or not ring.post_more(request, events, 0)):
        return Done(events)
    return Wait(sqe.op_flags)


def open_socket(request: FakeRequest) -> Outcome:
    """A socket in a place of the table; a file that is there is replaced."""
    sqe, ring = request.sqe, request.ring
    assert sqe.off == socket.SOCK_STREAM and sqe.file_index > 0
    ring.refusals.call("open socket")
    ring.table.put(sqe.file_index - 1, ring.network.socket(sqe.fd))
    return Done(0)


def bind(request: FakeRequest) -> Outcome:
    """Bind to the struct sockaddr at addr, of off bytes."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket)
    request.ring.network.bind(sock, unpack(sock.family, ctypes.string_at(sqe.addr, sqe.off)))
    return Done(0)


def connect(request: FakeRequest) -> Outcome:
    """Connect to the struct sockaddr at addr, which is copied when the request is issued."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket)
    if request.is_armed:
        result = sock.connect_result()
        return Wait(POLLOUT) if result is None else Done(-result)
    if ctypes.string_at(sqe.addr, 2) == _AF_UNSPEC:  # dissolves the association: a RST
        sock.resets_on_close = True
        return Done(0)
    is_refused = request.ring.refusals.refused["op uring cmd"] > 0
    assert sock.has_nodelay or sock.family == socket.AF_UNIX or is_refused, "Nagle's delay is on"
    try:
        sock.connect(unpack(sock.family, ctypes.string_at(sqe.addr, sqe.off)))
    except BlockingIOError:  # EINPROGRESS: the answer comes later
        return Wait(POLLOUT)
    # Linux answers within the call or by a wake right after it, as it happens.
    if request.ring.chance.random.random() < 0.5:
        return Wait(POLLOUT, again=True)
    return Done(0)


def install(request: FakeRequest) -> Outcome:
    """An ordinary descriptor of a file in the table."""
    ring, file = request.ring, request.file
    assert file is not None and request.has(abi.FIXED_FILE)
    ring.refusals.call("install")
    return Done(ring.host.install(file))


def shut_down(request: FakeRequest) -> Outcome:
    """shutdown(2) of the sending side."""
    sock = request.file
    assert isinstance(sock, Socket)
    assert request.sqe.len == socket.SHUT_WR, "not as the engine asks"
    sock.shutdown_write()
    return Done(0)


def command(request: FakeRequest) -> Outcome:
    """A socket's option, to be set or told."""
    asks = request.sqe.off == abi.SOCKET_URING_OP_GETSOCKOPT
    return get_option(request) if asks else set_option(request)


def get_option(request: FakeRequest) -> Outcome:
    """getsockopt SO_PEERNAME into the memory at addr3, which may not be longer than the name."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket)
    assert sqe.addr == socket.SOL_SOCKET | abi.SO_PEERNAME << 32, "not as the engine asks"
    name = sock.peer_name()
    if len(name) < sqe.file_index:
        raise error(errno.EINVAL)
    ctypes.memmove(sqe.addr3, name, sqe.file_index)
    return Done(sqe.file_index)


def set_option(request: FakeRequest) -> Outcome:
    """setsockopt of {level u32, name u32} in addr, the value at addr3: ports are late anyway, and
    nothing waits."""
    sqe = request.sqe
    assert sqe.off == abi.SOCKET_URING_OP_SETSOCKOPT, "not as the engine asks"
    assert sqe.addr in (
        socket.IPPROTO_IP | IP_BIND_ADDRESS_NO_PORT << 32,
        socket.IPPROTO_TCP | socket.TCP_NODELAY << 32,
    ), "not as the engine asks"
    assert ctypes.string_at(sqe.addr3, sqe.file_index) == b"\1\0\0\0"
    assert isinstance(request.file, Socket)
    request.file.has_nodelay |= sqe.addr >> 32 == socket.TCP_NODELAY
    return Done(0)


def close(request: FakeRequest) -> Outcome:
    """Empty a place of the table; requests that are armed on the file keep it open."""
    sqe = request.sqe
    assert sqe.fd == 0 and not request.has(abi.FIXED_FILE) and sqe.file_index > 0
    request.ring.table.clear(sqe.file_index - 1)
    return Done(0)


def cancel(request: FakeRequest) -> Outcome:
    """Cancel by user data: the last armed of that name, which stays findable until it has ended.

    So a second cancel in the same block finds the same request again; CANCEL_ALL takes them all.
    """
    sqe, ring = request.sqe, request.ring
    targets = ring.armed.get(sqe.addr, [])
    everyone = bool(sqe.op_flags & abi.CANCEL_ALL)
    if not everyone:
        if not targets:
            raise error(errno.ENOENT)
        targets = targets[-1:]
    for target in targets:
        target.is_cancelled = True
        ring.queue_work(target)
    return Done(len(targets) if everyone else 0)


OPERATIONS: dict[int, Callable[[FakeRequest], Outcome]] = {
    abi.OP_NOP: lambda request: Done(0),
    abi.OP_POLL_ADD: poll,
    abi.OP_ACCEPT: accept,
    abi.OP_ASYNC_CANCEL: cancel,
    abi.OP_CONNECT: connect,
    abi.OP_CLOSE: close,
    abi.OP_SEND: send,
    abi.OP_RECV: receive,
    abi.OP_SOCKET: open_socket,
    abi.OP_URING_CMD: command,
    abi.OP_BIND: bind,
    abi.OP_SHUTDOWN: shut_down,
    abi.OP_FIXED_FD_INSTALL: install,
}
ON_A_FILE = {
    abi.OP_POLL_ADD, abi.OP_ACCEPT, abi.OP_CONNECT, abi.OP_SEND, abi.OP_RECV, abi.OP_URING_CMD,
    abi.OP_BIND, abi.OP_SHUTDOWN, abi.OP_FIXED_FD_INSTALL,
}  # fmt: skip
