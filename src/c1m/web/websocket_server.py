"""What the callbacks of a `c1m.WebSocketApp` are given: to send, close, publish and subscribe.

Arguments are looked at before anything is done with them, as `c1m.Server` does: what cannot be
meant raises a UsageError that names it. It is no error to name a connection that is no WebSocket
any more: what is sent to it is counted (`statistics.not_sent`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from c1m import arguments
from c1m.clock import Clock
from c1m.engine.contract import Slots, distinct
from c1m.engine.given import given_pieces, given_slots
from c1m.engine.ragged import Buffer, Ragged, bytes_of
from c1m.errors import UsageError
from c1m.fanout.channels import Channels
from c1m.protocols.websocket.frames import Op, frame, may_be_sent
from c1m.server.connections import AnySlots, Payload
from c1m.server.server import Server
from c1m.web.app import WEBSOCKET, WebApp

if TYPE_CHECKING:
    from c1m.tls.credentials import PeerCertificate

Text = str | Payload | Iterable[str]

REASON_MAX = 123  # bytes of a close frame's reason (RFC 6455, 5.5)
NAME_MAX = 1024  # bytes of a channel's name


@dataclass(slots=True)
class WebSocketStatistics:
    """opened = live + sum of closed, at any time."""

    opened: int = 0
    live: int = 0
    closed: Counter[int] = field(default_factory=Counter)  # by the code that on_close was told
    refused: Counter[int] = field(default_factory=Counter)  # by status: these were never open
    messages: int = 0  # received
    published: int = 0
    not_sent: int = 0  # messages to connections that were no WebSockets any more
    not_subscribed: int = 0  # the same of subscriptions, and those over `subscriptions_max`
    not_read: Counter[str] = field(default_factory=Counter)  # closed with 1008, by the limit


class WebSocketServer:
    """What a WebSocketApp's callbacks are given. `server` is the c1m.Server below.

    `slots` is int32[n], any other row of whole numbers, or one; a channel's name is a str or bytes.
    """

    def __init__(self, web: WebApp, server: Server, subscriptions_max: int) -> None:
        self.server = server
        self.capacity = server.capacity
        self.clock: Clock = server.clock
        self._web = web
        self._channels = Channels(server.capacity)
        self._subscriptions_max = subscriptions_max
        self._statistics = WebSocketStatistics(not_read=web.unread.dropped)
        self.came: Ragged | None = None  # what on_messages was given, if all of it is UTF-8
        self._held: list[Callable[[], object]] | None = None  # until the handshakes are answered

    # --- to connections -------------------------------------------------------------------------

    def send_text(self, slots: AnySlots, messages: Text) -> None:
        """Send message i to slots[i] as text, or the same message to all of them.

        `messages`: a str or UTF-8 bytes for all, or a Ragged, or a list of str or of UTF-8 bytes.
        Raises UsageError, with nothing sent, for what is no UTF-8.
        """
        those = given_slots(slots, self.capacity)
        if messages is self.came:
            pieces: bytes | Ragged = given_pieces(messages, len(those))
        else:
            pieces = _texts(messages, len(those))
        self._send(Op.TEXT, those, pieces)

    def send_binary(self, slots: AnySlots, messages: Payload) -> None:
        """Send message i to slots[i] as a binary message, or the same one to all of them."""
        those = given_slots(slots, self.capacity)
        if isinstance(messages, bytes | bytearray | memoryview | np.ndarray):
            self._send(Op.BINARY, those, bytes_of("messages", messages))
        else:
            self._send(Op.BINARY, those, given_pieces(messages, len(those)))

    def close(self, slots: AnySlots, code: int = 1000, reason: str = "") -> None:
        """Close WebSockets, behind what they were sent, with a code and a reason.

        `code` is one that may be sent (RFC 6455, 7.4): 1000 to 1003, 1007 to 1014, 3000 to 4999.
        `on_close` is called with it. Those that are none any more are left alone.
        """
        those = given_slots(slots, self.capacity)
        code = arguments.integer("code", code, 1000, 4999)
        if not may_be_sent(code):
            raise UsageError(
                f"{code} is no code to close with.",
                "Use 1000 to 1003, 1007 to 1014, or one of your own from 4000 to 4999.",
            )
        said = _encoded("reason", arguments.text("reason", reason))
        if len(said) > REASON_MAX:
            raise UsageError(
                f"The reason has {len(said)} bytes.", f"A close frame has room for {REASON_MAX}."
            )
        self._do(lambda: self._web.close(those, code, self.server, said))

    def peer_certificate(self, slot: int) -> PeerCertificate | None:
        """See Server.peer_certificate."""
        return self.server.peer_certificate(slot)

    def live_slots(self) -> Slots:
        """All open WebSockets, ascending: int32[n]."""
        slots = self.server.live_slots()
        sockets: Slots = slots[self._web.kinds.take(slots) == WEBSOCKET]
        return sockets

    # --- to channels ----------------------------------------------------------------------------

    def subscribe(self, slots: AnySlots, channel: str | bytes) -> int:
        """These hear what is published to the channel from now on; returns how many do.

        They are subscribed until they unsubscribe or end. Left out are, and counted, those that are
        no WebSockets any more, and those that have `subscriptions_max` channels already.
        """
        those = distinct(given_slots(slots, self.capacity))
        name = _name(channel)
        is_open = self._web.kinds.take(those) == WEBSOCKET
        is_open &= self._channels.counts(those) < self._subscriptions_max
        if not is_open.all():
            self._statistics.not_subscribed += len(those) - int(np.count_nonzero(is_open))
            those = those[is_open]
        self._channels.add_all(those, name)
        return len(those)

    def unsubscribe(self, slots: AnySlots, channel: str | bytes) -> None:
        """These do no longer. What was published to them before is still sent."""
        those = distinct(given_slots(slots, self.capacity))
        self._channels.remove_all(those, _name(channel))

    def publish(self, channel: str | bytes, message: str | Buffer) -> int:
        """Send a message to all subscribers of a channel; returns how many they are.

        A str is sent as text, bytes as a binary message. To many it goes in slices, over several
        ticks; for each connection, in the order in which it was published and sent.
        """
        name = _name(channel)
        if isinstance(message, str):
            framed = frame(Op.TEXT, _encoded("message", message))
        else:
            framed = frame(Op.BINARY, bytes_of("message", message))
        slots = self._channels.slots(name)
        self._statistics.published += 1
        self._web.deliveries.add(slots, framed)
        return len(slots)

    def subscribers(self, channel: str | bytes) -> Slots:
        """Who hears a channel: int32[n], each once, in the order in which they came."""
        return self._channels.slots(_name(channel))

    def channels_of(self, slot: int) -> list[str]:
        """The names of the channels that a connection hears."""
        (one,) = given_slots(arguments.integer("slot", slot), self.capacity).tolist()
        return [name.decode("utf-8", "surrogateescape") for name in self._channels.of(one)]

    # --- the server -----------------------------------------------------------------------------

    @property
    def statistics(self) -> WebSocketStatistics:
        """Counts of WebSockets and messages; those of connections are `server.statistics`."""
        return self._statistics

    def wake(self) -> None:
        """Make the current or the next tick come at once; may be called from another thread."""
        self.server.wake()

    def stop(self) -> None:
        """End the server in good order; may be called from another thread."""
        self.server.stop()

    def _send(self, op: Op, slots: Slots, messages: bytes | Ragged) -> None:
        self._do(lambda: self._send_now(op, slots, messages))

    def _send_now(self, op: Op, slots: Slots, messages: bytes | Ragged) -> None:
        is_open = self._web.kinds.take(slots) == WEBSOCKET
        if not is_open.all():
            slots = slots[is_open]
            messages = messages.take(is_open) if isinstance(messages, Ragged) else messages
            self._statistics.not_sent += len(is_open) - len(slots)
        if len(slots):
            send = self._web.send_text if op == Op.TEXT else self._web.send_binary
            send(slots, messages, self.server)

    def _do(self, call: Callable[[], object]) -> None:
        if self._held is None:
            call()
        else:
            self._held.append(call)

    # --- what the application below calls -------------------------------------------------------

    def hold(self) -> None:
        """Handshakes are being decided: what is sent meanwhile waits for their answers."""
        self._held = []

    def release(self) -> None:
        """They are answered."""
        held, self._held = self._held or [], None
        for call in held:
            call()

    def drop(self) -> None:
        """They are not decided: what was said meanwhile is not sent."""
        self._held = None

    def forget(self, slots: Slots) -> None:
        """These have ended: int32[n], each once."""
        self._channels.forget(slots)


def _name(channel: str | bytes) -> bytes:
    if isinstance(channel, str):
        name = channel.encode("utf-8", "surrogateescape")
    elif isinstance(channel, bytes):
        name = channel
    else:
        raise UsageError(
            f"A channel's name is of type {type(channel).__name__}.", "Give a str or bytes."
        )
    if len(name) > NAME_MAX:
        raise UsageError(
            f"A channel's name has {len(name):,} bytes.", f"Give one of at most {NAME_MAX:,}."
        )
    return name


def _encoded(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{what} cannot be sent as UTF-8 ({error}).", "Correct it.") from None


def _texts(messages: Any, count: int) -> bytes | Ragged:
    """One text for all, or one for each of `count`; all of it is UTF-8."""
    if isinstance(messages, str):
        return _encoded("messages", messages)
    if isinstance(messages, bytes | bytearray | memoryview | np.ndarray):
        one = bytes_of("messages", messages)
        _check_utf8("messages", one)
        return one
    if not isinstance(messages, Ragged):
        if not isinstance(messages, Iterable):
            raise UsageError(
                f"messages is of type {type(messages).__name__}.",
                "Give a str, a list of str, UTF-8 bytes or a c1m.Ragged.",
            )
        messages = [
            _encoded(f"messages[{i}]", each) if isinstance(each, str) else each
            for i, each in enumerate(messages)
        ]
    pieces = given_pieces(messages, count)
    if not pieces.packed().memory.tobytes().isascii():
        for i, piece in enumerate(pieces.pieces()):
            _check_utf8(f"messages[{i}]", piece)
    return pieces


def _check_utf8(what: str, text: bytes) -> None:
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} is no UTF-8 ({error}).", "Send it with send_binary.") from None
