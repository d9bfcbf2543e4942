"""The hub: subscribers by channel and form, publications, and what was missed. Pure.

What one subscriber gets is in order, without a gap and without a double. A publication goes to
those who are subscribed when it is made, by way of `deliveries`, a slice of them at a time. Who
comes with the id of what it had last gets what came after that out of the history first, and is
subscribed in the moment in which nothing more is there: what is on its way to others then is in the
history, and what is published later is not.

Most of what was missed is small and the same for many who come at once: it goes out as one piece.
Who missed much gets it a piece at a time, as it takes it (a `Replay`, an object for each such
client).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from operator import attrgetter

import numpy as np

from c1m.engine.contract import NO_SLOTS, Slots, distinct
from c1m.fanout.channels import Channels
from c1m.fanout.deliveries import Deliveries
from c1m.push import statistics
from c1m.push.history import NAMED, SUBSCRIBERS, History, Publication
from c1m.push.holders import Holders
from c1m.push.positions import Positions
from c1m.push.tokens import Grant
from c1m.push.topics import Selected, Selectors
from c1m.push.wire import (
    DROPPED,
    FORMS,
    MERCURE,
    UNKNOWN,
    encoded,
    missed,
    subscribed,
    unsubscribed,
)

HISTORY_COUNT = 100
HISTORY_BYTES = 64 << 20
PIECE_BYTES = 64 << 10  # of what was missed, at a time
REPLAYS_AT_ONCE = 256  # of those who get it in pieces, in a tick
BUSY_COUNT, BUSY_BYTES = 10_000, 64 << 20  # publications on their way, and their bytes
PIECES_KEPT = 16  # that several may want
STUCK_NS = 5_000_000  # how often it is looked whether those have taken what they got


@dataclass(slots=True)
class Replay:
    """Somebody gets what it missed: `after` is the last number that it has, by channel.

    It begins when the hub has handed out `behind` publications: those that were on their way to it
    when it asked.
    """

    after: dict[str, int]
    form: bytes
    behind: int = 0
    grant: Grant | None = None  # what it may see; None: everything
    selectors: Sequence[bytes] = ()  # by which it hears channels that it does not name
    selected: dict[str, int] = field(default_factory=dict)  # those of them that there are: `after`
    start: int = 0  # `after` of those of which nothing is known yet


class Hub:
    """Who hears what. A subscriber is a slot in the array of its channel and form, no object.

    `epoch` differs from one start of the server to the next: numbers of another epoch say nothing
    here, and whoever has one gets all that is kept. `now_ns` tells the time. `deliveries` are those
    of the server. `holders` say who may see what not all subscribers may see; None: everybody may
    see everything.
    """

    def __init__(
        self,
        capacity: int,
        epoch: str,
        now_ns: Callable[[], int] = lambda: 0,
        history: History | None = None,
        deliveries: Deliveries | None = None,
        holders: Holders | None = None,
        positions: Positions | None = None,
    ) -> None:
        self.channels = Channels(capacity)
        self.selected = Selected(capacity)  # Mercure's, who hear what a template covers
        self.holders = holders
        self.deliveries = Deliveries(capacity) if deliveries is None else deliveries
        self.statistics = statistics.Statistics(self.size, self._say_in)
        self.history = History(HISTORY_COUNT, HISTORY_BYTES) if history is None else history
        self.epoch = epoch
        self._positions = positions
        self.last_id = f"{epoch}-0"  # of what was published last
        self._now_ns = now_ns
        # Who are told of what is published, and say how many hear it there.
        self.others: list[Callable[[Publication], int]] = []
        self.heard_by_others = 0  # the latest, by how many
        self.published = 0
        self._first: list[tuple[Slots, bytes]] = []  # to those to whom nothing is on its way
        self._replays: dict[int, list[Replay]] = {}  # by slot
        self._is_stuck = False  # none of those took anything
        # By form and numbers: a piece and the numbers behind it, while nothing is published.
        self._pieces: dict[tuple[object, ...], tuple[bytes, dict[str, int]]] = {}

    # --- publishing -----------------------------------------------------------------------------

    def publish(
        self,
        channel: str,
        data: bytes,
        *,
        is_text: bool = True,
        event: str = "",
        id: str = "",
        retry_ms: int | None = None,
        further: Sequence[str] = (),
        seen_by: int = SUBSCRIBERS,
        origin: tuple[str, int] | None = None,
    ) -> Publication:
        """Say something to all who hear a channel, or one of `further` ones; each hears it once.

        It is on its way in `deliveries`. `origin`: which server published it, by its epoch, and
        its number there, where there are several.
        """
        self.published += 1
        epoch, number = (self.epoch, self.published) if origin is None else origin
        self.last_id = f"{epoch}-{number}"
        if self._positions is not None:
            self._positions.add(epoch, number, self.published)
        self._pieces.clear()
        now_ns = self._now_ns()
        made = Publication(
            channel, self.published, id or self.last_id, data, is_text, event, now_ns,
            id != "", retry_ms, tuple(dict.fromkeys(further)), seen_by,
        )  # fmt: skip
        self.history.add(made)
        self.heard_by_others = sum(tell(made) for tell in self.others)
        count = self._deliver(made)
        self.statistics.published(made, count, now_ns, self.deliveries.added)
        return made

    def is_given(self, id: str) -> bool:
        """Whether it looks like one that a server gives: no publisher may."""
        epoch, _, _ = id.rpartition("-")
        return epoch == self.epoch or (self._positions is not None and epoch in self._positions)

    def gap(self) -> None:
        """Some publications did not come here: all who hear anything are told, and who comes back
        with an id from before."""
        self.history.hole = self.published
        for form in FORMS:
            for name in self.channels.names():
                if name[:1] == form and not statistics.is_reserved(name[1:].decode()):
                    said = missed(form, [name[1:].decode()], DROPPED)
                    self._queue(self.channels.slots(name), said)

    def _deliver(self, made: Publication) -> int:
        """Put it on its way; to how many."""
        count = 0
        for form in FORMS:
            slots = self._hearing(form, made)
            if len(slots):
                self.deliveries.add(slots, encoded(form, made))
                count += len(slots)
        return count

    def _hearing(self, form: bytes, made: Publication) -> Slots:
        """Who hears a publication in this form: int32[n], each once."""
        arrays = [self.channels.slots(form + channel.encode()) for channel in made.channels]
        if form == MERCURE and len(self.selected) and not statistics.is_reserved(made.channel):
            covering = {key for channel in made.channels for key in self.selected.covering(channel)}
            arrays += [self.selected.slots(key) for key in covering]
        arrays = [slots for slots in arrays if len(slots)]
        if not arrays:
            return NO_SLOTS
        slots = arrays[0] if len(arrays) == 1 else distinct(np.concatenate(arrays))
        # Those of other forms may subscribe to what they hear: they were asked when they did.
        is_asked = made.seen_by == NAMED or (form == MERCURE and made.seen_by == SUBSCRIBERS)
        if self.holders is not None and is_asked:
            slots = slots[self.holders.who(slots, lambda grant: grant.may_see(made))]
        return slots

    def _say_in(self, channel: str, data: bytes) -> None:
        """The server's own word in a channel: without an id, and not kept."""
        self._deliver(Publication(channel, 0, "", data))

    def size(self, channel: str) -> int:
        """How many hear a channel."""
        return sum(self.channels.size(form + channel.encode()) for form in FORMS)

    @property
    def is_busy(self) -> bool:
        """Whether so much is on its way that publishers should wait."""
        count = len(self.deliveries)
        return count >= BUSY_COUNT or (count > 0 and self.deliveries.bytes >= BUSY_BYTES)

    # --- subscribing ----------------------------------------------------------------------------

    def join(
        self,
        slots: Slots,
        channels: Sequence[str],
        form: bytes,
        ids: Sequence[str],
        selectors: Sequence[bytes] = (),
    ) -> None:
        """New connections, int32[n], each once, hear channels from now on, in a form.

        `ids`: of the last publication that they have had, one for all channels or one for each;
        none: they hear what comes. `selectors`: they hear what these cover, too. They all may see
        the same.
        """
        if not any(ids):
            self._say_first(slots, self._begin(slots, channels, form, selectors))
            return
        after, notes = self._resumed(channels, form, ids)
        grant = None if self.holders is None else self.holders.of(int(slots[0]))
        start = self._number_of((), ids[0]) or 0 if selectors else 0
        made = partial(Replay, form=form, grant=grant, selectors=selectors, start=start)
        piece = self._piece(made(dict(after)))
        if len(piece) < PIECE_BYTES:
            self._say_first(slots, notes + piece + self._begin(slots, channels, form, selectors))
            return
        self._say_first(slots, notes)
        for slot in slots.tolist():
            self._replays[slot] = [made(dict(after))]

    def subscribe(
        self, slot: int, channels: Sequence[str], form: bytes, ids: Sequence[str]
    ) -> None:
        """A connection hears more channels. What is on its way to it comes first.

        It is told when it hears them: of those that it asked for with an id behind what it missed.
        """
        heard = set(self.heard(slot))
        wanted = dict(zip(channels, _for_each(ids, channels), strict=True))
        later = {channel: id for channel, id in wanted.items() if id and channel not in heard}
        coming = {channel for replay in self._replays.get(slot, ()) for channel in replay.after}
        at_once = [channel for channel in wanted if channel not in later and channel not in coming]
        if later:
            after, notes = self._resumed([*later], form, [*later.values()])
            self.say(slot, notes)
            grant = None if self.holders is None else self.holders.of(slot)
            replay = Replay(after, form, self.deliveries.added, grant)
            self._replays.setdefault(slot, []).append(replay)
        if at_once:
            self.say(slot, self._begin(np.array([slot], np.int32), at_once, form))

    def unsubscribe(self, slot: int, channels: Sequence[str], form: bytes) -> None:
        """It hears these no longer once it is told so."""
        for channel in channels:
            self.channels.remove(slot, form + channel.encode())
            for replay in self._replays.get(slot, ()):
                replay.after.pop(channel, None)
        self.say(slot, unsubscribed(form, channels))

    def heard(self, slot: int) -> list[str]:
        """The channels of a connection, also those of which it still gets what it missed."""
        names = [name[1:].decode() for name in self.channels.of(slot)]
        for replay in self._replays.get(slot, ()):
            names += replay.after
        return names

    def say(self, slot: int, payload: bytes) -> None:
        """Something for one connection, behind what is on its way to it."""
        self._queue(np.array([slot], np.int32), payload)

    def forget(self, slots: Slots) -> None:
        """Connections that have ended: int32[n]."""
        slots = distinct(slots)
        self.channels.forget(slots)
        if len(self.selected):
            self.selected.forget(slots)
        self.deliveries.forget(slots)
        if self._first:
            self._first = [(some[~np.isin(some, slots)], said) for some, said in self._first]
        if self._replays:
            for slot in slots.tolist():
                self._replays.pop(slot, None)

    # --- what goes out --------------------------------------------------------------------------

    def take(self, unsent: Callable[[int], int]) -> Iterator[tuple[Slots, bytes]]:
        """What is to be sent now, besides `deliveries` and before them.

        `unsent`: bytes that a connection has not taken yet.
        """
        first, self._first = self._first, []
        yield from first
        self._is_stuck = True
        for slot in [*islice(self._replays, REPLAYS_AT_ONCE)]:
            replays = self._replays.pop(slot)
            self._replays[slot] = replays  # behind the others
            if replays[0].behind <= self.deliveries.done and not unsent(slot):
                self._is_stuck = False
                yield np.array([slot], np.int32), self._step(slot, replays)

    def delay_ns(self) -> int | None:
        """When something is to be taken next; None: nothing is."""
        if self._first:
            return 0
        if self._replays:
            return STUCK_NS if self._is_stuck else 0
        return None

    def _step(self, slot: int, replays: list[Replay]) -> bytes:
        """The next piece of the first of a connection's replays; with the last one it hears."""
        replay = replays[0]
        gone = []
        for channel, number in replay.after.items():
            last = self.history.dropped(channel)
            if last > number:
                gone.append(channel)
                replay.after[channel] = last
        notes = missed(replay.form, gone, DROPPED) if gone else b""
        piece = self._piece(replay)
        if len(piece) < PIECE_BYTES:
            replays.pop(0)
            if not replays:
                del self._replays[slot]
            if replay.after or replay.selectors:
                one = np.array([slot], np.int32)
                self.say(slot, self._begin(one, [*replay.after], replay.form, replay.selectors))
        return notes + piece

    def _queue(self, slots: Slots, payload: bytes) -> None:
        if payload:
            self.deliveries.add(slots, payload)

    def _say_first(self, slots: Slots, payload: bytes) -> None:
        if payload:
            self._first.append((slots, payload))

    def _begin(
        self, slots: Slots, channels: Sequence[str], form: bytes, selectors: Sequence[bytes] = ()
    ) -> bytes:
        """They are subscribed; what they are told of it."""
        for selector in selectors:
            self.selected.add_all(slots, selector)
        for channel in channels:
            self.channels.add_all(slots, form + channel.encode())
            if statistics.is_reserved(channel):
                self.statistics.ask(channel)
        return subscribed(form, channels, self.last_id)

    def resumed_from(self, channels: Sequence[str], selectors: Sequence[bytes], id: str) -> str:
        """The id, if all that came after it is kept; "" otherwise."""
        number = self._number_of((), id)
        gone = [self.history.hole + 1, *map(self.history.dropped, channels)]
        if selectors:
            gone.append(self.history.last_dropped)
        return id if number is not None and max(gone, default=0) <= number else ""

    # --- what was missed ------------------------------------------------------------------------

    def _resumed(
        self, channels: Sequence[str], form: bytes, ids: Sequence[str]
    ) -> tuple[dict[str, int], bytes]:
        """The numbers to go on from, and what is to be said of what is no longer there."""
        after: dict[str, int] = {}
        lost: dict[str, list[str]] = {UNKNOWN: [], DROPPED: []}
        for channel, id in zip(channels, _for_each(ids, channels), strict=True):
            is_kept = id and not statistics.is_reserved(channel)
            # With Mercure an id stands for the same moment in all channels.
            among = () if form == MERCURE else channels
            number = self._number_of(among, id) if is_kept else self.published
            last = self.history.dropped(channel)
            if number is None or last > number:
                lost[UNKNOWN if number is None else DROPPED].append(channel)
                number = last
            elif self.history.hole >= number:
                lost[DROPPED].append(channel)
            after[channel] = number
        return after, b"".join(missed(form, some, why) for why, some in lost.items() if some)

    def _number_of(self, channels: Sequence[str], id: str) -> int | None:
        """The number of the publication with this id; None: it is not known here."""
        epoch, number = split_id(id)
        if self._positions is not None:
            if (place := self._positions.find(epoch, number)) is not None:
                return place
        elif epoch == self.epoch:
            return number if number <= self.published else None
        if not channels:
            return self.history.first_number_of(id)
        found = (self.history.number_of(channel, id) for channel in channels)
        return next((each for each in found if each is not None), None)

    def _piece(self, replay: Replay) -> bytes:
        """The next of what was missed, in order over all channels: PIECE_BYTES of it or a little
        more, or all that is left. The replay goes on behind it."""
        if replay.selectors:
            self._select(replay)
        after = replay.after | replay.selected
        key = (replay.form, replay.grant, *after.items())
        if key not in self._pieces:
            if len(self._pieces) >= PIECES_KEPT:
                self._pieces.clear()
            self._pieces[key] = self._piece_after(after, replay.form, replay.grant), after
        piece, after = self._pieces[key]
        for numbers in (replay.after, replay.selected):
            numbers.update((channel, after[channel]) for channel in numbers)
        return piece

    def _piece_after(self, after: dict[str, int], form: bytes, grant: Grant | None) -> bytes:
        now_ns, last = self._now_ns(), 0
        kept = [self.history.since(c, number, now_ns) for c, number in after.items()]
        parts, size = [], 0
        for each in heapq.merge(*kept, key=attrgetter("number")):
            if each.number == last:
                continue  # it is in several of the channels
            last = each.number
            after.update((channel, last) for channel in each.channels if channel in after)
            if grant is not None and not grant.may_see(each):
                continue
            parts.append(encoded(form, each))
            size += len(parts[-1])
            if size >= PIECE_BYTES:
                break
        return b"".join(parts)

    def _select(self, replay: Replay) -> None:
        """Channels that have come since a replay began, and that its selectors cover."""
        selectors = Selectors.of(replay.selectors)
        for channel in self.history.channels():
            known = channel in replay.after or channel in replay.selected
            if not known and selectors.covers(channel):
                replay.selected[channel] = replay.start


def split_id(id: str) -> tuple[str, int]:
    """The epoch and the number of a server's id; ("", 0) for what is none."""
    epoch, _, number = id.rpartition("-")
    if number.isascii() and number.isdecimal() and len(number) < 20:
        return epoch, int(number)
    return "", 0


def _for_each(ids: Sequence[str], channels: Sequence[str]) -> Sequence[str]:
    """One id for each channel."""
    return ids if len(ids) == len(channels) else [*(ids or [""])[:1]] * len(channels)
