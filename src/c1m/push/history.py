"""What was published to channels lately: bounded, so that who was away can have what it missed.

Bounds: `count` messages of a channel, `age_ns` of a message, and `total_bytes` of all of them with
what it takes to keep them, in which the channels that were silent longest go first. What went is
known by its number: who asks for more than is kept is told so. Pure.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass

# What it takes to keep one, about: the objects around its bytes.
PUBLICATION_BYTES = 300
CHANNEL_BYTES = 1000

# Who sees a publication: who may subscribe to one of its channels; everybody, as what is public in
# Mercure; those whose tokens name one of its channels, as what is private there.
SUBSCRIBERS, EVERYBODY, NAMED = range(3)


@dataclass(frozen=True, slots=True)
class Publication:
    """One message: `number`s rise over all channels; `id` is "EPOCH-NUMBER" or the publisher's."""

    channel: str
    number: int
    id: str
    data: bytes
    is_text: bool = True
    event: str = ""  # the name of a server-sent event
    at_ns: int = 0
    has_own_id: bool = False  # its publisher's
    retry_ms: int | None = None  # of a server-sent event
    further: tuple[str, ...] = ()  # channels that it is in, too
    seen_by: int = SUBSCRIBERS

    @property
    def channels(self) -> tuple[str, ...]:
        """All that it is in."""
        return self.channel, *self.further

    @property
    def cost(self) -> int:
        """Bytes that it takes, about."""
        return len(self.data) + PUBLICATION_BYTES


class _Kept:
    """Of one channel. `dropped`: the number of the last one that went."""

    __slots__ = ("dropped", "publications")

    def __init__(self, dropped: int) -> None:
        self.dropped = dropped
        self.publications: deque[Publication] = deque()


class History:
    """Of each channel the last `count` messages, and `total_bytes` in all; 0 `age_ns`: of any age.

    With a `count` of 0 nothing is kept.
    """

    def __init__(self, count: int, total_bytes: int, age_ns: int = 0) -> None:
        self.count = count
        self._total_bytes = total_bytes
        self._age_ns = age_ns
        self._channels: OrderedDict[str, _Kept] = OrderedDict()  # that spoke last is last
        self._numbers: dict[str, int] = {}  # by id, of those whose ids are their publisher's
        self._forgotten = 0  # the number of the last one of channels of which nothing is known
        self.hole = -1  # behind this number something is missing that was never here
        self.last_dropped = 0  # the number of the latest one that went, of any channel
        self.bytes = 0

    def __len__(self) -> int:
        """Channels of which something is kept."""
        return len(self._channels)

    def add(self, publication: Publication) -> None:
        """Keep it, and let go of what is over the bounds."""
        if not self.count:
            self._forgotten = self.last_dropped = publication.number
            return
        if publication.has_own_id:
            self._numbers.setdefault(publication.id, publication.number)
        for channel in publication.channels:
            kept = self._channels.get(channel)
            if kept is None:
                kept = self._channels[channel] = _Kept(self._forgotten)
                self.bytes += CHANNEL_BYTES
            self._channels.move_to_end(channel)
            kept.publications.append(publication)
            self.bytes += publication.cost
            if len(kept.publications) > self.count:
                self._drop(kept)
        self.expire(publication.at_ns)
        while self.bytes > self._total_bytes:
            self._drop_oldest()

    def expire(self, now_ns: int) -> None:
        """Let go of what is too old, as far as nobody speaks there any more."""
        if not self._age_ns:
            return
        while self._channels:
            kept = next(iter(self._channels.values()))
            if kept.publications and kept.publications[-1].at_ns > now_ns - self._age_ns:
                return
            while kept.publications:
                self._drop(kept)
            self._drop_oldest()

    def since(self, channel: str, number: int, now_ns: int = 0) -> list[Publication]:
        """What was published to a channel after this number, as far as it is kept, in order."""
        kept = self._channels.get(channel)
        if kept is None:
            return []
        publications = kept.publications
        while self._age_ns and publications and publications[0].at_ns <= now_ns - self._age_ns:
            self._drop(kept)
        found = []
        for each in reversed(publications):
            if each.number <= number:
                break
            found.append(each)
        return found[::-1]

    def dropped(self, channel: str) -> int:
        """The number of the last one that may have gone: all later ones are kept."""
        kept = self._channels.get(channel)
        return self._forgotten if kept is None else kept.dropped

    def number_of(self, channel: str, id: str) -> int | None:
        """The number of the publication with this id; None: it is not kept."""
        kept = self._channels.get(channel)
        for each in reversed(kept.publications if kept is not None else ()):
            if each.id == id:
                return each.number
        return None

    def first_number_of(self, id: str) -> int | None:
        """The same in any channel, of an id that is its publisher's; the first one with it."""
        return self._numbers.get(id)

    def channels(self) -> Iterable[str]:
        """Those of which something is kept."""
        return self._channels.keys()

    def _drop(self, kept: _Kept) -> None:
        """The oldest one of a channel."""
        gone = kept.publications.popleft()
        kept.dropped = gone.number
        self.last_dropped = max(self.last_dropped, gone.number)
        if gone.has_own_id and self._numbers.get(gone.id) == gone.number:
            del self._numbers[gone.id]
        self.bytes -= gone.cost

    def _drop_oldest(self) -> None:
        """Of the channel that was silent longest: one message, or itself if it has none."""
        channel, kept = next(iter(self._channels.items()))
        if kept.publications:
            self._drop(kept)
        else:
            del self._channels[channel]
            self.bytes -= CHANNEL_BYTES
            self._forgotten = max(self._forgotten, kept.dropped)
