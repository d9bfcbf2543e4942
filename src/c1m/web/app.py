"""What speaks HTTP, WebSocket and server-sent events to its connections: the base of all of them.

A connection is a byte of `kinds`: it asks by HTTP at first, and may become a WebSocket or a stream
of events. Only one with something unfinished has an object. What a tick brings goes to the
subclass in batches: requests, upgrades, messages, ends.

Order within one connection is kept. What a subclass sends goes out at the end of the callback in
which it says so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from email.utils import formatdate

import numpy as np
import numpy.typing as npt

from c1m.clock import unix_time_ms
from c1m.engine.contract import Slots, distinct
from c1m.engine.given import given_slots
from c1m.engine.ragged import Ragged
from c1m.protocols import sse
from c1m.protocols.http.requests import Bounds, Head, Refused, Request, RequestReader
from c1m.protocols.http.responses import Response, encoded, text
from c1m.protocols.http.upgrades import Upgrades
from c1m.protocols.websocket.batch import frames_of, whole_frames
from c1m.protocols.websocket.frames import Broken, Close, FrameReader, Message, Op, frame
from c1m.protocols.websocket.handshake import accepted
from c1m.server.server import AnySlots, App, CloseBatch, DataBatch, OpenBatch, Payload, Server
from c1m.units import NS_PER_S

# A connection's kind. CLOSING: a WebSocket whose close frame was sent, and the peer's awaited.
NONE, HTTP, WEBSOCKET, STREAM, CLOSING = range(5)

MESSAGE_MAX = 1 << 20  # bytes of one message
CLOSE_NS = 5 * NS_PER_S  # how long the peer's close frame is waited for (RFC 6455, 7.1.1)
PING_NS = 30 * NS_PER_S


@dataclass(slots=True)
class UpgradeBatch:
    """Clients that ask for a WebSocket: `slots` int32[n], `heads` and `keys` of each.

    Heads that say the same are one object. Each is to be answered with accept or refuse.
    """

    slots: list[int]
    heads: list[Head]
    keys: list[bytes]


@dataclass(slots=True)
class MessageBatch:
    """Messages that came: `slots` int32[n] (one may appear several times, in order), their bytes,
    and which are text: bool[n]. Valid until the callback returns."""

    slots: Slots
    messages: Ragged
    is_text: npt.NDArray[np.bool_]


@dataclass(slots=True)
class GoneBatch:
    """WebSockets and streams that ended: `slots` int32[n], `codes` int32[n] (RFC 6455, 7.4).

    1006 where the connection broke, and for streams, which have no code.
    """

    slots: Slots
    codes: npt.NDArray[np.int32]


class WebApp(App):
    """Derive from this; override what you need of the four callbacks below."""

    def __init__(
        self,
        *,
        message_max: int = MESSAGE_MAX,
        bounds: Bounds | None = None,
        ping_ns: int = PING_NS,
    ) -> None:
        self.message_max = message_max
        self.bounds = Bounds() if bounds is None else bounds
        self.ping_ns = ping_ns

    # --- what a subclass overrides --------------------------------------------------------------

    def on_request(self, slot: int, request: Request, server: Server) -> Response | None:
        """One whole request; None: it is answered otherwise (`stream`), or later (`respond`)."""
        return text(404, "There is nothing here.")

    def on_upgrades(self, batch: UpgradeBatch, server: Server) -> None:
        """Clients that ask for a WebSocket: `accept` or `refuse` each."""
        for slot in batch.slots:
            self.refuse(slot, text(404, "There is no WebSocket here."), server)

    def on_messages(self, batch: MessageBatch, server: Server) -> None:
        """Messages of WebSockets."""

    def on_gone(self, batch: GoneBatch, server: Server) -> None:
        """WebSockets and streams that ended, whoever ended them."""

    # --- what it calls --------------------------------------------------------------------------

    def accept(
        self, slots: list[int], keys: list[bytes], server: Server, protocol: bytes = b""
    ) -> None:
        """These are WebSockets from now on."""
        self.kinds[slots] = WEBSOCKET
        server.engine.send_each(slots, [accepted(key, protocol) for key in keys])

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

    def send_text(self, slots: AnySlots, messages: Payload, server: Server) -> None:
        """Send message i to slots[i], or the same one to all, in UTF-8."""
        self._send(Op.TEXT, slots, messages, server)

    def send_binary(self, slots: AnySlots, messages: Payload, server: Server) -> None:
        """The same as binary messages."""
        self._send(Op.BINARY, slots, messages, server)

    def close(self, slots: AnySlots, code: int, server: Server, reason: bytes = b"") -> None:
        """Close WebSockets with a code: with their close frame, or after a while without."""
        those = distinct(given_slots(slots, server.capacity))
        streams, sockets = (those[self.kinds[those] == kind] for kind in (STREAM, WEBSOCKET))
        if len(sockets):
            server.send(sockets, frame(Op.CLOSE, code.to_bytes(2, "big") + reason))
            self.kinds[sockets] = CLOSING
            self._closing.append((server.clock.now_ns() + CLOSE_NS, sockets))
        self._end(streams, server)
        ended = np.concatenate((sockets, streams))
        if len(ended):
            self.on_gone(GoneBatch(ended, np.full(len(ended), code, np.int32)), server)

    def _send(self, op: Op, slots: AnySlots, messages: Payload, server: Server) -> None:
        if isinstance(messages, Ragged):
            server.send(slots, frames_of(op, messages))
        elif isinstance(messages, list | tuple):
            server.send(slots, frames_of(op, Ragged.of(messages)))
        else:
            server.send(slots, frame(op, bytes(messages)))  # type: ignore[arg-type]

    # --- what the server calls ------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        self.kinds = np.zeros(server.capacity, np.uint8)
        self._readers: dict[int, RequestReader] = {}  # of HTTP, with something unfinished
        self._frames: dict[int, FrameReader] = {}  # of WebSockets, the same
        self._is_odd = np.zeros(server.capacity, np.bool_)  # has one of the two
        self._upgrades = Upgrades(self.bounds)
        self._closing: deque[tuple[int, Slots]] = deque()  # until when a close frame is awaited
        self._dated = (-1, "")

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        self.kinds[batch.slots] = HTTP

    def on_data(self, batch: DataBatch, server: Server) -> None:
        kinds = self.kinds.take(batch.slots)
        is_frames = (kinds == WEBSOCKET) | (kinds == CLOSING)
        if is_frames.all():
            self._take_frames(batch.slots, batch.data, server)
            return
        if is_frames.any():
            self._take_frames(batch.slots[is_frames], batch.data.take(is_frames), server)
        rows = np.flatnonzero(kinds == HTTP).tolist()
        slots, data = batch.slots.tolist(), batch.data
        self._take_http([(slots[i], data.piece(i)) for i in rows], server)

    def on_eof(self, slots: Slots, server: Server) -> None:
        self._gone(slots, server)
        server.close(slots)

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        self._gone(batch.slots, server)

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        while self._closing and self._closing[0][0] <= now_ns:
            _, slots = self._closing.popleft()
            self._end(slots[self.kinds[slots] == CLOSING], server)
        return self._closing[0][0] if self._closing else None

    # --- HTTP -----------------------------------------------------------------------------------

    def _take_http(self, pieces: list[tuple[int, bytes]], server: Server) -> None:
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
        later = [each for each in later if self.kinds[each[0]] == WEBSOCKET]
        if later:
            slots = np.array([slot for slot, _ in later], np.int32)
            self._take_frames(slots, Ragged.of([piece for _, piece in later]), server)

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

    # --- WebSocket ------------------------------------------------------------------------------

    def _take_frames(self, slots: Slots, data: Ragged, server: Server) -> None:
        found = whole_frames(data, self.message_max)
        slow = ~found.is_plain | self._is_odd.take(slots) | (self.kinds.take(slots) == CLOSING)
        if slow.any():
            slow |= np.isin(slots, slots[slow])  # the order within a connection
            kept = ~slow[found.rows]
            rows, messages, is_text = (
                found.rows[kept],
                found.messages.take(kept),
                found.is_text[kept],
            )
        else:
            rows, messages, is_text = found.rows, found.messages, found.is_text
        if len(rows):
            self.on_messages(MessageBatch(slots[rows], messages, is_text), server)
        if slow.any():
            self._take_slowly(slots, data, np.flatnonzero(slow).tolist(), server)

    def _take_slowly(self, slots: Slots, data: Ragged, rows: list[int], server: Server) -> None:
        """Pieces one by one: fragments, control frames, what is not whole."""
        came: list[tuple[int, Message]] = []
        for row in rows:
            slot = int(slots[row])
            reader = self._frames.get(slot)
            if reader is None:
                reader = self._frames[slot] = FrameReader(self.message_max)
            try:
                for message in reader.take(data.piece(row)):
                    if message.op in (Op.TEXT, Op.BINARY):
                        came.append((slot, message))
                    elif not self._control(slot, message, server):
                        break
            except Broken as broken:
                self.close(slot, broken.code, server, str(broken).encode())
            if reader:
                self._is_odd[slot] = True
            else:
                self._frames.pop(slot, None)
                self._is_odd[slot] = False
        came = [each for each in came if self.kinds[each[0]] == WEBSOCKET]
        if came:
            texts = np.array([message.op == Op.TEXT for _, message in came], np.bool_)
            who = np.array([slot for slot, _ in came], np.int32)
            messages = Ragged.of([message.payload for _, message in came])
            self.on_messages(MessageBatch(who, messages, texts), server)

    def _control(self, slot: int, message: Message, server: Server) -> bool:
        """A ping, a pong or a close; whether anything may follow."""
        if message.op == Op.PING:
            server.send(slot, frame(Op.PONG, message.payload))
        elif message.op == Op.CLOSE:
            one = np.array([slot], np.int32)
            code = int.from_bytes(message.payload[:2], "big") or int(Close.NO_CODE)
            if self.kinds[slot] == WEBSOCKET:
                server.send(slot, frame(Op.CLOSE, message.payload[:2]))
                self.kinds[slot] = CLOSING
                self.on_gone(GoneBatch(one, np.array([code], np.int32)), server)
            self._end(one, server)
            return False
        return True

    # --- ends -----------------------------------------------------------------------------------

    def _gone(self, slots: Slots, server: Server) -> None:
        """Their connections have ended: what is kept of them goes, and who was told of is told."""
        kinds = self.kinds.take(slots)
        told = slots[(kinds == WEBSOCKET) | (kinds == STREAM)]
        self._forget(slots)
        if len(told):
            codes = np.full(len(told), Close.ABNORMAL, np.int32)
            self.on_gone(GoneBatch(told, codes), server)

    def _end(self, slots: Slots, server: Server) -> None:
        self._forget(slots)
        server.close(slots)

    def _forget(self, slots: Slots) -> None:
        self.kinds[slots] = NONE
        if self._readers or self._frames:
            for slot in slots.tolist():
                self._readers.pop(slot, None)
                self._frames.pop(slot, None)
        self._is_odd[slots] = False
