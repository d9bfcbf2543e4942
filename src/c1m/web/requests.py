"""The HTTP half of a web server: requests, responses, upgrades."""

from __future__ import annotations

from email.utils import formatdate

import numpy as np

from c1m.clock import unix_time_ms
from c1m.engine.contract import Slots
from c1m.protocols import sse
from c1m.protocols.http.requests import Bounds, Head, Refused, RequestReader
from c1m.protocols.http.responses import Response, encoded, text
from c1m.protocols.http.upgrades import Upgrades
from c1m.server.server import Server
from c1m.web.connections import HTTP, STREAM, Connections, UpgradeBatch


class Requests(Connections):
    """What a subclass answers, and how requests become that."""

    bounds: Bounds

    def refuse(self, slot: int, response: Response, server: Server) -> None:
        """This is none; the connection ends behind the response."""
        self._answer(slot, response, server, stays=False)

    def respond(self, slot: int, response: Response, server: Server) -> None:
        """Answer a request for which on_request returned None."""
        self._answer(slot, response, server, stays=True)

    def stream(
        self,
        slot: int,
        server: Server,
        first: bytes = b"",
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer a request with a stream of events, which begins with `first`."""
        self.kinds[slot] = STREAM
        lines = [
            "HTTP/1.1 200 OK", f"Date: {self._date()}", f"Content-Type: {sse.CONTENT_TYPE}",
            "Cache-Control: no-cache", "X-Accel-Buffering: no", "Connection: close",
            *(f"{name}: {value}" for name, value in fields),
        ]  # fmt: skip
        server.send(slot, "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + first)

    # --- what the server calls ------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._readers: dict[int, RequestReader] = {}  # with something unfinished
        self._upgrades = Upgrades(self.bounds)
        self._dated = (-1, "")

    def _forget(self, slots: Slots) -> None:
        super()._forget(slots)
        if self._readers:
            for slot in slots.tolist():
                self._readers.pop(slot, None)

    def _take_http(
        self, pieces: list[tuple[int, bytes]], server: Server
    ) -> list[tuple[int, bytes]]:
        """Answer requests and upgrades; returns what came behind the latter."""
        batch = UpgradeBatch([], [], [])
        later: list[tuple[int, bytes]] = []  # behind an upgrade
        asks: set[int] = set()
        for slot, piece in pieces:
            if slot in asks:
                later.append((slot, piece))
                continue
            if self.kinds[slot] != HTTP:
                continue
            found = None if slot in self._readers else self._upgrades.find(piece)
            if found is None:
                found = self._read(slot, piece, server)
            if found is not None:
                asks.add(slot)
                batch.slots.append(slot)
                batch.heads.append(found[0])
                batch.keys.append(found[1])
                reader = self._readers.pop(slot, None)
                if reader is not None and reader.rest:
                    later.append((slot, reader.rest))
        if batch.slots:
            self.on_upgrades(batch, server)
        return later

    def _read(self, slot: int, piece: bytes, server: Server) -> tuple[Head, bytes] | None:
        """Take requests one by one; an upgrade's head and key where there is one."""
        reader = self._readers.get(slot)
        if reader is None:
            reader = self._readers[slot] = RequestReader(self.bounds)
        try:
            for request in reader.take(piece):
                head = request.head
                if head.is_upgrade:
                    return head, head.get(b"sec-websocket-key") or b""
                response = self.on_request(slot, request, server)
                if response is not None:
                    self._answer(slot, response, server, head.stays, head.method == b"HEAD")
                if self.kinds[slot] != HTTP:
                    break
        except Refused as refused:
            self._answer(slot, text(refused.status, refused.why), server, stays=False)
        if not reader.rest:
            self._readers.pop(slot, None)
        return None

    def _answer(
        self, slot: int, response: Response, server: Server, stays: bool, is_head: bool = False
    ) -> None:
        server.send(slot, encoded(response, date=self._date(), stays=stays, is_head=is_head))
        if not stays:
            self._end(np.array([slot], np.int32), server)

    def _date(self) -> str:
        second = unix_time_ms() // 1000
        if second != self._dated[0]:
            self._dated = second, formatdate(second, usegmt=True)
        return self._dated[1]
