"""Listening sockets and names: everything about sockets that is not a connection.

Facts
- Sockets that accept(2) returns have the listener's TCP_NODELAY (and buffer sizes), so it is set
  once here and costs no system call for each connection.
- So it is with SO_KEEPALIVE, its times and TCP_USER_TIMEOUT. Nobody is told of a probe that is
  answered; KEEPALIVE_COUNT in a row that are not end the connection with ETIMEDOUT.
- The kernel's timers are kept to an eighth of their time at worst (30 s to 2 s, 300 s to 16 s, with
  HZ=250): all connections that were quiet since the same time send their probe in one softirq, and
  what goes beyond a queue (net.core.netdev_max_backlog, a network card's) is lost, three times in
  step. Of 60,000 idle connections over loopback 33,000 ended so within 85 s.
- TCP_USER_TIMEOUT ends a connection whose peer has acknowledged nothing for so long, also one that
  answers and keeps its window shut (seen on 6.18). Where it is set one lost probe is enough once it
  is over, so it must not be shorter than all of them take.
- SO_REUSEADDR lets a port be listened on again while old connections are in TIME_WAIT; on Linux it
  does not let two sockets listen on one port.
- The file of a unix socket stays when its process dies; connect(2) to it is then refused, and
  that is how a stale one is recognised. Before listen(2) it is refused as well: so nobody comes in
  between bind(2), which makes the file, and the mode and the group that it is to have.
- A socket's filter also sees what comes for a listening one, SYNs among it. One that drops all lets
  the accept queue end: who connects tries again, and finds the next server or that there is none.
- listen(2) silently cuts the backlog to net.core.somaxconn: see `sock_diag.accept_queue_of`.
"""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import socket
import stat
import struct
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from c1m.addresses import (
    AF_INET6,
    AF_UNIX,
    PROXIED,
    Endpoint,
    ListeningSocket,
    family_of,
    parse_url,
)
from c1m.errors import UsageError
from c1m.kernel import procfs

KEEPALIVE_COUNT = 3  # probes, a third of the time apart: a dead peer is found within twice of it
SO_ATTACH_FILTER, SO_DETACH_FILTER = 26, 27  # include/uapi/asm-generic/socket.h
_DROP_ALL = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # BPF_RET | BPF_K


class Listener:
    """A listening socket: its descriptor, and what it is bound to (the port is never 0).

    `is_shared`: another process has it, too, so that its file and its accept queue are left alone.
    """

    given: ListeningSocket | None = None

    def __init__(self, sock: socket.socket, endpoint: Endpoint, *, is_shared: bool = False) -> None:
        self.is_shared = is_shared
        port = 0 if endpoint.family == AF_UNIX else int(sock.getsockname()[1])
        self.endpoint = replace(endpoint, port=port)
        self.fd = sock.fileno()
        self._sock = sock
        self._path = os.path.abspath(endpoint.path) if endpoint.family == AF_UNIX else ""
        # The file that this socket made is removed at the end, and no other.
        self._file = _identity(self._path) if self._path else None

    def set_backlog(self, backlog: int) -> None:
        """Bound the accept queue anew."""
        self._sock.listen(backlog)

    def close(self) -> None:
        """Stop listening, and remove the file of a unix socket."""
        self._remove()
        self._sock.close()

    def turn_away(self) -> None:
        """Nobody new comes from now on; who is in the accept queue can still be accepted."""
        self._remove()
        if not self.is_shared and self.endpoint.family != AF_UNIX:
            program = struct.pack("HP", 1, ctypes.addressof(_DROP_ALL))
            with suppress(OSError):  # not to be had here: what is in the queue then is reset
                self._sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def let_in_again(self) -> None:
        """What `turn_away` did is over."""
        with suppress(OSError):  # nobody was turned away
            self._sock.setsockopt(socket.SOL_SOCKET, SO_DETACH_FILTER, 0)

    def let_others_join(self) -> None:
        """Sockets that are opened with SO_REUSEPORT from now on may listen there, too."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)

    @property
    def has_file(self) -> bool:
        """Whether there is a file that goes with it."""
        return bool(self._path) and not self.is_shared

    def _remove(self) -> None:
        if self.has_file and _identity(self._path) == self._file:
            with suppress(FileNotFoundError, PermissionError):  # another user's by now: it is stale
                os.unlink(self._path)


class GivenListener(Listener):
    """A socket that somebody else has made, lets listen, and closes."""

    def __init__(self, given: ListeningSocket) -> None:
        self.given = given
        self.endpoint = given.endpoint
        self.fd = given.fd

    def set_backlog(self, backlog: int) -> None:
        """Nothing: it is not ours."""

    def close(self) -> None:
        """Nothing: it is not ours."""


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of a file; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def resolve(text: str) -> list[Endpoint]:
    """An endpoint's text -> one Endpoint a port, names looked up (IPv4 preferred).

    Raises UsageError for a text that is no endpoint and for a host that is not known.
    """
    written, separator, place = text.partition("://")
    is_proxied = bool(separator) and written.lower().endswith(PROXIED)
    if is_proxied:
        text = f"{written[: -len(PROXIED)]}://{place}"
    text, _, query = text.partition("?") if text.lower().startswith("unix://") else (text, "", "")
    scheme, host, first, last = parse_url(text)
    if scheme == "unix":
        mode, group = _access_of(query)
        return [Endpoint(AF_UNIX, path=host, is_proxied=is_proxied, mode=mode, group=group)]
    family = family_of(host)
    if family is None:
        family, host = _look_up(host, text)
    ports = range(first, last + 1)
    return [Endpoint(family, host, p, scheme=scheme, is_proxied=is_proxied) for p in ports]


def _access_of(query: str) -> tuple[int | None, str]:
    """Of mode=0660&group=www, who may connect to a unix socket: its file's mode and group."""
    mode, group = None, ""
    for each in filter(None, query.split("&")):
        name, _, value = each.partition("=")
        if name == "mode" and value and not set(value) - set("01234567") and len(value) <= 4:
            mode = int(value, 8)
        elif name == "group" and _group_of(value) is not None:
            group = value
        else:
            raise UsageError(
                f"{each!r} says nothing of a unix socket"
                f"{': there is no such group' if name == 'group' else ''}.",
                "Write unix:///run/c1m.sock?mode=0660&group=NAME.",
            )
    return mode, group


