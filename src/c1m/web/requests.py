"""The HTTP half of a web server: requests, responses, upgrades, and how long they may take.

Only a connection with something unfinished has an object, its reader. What all readers keep
together is bounded, and how long a client may take is a column (`deadlines`).

Requests of one connection are answered in order. Those that came before the response to the first
was sent wait: for the application where it answers later, and for a client that does not read.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate

import numpy as np

from c1m.clock import unix_time_ms
from c1m.engine.contract import Slots
from c1m.protocols import sse
from c1m.protocols.http.requests import NO_TLS, Bounds, Head, Refused, RequestReader
from c1m.protocols.http.responses import CONTINUE, Response, encoded, text
from c1m.protocols.http.upgrades import Upgrades
from c1m.protocols.websocket.handshake import check
from c1m.server.server import OpenBatch, Server
from c1m.units import NS_PER_S
from c1m.web.connections import CLOSING, ENDING, HTTP, STREAM, Connections, UpgradeBatch

ENDING_S = 5  # until the client has read the last response
READER_COST = 800  # bytes that a reader takes beside what came
PENDING_MAX = 64 << 10  # bytes of requests that wait for a response: it is not read from
GO_BYTES = 256 << 10  # of responses in a row; then further requests wait until they have gone out
GO_NS = 10_000_000  # how often it is looked whether they have
LOOK_NS = 20_000_000  # how often a slice of deadlines is looked at


class Requests(Connections):
    """What a subclass answers, and how requests become that."""

    bounds: Bounds
    request_s: int  # from the first byte of a request to its last: 408
    idle_s: int  # between two requests
    unfinished_max: int  # bytes of unfinished requests, of all connections: 503

    def refuse(self, slot: int, response: Response, server: Server) -> None:
        """This is none; the connection ends behind the response."""
        self._end_with(slot, response, server)

    def respond(
        self, slot: int, response: Response, server: Server, head: Head | None = None
    ) -> None:
        """Answer a request for which on_request returned None, if it is the one with this head."""
        if slot in self._asked and (head is None or self._asked[slot] is head):
            self._answer(slot, response, server)
            if slot in self._readers:
                self._put_behind(slot)

    def stream(
        self,
        slot: int,
        server: Server,
        first: bytes = b"",
        fields: tuple[tuple[str, str], ...] = (),
    ) -> None:
        """Answer a request with a stream of events, which begins with `first`."""
        more = [("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"), *fields]
        response = Response(200, first, [("Content-Type", sse.CONTENT_TYPE), *more], is_open=True)
        head = self._asked.get(slot)
        if head is None:
            return  # it has ended
        self._answer(slot, response, server)
        if head.method != b"HEAD":
            self._leave(slot)
            self.kinds[slot] = STREAM

    # --- what the server calls ------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._readers: dict[int, RequestReader] = {}  # with something unfinished
        self._unfinished = 0  # bytes that they take
        self._asked: dict[int, Head] = {}  # what is to be answered
        self._behind: set[int] = set()  # further requests of these wait for a tick
        self._paused: set[int] = set()
        self._half_closed: set[int] = set()  # they send no more, but are owed a response
        self._upgrades = Upgrades(self.bounds)
        self._dated = (-1, "")
        self._look_ns = 0

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        self.kinds[batch.slots] = HTTP
        self._second = server.clock.now_ns() // NS_PER_S
        self._deadlines.set(batch.slots, self._second + self.idle_s)

    def on_eof(self, slots: Slots, server: Server) -> None:
        if self._asked or self._behind:
            owed = [s for s in slots.tolist() if s in self._asked or s in self._behind]
            self._half_closed.update(owed)
            slots = slots[~np.isin(slots, owed)]
        self._gone(slots, server)
        server.close(slots)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        self._second = now_ns // NS_PER_S
        if now_ns >= self._look_ns:
            self._look_ns = now_ns + LOOK_NS
            late = self._deadlines.over(self._second)
            if len(late):
                self._time_is_up(late, server)
        if not self._behind:
            return None
        server.engine.flush()
        ready = [slot for slot in self._behind if not server.engine.unsent(slot)]
        self._behind.difference_update(ready)
        for slot in self._paused.intersection(ready):
            self._paused.discard(slot)
            server.resume(slot)
        self._take_pieces([(slot, b"") for slot in ready], server)
        return now_ns + GO_NS

    def _time_is_up(self, slots: Slots, server: Server) -> None:
        kinds = self.kinds[slots]
        slots = slots[(kinds == HTTP) | (kinds == ENDING) | (kinds == CLOSING)]
        slow: list[int] = []
        if self._readers:
            slow = [s for s in slots.tolist() if s in self._readers and s not in self._behind]
        for slot in slow:
            self._end_with(slot, text(408, "The request took too long."), server)
        self._end(slots[~np.isin(slots, slow)], server)

    def _forget(self, slots: Slots) -> None:
        super()._forget(slots)
        self._deadlines.clear(slots)
        if self._readers or self._asked or self._half_closed:
            for slot in slots.tolist():
                self._leave(slot)
                self._half_closed.discard(slot)

    def _leave(self, slot: int) -> None:
        """It asks nothing more by HTTP."""
        reader = self._readers.pop(slot, None)
        if reader is not None:
            self._unfinished -= reader.counted
        self._asked.pop(slot, None)
        self._behind.discard(slot)
        self._paused.discard(slot)

    # --- requests -------------------------------------------------------------------------------

    def _take_pieces(self, pieces: list[tuple[int, bytes]], server: Server) -> None:
        """What came of connections that speak HTTP, and the frames behind upgrades."""
        raise NotImplementedError

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
                reader = self._readers.get(slot)
                if reader is not None:
                    later.append((slot, reader.rest()))
                    self._leave(slot)
        if batch.slots:
            self._offered(batch)
            try:
                self.on_upgrades(batch, server)
            except Exception as error:
                server.failed("on_upgrades", error, batch.slots, self, self._sorry(server))
        return [each for each in later if each[1]]

    def _read(self, slot: int, piece: bytes, server: Server) -> tuple[Head, bytes] | None:
        """Take requests one by one; an upgrade's head and key where there is one."""
        reader = self._readers.get(slot)
        if reader is None:
            reader = self._readers[slot] = RequestReader(self.bounds)
            self._deadlines.set_one(slot, self._second + self.request_s)
        reader.feed(piece)
        found = None
        if slot not in self._asked and slot not in self._behind:
            try:
                found = self._go_on(slot, reader, server)
            except Refused as refused:
                server.statistics.spoke_tls += refused.why == NO_TLS
                said = text(refused.status, refused.why, *refused.fields)
                self._end_with(slot, said, server)
        if self._readers.get(slot) is reader and found is None:
            self._look_after(slot, reader, server)
        return found

    def _go_on(self, slot: int, reader: RequestReader, server: Server) -> tuple[Head, bytes] | None:
        sent = 0
        while self.kinds[slot] == HTTP and slot not in self._asked:
            if sent > GO_BYTES:
                self._put_behind(slot)
                break
            request = reader.next()
            if request is None:
                if reader.wants_continue():
                    server.send(slot, CONTINUE)
                break
            head = request.head
            if head.is_upgrade:
                check(head)
                return head, head.get(b"sec-websocket-key") or b""
            self._deadlines.set_one(slot, self._second + self.request_s)
            self._asked[slot] = head
            try:
                response = self.on_request(slot, request, server)
            except Exception as error:
                one = np.array([slot], np.int32)
                server.failed("on_request", error, one, self, self._sorry(server))
                response = text(500, "The server failed.") if slot in self._asked else None
            if response is not None:
                sent += self._answer(slot, response, server)
        return None

    def _put_behind(self, slot: int) -> None:
        """Its further requests wait until it has read the responses, for as long as it may idle."""
        self._behind.add(slot)
        self._deadlines.set_one(slot, self._second + self.idle_s)

    def _look_after(self, slot: int, reader: RequestReader, server: Server) -> None:
        """How much of it is unfinished, and what it waits for."""
        size, waits = len(reader), slot in self._asked or slot in self._behind
        if not size and not waits:
            self._leave(slot)
            self._deadlines.set_one(slot, self._second + self.idle_s)
            if slot in self._half_closed:
                self._end(np.array([slot], np.int32), server)
            return
        self._unfinished += size + READER_COST - reader.counted
        reader.counted = size + READER_COST
        if waits:
            if slot in self._asked:
                self._deadlines.clear(slot)
            if size > PENDING_MAX and slot not in self._paused:
                self._paused.add(slot)
                server.pause(slot)
        elif self._unfinished > self.unfinished_max:
            busy = text(503, "Too much is unfinished here.", ("Retry-After", "1"))
            self._end_with(slot, busy, server)

    # --- responses ------------------------------------------------------------------------------

    def _answer(self, slot: int, response: Response, server: Server) -> int:
        """Send the response to what the connection has asked; how many bytes it has."""
        head = self._asked.pop(slot, None)
        if head is None:
            return 0  # it has ended
        is_head = head.method == b"HEAD"
        stays = head.stays and (is_head or not response.is_open)
        payload = encoded(
            response, date=self._date(), stays=stays, is_head=is_head, minor=head.minor
        )
        server.send(slot, payload)
        if not stays and not response.is_open:
            self._end_behind(slot, server)
        return len(payload)

    def _end_with(self, slot: int, response: Response, server: Server) -> None:
        """Answer with this, and read no further request."""
        if self.kinds[slot] == HTTP:
            server.send(slot, encoded(response, date=self._date(), stays=False))
            self._end_behind(slot, server, may_send=True)
        else:
            self._end(np.array([slot], np.int32), server)

    def _end_behind(self, slot: int, server: Server, *, may_send: bool = False) -> None:
        """That was the last response. What the client still sends is passed over until it has read.

        Closing at once would reset the connection then, and it might never be read (RFC 9112, 9.6).
        `may_send`: it may do so although nothing of that has come yet.
        """
        reader = self._readers.get(slot)
        may_send = may_send or (reader is not None and len(reader) > 0)
        if not may_send or slot in self._half_closed:
            self._end(np.array([slot], np.int32), server)
            return
        if slot in self._paused:
            server.resume(slot)
        server.engine.end_output(slot)
        self._leave(slot)
        self.kinds[slot] = ENDING
        self._deadlines.set_one(slot, self._second + ENDING_S)

    def _sorry(self, server: Server) -> Callable[[Slots], object]:
        """The last that clients are told whose request made the application raise."""
        said = encoded(text(500, "The server failed."), date=self._date(), stays=False)
        return lambda slots: server.send(slots[self.kinds.take(slots) == HTTP], said)

    def _date(self) -> str:
        second = unix_time_ms() // 1000
        if second != self._dated[0]:
            self._dated = second, formatdate(second, usegmt=True)
        return self._dated[1]
