"""systemd, or who does as it does: the sockets that it has opened, and what it is told.

See sd_listen_fds(3) and sd_notify(3); both are a few environment variables and datagrams.
"""

from __future__ import annotations

import fcntl
import os
import socket
from dataclasses import dataclass, replace

from c1m.addresses import PLAIN_SCHEMES, TLS_SCHEMES, Endpoint
from c1m.errors import UsageError
from c1m.kernel.sockets import listens_on

FIRST_FD = 3  # SD_LISTEN_FDS_START
NS_PER_US = 1000


@dataclass(frozen=True, slots=True)
class Given:
    """A listening socket of another process: for which endpoint it was asked, where it is bound.

    `is_shared`: the other one keeps it."""

    fd: int
    asked: Endpoint
    bound: Endpoint
    is_shared: bool


def activated() -> list[Given]:
    """The sockets that were opened for this process, once. Raises UsageError for others.

    A name (FileDescriptorName=) that is a scheme says what is spoken there: https, tls, rediss.
    """
    pid, count = os.environ.get("LISTEN_PID", ""), os.environ.get("LISTEN_FDS", "")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(variable, None)  # not those of our children
    found = []
    for at, fd in enumerate(range(FIRST_FD, FIRST_FD + int(count))):
        endpoint = listens_on(fd)
        if endpoint is None:
            raise UsageError(
                f"Descriptor {fd}, which systemd has passed on, is no stream socket that listens.",
                "Use ListenStream= and Accept=no in the socket unit.",
            )
        os.set_inheritable(fd, False)
        if at < len(names) and names[at] in PLAIN_SCHEMES + TLS_SCHEMES:
            endpoint = replace(endpoint, scheme=names[at])
        found.append(Given(fd, endpoint, endpoint, is_shared=True))
    return found


class Notifier:
    """Tells the supervisor, where there is one: NOTIFY_SOCKET. It never waits and never fails."""

    def __init__(self) -> None:
        path = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self._sock: socket.socket | None = None
        if path.startswith(("/", "@")):
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._sock.setblocking(False)

    @property
    def is_heard(self) -> bool:
        """Whether there is somebody to tell."""
        return self._sock is not None

    @property
    def watchdog_ns(self) -> int:
        """Within which time WATCHDOG=1 is expected; 0: never."""
        us, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
        is_ours = self.is_heard and pid in ("", str(os.getpid()))
        return int(us) * NS_PER_US if us.isdecimal() and is_ours else 0

    def tell(self, *lines: str) -> None:
        """One datagram of assignments: "READY=1"."""
        if self._sock is None:
            return
        try:
            self._sock.sendto("\n".join(lines).encode(), self._address)
        except OSError:  # it is gone, or does not read: no reason to stop
            return

    def close(self) -> None:
        """Tell nothing any more."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


def pass_on(fds: list[int]) -> None:
    """Have this process find these sockets by `activated` after an exec. Closes all others there.

    They are moved up first, so that none is where another is to be.
    """
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, FIRST_FD + len(fds)) for fd in fds]
    for at, fd in enumerate(high):
        os.dup2(fd, FIRST_FD + at, inheritable=True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
