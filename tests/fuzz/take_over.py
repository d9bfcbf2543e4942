"""Random messages to a server's socket for take-overs: nothing that is said there ends the server,
or makes it leave before a proper `ready`; no descriptor is left over."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

from c1m.kernel.sockets import resolve
from c1m.server.takeover import FORM, Succession

from .streams import mutated

VALUES: tuple[Any, ...] = (
    None, True, 0, 1, -1, FORM, FORM + 1, 1 << 70, 1.5, "", "1", "ready", "let go", "gone", "é", [],
    [1], {}, {"a": 1}, float("nan"), float("inf"), "9" * 5000,
)  # fmt: skip
TOKENS = (b"{", b"}", b'"', b"[", b":", b",", b"null", b"\xff", b"\0", b"9" * 30)


class Sockets:
    """What is passed on: any descriptor."""

    def __init__(self, fd: int) -> None:
        self._row = (fd, *resolve("tcp://127.0.0.1:1") * 2, False)

    def all(self) -> list[Any]:
        return [self._row]

    def share(self, is_shared: bool) -> None:
        pass


def run(random: Random) -> int:
    """One execution; how many bytes were said."""
    size, before = 0, len(os.listdir("/proc/self/fd"))
    left: list[tuple[int, bool]] = []
    with tempfile.TemporaryDirectory() as directory, open(os.devnull) as null:
        path = str(Path(directory) / "sock")
        sockets: Any = Sockets(null.fileno())
        succession = Succession(path, {}, sockets, lambda *what: left.append(what))
        for _ in range(random.randrange(1, 4)):
            has_greeted = False
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer:
                with suppress(OSError):  # it has left
                    peer.connect(path)
                for _ in range(random.randrange(5)):
                    said = _message(random)
                    size += len(said)
                    fds = [null.fileno()] * random.choice((0, 0, 0, 1, 3))
                    with suppress(OSError):
                        socket.send_fds(peer, [said], fds)
                    has_left = bool(left)
                    succession.look()
                    has_greeted |= b'"hello"' in said
                    assert has_greeted or has_left or not left, said
            for _ in range(3):
                succession.look()
        for fd in succession._passed:
            os.close(fd)
        if succession._next is not None:
            succession._next.close()
        succession._doorway.close()
    assert len(os.listdir("/proc/self/fd")) == before, "descriptors are left over"
    return size


def _message(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.3:
        message: Any = {"hello": FORM, "version": "1", "pid": os.getpid()}
    elif kind < 0.5:
        message = {"say": random.choice(("ready", "let go"))}
    elif kind < 0.8:
        names = random.choices(("hello", "say", "pid", "version", "error", "x"), k=3)
        message = {name: random.choice(VALUES) for name in names}
    else:
        message = random.choice(VALUES)
    said = json.dumps(message).encode()
    return mutated(random, said, TOKENS, 0.2) or b"x"
