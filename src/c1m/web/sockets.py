"""The WebSocket half of a web server: frames, closing handshakes, pings."""

from __future__ import annotations

from collections import deque

import numpy as np

from c1m.engine.contract import Slots, distinct
from c1m.engine.given import given_slots
from c1m.engine.ragged import Ragged
from c1m.protocols.websocket.batch import frames_of, whole_frames
from c1m.protocols.websocket.frames import Broken, Close, FrameReader, Message, Op, frame
from c1m.protocols.websocket.handshake import accepted
from c1m.server.server import AnySlots, Payload, Server
from c1m.units import NS_PER_S
from c1m.web.connections import CLOSING, STREAM, WEBSOCKET, Connections, GoneBatch, MessageBatch

CLOSE_NS = 5 * NS_PER_S  # how long the peer's close frame is waited for (RFC 6455, 7.1.1)


class Sockets(Connections):
    """What a subclass says to WebSockets, and what becomes of what they say."""

    message_max: int
    ping_ns: int

    def accept(
        self, slots: list[int], keys: list[bytes], server: Server, protocol: bytes = b""
    ) -> None:
        """These are WebSockets from now on."""
        self.kinds[slots] = WEBSOCKET
        server.engine.send_each(slots, [accepted(key, protocol) for key in keys])

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
            self.say(sockets, frame(Op.CLOSE, code.to_bytes(2, "big") + reason), server)
            self.kinds[sockets] = CLOSING
            self._closing.append((server.clock.now_ns() + CLOSE_NS, sockets))
        if len(streams):
            self.kinds[streams] = CLOSING
            self.do_behind(streams, lambda: self._end(streams, server))
        ended = np.concatenate((sockets, streams))
        if len(ended):
            self.on_gone(GoneBatch(ended, np.full(len(ended), code, np.int32)), server)

    def _send(self, op: Op, slots: AnySlots, messages: Payload, server: Server) -> None:
        if isinstance(messages, Ragged):
            self.say(slots, frames_of(op, messages), server)
        elif isinstance(messages, list | tuple):
            self.say(slots, frames_of(op, Ragged.of(messages)), server)
        else:
            self.say(slots, frame(op, bytes(messages)), server)  # type: ignore[arg-type]

    # --- what the server calls ------------------------------------------------------------------

    def on_start(self, server: Server) -> None:
        super().on_start(server)
        self._frames: dict[int, FrameReader] = {}  # with something unfinished
        self._is_odd = np.zeros(server.capacity, np.bool_)  # has one
        self._closing: deque[tuple[int, Slots]] = deque()  # until when a close frame is awaited

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        due_ns = super().on_tick(now_ns, server)
        while self._closing and self._closing[0][0] <= now_ns:
            _, slots = self._closing.popleft()
            self._end(slots[self.kinds[slots] == CLOSING], server)
        if self._closing:
            due_ns = min(due_ns or self._closing[0][0], self._closing[0][0])
        return due_ns

    def _closing_ones(self) -> bool:
        return any((self.kinds.take(slots) == CLOSING).any() for _, slots in self._closing)

    def _forget(self, slots: Slots) -> None:
        super()._forget(slots)
        if self._frames:
            for slot in slots.tolist():
                self._frames.pop(slot, None)
        self._is_odd[slots] = False

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
