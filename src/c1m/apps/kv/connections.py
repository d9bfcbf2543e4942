"""Connections as the operating system has them: their addresses, and who was idle for too long."""

from __future__ import annotations

import os
import socket

from c1m.addresses import AF_UNIX
from c1m.engine.contract import Slots
from c1m.kv.store import Store
from c1m.server.server import Server
from c1m.units import NS_PER_MS

SLICES = 10  # of all connections: one is looked at at a time
LOOK_NS = 100 * NS_PER_MS
LAZY_LOOK_NS = 50 * LOOK_NS  # where there is no idle timeout


class Addresses:
    """Both ends' addresses of a server's connections, which the kernel is asked for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        endpoints = server.endpoints
        paths = [endpoint.path for endpoint in endpoints if endpoint.family == AF_UNIX]
        self._path = f"{paths[0]}:0" if paths else "?:0"
        only = endpoints[0]
        is_known = len(endpoints) == 1 and only.host not in ("", "0.0.0.0", "::")
        self._local = str(only).partition("://")[2] if is_known else ""

    def __call__(self, slots: Slots) -> list[tuple[str, str]]:
        """The peer's and the server's address of each: int32[n]."""
        found = []
        for slot, (host, port) in zip(slots.tolist(), self._server.peers(slots), strict=True):
            peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}" if host else self._path
            local = (self._local or self._local_of(slot)) if host else self._path
            found.append((peer, local))
        return found

    def _local_of(self, slot: int) -> str:
        try:
            fd = self._server.engine.descriptor(slot)
        except OSError:  # the connection has ended
            return "?:0"
        try:
            with socket.socket(fileno=os.dup(fd)) as own:
                name = own.getsockname()
        except OSError:
            return "?:0"
        finally:
            os.close(fd)
        if isinstance(name, str):  # a unix socket, by which a proxy passes on who came by TCP
            return self._path
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


class IdleConnections:
    """Finds connections that sent nothing for longer than the setting `timeout`.

    All are looked at once a second, a tenth at a time: 0.04 ms for each 100,000. Subscribers and
    those who wait for a key may be idle.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due_ns = 0
        self._next = 0  # the first row of the next slice

    def over(self, now_ns: int) -> list[int]:
        """Those of a slice who are to be ended, if it is time to look."""
        if now_ns < self._due_ns:
            return []
        store, rows = self._store, self._store.rows
        limit_s = store.settings["timeout"]
        self._due_ns = now_ns + (LOOK_NS if limit_s else LAZY_LOOK_NS)
        first = self._next if self._next < rows.top else 0
        self._next = last = min(first + rows.top // SLICES + 1, rows.top)
        found = []
        for slot in rows.idle(first, last, limit_s, store.now_ms).tolist():
            kept = rows.kept.get(slot)
            if kept is None or not (kept.waiter is not None or kept.is_monitor):
                found.append(slot)
        return found