def _group_of(name: str) -> int | None:
    if name.isdigit():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return None


def _look_up(name: str, text: str) -> tuple[int, str]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a host name"
        raise UsageError(
            f"The host {name!r} in {text!r} is not known ({reason}).",
            "Check the spelling, or write its address.",
        ) from None
    found.sort(key=lambda entry: entry[0] == socket.AF_INET6)  # stable: IPv4 goes first
    family, _, _, _, address = found[0]
    return int(family), str(address[0])


def open_listeners(endpoints: Sequence[Endpoint], backlog: int) -> list[Listener]:
    """Non-blocking listening sockets for all the endpoints, in their order, or for none.

    Raises UsageError naming the first endpoint that cannot be listened on, and why.
    """
    opened: list[Listener] = []
    try:
        for endpoint in endpoints:
            opened.append(_open_listener(endpoint, backlog))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def open_further(first: Listener, count: int, backlog: int) -> list[Listener]:
    """`count` more sockets that listen where the first one does: see kernel/reuseport.py.

    Raises UsageError where they cannot be had, with none left.
    """
    first.let_others_join()
    opened: list[Listener] = []
    try:
        for _ in range(count):
            opened.append(_open_listener(first.endpoint, backlog, joins=True))
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def renew(
    listeners: Sequence[Listener],
    endpoints: Sequence[Endpoint | ListeningSocket],
    backlog: int,
    open_listeners: Callable[[Sequence[Endpoint], int], list[Listener]],
) -> tuple[list[Listener], list[Listener]]:
    """Listeners for exactly these endpoints, in their order, and those that are to be closed.

    Where an endpoint is listened on already, its listener stays; one that is given is taken as it
    is. Raises UsageError as `open_listeners` does, with nothing changed.
    """
    dropped: dict[Endpoint | ListeningSocket, Listener] = {
        listener.given or listener.endpoint: listener for listener in listeners
    }
    kept = [dropped.pop(each, None) for each in endpoints]
    for index, each in enumerate(endpoints):
        if kept[index] is None and isinstance(each, ListeningSocket):
            kept[index] = GivenListener(each)
    missing = [
        e for e, listener in zip(endpoints, kept, strict=True)
        if listener is None and isinstance(e, Endpoint)
    ]  # fmt: skip
    fresh = iter(open_listeners(missing, backlog))
    for listener in kept:
        if listener is not None:
            listener.set_backlog(backlog)
    wanted = [next(fresh) if listener is None else listener for listener in kept]
    assert next(fresh, None) is None
    return wanted, list(dropped.values())


