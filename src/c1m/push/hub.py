"""The hub: subscribers by channel and form, publications, and their history. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from c1m.engine.contract import Slots
from c1m.fanout.channels import Channels
from c1m.fanout.deliveries import Deliveries
from c1m.push import statistics
from c1m.push.history import History, Publication
from c1m.push.wire import FORMS, encoded

HISTORY_COUNT = 100
HISTORY_BYTES = 64 << 20


class Hub:
    """Who hears what. A subscriber is a slot in the array of its channel and form, no object.

    `epoch` differs from one start of the server to the next: numbers of another epoch say nothing
    here, and whoever has one gets all that is kept. `now_ns` tells the time. `deliveries` are those
    of the server.
    """

    def __init__(
        self,
        capacity: int,
        epoch: str,
        now_ns: Callable[[], int] = lambda: 0,
        deliveries: Deliveries | None = None,
    ) -> None:
        self.channels = Channels(capacity)
        self.deliveries = Deliveries(capacity) if deliveries is None else deliveries
        self.history = History(HISTORY_COUNT, HISTORY_BYTES)
        self.statistics = statistics.Statistics(self.size, self._say)
        self.epoch = epoch
        self._now_ns = now_ns
        self.published = 0

    def subscribe(self, slots: Slots, channel: str, form: bytes) -> None:
        """These, int32[n], each once, hear a channel from now on, in a form."""
        self.channels.add_all(slots, form + channel.encode())
        if statistics.is_reserved(channel):
            self.statistics.ask(channel)

    def unsubscribe(self, slot: int, channel: str, form: bytes) -> None:
        """This one does no longer."""
        self.channels.remove(slot, form + channel.encode())

    def publish(
        self, channel: str, data: bytes, *, is_text: bool = True, event: str = ""
    ) -> Publication:
        """Say something to all who hear a channel; it is on its way in `deliveries`."""
        self.published += 1
        number = self.published
        made = Publication(channel, number, f"{self.epoch}-{number}", data, is_text, event)
        self.history.add(made)
        count = self._deliver(made)
        self.statistics.published(made, count, self._now_ns(), self.deliveries.added)
        return made

    def _deliver(self, made: Publication) -> int:
        """Put it on its way; to how many."""
        count = 0
        for form in FORMS:
            slots = self.channels.slots(form + made.channel.encode())
            if len(slots):
                self.deliveries.add(slots, encoded(form, made))
                count += len(slots)
        return count

    def _say(self, channel: str, data: bytes) -> None:
        """The server's own word: without an id, and not kept."""
        self._deliver(Publication(channel, 0, "", data))

    def size(self, channel: str) -> int:
        """How many hear a channel."""
        return sum(self.channels.size(form + channel.encode()) for form in FORMS)

    def missed(self, channel: str, last_id: str) -> list[Publication]:
        """What came after the publication with this id, as far as it is kept."""
        epoch, _, number = last_id.rpartition("-")
        known = int(number) if epoch == self.epoch and number.isdecimal() else 0
        return self.history.since(channel, known)

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n]."""
        slots = np.unique(slots).astype(np.int32)
        self.channels.forget(slots)
        self.deliveries.forget(slots)
