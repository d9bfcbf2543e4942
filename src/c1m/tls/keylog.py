"""Traffic secrets of handshakes, as OpenSSL logs them, in memory that no disk has.

Facts. SSLContext.keylog_filename has Python append a line for each secret, within the call of
do_handshake that makes it, in one write; a write that would block or fail ends the handshake, so
that a pipe would not do. The format is NSS's key log (draft-ietf-tls-keylogfile): LABEL, the
client's random, the secret, in hexadecimal. Either side logs the secrets of both directions, that
of the client's with its Finished. A context has one such file.

Choice. A memfd, which has no name in any directory. What was read is wiped at once, and its pages
are given back; it is not cut off, for another thread may be writing. Secrets are found by the
client's random, so none can be taken for another connection's; where both sides are in this
process, each has a log of its own.
"""

from __future__ import annotations

import os
import ssl
import threading
from weakref import WeakKeyDictionary

from c1m.errors import UsageError
from c1m.kernel import secret_memory

CLIENT, SERVER = "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"
_LENGTHS = (64 + 1 + 64, 64 + 1 + 96)  # of a random and a secret in hexadecimal
_CHUNK = 1 << 16  # bytes that are read, and given back, at a time
_UNCLAIMED_MAX = 4096  # handshakes whose secrets were read, and that have not asked for them

Secrets = dict[str, bytes]
"""Application traffic secrets by label."""


class KeyLog:
    """The secrets that the attached contexts of one side log, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: WeakKeyDictionary[ssl.SSLContext, int] = WeakKeyDictionary()
        self._fd = -1
        self._at = self._freed = 0  # bytes of the file that were read, and given back
        self._unclaimed: dict[bytes, Secrets] = {}

    def attach(self, context: ssl.SSLContext) -> None:
        """Have this context log here. Raises UsageError where it logs to somebody's file."""
        with self._lock:
            if context not in self._users:
                if context.keylog_filename is not None:
                    raise UsageError(
                        f"The TLS context logs its keys to {context.keylog_filename}, and the "
                        "hand-off needs this log for itself.",
                        "Unset SSLKEYLOGFILE (or keylog_filename), or do without the hand-off.",
                    )
                if self._fd < 0:
                    self._fd = secret_memory.file()
                context.keylog_filename = f"/proc/self/fd/{self._fd}"
            self._users[context] = self._users.get(context, 0) + 1

    def detach(self, context: ssl.SSLContext) -> None:
        """One user of this context less; nothing is logged behind the last one."""
        with self._lock:
            count = self._users.pop(context, 0) - 1
            if count > 0:
                self._users[context] = count
            elif count == 0:
                context.keylog_filename = None  # type: ignore[assignment]  # as documented
            if not self._users and self._fd >= 0:
                self._read()
                os.close(self._fd)
                self._fd, self._at, self._freed = -1, 0, 0
                self._unclaimed.clear()

    def take(self, client_random: bytes) -> Secrets:
        """What was logged of the connection whose ClientHello had this random, each once."""
        with self._lock:
            if self._fd >= 0:
                self._read()
            return self._unclaimed.pop(client_random, {})

    def _read(self) -> None:
        while text := os.pread(self._fd, _CHUNK, self._at):
            size = text.rfind(b"\n") + 1  # without a line that is being written
            if not size:
                break
            os.pwrite(self._fd, bytes(size), self._at)
            self._at += size
            for line in text[:size].splitlines():
                self._note(line.decode("latin-1"))
            if len(text) < _CHUNK:
                break
        while self._at - self._freed >= _CHUNK:
            secret_memory.give_back(self._fd, self._freed, _CHUNK)
            self._freed += _CHUNK

    def _note(self, line: str) -> None:
        label, _, rest = line.partition(" ")
        if label not in (CLIENT, SERVER) or len(rest) not in _LENGTHS:
            return
        of_one = self._unclaimed.setdefault(bytes.fromhex(rest[:64]), {})
        of_one[label] = bytes.fromhex(rest[65:])
        if len(self._unclaimed) > _UNCLAIMED_MAX:
            del self._unclaimed[next(iter(self._unclaimed))]


CLIENTS, SERVERS = KeyLog(), KeyLog()


def keylog_of(context: ssl.SSLContext) -> KeyLog:
    """Where this one logs: by the side that it was made for (ssl.PROTOCOL_TLS_CLIENT)."""
    return CLIENTS if context.protocol is ssl.PROTOCOL_TLS_CLIENT else SERVERS
