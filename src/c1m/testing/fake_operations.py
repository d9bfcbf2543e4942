"""What each operation of a fake ring does when it is issued, and again when its file wakes it.

An operation returns `Done` (its last or only completion) or `Wait`. Completions before the last,
those with MORE, it posts itself.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Callable

from c1m.addresses import unpack
from c1m.kernel import uring_abi as abi
from c1m.testing.fake_buffers import Buffer, ProvidedBuffers
from c1m.testing.fake_files import POLLERR, POLLHUP, POLLIN, POLLOUT
from c1m.testing.fake_request import Done, Request, Wait
from c1m.testing.fake_sockets import Listener, Socket, error

READS_MAX = 32  # reads of one wake, then other requests have their turn (MULTISHOT_MAX_RETRY)
CQE_NONEMPTY = 4  # there is more in the socket
_ACCEPT_ERRORS = (errno.ECONNABORTED, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EPROTO)

AF_UNSPEC = bytes(2)

Outcome = Done | Wait


def accept(request: Request) -> Outcome:
    """Take connections into free places of the table.

    With the table full the connection *is* taken and then dropped: that client is lost.
    """
    listener, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(listener, Listener)
    assert sqe.len == 0 and sqe.file_index == abi.FILE_INDEX_ALLOC, "not as the engine asks"
    while True:
        if listener.queue and ring.chance.strikes("accept_error"):
            return Done(-ring.chance.random.choice(_ACCEPT_ERRORS))
        try:
            if listener.queue:
                ring.refusals.call("accept")
            accepted = listener.accept()
        except BlockingIOError:
            return Wait(POLLIN)
        place = ring.table.install(accepted)
        accepted.drop()  # the accept queue's reference
        if place is None:
            ring.chance.counts["dropped_accepts"] += 1
            return Done(-errno.ENFILE)
        flags = CQE_NONEMPTY if listener.queue else 0
        if not sqe.ioprio & abi.ACCEPT_MULTISHOT or not ring.post_more(request, place, flags):
            return Done(place, flags)


def receive(request: Request) -> Outcome:
    """Multishot receive into provided buffers: up to READS_MAX reads a wake."""
    sock, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(sock, Socket)
    assert request.has(abi.BUFFER_SELECT)
    if not sqe.ioprio & abi.RECV_MULTISHOT:
        return receive_once(request)
    if sqe.ioprio & abi.RECV_POLL_FIRST and not request.is_armed:
        request.polled_first = bool(sock.ready() & POLLIN)
        return Wait(POLLIN)
    # The poll that found the file ready while arming counts as one event: after the read that it
    # brings, the file is not looked at again, and an error or end that is there stays unseen.
    looks, request.polled_first = not request.polled_first, False
    for _ in range(READS_MAX + 1):
        picked = _pick_buffer(request, sock)
        if picked is None:
            return Done(-errno.ENOBUFS)
        buffers, buffer = picked
        try:
            data = sock.read(buffer.size)
        except BlockingIOError:
            return Wait(POLLIN)
        except OSError as problem:
            return Done(-(problem.errno or 0))
        if not data:
            # TCP says at the end that there is more, though nothing is.
            return Done(0, CQE_NONEMPTY if sock.has_more() else 0)
        buffers.fill(buffer, data)
        flags = abi.CQE_BUFFER | buffer.id << abi.CQE_BUFFER_SHIFT
        has_more = sock.has_more()
        flags |= CQE_NONEMPTY if has_more else 0
        if not ring.post_more(request, len(data), flags):
            return Done(len(data), flags)
        if not has_more:
            return Wait(POLLIN, looks=looks)
    return Wait(POLLIN, again=True)


def _pick_buffer(request: Request, sock: Socket) -> tuple[ProvidedBuffers, Buffer] | None:
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


def receive_once(request: Request) -> Outcome:
    """One receive into a provided buffer that does not wait."""
    sock = request.file
    assert isinstance(sock, Socket)
    assert request.sqe.op_flags & abi.MSG_DONTWAIT, "not as the engine asks"
    picked = _pick_buffer(request, sock)
    if picked is None:
        return Done(-errno.ENOBUFS)
    buffers, buffer = picked
    try:
        data = sock.read(buffer.size)
    except OSError as problem:
        return Done(-(problem.errno or 0))
    flags = CQE_NONEMPTY if sock.has_more() else 0
    if not data:
        return Done(0, flags)
    buffers.fill(buffer, data)
    return Done(len(data), flags | abi.CQE_BUFFER | buffer.id << abi.CQE_BUFFER_SHIFT)


def send(request: Request) -> Outcome:
    """Send now (MSG_DONTWAIT), or wait until all is sent (MSG_WAITALL)."""
    sock, ring, sqe = request.file, request.ring, request.sqe
    assert isinstance(sock, Socket)
    must_not_wait = bool(sqe.op_flags & abi.MSG_DONTWAIT)
    if not request.is_armed:
        request.memory = ctypes.string_at(sqe.addr, sqe.len)
    elif not request.is_cancelled:
        assert ctypes.string_at(sqe.addr, sqe.len) == request.memory, (
            "memory changed while the kernel was sending from it"
        )
    if must_not_wait and ring.chance.strikes("refuse_send"):
        sock.notify(POLLOUT)  # whoever is refused is told when there is room
        return Done(-errno.EAGAIN)
    if ring.chance.strikes("reset"):
        sock.reset_by_network()
    data = request.memory[request.sent :]
    if len(data) > 1 and ring.chance.strikes("short_send"):
        data = data[: ring.chance.random.randrange(1, len(data))]
        sock.notify(POLLOUT)
    try:
        request.sent += sock.write(data)
    except BlockingIOError:
        if not must_not_wait:
            return Wait(POLLOUT)
        return Done(request.sent or -errno.EAGAIN, failed=True)
    except OSError as problem:
        return Done(request.sent or -(problem.errno or 0), failed=True)
    if request.sent == sqe.len:
        return Done(request.sent)
    if not sqe.op_flags & abi.MSG_WAITALL or must_not_wait:
        return Done(request.sent, failed=bool(sqe.op_flags & abi.MSG_WAITALL))
    return Wait(POLLOUT)


def poll(request: Request) -> Outcome:
    """Multishot poll: a completion at each wake, and one at once if the file is ready."""
    file, ring, sqe = request.file, request.ring, request.sqe
    assert file is not None and sqe.len == abi.POLL_MULTISHOT
    events = file.ready() & (sqe.op_flags | POLLERR | POLLHUP)
    if events and not ring.post_more(request, events, 0):
        return Done(events)
    return Wait(sqe.op_flags)


def open_socket(request: Request) -> Outcome:
    """A socket in a place of the table; a file that is there is replaced."""
    sqe, ring = request.sqe, request.ring
    assert sqe.off == socket.SOCK_STREAM and sqe.file_index > 0
    ring.refusals.call("open socket")
    ring.table.put(sqe.file_index - 1, ring.network.socket(sqe.fd))
    return Done(0)


def bind(request: Request) -> Outcome:
    """Bind to the struct sockaddr at addr, of off bytes."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket)
    request.ring.network.bind(sock, unpack(sock.family, ctypes.string_at(sqe.addr, sqe.off)))
    return Done(0)


