"""Who gets what from the hub, and in which order, against a slow reference.

Whatever is mixed (publications that are on their way in slices, clients that come, come back with
an id, subscribe and unsubscribe in mid-connection, go), of each channel a client gets what was
published between its ends of it: in order, nothing twice, and nothing left out that it is not told
of.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from c1m.protocols.websocket.frames import FrameReader, Op
from c1m.push import hub as hub_module
from c1m.push.history import History
from c1m.push.hub import Hub
from c1m.push.wire import EVENT, JSON, RAW

CHANNELS = ("a", "b", "c")
CAPACITY = 12
EPOCH = "e"
LARGE = 40_000  # two of these are a piece of a replay

channel_sets = st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True)


@dataclass
class Due:
    """Something that is to come. `is_missed`: out of the history; number 0: "unsubscribed"."""

    number: int
    is_missed: bool = False
    may_be_left_out: bool = False


@dataclass
class Client:
    """What one client is to have: of each channel, in order."""

    form: bytes
    due: dict[str, list[Due]] = field(default_factory=lambda: {channel: [] for channel in CHANNELS})
    heard: set[str] = field(default_factory=set)
    last: int = 0
    times: Counter[str] = field(default_factory=Counter)  # that it subscribed to a channel


class HubAgainstReference(RuleBasedStateMachine):
    """`numbers[c]`: all that was published to a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = Hub(CAPACITY, EPOCH, history=History(5, 1 << 20))
        self.numbers: dict[str, list[int]] = {channel: [] for channel in CHANNELS}
        self.clients: dict[int, Client] = {}

    # --- what happens ---------------------------------------------------------------------------

    @rule(channel=st.sampled_from(CHANNELS), is_large=st.booleans())
    def publish(self, channel: str, is_large: bool) -> None:
        number = self.hub.published + 1
        text = f"{channel} {number} " + "x" * (LARGE if is_large else 0)
        made = self.hub.publish(channel, text.encode())
        assert made.id == f"{EPOCH}-{number}"
        self.numbers[channel].append(number)
        for client in self.clients.values():
            if channel in client.heard:
                client.due[channel].append(Due(number))

    @rule(
        data=st.data(),
        channels=channel_sets,
        form=st.sampled_from((RAW, JSON, EVENT)),
        count=st.integers(1, 3),
    )
    def come(self, data: st.DataObject, channels: list[str], form: bytes, count: int) -> None:
        slots = [slot for slot in range(CAPACITY) if slot not in self.clients][:count]
        if not slots:
            return
        ids = self._ids(data, channels)
        for slot in slots:
            self.clients[slot] = Client(form)
            self._expect(self.clients[slot], channels, ids)
        self.hub.join(np.array(slots, np.int32), channels, form, ids)

    @precondition(lambda self: any(c.form == JSON for c in self.clients.values()))
    @rule(data=st.data(), channels=channel_sets)
    def subscribe(self, data: st.DataObject, channels: list[str]) -> None:
        slot = data.draw(st.sampled_from([s for s, c in self.clients.items() if c.form == JSON]))
        client, ids = self.clients[slot], self._ids(data, channels)
        each = ids * len(channels) if len(ids) == 1 else ids
        by_channel = dict(zip(channels, each, strict=False))
        new = [channel for channel in channels if channel not in client.heard]
        self._expect(client, new, [by_channel.get(channel, "") for channel in new])
        self.hub.subscribe(slot, channels, JSON, ids)

    @precondition(lambda self: any(c.form == JSON for c in self.clients.values()))
    @rule(data=st.data(), channels=channel_sets)
    def unsubscribe(self, data: st.DataObject, channels: list[str]) -> None:
        slot = data.draw(st.sampled_from([s for s, c in self.clients.items() if c.form == JSON]))
        client = self.clients[slot]
        coming = {name for replay in self.hub._replays.get(slot, ()) for name in replay.after}
        for channel in channels:
            client.heard.discard(channel)
            dues = client.due[channel]
            before = max((i for i, due in enumerate(dues) if not due.number), default=-1)
            for i, due in enumerate(dues):  # what is on its way comes, not what is only kept for it
                due.may_be_left_out |= due.is_missed or (channel in coming and i > before)
            dues.append(Due(0))
        self.hub.unsubscribe(slot, channels, JSON)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        slot = data.draw(st.sampled_from(sorted(self.clients)))
        del self.clients[slot]
        self.hub.forget(np.array([slot], np.int32))

    @rule(count=st.integers(1, 5), busy=st.sets(st.integers(0, CAPACITY - 1)))
    def tick(self, count: int, busy: set[int]) -> None:
        for slots, payload in self.hub.take(lambda slot: slot in busy):
            self._got(slots.tolist(), payload)
        taken = self.hub.deliveries.take(count)
        if taken is not None:
            for slot, payload in zip(taken[0].tolist(), taken[1].pieces(), strict=True):
                self._got([slot], payload)

    @rule()
    def all_goes_out(self) -> None:
        while self.hub.delay_ns() is not None or self.hub.deliveries:
            self.tick(1000, set())
        for client in self.clients.values():
            for channel in CHANNELS:
                self._has(client, channel, len(client.due[channel]))

    @invariant()
    def tables_agree(self) -> None:
        self.hub.channels.check()
        for slot, client in self.clients.items():
            assert set(self.hub.heard(slot)) == client.heard

    # --- the reference --------------------------------------------------------------------------

    def _ids(self, data: st.DataObject, channels: list[str]) -> list[str]:
        one = st.integers(-1, self.hub.published).map(
            lambda number: f"{EPOCH}-{number}" if number >= 0 else "other-7"
        )
        each = st.lists(st.just("") | one, min_size=len(channels), max_size=len(channels))
        return data.draw(st.just([]) | st.tuples(one).map(list) | each)

    def _expect(self, client: Client, channels: list[str], ids: list[str]) -> None:
        ids = ids * len(channels) if len(ids) == 1 else ids or [""] * len(channels)
        for channel, id in zip(channels, ids, strict=True):
            client.heard.add(channel)
            client.times[channel] += 1
            if id:
                number = int(id.removeprefix(f"{EPOCH}-")) if id.startswith(EPOCH) else 0
                missed = [Due(each, True) for each in self.numbers[channel] if each > number]
                client.due[channel] += missed

    def _got(self, slots: list[int], payload: bytes) -> None:
        for slot in slots:
            client = self.clients[slot]  # nothing goes to whom has gone
            for said in _messages(client.form, payload):
                if "missed" in said:
                    self._gone(client, said["missed"])
                elif "data" in said:
                    channel, number, _ = said["data"].split(" ")
                    # By the last id alone it can come back, but if it subscribed in between.
                    assert client.form == JSON or int(number) > client.last
                    client.last = int(number)
                    self._take(client, channel, int(number))
                elif "unsubscribed" in said:
                    for channel in said["unsubscribed"]:
                        self._take(client, channel, 0)
                else:
                    for channel in said["subscribed"]:
                        self._has_all(client, channel, int(said["id"].rpartition("-")[2]))

    def _take(self, client: Client, channel: str, number: int) -> None:
        numbers = [due.number for due in client.due[channel]]
        assert number in numbers, "twice, or never subscribed"
        self._has(client, channel, numbers.index(number))
        del client.due[channel][0]

    def _has(self, client: Client, channel: str, count: int) -> None:
        """The first `count` are not there, and need not be."""
        kept = self.hub.history.dropped(channel)
        for due in client.due[channel][:count]:
            # A raw client cannot be told what is no longer kept.
            assert due.may_be_left_out or (client.form == RAW and 0 < due.number <= kept)
        del client.due[channel][:count]

    def _gone(self, client: Client, told: dict[str, Any]) -> None:
        for channel in told["channels"]:
            kept = self.hub.history.dropped(channel)
            for due in client.due[channel]:
                due.may_be_left_out |= due.is_missed and due.number <= kept
            # And what was published meanwhile, before its turn came.
            if channel in client.heard:
                for due in client.due[channel]:
                    due.may_be_left_out |= 0 < due.number <= kept

    def _has_all(self, client: Client, channel: str, number: int) -> None:
        """It was told an id: it has had all until there."""
        if channel in client.heard and client.times[channel] == 1:
            due = client.due[channel]
            assert all(each.number > number or each.may_be_left_out for each in due)


def _messages(form: bytes, payload: bytes) -> list[dict[str, Any]]:
    if form == EVENT:
        found: list[dict[str, Any]] = []
        for event in payload.decode().split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in event.split("\n"))
            if fields.get("event") == "missed":
                found.append({"missed": json.loads(fields["data"])})
            elif "data" in fields:
                found.append({"data": fields["data"], "id": fields["id"]})
        return found
    messages = list(FrameReader(1 << 30, is_server=False).take(payload))
    assert all(message.op == Op.TEXT for message in messages)
    if form == RAW:
        return [{"data": message.payload.decode()} for message in messages]
    return [json.loads(message.payload) for message in messages]


TestHub = HubAgainstReference.TestCase
TestHub.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
assert 2 * LARGE > hub_module.PIECE_BYTES > LARGE
