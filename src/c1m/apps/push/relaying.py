"""The push server's publications by way of a broker, and back (`--relay`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from c1m.push.asked import Said
from c1m.push.history import Publication
from c1m.push.hub import Hub
from c1m.push.mistakes import Mistake
from c1m.relay.broker import Broker
from c1m.relay.numbers import NotRelayed
from c1m.relay.relay import Relay
from c1m.server.server import Server

# What came of something that was published: its publications, and how many hear them here; or why
# nothing is known of them.
Then = Callable[[list[tuple[Publication, int]] | Mistake], object]


def as_item(said: Said, channels: Sequence[str]) -> bytes:
    """A publication for other servers: a line of JSON, and its data."""
    about = {
        "channels": list(channels), "text": said.is_text, "event": said.event, "id": said.id,
        "retry": said.retry_ms, "seen": said.seen_by,
    }  # fmt: skip
    short = {name: value for name, value in about.items() if value not in ("", None, 0)}
    return json.dumps(short, separators=(",", ":")).encode() + b"\n" + said.data


def of_item(item: bytes) -> Said:
    """What another server says. Raises ValueError for what none would."""
    head, _, data = item.partition(b"\n")
    about = json.loads(head)
    return Said(
        about["channels"], data, about.get("text", False), about.get("event", ""),
        about.get("id", ""), about.get("retry"), about.get("seen", 0),
    )  # fmt: skip


def nobody(result: object) -> None:
    """For what nobody waits for."""


class PushRelay:
    """Of one server, whose hub gets what comes."""

    def __init__(self, broker: Broker, hub: Hub) -> None:
        self._hub = hub
        self.relay = Relay(broker, hub.epoch, self._deliver, lambda count: hub.gap())

    def start(self, server: Server) -> None:
        """See Relay.start."""
        self.relay.start(server)

    @property
    def is_busy(self) -> bool:
        """Whether publishers should wait."""
        return self.relay.is_busy

    def publish(self, said: Sequence[Said], then: Then, *, as_one: bool = False) -> None:
        """Publish all of these, in order, to each of their channels, or `as_one` in all of them.

        `then` is told once, when it is known of all what became of them. Raises Mistake, with
        nothing published, where they are not taken.
        """
        items = [
            as_item(each, channels)
            for each in said
            for channels in ([each.channels] if as_one else [[name] for name in each.channels])
        ]
        found: list[tuple[Publication, int]] = []
        lost: list[NotRelayed] = []

        def told(result: Any) -> None:
            (lost if isinstance(result, NotRelayed) else found).append(result)
            if len(found) + len(lost) < len(items):
                return
            if lost and found:
                said = f"The broker went away: {len(found)} of {len(items)} were published."
                then(Mistake("unknown", f"{said} Of the others it is not known."))
            elif lost:
                then(mistake_of(max(lost, key=lambda why: why.is_unknown)))
            else:
                then(found)

        try:
            self.relay.publish(items, told)
        except NotRelayed as why:
            raise mistake_of(why) from None

    def take(self) -> bool:
        """Deliver what has come; whether something is left."""
        return self.relay.take(lambda: self._hub.is_busy)

    def settle(self) -> None:
        """See Relay.settle."""
        self.relay.settle(lambda: False)

    def _deliver(self, origin: str, number: int, item: bytes) -> tuple[Publication, int]:
        said, hub = of_item(item), self._hub
        count = hub.size(said.channels[0])
        made = hub.publish(
            said.channels[0], said.data, is_text=said.is_text, event=said.event, id=said.id,
            retry_ms=said.retry_ms, further=said.channels[1:], seen_by=said.seen_by,
            origin=(origin, number),
        )  # fmt: skip
        return made, count + hub.heard_by_others


def mistake_of(why: NotRelayed) -> Mistake:
    """How a publisher is told."""
    return Mistake("unknown" if why.is_unknown else "not-relayed", why.why)
