"""The hub: subscribers by channel and form, publications, and their history. Pure."""

from __future__ import annotations

import numpy as np

from c1m.engine.contract import Slots
from c1m.fanout.channels import Channels
from c1m.fanout.deliveries import Deliveries
from c1m.push.history import History, Publication
from c1m.push.wire import FORMS, encoded

HISTORY_COUNT = 100
HISTORY_BYTES = 64 << 20


class Hub:
    """Who hears what. A subscriber is a slot in the array of its channel and form, no object.

    `epoch` differs from one start of the server to the next: numbers of another epoch say nothing
    here, and whoever has one gets all that is kept.
    """

    def __init__(self, capacity: int, epoch: str) -> None:
        self.channels = Channels(capacity)
        self.deliveries = Deliveries(capacity)
        self.history = History(HISTORY_COUNT, HISTORY_BYTES)
        self.epoch = epoch
        self.published = 0

    def subscribe(self, slots: Slots, channel: str, form: bytes) -> None:
        """These, int32[n], each once, hear a channel from now on, in a form."""
        self.channels.add_all(slots, form + channel.encode())

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
        for form in FORMS:
            slots = self.channels.slots(form + channel.encode())
            if len(slots):
                self.deliveries.add(slots, encoded(form, made))
        return made

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
