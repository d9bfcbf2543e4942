"""mqtt://[USER[:PASSWORD]@]HOST[:PORT], mqtts://: MQTT 3.1.1 or 5. Texts may have {n}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import unquote

from c1m.errors import UsageError
from c1m.loadgen.schemes.base import Scheme, Url, publication
from c1m.loadgen.transports.base import Transport
from c1m.loadgen.transports.mqtt import Asked, MqttTransport
from c1m.protocols.mqtt.fields import STRING_MAX, Broken, check_filter, check_name
from c1m.protocols.mqtt.packets import V5, V311
from c1m.results.options import LoadOptions
from c1m.scenarios import asks_mqtt as asks_mqtt  # what conversations say here
from c1m.scenarios.base import Scenario
from c1m.scenarios.conversation import Talking
from c1m.scenarios.messages import Message
from c1m.units import NS_PER_S


class Mqtt(Scheme):
    """See Scheme. Each connection publishes to its topic, to which it has subscribed."""

    name = "mqtt"
    over_tls = "mqtts"
    port, tls_port = 1883, 8883
    takes: ClassVar[tuple[str, ...]] = (
        "topic", "qos", "retain", "client_id", "mqtt_version", "keep_alive_ns", "will"
    )  # fmt: skip
    has_transport = True

    def __init__(self, urls: Sequence[Url], options: LoadOptions) -> None:
        super().__init__(urls, options)
        if len({url.login for url in urls}) > 1:
            raise UsageError("The targets have different users.", "Give all of them the same one.")
        for url in urls:
            if url.path not in ("", "/"):
                raise UsageError(
                    f"{url.shown!r} has a path, which MQTT has no use for.",
                    f"Is a topic meant? --topic '{url.path.strip('/')}'.",
                )
        user, separator, password = (urls[0].login or "").partition(":")
        self._user = unquote(user) if urls[0].login is not None else None
        self._password = unquote(password) if separator else None
        try:
            _ = [Message(text, 1) for text in (self._user, self._password) if text]
        except UsageError:  # which would show a part of them
            raise UsageError(
                "The user or the password of the target has braces that stand for nothing.",
                "Use {n} for the connection's number, {{ and }} for braces.",
            ) from None

    def scenario_for(self, options: LoadOptions) -> Scenario:
        """See Scheme: messages are payloads, which need no newline at their end."""
        if options.scenario != "publish":
            return super().scenario_for(options)
        return publication(options)

    def check(self, scenario: Scenario, options: LoadOptions) -> None:
        """See Scheme."""
        super().check(scenario, options)
        _are_conversations(scenario)
        topic = options.topic or ""
        if scenario.speakers is not None and "{n}" in topic:
            raise UsageError(
                f"With the topic {topic!r} nobody hears what another connection publishes.",
                "Give one topic without {n}, which all subscribe to.",
            )
        for flag, text in (("--topic", options.topic), ("--client-id", options.client_id)):
            if text is not None:
                _check_text(flag, text, is_filter=scenario.is_silent)
        if options.keep_alive_ns % NS_PER_S:
            raise UsageError(
                "A keep-alive has whole seconds.", "Give --keep-alive 1s or more, or 0s for none."
            )

    def transport(self, scenario: Scenario, count: int, options: LoadOptions) -> Transport:
        """See Scheme."""
        usual = f"c1m/{options.seed}" + "/{n}" * (scenario.speakers is None)
        in_packets = _are_conversations(scenario)
        topic = options.topic or ("" if scenario.is_silent or in_packets else usual)
        asked = Asked(
            client_id=options.client_id or f"c1m-{options.seed}-{{n}}",
            version=V5 if options.mqtt_version == "5" else V311,
            user=self._user,
            password=self._password,
            will=_will(options.will),
            keep_alive_s=options.keep_alive_ns // NS_PER_S,
            topic=topic,
            subscribes=bool(topic),
            qos=options.qos,
            retain=options.retain,
            timeout_ns=options.timeout_ns,
        )
        first = scenario.stretch.first
        return MqttTransport(count, asked, options.seed, in_packets=in_packets, first=first)


def _are_conversations(scenario: Scenario) -> bool:
    """Whether packets are said, and not payloads. Raises UsageError where some say these, others
    those."""
    found = {isinstance(each, Talking) for each in getattr(scenario, "parts", [scenario])}
    if len(found) > 1:
        raise UsageError(
            "Over mqtt:// a conversation is mixed with conversations only.",
            "Leave the other scenarios out.",
        )
    return found.pop()


def _will(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    topic, separator, message = text.partition("=")
    if not separator:
        raise UsageError(f"{text!r} is no will.", "Write --will 'TOPIC=MESSAGE'.")
    _check_text("--will", topic)
    return topic, message


def _check_text(flag: str, text: str, *, is_filter: bool = False) -> None:
    """Raise UsageError for what is no topic, or no client id that is one for each connection."""
    made = Message(text, 1).one(0) if text else b""
    try:
        if not made or len(made) > STRING_MAX or b"\0" in made:
            raise Broken(f"{text[:40]!r} is empty, too long, or has a zero byte.")
        if flag == "--client-id":
            if Message(text, 1).has_n or "{random" in text:
                return
            raise Broken(f"All connections have the client id {text!r}; a server keeps the last.")
        check_filter(made) if is_filter else check_name(made)
    except Broken as broken:
        remedy = "Put {n} into it." if flag == "--client-id" else "Give a topic, as a/b/c."
        raise UsageError(f"{flag}: {broken}", remedy) from None