def _open_listener(endpoint: Endpoint, backlog: int, *, joins: bool = False) -> Listener:
    """`joins`: other sockets of this user listen there, too (kernel/reuseport.py)."""
    family = endpoint.family
    with ExitStack() as made:
        try:
            sock = made.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if family == AF_UNIX:
                _bind_unix(sock, endpoint)
                made.callback(os.unlink, endpoint.path)
                if endpoint.group:
                    os.chown(endpoint.path, -1, _group_of(endpoint.group) or 0)
                if endpoint.mode is not None:
                    os.chmod(endpoint.path, endpoint.mode)
            else:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if family == AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                _watch_peers(sock, endpoint)
                if joins:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                sock.bind((endpoint.host, endpoint.port))
            sock.setblocking(False)
            # Two sockets may be bound to one port with SO_REUSEADDR; only listen(2) finds out.
            sock.listen(backlog)
            listener = Listener(sock, endpoint)
        except OSError as error:
            raise _refused(endpoint, error) from None
        made.pop_all()
    return listener


def _watch_peers(sock: socket.socket, endpoint: Endpoint) -> None:
    """Let the kernel find out that peers are no longer there, on connections to come."""
    if endpoint.keepalive_s:
        seconds = endpoint.keepalive_s
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, seconds)
        between_s = max(seconds // KEEPALIVE_COUNT, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, between_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    if endpoint.untaken_ms:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, endpoint.untaken_ms)


def _bind_unix(sock: socket.socket, endpoint: Endpoint) -> None:
    """Bind to a path; a file that a process has left behind is replaced."""
    try:
        sock.bind(endpoint.path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_stale(endpoint):
            raise
        os.unlink(endpoint.path)
        sock.bind(endpoint.path)


def _is_stale(endpoint: Endpoint) -> bool:
    """Whether the file is a socket that nobody listens on. Raises UsageError for other files."""
    if not stat.S_ISSOCK(os.stat(endpoint.path).st_mode):
        raise UsageError(
            f"{endpoint} cannot be listened on: a file that is no socket is there.",
            "Choose another path, or remove the file.",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live listener with a full queue answers EAGAIN
        return probe.connect_ex(endpoint.path) == errno.ECONNREFUSED


def _refused(endpoint: Endpoint, error: OSError) -> UsageError:
    """The sentence for a listener that the kernel refused."""
    asked = f"{endpoint} cannot be listened on"
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"{asked}: it is in use{_holders(endpoint)}.", "Stop that one, or use another port."
        )
    if error.errno == errno.EACCES and endpoint.family != AF_UNIX:
        first = procfs.read_sysctl("net.ipv4.ip_unprivileged_port_start") or 1024
        return UsageError(
            f"{asked}: ports below {first} need a privilege.",
            "Use a higher port, or run with CAP_NET_BIND_SERVICE.",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(
            f"{asked}: {endpoint.host} is not an address of this host.",
            "Use one of `ip address`, or 0.0.0.0 (IPv6: [::]) for all of them.",
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return UsageError(
            f"{asked}: no descriptor is left ({error.strerror}).",
            "Use fewer listeners, or raise the limit: ulimit -n.",
        )
    return UsageError(f"{asked}: {error.strerror or error}.")


def _holders(endpoint: Endpoint) -> str:
    """' by NAME (process PID)' for a port whose holder the kernel shows, else ''."""
    if endpoint.family == AF_UNIX:
        return ""
    holders = procfs.listener_holders(endpoint.port)
    names = [f"{command} (process {pid})" for pid, command in holders]
    return f" by {', '.join(names)}" if names else ""


def given_listener(fd: int, asked: Endpoint, *, is_shared: bool, backlog: int) -> Listener:
    """A socket that another process has made, for what is asked; the descriptor is its from now.

    It is one description with the other's: whether it blocks and its backlog are theirs as well.
    """
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    if asked.family != AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _watch_peers(sock, asked)
    if not is_shared:
        sock.listen(backlog)
    return Listener(sock, asked, is_shared=is_shared)


def listens_on(fd: int) -> Endpoint | None:
    """What a descriptor is bound to; None where it is no stream socket that listens."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # none of a socket
        return None
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        name = sock.getsockname()
        if sock.family == AF_UNIX:
            return Endpoint(AF_UNIX, path=os.fsdecode(name))
        return Endpoint(int(sock.family), name[0], name[1])
    finally:
        sock.detach()


def is_unix(fd: int) -> bool:
    """Whether this descriptor is a unix socket's."""
    try:
        sock = socket.socket(fileno=fd)
    except OSError:  # none of a socket
        return False
    sock.detach()
    return bool(sock.family == AF_UNIX)
