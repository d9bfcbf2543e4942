"""Peers of a server on a fake kernel: those that behave, whose replies are known, and others."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Protocol

from chaos.stage import Stage

ENDS = ("stays", "closes", "resets", "shuts", "shuts and goes on", "goes on behind the end")
SIZES = ((1,), (1, 7, 100), (3000,), (100, 100_000))
KEPT = 1 << 20  # bytes that are looked at of one that does not behave


class Sock(Protocol):
    """What a peer uses of its connection."""

    at_eof: bool

    def send(self, data: bytes) -> int: ...

    def recv(self, most: int) -> bytes: ...

    def shutdown_write(self) -> None: ...

    def close(self) -> None: ...

    def reset(self) -> None: ...


class Peer:
    """Sends a stream in pieces and reads what comes.

    `wanted`, where it behaves: what it is to get; it stays until it has that. `wanted` may be a
    function of what has come: None as long as more is to come, else whether it is right.
    """

    def __init__(
        self,
        random: Random,
        sock: Sock,
        stream: bytes,
        wanted: bytes | Callable[[bytes], bool | None] | None = None,
    ) -> None:
        self.random = random
        self.sock = sock
        self.stream = stream
        self.wanted = wanted
        self.is_good = wanted is not None
        self.came = bytearray()
        self.sizes = random.choice(SIZES)
        self.read_sizes = (1 << 20,) if self.is_good else random.choice((*SIZES, (0,), (0,)))
        self.end = "stays" if self.is_good else random.choice(ENDS)
        self.left = random.randrange(1, 40)  # steps until its end
        self._looked_at = (-1, False)
        self.has_gone = False  # by itself
        self.is_cut = False  # by the network or the server

    @property
    def is_over(self) -> bool:
        """There is nothing more to be expected of it."""
        return self.has_gone or self.is_cut or (self.is_good and self.has_all())

    def has_all(self) -> bool:
        """Whether what it is to get is there."""
        if isinstance(self.wanted, bytes):
            return len(self.came) >= len(self.wanted) and not self.stream
        if self.stream:
            return False
        if len(self.came) != self._looked_at[0]:
            assert self.wanted is not None
            self._looked_at = len(self.came), self.wanted(bytes(self.came)) is not None
        return self._looked_at[1]

    def step(self) -> None:
        """Sends, reads, or goes."""
        if self.has_gone:
            return
        kind = self.random.random()
        if not self.is_good:
            self.left -= 1
            if self.left == 0:
                self._go()
                return
        if kind < 0.5:
            self.send()
        else:
            self.receive()

    def send(self) -> None:
        """Some of what is left."""
        if not self.stream:
            return
        piece = self.stream[: self.random.choice(self.sizes)]
        try:
            self.stream = self.stream[self.sock.send(piece) :]
        except OSError:
            self.stream = b""
            self.is_cut = self.is_good

    def receive(self) -> None:
        """What has come."""
        size = self.random.choice(self.read_sizes)
        if not size:
            return
        try:
            data = self.sock.recv(size)
        except OSError:
            self.is_cut = True
            return
        if len(self.came) < KEPT:
            self.came += data
        if self.sock.at_eof:
            self.is_cut = self.is_good
            if self.end != "goes on behind the end" and not self.is_good:
                self._leave()

    def _go(self) -> None:
        if self.end in ("closes", "resets"):
            self._leave()
        elif self.end in ("shuts", "shuts and goes on"):
            try:
                self.sock.shutdown_write()
            except OSError:
                self._leave()
            if self.end == "shuts":
                self.stream = b""

    def _leave(self) -> None:
        self.has_gone = True
        if self.end == "resets":
            self.sock.reset()
        else:
            self.sock.close()

    def leave(self) -> None:
        """In good order, if it is still there."""
        if not self.has_gone:
            self.end = "closes"
            self._leave()

    def check(self, must_have_all: bool) -> None:
        """What has come is a part of what is to come: the first one, and in order."""
        if not self.is_good:
            return
        came = bytes(self.came)
        if isinstance(self.wanted, bytes):
            assert self.wanted.startswith(came), _difference(came, self.wanted)
            if must_have_all:
                assert len(came) == len(self.wanted), f"{len(came)} of {len(self.wanted)} bytes"
        else:
            assert self.wanted is not None
            found = self.wanted(came)
            assert found is not False, came[-300:]
            assert found or not must_have_all, came[-300:]


def _difference(came: bytes, wanted: bytes) -> str:
    at = next(
        (i for i, (a, b) in enumerate(zip(came, wanted, strict=False)) if a != b), len(wanted)
    )
    start = max(at - 40, 0)
    return f"at {at}: {came[start : at + 40]!r}, not {wanted[start : at + 40]!r}"


def pump(stage: Stage, peers: list[Peer], most: int = 4000) -> None:
    """Until all that behave have what they are to get, or are cut off."""
    good = [peer for peer in peers if peer.is_good]
    for peer in good:
        peer.sizes, peer.read_sizes = (100_000,), (1 << 20,)
    stage.kernel.refusals.lift()
    for step in range(most):
        waiting = [peer for peer in good if not peer.is_over]
        if not waiting:
            return
        for peer in waiting:
            peer.send()
            peer.receive()
        for peer in peers:
            if not peer.is_good and step % 4 == 0:
                peer.step()
        if step % 20 == 19:  # others that stay may have the only place
            for peer in peers:
                if not peer.is_good:
                    peer.leave()
            for peer in good:
                if peer.is_over:
                    peer.leave()
            stage.clock.advance(100_000_000)
        stage.tick()
