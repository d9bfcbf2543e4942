"""Why MQTT refused or ended a connection, in words, with what to do. Pure.

Codes are those of MQTT 5 (2.4), and of a CONNACK of 3.1.1 (3.2.2.3), which are below 6.
"""

from __future__ import annotations

BASE = 3 << 18  # above what other protocols say (limits.reasons), below TLS

NOT_MQTT, NO_PINGRESP = BASE, BASE + 1
REFUSED = BASE + (1 << 8)  # + the code of the CONNACK
NOT_SUBSCRIBED = BASE + (2 << 8)  # + the code in the SUBACK
DISCONNECTED = BASE + (3 << 8)  # + the code of the server's DISCONNECT
BROKE_OFF = BASE + (4 << 8)  # + the code that stands for the server's mistake
_KINDS = {REFUSED: "CONNACK", NOT_SUBSCRIBED: "SUBACK", DISCONNECTED: "DISCONNECT",
          BROKE_OFF: "broke off"}  # fmt: skip

CODES = {
    1: "it does not speak this version of the protocol", 2: "the client id is not allowed",
    3: "the server is unavailable", 4: "the user name or password is wrong or malformed",
    5: "it is not authorized", 0x80: "unspecified error", 0x81: "a packet is malformed",
    0x82: "a mistake in the protocol", 0x83: "an error of this server's own",
    0x84: "it does not speak this version of the protocol", 0x85: "the client id is not allowed",
    0x86: "the user name or password is wrong", 0x87: "it is not authorized",
    0x88: "the server is unavailable", 0x89: "the server has too much to do",
    0x8A: "the client is banned", 0x8B: "the server is shutting down",
    0x8C: "it wants another way of authentication", 0x8D: "nothing came within the keep-alive",
    0x8E: "another connection has the same client id",
    0x8F: "the filter of topics is not allowed", 0x90: "the topic is not allowed",
    0x91: "the packet identifier is in use", 0x93: "more messages are under way than it takes",
    0x94: "a topic alias is none", 0x95: "a packet is too large", 0x96: "the rate is too high",
    0x97: "a quota is used up", 0x98: "by its administrator", 0x99: "the payload is not as it says",
    0x9A: "it keeps no messages (retain)", 0x9B: "it does not take this QoS",
    0x9C: "use another server", 0x9D: "the server has moved", 0x9E: "no shared subscriptions",
    0x9F: "connects come too fast", 0xA0: "the time of a connection is over",
    0xA1: "no subscription identifiers", 0xA2: "no wildcards in subscriptions",
}  # fmt: skip
_LOG = "Look at the server's log."
_REMEDIES = {
    1: "Try the other version: --mqtt-version.", 0x84: "Try the other version: --mqtt-version.",
    4: "Give them in the target: mqtt://USER:PASSWORD@HOST.",
    5: "Give a user in the target, mqtt://USER:PASSWORD@HOST, and look at the server's rules.",
    0x86: "Give them in the target: mqtt://USER:PASSWORD@HOST.",
    0x87: "Give a user in the target, mqtt://USER:PASSWORD@HOST, and look at the server's rules.",
    2: "Give another one: --client-id.", 0x85: "Give another one: --client-id.",
    0x8E: "Is another run under way? Give --client-id, or another --seed.",
    0x93: "Use a smaller --pipeline.", 0x9B: "Give a lower --qos.",
}  # fmt: skip
_OWN = {
    NOT_MQTT: (
        "not MQTT", "what came is no CONNACK",
        "Compare the target's port with the server's: is MQTT spoken there, with TLS or without?",
    ),
    NO_PINGRESP: (
        "no PINGRESP", "the server did not answer a PINGREQ in time",
        "Look at the server's load, or give --timeout more.",
    ),
}  # fmt: skip


def of_code(code: int) -> str:
    """A reason code in words."""
    return CODES.get(code, "a code that MQTT does not know")


def name_of(reason: int) -> str:
    """As a record has it: "CONNACK 0x87", "no PINGRESP"."""
    if reason in _OWN:
        return _OWN[reason][0]
    kind, code = _parts(reason)
    return f"{_KINDS[kind]} 0x{code:02x}"


def words_of(reason: int) -> tuple[str, str]:
    """(reason in words, remedy)."""
    if reason in _OWN:
        return _OWN[reason][1:]
    kind, code = _parts(reason)
    said = {
        REFUSED: "the server refused the connection",
        NOT_SUBSCRIBED: "the server refused the subscription",
        DISCONNECTED: "the server ended the connection",
        BROKE_OFF: "the server broke the protocol",
    }[kind]
    words = "it said good-bye" if kind == DISCONNECTED and not code else of_code(code)
    return f"{said}: {words}", _REMEDIES.get(code, _LOG)


def _parts(reason: int) -> tuple[int, int]:
    code = (reason - BASE) & 0xFF
    return reason - code, code
