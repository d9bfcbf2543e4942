"""What packets of MQTT are made of: integers, strings, binary data, properties. Pure.

Sections are those of MQTT 5.0; 3.1.1 says the same where it has the thing at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STRING_MAX = (1 << 16) - 1

# Reason codes that a mistake of the peer is answered with (2.4).
MALFORMED, PROTOCOL_ERROR, TOO_LARGE = 0x81, 0x82, 0x95

Properties = Mapping[str, Any]
NOTHING: Properties = {}


class Broken(Exception):
    """The peer does not keep to the protocol; `code`: what MQTT 5 calls it."""

    def __init__(self, why: str, code: int = MALFORMED) -> None:
        super().__init__(why)
        self.code = code


def varint(number: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    made.append(number)
    return bytes(made)


def binary(data: bytes) -> bytes:
    """Binary data, or a string's UTF-8, behind its length (1.5.4, 1.5.6)."""
    return len(data).to_bytes(2, "big") + data


def check_name(name: bytes) -> None:
    """A topic to publish to: no wildcards (4.7.1)."""
    if b"+" in name or b"#" in name:
        raise Broken(f"The topic {name[:40]!r} has wildcards.")


def check_filter(text: bytes) -> None:
    """What is subscribed to: + stands for a whole level, # at the end for all further (4.7.1)."""
    levels = text.split(b"/")
    is_good = bool(text) and all(b"#" not in level for level in levels[:-1])
    is_good &= levels[-1] == b"#" or b"#" not in levels[-1]
    if not is_good or any(b"+" in level and level != b"+" for level in levels):
        raise Broken(f"{text[:40]!r} is no filter of topics.")


def matches(filter_: bytes, topic: bytes) -> bool:
    """Whether a topic is one of those that a filter stands for (4.7)."""
    if topic[:1] == b"$" and filter_[:1] in (b"+", b"#"):  # 4.7.2
        return False
    levels, names = filter_.split(b"/"), topic.split(b"/")
    for at, level in enumerate(levels):
        if level == b"#":
            return True
        if at >= len(names) or level not in (b"+", names[at]):
            return False
    return len(levels) == len(names)


class Fields:
    """A packet's body, read from the front. Raises Broken where it does not hold what it should."""

    __slots__ = ("_at", "_body")

    def __init__(self, body: bytes) -> None:
        self._body, self._at = body, 0

    def __bool__(self) -> bool:
        """Whether anything is left."""
        return self._at < len(self._body)

    def take(self, size: int) -> bytes:
        """So many bytes."""
        at, self._at = self._at, self._at + size
        if self._at > len(self._body):
            raise Broken("A packet ends within a field.")
        return self._body[at : self._at]

    def number(self, size: int) -> int:
        """An integer of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        """A variable byte integer, in as few bytes as it needs (1.5.5)."""
        number = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            number |= (byte & 127) << shift
            if byte < 128:
                if shift and not byte:
                    raise Broken("A variable byte integer has more bytes than it needs.")
                return number
        raise Broken("A variable byte integer has more than four bytes.")

    def binary(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.number(2))

    def text(self) -> bytes:
        """The same, which are UTF-8 without U+0000 (1.5.4)."""
        data = self.binary()
        try:
            data.decode()
        except UnicodeDecodeError:
            raise Broken("A string is not UTF-8.") from None
        if b"\0" in data:
            raise Broken("A string has U+0000 in it.")
        return data

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._body) - self._at)

    def properties(self, where: str) -> Properties:
        """The properties of a packet (2.2.2), which may have those of `where`."""
        inner = Fields(self.take(self.varint()))
        found: dict[str, Any] = {}
        while inner:
            number = inner.varint()
            name, kind, places = _PROPERTIES.get(number, ("", "", ""))
            if where not in places.split():
                raise Broken(f"Property {number} is not one of {where}.")
            value = _read(inner, kind)
            if name in _SEVERAL:
                found.setdefault(name, []).append(value)
            elif name in found:
                raise Broken(f"The property {name} is there twice.", PROTOCOL_ERROR)
            else:
                found[name] = value
        return found


def properties(values: Properties) -> bytes:
    """Properties behind their length. Those that may be there several times are lists."""
    if not values:
        return b"\0"
    parts = []
    for name, value in values.items():
        number, kind = _NUMBERS[name]
        for each in value if name in _SEVERAL else (value,):
            parts.append(bytes((number,)) + _written(each, kind))
    made = b"".join(parts)
    return varint(len(made)) + made


def _read(fields: Fields, kind: str) -> Any:
    match kind:
        case "text":
            return fields.text()
        case "binary":
            return fields.binary()
        case "varint":
            return fields.varint()
        case "pair":
            return fields.text(), fields.text()
    return fields.number(int(kind))


def _written(value: Any, kind: str) -> bytes:
    match kind:
        case "text" | "binary":
            return binary(value)
        case "varint":
            return varint(value)
        case "pair":
            return binary(value[0]) + binary(value[1])
    return int(value).to_bytes(int(kind), "big")


# Identifier: name, type (bytes of an integer), and the packets that may have it (2.2.2.2).
_PROPERTIES = {
    1: ("payload_format", "1", "PUBLISH will"),
    2: ("message_expiry", "4", "PUBLISH will"),
    3: ("content_type", "text", "PUBLISH will"),
    8: ("response_topic", "text", "PUBLISH will"),
    9: ("correlation_data", "binary", "PUBLISH will"),
    11: ("subscription_identifier", "varint", "PUBLISH SUBSCRIBE"),
    17: ("session_expiry", "4", "CONNECT CONNACK DISCONNECT"),
    18: ("assigned_client_id", "text", "CONNACK"),
    19: ("server_keep_alive", "2", "CONNACK"),
    21: ("authentication_method", "text", "CONNECT CONNACK"),
    22: ("authentication_data", "binary", "CONNECT CONNACK"),
    23: ("request_problem_information", "1", "CONNECT"),
    24: ("will_delay", "4", "will"),
    25: ("request_response_information", "1", "CONNECT"),
    26: ("response_information", "text", "CONNACK"),
    28: ("server_reference", "text", "CONNACK DISCONNECT"),
    31: ("reason_string", "text", "CONNACK PUBACK SUBACK UNSUBACK DISCONNECT"),
    33: ("receive_maximum", "2", "CONNECT CONNACK"),
    34: ("topic_alias_maximum", "2", "CONNECT CONNACK"),
    35: ("topic_alias", "2", "PUBLISH"),
    36: ("maximum_qos", "1", "CONNACK"),
    37: ("retain_available", "1", "CONNACK"),
    38: ("user_property", "pair", "CONNECT CONNACK PUBLISH will PUBACK SUBSCRIBE SUBACK "
         "UNSUBSCRIBE UNSUBACK DISCONNECT"),
    39: ("maximum_packet_size", "4", "CONNECT CONNACK"),
    40: ("wildcards_available", "1", "CONNACK"),
    41: ("subscription_identifiers_available", "1", "CONNACK"),
    42: ("shared_subscriptions_available", "1", "CONNACK"),
}  # fmt: skip
_NUMBERS = {name: (number, kind) for number, (name, kind, _) in _PROPERTIES.items()}
_SEVERAL = {"user_property", "subscription_identifier"}
