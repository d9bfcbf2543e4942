"""Echo over TLS: peers that shake hands and are sent back what they send, and those that do not."""

from __future__ import annotations

import functools
import ssl
from random import Random

import c1m
import certificates
from c1m.apps.echo import Echo
from c1m.testing.fake_network import Socket
from chaos.kinds import Run, mutated
from chaos.peers import Peer
from chaos.stage import Stage

CHUNK = 1 << 14
HELLO = bytes.fromhex("16030100020100")  # the beginning of a client's hello, and nothing that fits


@functools.cache
def client_context() -> ssl.SSLContext:
    """Of all peers."""
    return ssl.create_default_context(cafile=str(certificates.authority().cert))


@functools.cache
def server_tls() -> c1m.TLS:
    """Of all servers: P-256, whose handshake is quick."""
    leaf = certificates.authority().leaf("localhost", "127.0.0.1")
    return c1m.TLS(str(leaf.cert), str(leaf.key))


class SecureSocket:
    """What a Peer uses of a Socket, over TLS by Python's ssl."""

    def __init__(self, sock: Socket) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context().wrap_bio(self._incoming, self._outgoing, False, "localhost")
        self._sealed = b""
        self._is_shaken = False
        self.at_eof = False

    def _flush(self) -> bool:
        self._sealed += self._outgoing.read()
        if self._sealed:
            self._sealed = self._sealed[self._sock.send(self._sealed) :]
        return not self._sealed

    def _shake(self) -> bool:
        if self._is_shaken:
            return True
        try:
            self._tls.do_handshake()
            self._is_shaken = True
        except ssl.SSLWantReadError:
            self._pull()
        self._flush()
        return self._is_shaken

    def _pull(self) -> bool:
        data = self._sock.recv(CHUNK)
        if data:
            self._incoming.write(data)
        elif self._sock.at_eof:
            self.at_eof = True
        return bool(data)

    def send(self, data: bytes) -> int:
        """Bytes taken. Raises OSError (SSLError is one)."""
        if not self._shake() or not self._flush():
            return 0
        taken = self._tls.write(data[:CHUNK])
        self._flush()
        return taken

    def recv(self, most: int) -> bytes:
        """What is there, b"" when nothing is. Raises OSError."""
        if not self._shake():
            return b""
        self._flush()
        while True:
            try:
                data = self._tls.read(most)
                self.at_eof |= not data
                return data
            except ssl.SSLZeroReturnError:
                self.at_eof = True
                return b""
            except ssl.SSLWantReadError:
                if not self._pull():
                    return b""

    def shutdown_write(self) -> None:
        """A FIN, without a close_notify."""
        self._sock.shutdown_write()

    def close(self) -> None:
        self._sock.close()

    def reset(self) -> None:
        self._sock.reset()


class SecureRun(Run):
    """Echo."""

    def __init__(self, random: Random) -> None:
        super().__init__(random)
        self.stage = Stage(random, Echo(), scheme="tls", tls=server_tls())

    @property
    def finishes(self) -> bool:
        return super().finishes and self.stage.is_calm  # else a handshake may take too long

    def good(self, number: int) -> Peer:
        stream = self.random.randbytes(self.random.choice((1, 100, 3000, 30_000)))
        return Peer(self.random, SecureSocket(self.stage.connect()), stream, stream)

    def peer(self) -> Peer:
        if self.random.random() < 0.3:  # speaks TLS, and does not behave
            sock = SecureSocket(self.stage.connect())
            return Peer(self.random, sock, self.random.randbytes(3000))
        return super().peer()

    def bad(self) -> bytes:
        stream = self.random.choice((HELLO, b"GET / HTTP/1.1\r\n\r\n", b"", bytes(20_000)))
        return mutated(self.random, stream)
