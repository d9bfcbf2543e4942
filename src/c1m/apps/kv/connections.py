"""Connections as the operating system has them: their addresses, and who was idle for too long."""

from __future__ import annotations

import os
import socket

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, SOCKADDR_IN6
from c1m.engine.contract import Slots
from c1m.kv.store import Store
from c1m.server.server import Server
from c1m.units import NS_PER_MS

SLICES = 10  # of all connections: one is looked at at a time
LOOK_NS = 100 * NS_PER_MS
LAZY_LOOK_NS = 50 * LOOK_NS  # where there is no idle timeout


def shown_address(raw: bytes) -> str:
    """A struct sockaddr as CLIENT LIST shows it: 127.0.0.1:6379, [::1]:6379; "" for another one."""
    family = int.from_bytes(raw[:2], "little")
    port = int.from_bytes(raw[2:4], "big")
    if family == AF_INET:
        return f"{socket.inet_ntop(socket.AF_INET, raw[4:8])}:{port}"
    if family == AF_INET6:
        return f"[{socket.inet_ntop(socket.AF_INET6, raw[8:24])}]:{port}"
    return ""


class Addresses:
    """Both ends' addresses of a server's connections, which the kernel is asked for."""

    def __init__(self, server: Server) -> None:
        self._server = server
        endpoints = server.endpoints
        paths = [endpoint.path for endpoint in endpoints if endpoint.family == AF_UNIX]
        self._path = f"{paths[0]}:0" if paths else "?:0"
        only = endpoints[0]
        is_known = len(endpoints) == 1 and only.host not in ("", "0.0.0.0", "::")
        self._local = str(only).removeprefix("tcp://") if is_known else ""

    def __call__(self, slots: Slots) -> list[tuple[str, str]]:
        """The peer's and the server's address of each: int32[n]."""
        found = []
        for slot, raw in zip(slots.tolist(), self._peers(slots), strict=True):
            peer = shown_address(raw)
            local = (self._local or self._local_of(slot)) if peer else self._path
            found.append((peer or self._path, local))
        return found

    def _peers(self, slots: Slots) -> list[bytes]:
        """As struct sockaddr.

        Facts. Asked for more bytes than an address has, the kernel refuses; asked for fewer, it
        gives that much of it: its family at least.
        """
        engine = self._server.engine
        names = engine.peers(slots, AF_INET)
        for at, raw in enumerate(names):
            if int.from_bytes(raw[:2], "little") == AF_INET6 and len(raw) < SOCKADDR_IN6.itemsize:
                names[at] = engine.peers(slots[at : at + 1], AF_INET6)[0]
        return names

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
        return f"[{name[0]}]:{name[1]}" if ":" in name[0] else f"{name[0]}:{name[1]}"


class IdleConnections:
    """Ends connections that sent nothing for longer than the setting `timeout`.

    All are looked at once a second, a tenth at a time: 0.04 ms for each 100,000. Subscribers and
    those who wait for a key may be idle.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._due_ns = 0
        self._next = 0  # the first row of the next slice

    def enforce(self, now_ns: int) -> None:
        """End those of a slice, if it is time to look."""
        if now_ns < self._due_ns:
            return
        store, rows = self._store, self._store.rows
        limit_s = store.settings["timeout"]
        self._due_ns = now_ns + (LOOK_NS if limit_s else LAZY_LOOK_NS)
        first = self._next if self._next < rows.top else 0
        self._next = last = min(first + rows.top // SLICES + 1, rows.top)
        for slot in rows.idle(first, last, limit_s, store.now_ms).tolist():
            kept = rows.kept.get(slot)
            if kept is None or not (kept.waiter is not None or kept.is_monitor):
                store.out.closing.append(slot)
