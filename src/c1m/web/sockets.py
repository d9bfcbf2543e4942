"""The WebSocket half of a web server: frames, closing handshakes, signs of life.

Order within a connection: its messages come before its end, and nothing of it behind that. Who
closes first waits for the other's close frame; then the server ends the connection, as it does at
once where the client broke the protocol (RFC 6455, 7.1.1 and 7.1.7). What still comes is passed
over.

Signs of life: each connection is asked for one, with a ping, once in `ping_ns`; a byte says that it
has been. Whoever has sent nothing at all when its turn comes again is gone: code 1006. Rows take
turns by their number, so that pings are spread over time, and none is early. Streams get a comment.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from c1m.engine.contract import Slots, distinct
from c1m.engine.given import given_slots
from c1m.engine.ragged import Ragged
from c1m.protocols import sse
from c1m.protocols.websocket.batch import are_closes, whole_frames
from c1m.protocols.websocket.deflate import inflated
from c1m.protocols.websocket.framed import frames_of
from c1m.protocols.websocket.frames import (
    Broken,
    Close,
    FrameReader,
    Message,
    Op,
    close_frame,
    closing,
    frame,
)
from c1m.protocols.websocket.handshake import accepted
from c1m.server.connections import AnySlots, Payload
from c1m.server.server import Server
from c1m.units import NS_PER_MS, NS_PER_S
from c1m.web.compression import Compression
from c1m.web.connections import (
    CLOSING,
    ENDING,
    STREAM,
    WEBSOCKET,
    Connections,
    GoneBatch,
    MessageBatch,
    UpgradeBatch,
)

Kinds = npt.NDArray[np.uint8]

CLOSE_S = 5  # how long the peer's close frame, and then its end, is waited for
TURN_NS = 100 * NS_PER_MS  # how often some connections are asked for a sign of life
READER_COST = 500  # bytes that a reader takes beside what came
PING = frame(Op.PING, b"")


class Sockets(Connections):
    """What a subclass says to WebSockets, and what becomes of what they say."""

    message_max: int
    frames_max: int  # bytes of unfinished messages, of all connections: 1013
    ping_ns: int  # 0: nobody is asked for a sign of life
    compress: bool

    def accept(
        self, slots: list[int], keys: list[bytes], server: Server, protocol: bytes = b""
    ) -> None:
        """These are WebSockets from now on."""
        self.kinds[slots] = WEBSOCKET
        if self.compression is None:
            answers = [accepted(key, protocol) for key in keys]
        else:
            pairs = zip(keys, map(self.compression.accepted, slots), strict=True)
            answers = [accepted(key, protocol, extension) for key, extension in pairs]
        server.engine.send_each(slots, answers)

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
            self.say(sockets, close_frame(code, reason), server)
            self.kinds[sockets] = CLOSING
            self._deadlines.set(sockets, self._second + CLOSE_S)
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
        self.compression = Compression(server.capacity) if self.compress else None
        self._frames: dict[int, FrameReader] = {}  # with something unfinished
        self._unfinished_frames = 0  # bytes that they take
        self._is_odd = np.zeros(server.capacity, np.bool_)  # has one
        self._is_asked = np.zeros(server.capacity, np.bool_)  # for a sign of life
        self.silent = 0  # connections that gave none
        self._turn = 0
        self._turn_ns = server.clock.now_ns() + TURN_NS

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        due_ns = super().on_tick(now_ns, server)
        if self.ping_ns and now_ns >= self._turn_ns:
            self._take_turn(now_ns, server)
        return due_ns

    def _closing_ones(self) -> bool:
        return bool((self.kinds[: self._deadlines.top] == CLOSING).any())

    def _offered(self, batch: UpgradeBatch) -> None:
        if self.compression is not None:
            self.compression.asked(batch.slots, batch.heads)

    def _forget(self, slots: Slots) -> None:
        super()._forget(slots)
        if self._frames:
            for slot in slots.tolist():
                self._let_go(slot)
        self._is_odd[slots] = self._is_asked[slots] = False
        if self.compression is not None:
            self.compression.forget(slots)

    # --- what comes -----------------------------------------------------------------------------

    def _take_frames(
        self, slots: Slots, data: Ragged, server: Server, kinds: Kinds | None = None
    ) -> None:
        """`kinds` of the slots; None: all are WEBSOCKET."""
        self._is_asked[slots] = False
        if kinds is not None:
            answers = (kinds == CLOSING) & are_closes(data)
            if answers.any():
                ended = distinct(slots[answers])
                self.do_behind(ended, lambda: self._end(ended, server))
                rest = ~np.isin(slots, ended)
                slots, data, kinds = slots[rest], data.take(rest), kinds[rest]
        found = whole_frames(data, self.message_max)
        slow = ~found.is_plain
        if self._frames:
            slow |= self._is_odd.take(slots)
        if kinds is not None:
            slow |= kinds == CLOSING
        has_slow = bool(slow.any())
        if has_slow:
            slow |= np.isin(slots, slots[slow])  # the order within a connection
            found = found.take(~slow[found.rows])
        if len(found.rows):
            batch = MessageBatch(slots[found.rows], found.messages, found.is_text)
            self._hand(batch, server)
        if has_slow:
            self._take_slowly(slots, data, np.flatnonzero(slow).tolist(), server)

    def _take_slowly(self, slots: Slots, data: Ragged, rows: list[int], server: Server) -> None:
        """Pieces one by one: fragments, control frames, what is not whole."""
        came: list[tuple[int, Message]] = []
        pongs: list[tuple[int, bytes]] = []
        ends: list[tuple[int, bytes]] = []  # with what their close frames say
        broken: list[tuple[int, Broken]] = []
        over: set[int] = set()
        for row in rows:
            slot = int(slots[row])
            if slot in over:
                continue
            reader = self._reader(slot)
            try:
                for message in reader.take(data.piece(row)):
                    if message.op == Op.PING:
                        pongs.append((slot, frame(Op.PONG, message.payload)))
                    elif message.op == Op.CLOSE:
                        ends.append((slot, message.payload))
                        over.add(slot)
                    elif message.op != Op.PONG:
                        came.append((slot, message))
                self._keep_reader(slot, reader)
            except Broken as problem:
                broken.append((slot, problem))
                over.add(slot)
        pongs = [each for each in pongs if self.kinds[each[0]] == WEBSOCKET]
        if pongs:  # as soon as may be (RFC 6455, 5.5.2): before replies to messages
            who = np.array([slot for slot, _ in pongs], np.int32)
            self.say(who, Ragged.of([pong for _, pong in pongs]), server)
        self._say_messages(came, server)
        if ends:
            self._closed_by_peer(ends, server)
        for slot, why in broken:
            self._fail(slot, why, server)

    def _say_messages(self, came: list[tuple[int, Message]], server: Server) -> None:
        came = [each for each in came if self.kinds[each[0]] == WEBSOCKET]
        if came:
            texts = np.array([message.op == Op.TEXT for _, message in came], np.bool_)
            who = np.array([slot for slot, _ in came], np.int32)
            messages = Ragged.of([message.payload for _, message in came])
            self._hand(MessageBatch(who, messages, texts), server)

    def _hand(self, batch: MessageBatch, server: Server) -> None:
        try:
            self.on_messages(batch, server)
        except Exception as error:
            self.failed("on_messages", error, batch.slots, server)

    def failed(self, callback: str, error: Exception, slots: AnySlots, server: Server) -> None:
        """A callback about these has raised: WebSockets that are closed are told so, with 1011."""

        def told(those: Slots) -> None:
            those = those[self.kinds.take(those) == WEBSOCKET]
            if len(those):
                server.send(those, close_frame(Close.INTERNAL_ERROR, b"The server failed."))
                self.kinds[those] = CLOSING
                codes = np.full(len(those), Close.INTERNAL_ERROR, np.int32)
                self.on_gone(GoneBatch(those, codes), server)

        server.failed(callback, error, slots, self.of_user, told)

    def _reader(self, slot: int) -> FrameReader:
        reader = self._frames.get(slot)
        if reader is None:
            comes = self.compression is not None and self.compression.comes(slot)
            reader = FrameReader(self.message_max, inflated=inflated if comes else None)
            self._frames[slot] = reader
        return reader

    def _keep_reader(self, slot: int, reader: FrameReader) -> None:
        """Keep a reader for what is unfinished, as long as all of them do not keep too much."""
        if not reader:
            self._let_go(slot)
            return
        self._is_odd[slot] = True
        kept = reader.kept + READER_COST
        self._unfinished_frames += kept - reader.counted
        reader.counted = kept
        if self._unfinished_frames > self.frames_max:
            raise Broken(Close.TRY_LATER, "Too much is unfinished here.")

    def _let_go(self, slot: int) -> None:
        reader = self._frames.pop(slot, None)
        if reader is not None:
            self._unfinished_frames -= reader.counted
            self._is_odd[slot] = False

    # --- ends -----------------------------------------------------------------------------------

    def _closed_by_peer(self, ends: list[tuple[int, bytes]], server: Server) -> None:
        """Their close frames came, with these payloads: each is answered, if it is no answer, and
        the connection ends."""
        slots = np.array([slot for slot, _ in ends], np.int32)
        is_first = self.kinds.take(slots) == WEBSOCKET
        if is_first.any():
            codes = np.array([closing(payload)[0] for _, payload in ends], np.int32)[is_first]
            first = slots[is_first]
            self.say(first, [close_frame(code) for code in codes.tolist()], server)
            self.kinds[first] = CLOSING
            self.on_gone(GoneBatch(first, codes), server)
        self.do_behind(slots, lambda: self._end(slots, server))

    def _fail(self, slot: int, why: Broken, server: Server) -> None:
        """It broke the protocol: the close frame says so, and the connection ends.

        The server's half ends at once. To close it wholly with something unread would reset it, and
        the close frame might never be seen.
        """
        one = np.array([slot], np.int32)
        self._let_go(slot)
        if self.kinds[slot] == WEBSOCKET:
            self.say(one, close_frame(why.code, str(why).encode()), server)
            self.kinds[slot] = CLOSING
            self.on_gone(GoneBatch(one, np.array([why.code], np.int32)), server)
        self.do_behind(one, lambda: self._end_output(slot, server))

    def _end_output(self, slot: int, server: Server) -> None:
        if self.kinds[slot] == CLOSING:
            self.kinds[slot] = ENDING
            self._deadlines.set_one(slot, self._second + CLOSE_S)
            server.engine.end_output(slot)

    # --- signs of life --------------------------------------------------------------------------

    def _take_turn(self, now_ns: int, server: Server) -> None:
        late_ns = now_ns - self._turn_ns
        self._turn_ns = now_ns + TURN_NS
        if late_ns > NS_PER_S:  # the server stood still: what came meanwhile is read first
            self._turn_ns = now_ns + NS_PER_S
            return
        turns = max(self.ping_ns // TURN_NS, 1)
        turn = self._turn = (self._turn + 1) % turns
        rows = np.arange(turn, self._deadlines.top, turns, dtype=np.int32)
        kinds = self.kinds[turn : self._deadlines.top : turns]
        is_held = server.are_held(rows)  # not read from: it could not be heard
        self._is_asked[rows[is_held]] = False
        streams = rows[(kinds == STREAM) & ~is_held]
        if len(streams):
            self.say(streams, sse.KEEP_ALIVE, server)
        sockets = rows[(kinds == WEBSOCKET) & ~is_held]
        is_silent = self._is_asked.take(sockets)
        if is_silent.any():
            self._drop(sockets[is_silent], server)
            sockets = sockets[~is_silent]
        if len(sockets):
            self._is_asked[sockets] = True
            self.say(sockets, PING, server)

    def _drop(self, slots: Slots, server: Server) -> None:
        """Those that gave no sign of life."""
        self.silent += len(slots)
        self._forget(slots)
        server.close(slots, abort=True)
        self.on_gone(GoneBatch(slots, np.full(len(slots), Close.ABNORMAL, np.int32)), server)
