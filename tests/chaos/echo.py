"""Echo, with PROXY headers in a part of the runs."""

from __future__ import annotations

from random import Random

from c1m.apps.echo import Echo
from chaos.kinds import Run, mutated
from chaos.peers import Peer
from chaos.stage import Stage

HEADERS = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", b"PROXY UNKNOWN\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 1000 443\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",  # LOCAL
)  # fmt: skip


class EchoRun(Run):
    """Sends back what comes."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.is_proxied = random.random() < 0.3
        self.stage = Stage(random, Echo(), proxy_protocol=self.is_proxied)

    @property
    def finishes(self) -> bool:
        return super().finishes and not self.is_proxied  # a header may come too late

    def _stream(self) -> bytes:
        size = self.random.choice((1, 100, 3000, 30_000))
        return self.random.randbytes(size)

    def good(self, number: int) -> Peer:
        stream = self._stream()
        head = self.random.choice(HEADERS) if self.is_proxied else b""
        return Peer(self.random, self.stage.connect(), head + stream, stream)

    def bad(self) -> bytes:
        stream = self._stream() * self.random.choice((1, 1, 10))
        if self.is_proxied:
            stream = mutated(self.random, self.random.choice(HEADERS)) + stream
        return stream
