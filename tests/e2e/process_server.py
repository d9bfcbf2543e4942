"""An echo server that is a process of its own: to be stopped, killed, or run out of descriptors.

`python process_server.py [DESCRIPTORS]` prints its port, and a line once it has answered TELLS
times. With a limit of descriptors it does what many servers do at it: accept fails, and is tried
again at once, for ever.
"""

from __future__ import annotations

import resource
import select
import socket
import subprocess
import sys

TELLS = 150


class ProcessServer:
    """It, as a context manager: `pid`, `url`; `wait_until_busy` returns once it has answered."""

    def __init__(self, descriptors: int = 0) -> None:
        arguments = [str(descriptors)] if descriptors else []
        self._process = subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, text=True
        )
        self.pid = self._process.pid
        self.url = f"tcp://127.0.0.1:{self._line()}"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def wait_until_busy(self) -> None:
        """Until it has answered TELLS times."""
        assert self._line() == "busy"

    def __enter__(self) -> ProcessServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(30)


def serve() -> None:
    """Until it is killed."""
    if len(sys.argv) > 1:
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    listener.setblocking(False)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    print(listener.getsockname()[1], flush=True)
    sockets: dict[int, socket.socket] = {}
    answered = 0
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == listener.fileno():
                try:
                    sock, _ = listener.accept()
                except OSError:
                    continue
                sockets[sock.fileno()] = sock
                poll.register(sock, select.EPOLLIN)
                continue
            try:
                data = sockets[descriptor].recv(65536)
                sockets[descriptor].sendall(data)
            except OSError:
                data = b""
            if not data:
                sockets.pop(descriptor).close()
                continue
            answered += 1
            if answered == TELLS:
                print("busy", flush=True)


if __name__ == "__main__":
    serve()
