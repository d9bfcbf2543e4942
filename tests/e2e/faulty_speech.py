"""What a faulty server speaks: where a client's message ends, and how its answer is written.

One object a connection. What is wrong with an answer is the server's affair (faulty_servers.py).
"""

from __future__ import annotations

from typing import ClassVar

import wsproto
import wsproto.connection
from wsproto import events

from c1m.protocols.mqtt.packets import (
    V311,
    Acknowledged,
    Connack,
    Connect,
    Kind,
    PacketReader,
    Ping,
    Publish,
    Subscribe,
    decoded,
    encoded,
)

Heard = tuple[bytes, list[bytes]]  # what is said at once, and whole messages


class Speech:
    """Lines: an answer is the line that it answers, newline included."""

    scheme: ClassVar[str] = "tcp"

    def __init__(self) -> None:
        self.rest = b""

    def hear(self, data: bytes) -> Heard:
        """More bytes have come."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        return b"", [line + b"\n" for line in lines]

    def answer(self, message: bytes) -> bytes:
        """The bytes of this answer."""
        return message

    @staticmethod
    def options(message: str) -> tuple[str, ...]:
        """What a load is told to say, and to expect."""
        return "--message", message


class Http(Speech):
    """A request's body is the message, or its path; a response's body is the answer."""

    scheme = "http"

    def hear(self, data: bytes) -> Heard:
        """See Speech."""
        self.rest += data
        messages = []
        while b"\r\n\r\n" in self.rest:
            head, _, body = self.rest.partition(b"\r\n\r\n")
            _, _, length = head.lower().partition(b"content-length:")
            size = int(length.split(b"\r\n")[0] or b"0")
            if len(body) < size:
                break
            messages.append(body[:size] if size else head.split(b" ")[1])
            self.rest = body[size:]
        return b"", messages

    @staticmethod
    def options(message: str) -> tuple[str, ...]:
        """See Speech."""
        return "--body", message, "--expect", message

    def answer(
        self, message: bytes, *, status: bytes = b"200 OK", field: bytes = b"", more: int = 0
    ) -> bytes:
        """See Speech. `more`: so many bytes too many are promised."""
        lines = b"HTTP/1.1 " + status, field, b"Content-Length: %d" % (len(message) + more)
        return b"\r\n".join(filter(None, lines)) + b"\r\n\r\n" + message


class WebSocket(Speech):
    """By the package wsproto."""

    scheme = "ws"

    def __init__(self) -> None:
        self._codec = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        self._parts: list[str] = []

    def hear(self, data: bytes) -> Heard:
        """See Speech."""
        said, messages = b"", []
        self._codec.receive_data(data)
        for event in self._codec.events():
            if isinstance(event, events.Request):
                said += self._codec.send(events.AcceptConnection())
            elif isinstance(event, events.CloseConnection):
                said += self._codec.send(event.response())
            elif isinstance(event, events.TextMessage):
                self._parts.append(event.data)
                if event.message_finished:
                    messages.append("".join(self._parts).encode())
                    self._parts.clear()
        return said, messages

    def answer(self, message: bytes) -> bytes:
        """See Speech: nothing where the client has said farewell."""
        if self._codec.state is not wsproto.connection.ConnectionState.OPEN:
            return b""
        return self._codec.send(events.TextMessage(message.decode()))


class Mqtt(Speech):
    """A broker whose clients hear what they publish: 3.1.1, with the QoS of the client."""

    scheme = "mqtt"

    def __init__(self) -> None:
        self._reader = PacketReader(1 << 20)
        self._topic, self._qos, self._id = b"", 0, 0

    def hear(self, data: bytes) -> Heard:
        """See Speech."""
        said, messages = b"", []
        for first, body in self._reader.take(data):
            packet = decoded(first, body, V311)
            match packet:
                case Connect():
                    said += encoded(Connack(), V311)
                case Subscribe():
                    ((self._topic, self._qos),) = packet.filters
                    granted = Acknowledged(Kind.SUBACK, packet.packet_id, bytes((self._qos,)))
                    said += encoded(granted, V311)
                case Publish():
                    messages.append(packet.payload)
                    if packet.qos:
                        said += encoded(Acknowledged(Kind.PUBACK, packet.packet_id), V311)
                case Ping():
                    said += encoded(Ping(Kind.PINGRESP), V311)
        return said, messages

    @staticmethod
    def options(message: str) -> tuple[str, ...]:
        """See Speech."""
        return "--message", message, "--qos", "1"

    def answer(self, message: bytes) -> bytes:
        """See Speech: a publication to this client's topic."""
        self._id = self._id % 65_535 + 1
        id_ = self._id if self._qos else 0
        return encoded(Publish(self._topic, message, self._qos, packet_id=id_), V311)
