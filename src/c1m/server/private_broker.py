"""A broker for the processes of one server, so that what one publishes reaches subscribers of all.

It is `c1m serve kv` on a unix socket in a directory of its own, which only this user may enter; one
more process, which is started again as the others are. Its socket is the first process's: who
connects to it meanwhile waits.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress

from c1m.kernel.sockets import open_listeners, resolve
from c1m.kernel.users import User
from c1m.server.child import Child

NAME = "relay.sock"
BACKLOG = 1024


class PrivateBroker:
    """`child` is its process, `url` what the others have as --relay. Raises UsageError."""

    def __init__(self, number: int, user: User | None) -> None:
        self._directory = tempfile.mkdtemp(prefix="c1m-")
        try:
            path = os.path.join(self._directory, NAME)
            self.url = f"redis+unix://{path}"
            [endpoint] = resolve(f"unix://{path}?mode=0600")
            [self._listener] = open_listeners([endpoint], BACKLOG)
            if user is not None:
                for each in (path, self._directory):
                    os.chown(each, user.uid, -1)
        except BaseException:
            self._remove()
            raise
        command = [sys.executable, "-m", "c1m", "serve", "kv"]
        self.child = Child(number, 1, "The broker of the processes", command)
        self.child.listen = [f"unix://{path}"]
        self.child.sockets = [(self._listener, self._listener.endpoint, True)]

    def close(self) -> None:
        """Nothing is left of it."""
        self._listener.close()
        self._remove()

    def _remove(self) -> None:
        with suppress(OSError):
            os.rmdir(self._directory)
