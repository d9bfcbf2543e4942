"""MQTT in a conversation: what is subscribed to and published, and messages that come. Pure.

Here packets are those of MQTT 5, with an identifier that means nothing: the transport gives each
its own, and makes packets of the version that is spoken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from c1m.errors import UsageError
from c1m.protocols.mqtt import packets
from c1m.protocols.mqtt.fields import Broken, check_filter, check_name
from c1m.protocols.mqtt.packets import FAILURE, V5, Acknowledged, Kind, PacketReader
from c1m.scenarios.asks import SPOKEN, Ask, Session, Spoken, json_of

PACKET_MAX = 1 << 24


@dataclass(frozen=True, slots=True)
class MqttMessage:
    """A message that came. `retain`: the server had kept it for who subscribes."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False

    @property
    def text(self) -> str:
        """The payload as UTF-8."""
        return self.payload.decode()

    def json(self) -> Any:
        """The payload's value. Raises ValueError where it is no JSON."""
        return json_of(self.payload)


def heard(packet: bytes) -> MqttMessage | Acknowledged:
    """What a conversation is given of a packet."""
    ((first, body),) = PacketReader(PACKET_MAX).take(packet)
    said = packets.decoded(first, body, V5)
    if isinstance(said, packets.Publish):
        return MqttMessage(said.topic.decode(), said.payload, said.qos, said.retain)
    assert isinstance(said, Acknowledged)
    return said


def _was_due(said: Any) -> bool:
    """What comes by itself: kept messages on subscribing, PUBACKs that nobody waits for."""
    return not isinstance(said, MqttMessage) or said.retain


SPOKEN["mqtt"] = Spoken(heard=heard, is_due=_was_due)


class _Asked(Ask):
    """One that is confirmed by a packet of `kind`."""

    __slots__ = ("topic",)
    schemes: ClassVar[tuple[str, ...]] = ("mqtt",)
    kind: ClassVar[Kind]

    def __init__(self, topic: str) -> None:
        self.topic = topic
        try:
            (check_name if self.kind == Kind.PUBACK else check_filter)(topic.encode())
        except Broken as broken:
            raise UsageError(f"{self!r}: {broken}", "Give a topic, as a/b/c.") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.topic!r})"

    def heard(self, reply: bytes) -> Any:
        """See Ask."""
        return heard(reply)

    def is_reply(self, heard: Any) -> bool:
        """See Ask."""
        return isinstance(heard, Acknowledged) and heard.kind == self.kind

    def wrong(self, reply: Any) -> str | None:
        """See Ask."""
        failed = isinstance(reply, Acknowledged) and reply.codes[:1] >= bytes((FAILURE,))
        return f"{self.kind.name} says 0x{reply.codes[0]:02x}" if failed else None


class Subscribe(_Asked):
    """Subscribes to a topic, or a filter of topics; the reply is the server's confirmation."""

    __slots__ = ("qos",)
    kind = Kind.SUBACK

    def __init__(self, topic: str, qos: int = 0) -> None:
        super().__init__(topic)
        self.qos = _qos(qos)

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        said = packets.Subscribe(1, ((self.topic.encode(), self.qos),))
        return packets.encoded(said, V5)


class Unsubscribe(_Asked):
    """Ends a subscription; the reply is the server's confirmation."""

    __slots__ = ()
    kind = Kind.UNSUBACK

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        return packets.encoded(packets.Unsubscribe(1, (self.topic.encode(),)), V5)


class Publish(_Asked):
    """Publishes a message. The reply is the server's confirmation (QoS 1), or, with `when`, the
    first message that it says yes to: an answer of whoever hears this one.

    A message of QoS 0 is not confirmed, so it needs `when`.
    """

    __slots__ = ("payload", "qos", "retain", "when")
    kind = Kind.PUBACK

    def __init__(
        self,
        topic: str,
        payload: bytes | str = b"",
        qos: int = 1,
        retain: bool = False,
        when: Callable[[MqttMessage], bool] | None = None,
    ) -> None:
        super().__init__(topic)
        self.payload = payload.encode() if isinstance(payload, str) else bytes(payload)
        self.qos, self.retain, self.when = _qos(qos), retain, when
        if when is None and not self.qos:
            raise UsageError(
                f"{self!r} has QoS 0, and the server does not confirm it.",
                "Give qos=1; or when=, a function of a message that is the answer.",
            )

    def encode(self, session: Session) -> bytes:
        """See Ask."""
        said = packets.Publish(
            self.topic.encode(), self.payload, self.qos, bool(self.retain), self.qos
        )
        return packets.encoded(said, V5)

    def is_reply(self, heard: Any) -> bool:
        """See Ask."""
        if self.when is None:
            return super().is_reply(heard)
        return isinstance(heard, MqttMessage) and bool(self.when(heard))


def _qos(qos: int) -> int:
    if type(qos) is not int or qos not in (0, 1):
        raise UsageError(f"QoS {qos!r} is not spoken.", "Give 0 or 1.")
    return qos
