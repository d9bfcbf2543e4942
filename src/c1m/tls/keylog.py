"""Traffic secrets of handshakes, as OpenSSL logs them, through a pipe of this process.

Facts. SSLContext.keylog_filename has Python append a line for each secret, within the call of
do_handshake that makes it, in one write. The format is NSS's key log (draft-ietf-tls-keylogfile):
LABEL, the client's random, the secret, in hexadecimal. Either side logs the secrets of both
directions, that of the client's with its Finished. A context has one such file.

Choice. The file is the end of a pipe (/proc/self/fd/N), which Python allows for: what was read is
gone from it, lines of several threads do not mix, and a pipe is kernel memory that is never
swapped out. Secrets are found by the client's random, so none can be taken for another
connection's; where both sides are in this process, each has a log of its own. Cost: whoever makes
handshakes with an attached context calls `take` behind each step; a pipe that is full blocks.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import threading
from weakref import WeakKeyDictionary

from c1m.errors import UsageError

CLIENT, SERVER = "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"
_PIPE_BYTES = 1 << 16  # some fifty handshakes
_UNCLAIMED_MAX = 4096  # handshakes of other threads whose secrets were read and not asked for yet

Secrets = dict[str, bytes]
"""Application traffic secrets by label."""


class KeyLog:
    """The secrets that the attached contexts of one side log, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users: WeakKeyDictionary[ssl.SSLContext, int] = WeakKeyDictionary()
        self._ends: tuple[int, int] | None = None  # of the pipe: to read from, to write to
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
                context.keylog_filename = self._path()
            self._users[context] = self._users.get(context, 0) + 1

    def detach(self, context: ssl.SSLContext) -> None:
        """One user of this context less; nothing is logged behind the last one."""
        with self._lock:
            count = self._users.pop(context, 0) - 1
            if count > 0:
                self._users[context] = count
            elif count == 0:
                context.keylog_filename = None  # type: ignore[assignment]  # as documented
            if not self._users and self._ends is not None:
                for fd in self._ends:
                    os.close(fd)
                self._ends = None
                self._unclaimed.clear()

    def take(self, client_random: bytes) -> Secrets:
        """What was logged of the connection whose ClientHello had this random, each once."""
        with self._lock:
            if self._ends is not None:
                self._read(self._ends[0])
            return self._unclaimed.pop(client_random, {})

    def _read(self, fd: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for line in os.read(fd, _PIPE_BYTES).decode("ascii").splitlines():
                words = line.split()
                if len(words) == 3 and words[0] in (CLIENT, SERVER):
                    of_one = self._unclaimed.setdefault(bytes.fromhex(words[1]), {})
                    of_one[words[0]] = bytes.fromhex(words[2])
        while len(self._unclaimed) > _UNCLAIMED_MAX:
            del self._unclaimed[next(iter(self._unclaimed))]

    def _path(self) -> str:
        if self._ends is None:
            self._ends = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self._ends[0], False)
        return f"/proc/self/fd/{self._ends[1]}"


CLIENTS, SERVERS = KeyLog(), KeyLog()


def keylog_of(context: ssl.SSLContext) -> KeyLog:
    """Where this one logs: by the side that it was made for (ssl.PROTOCOL_TLS_CLIENT)."""
    return CLIENTS if context.protocol is ssl.PROTOCOL_TLS_CLIENT else SERVERS
