"""What is said of a channel to those who ask, in a channel of its own. Pure.

Who subscribes to "$stats:NAME" hears of the channel NAME, ten times a second at most and only when
there is something new:

    {"subscribers": 1000000, "delivered": [{"id": "e-7", "subscribers": 1000000, "ms": 812.5}]}

`delivered`: publications that have been handed to the kernel for the last of their subscribers, and
the milliseconds from when the server had read them until then. These messages have no id and are
not kept. Nobody publishes to such a channel.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from c1m.push.history import Publication
from c1m.units import NS_PER_MS

PREFIX = "$stats:"
PACE_NS = 100 * NS_PER_MS
EACH_NS = 20_000  # for each who asks, where they are so many that this is more: then it is slower
DELIVERED_MAX = 20  # in one message: the latest ones


def is_reserved(channel: str) -> bool:
    """Whether only the server says something in this channel."""
    return channel.startswith(PREFIX)


@dataclass(slots=True)
class _Asked:
    """A channel that somebody asks about: what was said last, and what is to be said."""

    said: tuple[int, int] = (-1, 0)  # its subscribers, and those who ask
    delivered: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=DELIVERED_MAX))


@dataclass(slots=True)
class _OnItsWay:
    publication: Publication
    subscribers: int
    since_ns: int
    mark: int  # it has gone when so many deliveries are done


class Statistics:
    """`size(channel)` tells its subscribers, `say(channel, data)` sends them a message."""

    def __init__(self, size: Callable[[str], int], say: Callable[[str, bytes], object]) -> None:
        self._size = size
        self._say = say
        self._asked: dict[str, _Asked] = {}
        self._on_their_way: deque[_OnItsWay] = deque()
        self._due_ns = 0

    def ask(self, channel: str) -> None:
        """Somebody subscribes to "$stats:..."."""
        name = channel.removeprefix(PREFIX)
        self._asked.setdefault(name, _Asked()).said = (-1, 0)  # so that they hear it soon

    def published(self, made: Publication, subscribers: int, now_ns: int, mark: int) -> None:
        """A publication is on its way; it has gone when `mark` deliveries are done."""
        if made.channel in self._asked:
            self._on_their_way.append(_OnItsWay(made, subscribers, now_ns, mark))

    @property
    def is_waiting(self) -> bool:
        """Whether a publication that somebody asks about is on its way."""
        return bool(self._on_their_way)

    def tick(self, now_ns: int, done: int) -> int | None:
        """Say what is due: `done` deliveries are with the kernel. When to be called again."""
        while self._on_their_way and self._on_their_way[0].mark <= done:
            one = self._on_their_way.popleft()
            ms = round((now_ns - one.since_ns) / NS_PER_MS, 3)
            if (asked := self._asked.get(one.publication.channel)) is not None:
                asked.delivered.append(
                    {"id": one.publication.id, "subscribers": one.subscribers, "ms": ms}
                )
        if not self._asked:
            return None
        if now_ns >= self._due_ns:
            asking = sum(self._tell(channel) for channel in list(self._asked))
            self._due_ns = now_ns + max(PACE_NS, asking * EACH_NS)
        return self._due_ns

    def _tell(self, channel: str) -> int:
        """Say what is new of it; how many ask."""
        asked = self._asked[channel]
        now = self._size(channel), self._size(PREFIX + channel)
        if not now[1]:
            del self._asked[channel]
        elif now != asked.said or asked.delivered:
            told = {"subscribers": now[0], "delivered": list(asked.delivered)}
            self._say(PREFIX + channel, json.dumps(told).encode())
            asked.said = now
            asked.delivered.clear()
        return now[1]
