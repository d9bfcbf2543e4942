"""What `get_extra_info("socket")` returns for a connection of an engine."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class EngineSocket:
    """A connection's socket, for options and names; the counterpart of asyncio's TransportSocket.

    A connection has no descriptor. For each call that needs one the kernel makes it, and it is
    closed again: three system calls instead of one. Only after `fileno` the connection has one of
    its own. Raises OSError (EBADF) once the connection has ended.
    """

    __slots__ = ("_borrow", "_fileno", "_name", "_peer", "family", "proto", "type")

    def __init__(
        self,
        family: int,
        descriptor: Callable[[], int],
        fileno: Callable[[], int],
        sockname: Callable[[], Any],
        peername: Callable[[], Any],
    ) -> None:
        self._borrow = descriptor
        self._fileno = fileno
        self._name = sockname
        self._peer = peername
        self.family = socket.AddressFamily(family)
        self.type = socket.SOCK_STREAM
        self.proto = 0

    def forget(self) -> None:
        """The connection has ended, and nothing of it is held here."""
        self._borrow, self._fileno = _is_gone, _no_descriptor
        self._name = self._peer = _no_name

    def __repr__(self) -> str:
        return (
            f"<EngineSocket family={self.family!s} type={self.type!s} "
            f"laddr={self._name()!r} raddr={self._peer()!r}>"
        )

    @contextmanager
    def _real(self) -> Iterator[socket.socket]:
        with socket.socket(self.family, self.type, self.proto, fileno=self._borrow()) as real:
            yield real

    def getsockname(self) -> Any:
        """Our address."""
        name = self._name()
        if name is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return name

    def getpeername(self) -> Any:
        """The peer's address."""
        name = self._peer()
        if name is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        return name

    def getsockopt(self, *args: Any) -> Any:
        """As socket.getsockopt."""
        with self._real() as real:
            return real.getsockopt(*args)

    def setsockopt(self, *args: Any) -> None:
        """As socket.setsockopt."""
        with self._real() as real:
            real.setsockopt(*args)

    def dup(self) -> socket.socket:
        """A new socket object with a descriptor of its own; the caller closes it."""
        return socket.socket(self.family, self.type, self.proto, fileno=self._borrow())

    def get_inheritable(self) -> bool:
        """False: no child process gets it."""
        return False

    def fileno(self) -> int:
        """A descriptor, to poll say: made when it is first asked for; closed with the connection.

        -1 once the connection has ended. Raises OSError where none can be made. Who reads from it
        takes bytes away from the transport.
        """
        return self._fileno()

    def shutdown(self, how: int) -> None:
        """As socket.shutdown. For the end of our output use the transport's write_eof."""
        with self._real() as real:
            real.shutdown(how)

    def gettimeout(self) -> float:
        """0.0: it does not block."""
        return 0.0

    def settimeout(self, value: float | None) -> None:
        """Raises ValueError for anything but 0, as asyncio does."""
        if value != 0:
            raise ValueError("settimeout(): only 0 timeout is allowed on transport sockets")

    def setblocking(self, flag: bool) -> None:
        """Raises ValueError for True, as asyncio does."""
        if flag:
            raise ValueError("setblocking(): transport sockets cannot be blocking")


def _is_gone() -> int:
    raise OSError(errno.EBADF, "This connection has ended.")


def _no_descriptor() -> int:
    return -1


def _no_name() -> None:
    return None


def address_of(family: int, raw: bytes) -> Any:
    """A struct sockaddr as Python's sockets say it; None where there is none. It may be of another
    family than the socket: a proxy has said it."""
    if raw:
        family = int.from_bytes(raw[:2], "little")
    if family == socket.AF_UNIX:
        path = raw[2:]
        if path[:1] == b"\0":  # an abstract name
            return path
        return os.fsdecode(path.split(b"\0", 1)[0])
    if not raw:
        return None
    port = int.from_bytes(raw[2:4], "big")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, raw[4:8]), port
    flow, scope = int.from_bytes(raw[4:8], "big"), int.from_bytes(raw[24:28], "little")
    return socket.inet_ntop(family, raw[8:24]), port, flow, scope
