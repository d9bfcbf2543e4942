"""Small servers in a thread that do something wrong, each in one way, for the load client to find.

One loop over plain sockets; what is odd is in `on_open` and `on_data`, called with the connection
and its number in order of accepting.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from typing import Self

_LINGER_NONE = struct.pack("ii", 1, 0)  # close with a reset


def reset(sock: socket.socket) -> None:
    """End a connection with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    sock.close()


class OddServer:
    """An echo server, to be derived from. Use as a context manager; `url` is where it listens."""

    backlog = 1024

    def __init__(self) -> None:
        self.accepted = 0
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(self.backlog)
        self._listener.setblocking(False)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._waker, self._wakee = socket.socketpair()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wakee, selectors.EVENT_READ)
        self.numbers: dict[socket.socket, int] = {}
        self._thread = threading.Thread(target=self._run, name="odd server", daemon=True)
        self._error: BaseException | None = None

    # what is odd

    def on_open(self, sock: socket.socket, number: int) -> None:
        """A connection was accepted."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        """Bytes came. Sends here are short, so they never block."""
        sock.sendall(data)

    # the loop

    def end(self, sock: socket.socket, *, with_reset: bool = False) -> None:
        """Close a connection."""
        self._selector.unregister(sock)
        del self.numbers[sock]
        reset(sock) if with_reset else sock.close()

    def _run(self) -> None:
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._wakee:
                        return
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj in self.numbers:  # not ended meanwhile
                        self._read(key.fileobj)
        except BaseException as error:  # told to the test by __exit__
            self._error = error

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            sock, _ = self._listener.accept()
            self.numbers[sock] = self.accepted
            self._selector.register(sock, selectors.EVENT_READ)
            self.accepted += 1
            self.on_open(sock, self.numbers[sock])

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(65536)
            if data:
                self.on_data(sock, self.numbers[sock], data)
            else:
                self.end(sock)
        except (ConnectionError, BlockingIOError):
            if sock in self.numbers:
                self.end(sock)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._waker.send(b"x")
        self._thread.join(30)
        assert not self._thread.is_alive()
        for sock in [*self.numbers, self._listener, self._waker, self._wakee]:
            sock.close()
        self._selector.close()
        if self._error is not None and error is None:
            raise self._error


class ClosesAtOnce(OddServer):
    """Accepts, and closes every third connection at once."""

    def on_open(self, sock: socket.socket, number: int) -> None:
        if number % 3 == 0:
            self.end(sock)


class ResetsAtOnce(OddServer):
    """Accepts, and resets every third connection when it is sent to."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        if number % 3 == 0:
            self.end(sock, with_reset=True)
        else:
            sock.sendall(data)


class SwapsBytes(OddServer):
    """Changes one byte of every fifth connection's replies."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        sock.sendall(data if number % 5 else bytes([data[0] ^ 1]) + data[1:])


class MixesUp(OddServer):
    """Answers two connections with each other's bytes, once both have sent; others rightly."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[socket.socket, bytes] | None = None

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        if number >= 10:
            sock.sendall(data)
        elif self._kept is None:
            self._kept = (sock, data)
        else:
            other, text = self._kept
            self._kept = None
            sock.sendall(text)
            other.sendall(data)


class SaysMore(OddServer):
    """Adds a byte to every fourth connection's replies, in a piece of its own."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(data)
        if number % 4 == 0:
            sock.sendall(b"!")


class Drips(OddServer):
    """Right replies, a byte at a time: odd, but nothing is wrong with it."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in data:
            sock.sendall(bytes([byte]))


class NeverAnswers(OddServer):
    """Reads and is silent."""

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        pass


class ResetsInTheHold(OddServer):
    """Resets half of the connections when all `expected` of them have had their first reply."""

    def __init__(self, expected: int, *, with_reset: bool = True) -> None:
        super().__init__()
        self._left = expected
        self._with_reset = with_reset

    def on_data(self, sock: socket.socket, number: int, data: bytes) -> None:
        sock.sendall(data)
        self._left -= 1
        if self._left == 0:
            for other, its_number in list(self.numbers.items()):
                if its_number % 2:
                    self.end(other, with_reset=self._with_reset)