def connect(request: Request) -> Outcome:
    """Connect to the struct sockaddr at addr, which is copied when the request is issued."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket)
    if request.is_armed:
        result = sock.connect_result()
        return Wait(POLLOUT) if result is None else Done(-result)
    if ctypes.string_at(sqe.addr, 2) == AF_UNSPEC:  # dissolves the association: a RST
        sock.resets_on_close = True
        return Done(0)
    try:
        sock.connect(unpack(sock.family, ctypes.string_at(sqe.addr, sqe.off)))
    except BlockingIOError:  # EINPROGRESS: the answer comes later
        return Wait(POLLOUT)
    # Linux answers within the call or by a wake right after it, as it happens.
    if request.ring.chance.random.random() < 0.5:
        return Wait(POLLOUT, again=True)
    return Done(0)


def command(request: Request) -> Outcome:
    """setsockopt: {level u32, name u32} in addr, the value at addr3."""
    sqe, sock = request.sqe, request.file
    assert isinstance(sock, Socket) and sqe.off == abi.SOCKET_URING_OP_SETSOCKOPT
    level, name = sqe.addr & 0xFFFFFFFF, sqe.addr >> 32
    value = ctypes.string_at(sqe.addr3, sqe.file_index)
    if (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
        sock.resets_on_close = value == b"\1\0\0\0\0\0\0\0"
    return Done(0)


def close(request: Request) -> Outcome:
    """Empty a place of the table; requests that are armed on the file keep it open."""
    sqe = request.sqe
    assert sqe.fd == 0 and not request.has(abi.FIXED_FILE) and sqe.file_index > 0
    request.ring.table.clear(sqe.file_index - 1)
    return Done(0)


def cancel(request: Request) -> Outcome:
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


def nothing(request: Request) -> Outcome:
    """OP_NOP."""
    return Done(0)


OPERATIONS: dict[int, Callable[[Request], Outcome]] = {
    abi.OP_NOP: nothing,
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
}
ON_A_FILE = {
    abi.OP_POLL_ADD, abi.OP_ACCEPT, abi.OP_CONNECT, abi.OP_SEND, abi.OP_RECV, abi.OP_URING_CMD,
    abi.OP_BIND,
}  # fmt: skip
