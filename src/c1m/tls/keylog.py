"""Traffic secrets of handshakes, as OpenSSL logs them, in memory that no disk has.

Facts. SSLContext.keylog_filename has OpenSSL append a line for each secret, within the call of
do_handshake that makes it; the file is opened for appending, so that one which was emptied goes on
at its beginning. A memfd has no name in any directory. The format is NSS's key log
(draft-ietf-tls-keylogfile): LABEL, the client's random, the secret, in hexadecimal.
"""

from __future__ import annotations

import os
import ssl

CLIENT, SERVER = "CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"
_SIZE = 4096  # of the lines of one call


class KeyLog:
    """The secrets that the contexts of one engine log. Used by one thread."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("c1m-tls", os.MFD_CLOEXEC)

    def attach(self, context: ssl.SSLContext) -> None:
        """Have this context log here."""
        context.keylog_filename = f"/proc/self/fd/{self._fd}"

    def take(self) -> dict[str, bytes]:
        """What was logged since the last time: application traffic secrets by label."""
        text = os.pread(self._fd, _SIZE, 0)
        if not text:
            return {}
        os.ftruncate(self._fd, 0)
        lines = (line.split() for line in text.decode("ascii").splitlines())
        return {
            words[0]: bytes.fromhex(words[2])
            for words in lines
            if len(words) == 3 and words[0] in (CLIENT, SERVER)
        }

    def close(self) -> None:
        """Give the memory back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
