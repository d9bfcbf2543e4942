"""A unix socket between two processes of one user: messages, and descriptors with them.

Facts
- A message of SOCK_SEQPACKET comes whole or not at all, with its descriptors (SCM_RIGHTS), of which
  it has SCM_MAX_FD (253) at most (include/net/scm.h).
- A descriptor that has come is another name for the same open socket: its accept queue goes on
  when the process that sent it closes its own.
- SO_PEERCRED says who connected, or who listened, as of then.
- A file that is renamed over another is there at every moment, as the one or as the other.
"""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import struct
from contextlib import suppress
from typing import Any

from c1m.errors import UsageError

FDS_MAX = 250
MESSAGE_MAX = 1 << 18
Message = dict[str, Any]


class Channel:
    """One connection of the two. Both sides are of one user, or one of them is root."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        sock.setblocking(False)

    def say(self, fds: list[int] | None = None, **message: Any) -> bool:
        """Send; whether the other one is still there."""
        try:
            socket.send_fds(self._sock, [json.dumps(message).encode()], fds or [])
        except OSError:
            return False
        return True

    def hear(self, timeout_ms: int = 0) -> tuple[Message, list[int]] | None:
        """What has come within that time: {} for nothing, None for the end of the other."""
        waits = select.poll()
        waits.register(self._sock, select.POLLIN)
        if not waits.poll(timeout_ms):
            return {}, []
        fds: list[int] = []
        try:
            data, fds, flags, _ = socket.recv_fds(self._sock, MESSAGE_MAX, FDS_MAX)
            message = json.loads(data) if data and not flags else None
        except (OSError, ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and message:
            for fd in fds:
                os.set_inheritable(fd, False)
            return message, fds
        for fd in fds:
            os.close(fd)
        return None

    def fileno(self) -> int:
        """For who waits until something has come."""
        return self._sock.fileno()

    def close(self) -> None:
        """The other one hears of it."""
        self._sock.close()


def channel_to_child() -> tuple[Channel, socket.socket]:
    """A channel, and the other end of it, which a child is to inherit."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs


def inherited(fd: int) -> Channel:
    """The other end, in the child; its own children do not have it."""
    os.set_inheritable(fd, False)
    return Channel(socket.socket(fileno=fd))


class Doorway:
    """Listens at a path that only this user may connect to."""

    def __init__(self, path: str) -> None:
        self._path, self._own = path, f"{path}.{os.getpid()}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with suppress(FileNotFoundError):
                os.unlink(self._own)  # of a process with our number that was killed
            self._sock.bind(self._own)
            os.chmod(self._own, 0o600)
            self._sock.listen(8)  # nobody could connect before this
            self._sock.setblocking(False)
            self._check_place()
            self._file = os.stat(self._own).st_ino
            os.rename(self._own, path)
        except OSError as error:
            self._sock.close()
            raise _refused(path, error) from None
        except UsageError:
            self._sock.close()
            raise
        finally:
            with suppress(OSError):
                os.unlink(self._own)

    def _check_place(self) -> None:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(self._path).st_mode):
                raise UsageError(
                    f"There is a file at {self._path} that is no socket.",
                    "Give --takeover another path.",
                )

    def next(self) -> Channel | None:
        """Who has come, if somebody has; who may not is sent away."""
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return None
        if _uid_of(sock) not in (0, os.geteuid()):
            sock.close()
            return None
        return Channel(sock)

    def close(self) -> None:
        """Listen no more; the file goes if it is ours still."""
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._file:
                os.unlink(self._path)
        self._sock.close()


def knock(path: str, uid: int) -> Channel | None:
    """Connect to who listens at the path, as root, as we or as `uid`; None where nobody does.

    Raises UsageError.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.connect(path)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError as error:
        sock.close()
        raise _refused(path, error) from None
    if _uid_of(sock) not in (0, os.geteuid(), uid):
        sock.close()
        raise UsageError(
            f"Who listens at {path} is a process of another user.", "Give --takeover another path."
        )
    return Channel(sock)


def _uid_of(sock: socket.socket) -> int:
    """The other one's, as of when it connected or listened."""
    _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return int(uid)


def _refused(path: str, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be used for a take-over: {error.strerror or error}.",
        "Give --takeover a path in a directory that this user may write to.",
    )
