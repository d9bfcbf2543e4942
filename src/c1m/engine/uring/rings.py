"""All rings of one engine: slots to rings and back, tables of direct descriptors, buffers, sleep.

Slot = ring * files_per_ring + place in that ring's table, so a slot says by arithmetic where its
socket is. Rings are added when those there are filling up, because one table may not be larger than
RLIMIT_NOFILE nor than 2**20: a small server has one ring, a million connections under a limit of
20,000 have some fifty, in the same thread.

A ring either accepts (the kernel chooses places in its table) or connects (we choose): mixed, the
two would step on each other.

A further ring may be refused: it locks memory and takes a descriptor. Then nothing is left behind,
those that are there go on, and it is asked for again after a pause (`shortage`). The first is made
with the set, so that whoever chooses this engine knows that there is one; it waits at rest, because
the thread that runs the engine may not be the one that made it.
"""

from __future__ import annotations

import errno
import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from c1m.clock import Clock, SystemClock
from c1m.engine.contract import Slots
from c1m.engine.shortage import Shortage, refusals
from c1m.engine.states import ConnState
from c1m.engine.uring.busy_poll import BusyPoll
from c1m.engine.uring.late import Late
from c1m.engine.uring.submissions import Op, Words, cancel, close, pack, pack_one, poll
from c1m.errors import LimitError
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import BufferArena, BufferRing, Ids
from c1m.kernel.limits import may_ever_lock
from c1m.kernel.real import Kernel
from c1m.kernel.refusals import refusal
from c1m.kernel.ring import Completions, RingLike, register_table, whole_pages

COMPLETIONS_FIRST = 1 << 12  # of one tick over all rings; grows to what comes
BUFFERS_MIN = 2  # of a ring
RING = "ring"  # what is short, in a Shortage
# Pauses before the first ring is tried again. What a ring has locked counts for some 30 ms longer
# than it is there, on a busy machine for more: rings of a process that has just ended, and those
# that were given back because they could not be made whole.
FIRST_PAUSES_NS = (10_000_000, 20_000_000, 40_000_000, 80_000_000, 160_000_000, 320_000_000)


@dataclass(frozen=True, slots=True)
class Tuning:
    """Sizes of everything that is bounded; the defaults suit anything up to a few million."""

    capacity: int = 1 << 23  # slots at most, over all rings
    files_per_ring: int | None = None  # None: as many as the kernel allows
    sq_entries: int = 512
    cq_entries: int = 2048
    buffer_size: int = 1024
    buffers_first: int = 2048  # of the first ring
    buffers_each: int = 64  # of every other ring (fewer for small tables); both double when they
    # run out, as long as half of the arena is left for further rings; more are lent for a while
    buffers_max: int = abi.BUFFER_IDS_MAX  # in all
    busy_poll_ns: int = 0  # look again for so long before sleeping, while that pays
    few: int = 10  # events up to which a batch is worked through one by one (0: never)


def tuning_for(*, streams: bool, busy_poll_ns: int) -> Tuning:
    """`streams`: for an event loop, each of whose pieces is a call and a Python object, and whose
    readers stop and go on by the piece: fewer and larger buffers, in a quarter of the memory of as
    many.
    """
    if streams:
        return Tuning(
            busy_poll_ns=busy_poll_ns, buffer_size=1 << 14, buffers_first=512, buffers_max=1 << 14
        )
    return Tuning(busy_poll_ns=busy_poll_ns)


@dataclass(slots=True)
class Place:
    """One ring with its table and buffers."""

    ring: RingLike
    buffers: BufferRing
    accepts: bool
    free: int  # places of the table that nobody has
    arming: int = 0  # receives queued since the last enter: each may take a buffer at once
    receives: int = 0  # at most so many multishot receives are armed
    unused: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))


class RingSet:
    """The rings of one engine."""

    def __init__(self, kernel: Kernel, tuning: Tuning, clock: Clock | None = None) -> None:
        """Raises LimitError where the kernel gives no ring, OSError where it gives no memory."""
        self.kernel = kernel
        self.tuning = tuning
        self.clock = clock or SystemClock()
        self.shortage = Shortage(self.clock)
        self.late = Late(self.shortage)
        allowed = min(kernel.files_max(), abi.FILES_MAX)
        self.files_per_ring = min(tuning.files_per_ring or allowed, allowed, tuning.capacity)
        self.capacity = tuning.capacity // self.files_per_ring * self.files_per_ring
        # A ring of few files needs few buffers, and where RLIMIT_NOFILE is small there are many.
        self.buffers_each = max(min(tuning.buffers_each, self.files_per_ring // 32), BUFFERS_MIN)
        self.places: list[Place] = []
        self.arena = BufferArena(tuning.buffers_max, tuning.buffer_size, kernel.memory)
        self._completions: Completions = np.zeros((COMPLETIONS_FIRST, 4), np.uint32)
        self._watching = False
        self._busy_poll = BusyPoll(kernel, tuning.busy_poll_ns) if tuning.busy_poll_ns else None
        self.brought = 0  # completions of the last collection
        self._refused_before = 0  # by rings that are closed
        self.entered = -1  # completions that `enter` has found and nobody has taken; -1: none
        self.thread: int | None = None  # that has begun to use the first
        self.woken = False
        self.watched_fd = -1
        self.watched_is_ready = False
        self._first: Place | None = self._make_first()  # at rest, until it is needed

    def room(self) -> int:
        """Connections that fit, as far as the limits of this process and its user say now."""
        there = self.places or ([self._first] if self._first is not None else [])
        if not there:
            return 0
        ring = there[0].ring
        entries = whole_pages(self._entries(self.buffers_each) * abi.BUFFER.itemsize)
        rings = len(there) + self.kernel.rings_left(ring, ring.locked_bytes + entries)
        return min(rings * self.files_per_ring, self.capacity)

    def _can_add(self) -> bool:
        """Whether there is room for one more ring."""
        return self._first is not None or (
            len(self.places) * self.files_per_ring < self.capacity
            and self.arena.left() >= BUFFERS_MIN
        )

    def has_grown(self) -> bool:
        """Whether there are more rings than an engine without connections needs."""
        return len(self.places) > 1

    def begin_afresh(self) -> None:
        """Give all rings and what their buffers took back: no connection is left."""
        self._close_rings()
        self.arena.begin_afresh()
        self._completions = np.zeros((COMPLETIONS_FIRST, 4), np.uint32)
        self._watching = False
        self.shortage.ends()
        self.late.forget()
        self.watch_again()

    def may_add(self) -> bool:
        """Whether one more ring may be asked for: there is room, and none was refused just now."""
        return self._can_add() and not self.shortage.holds()

    def add(self, accepts: bool) -> Place:
        """One more ring. Raises LimitError when capacity or the kernel allow no more.

        In the pause after a refusal the kernel is not asked again.
        """
        if not self._can_add():
            raise LimitError(f"All {self.capacity:,} slots of this engine are in use.")
        if self.shortage.holds():
            raise LimitError(self.shortage.text, self.shortage.remedy)
        index = len(self.places)
        made: Place | None = None
        try:
            made, self._first = self._first or self._make(index), None
            self._begin(made, accepts)
        except (OSError, MemoryError) as error:
            if made is not None:  # nothing has happened on it
                made.ring.close()
                made.buffers.give_up()
            raise self._refused(index, error) from None
        self.shortage.ends()
        self.places.append(made)
        return made

    def _refused(self, index: int, error: OSError | MemoryError) -> LimitError:
        self.shortage.refused(RING, f"io_uring number {index + 1}", error)
        return LimitError(self.shortage.text, self.shortage.remedy)

    def _make_first(self) -> Place:
        for pause_ns in (*FIRST_PAUSES_NS, None):
            try:
                return self._make(0)
            except (OSError, MemoryError) as error:
                is_locked = isinstance(error, OSError) and error.errno == errno.ENOMEM
                may_pass = is_locked and may_ever_lock(self._first_bytes())
                if pause_ns is None or not may_pass:
                    raise self._refused(0, error) from None
            self.kernel.sleep(pause_ns)
        raise AssertionError("the last try returns or raises")

    def _make(self, index: int) -> Place:
        """A whole ring with its table and buffers, at rest. Raises OSError, with nothing left."""
        tuning = self.tuning
        ring = self.kernel.ring(index, tuning.sq_entries, tuning.cq_entries, True)
        try:
            register_table(ring, self.files_per_ring)
            # The more rings there are the less is left, and the less each further one gets.
            rest = max(self.arena.left() // 64, BUFFERS_MIN)
            count = tuning.buffers_first if index == 0 else min(self.buffers_each, rest)
            buffers = BufferRing(ring, self.arena, count, self._entries(count), self.kernel.memory)
        except BaseException:
            ring.close()
            raise
        return Place(ring, buffers, False, self.files_per_ring)

    def _first_bytes(self) -> int:
        """What the first ring locks: submissions, completions and their heads, its buffer ring."""
        tuning = self.tuning
        entries = self._entries(tuning.buffers_first)
        return (
            whole_pages(tuning.sq_entries * abi.SQE.itemsize)
            + whole_pages(tuning.cq_entries * abi.CQE.itemsize + 64)
            + whole_pages(entries * abi.BUFFER.itemsize)
        )

    @staticmethod
    def _entries(buffers: int) -> int:
        """Of the buffer ring of a ring that keeps so many buffers."""
        return min(max(1024, 4 * buffers), abi.BUFFER_RING_MAX)

    def _begin(self, place: Place, accepts: bool) -> None:
        """Start a ring that accepts or connects, from now on in this thread. Raises OSError."""
        place.accepts = accepts
        if not accepts:
            place.unused = np.arange(self.files_per_ring - 1, -1, -1, dtype=np.int32)
        ring = place.ring
        ring.start()
        if not self.places:
            self.thread = threading.get_ident()
            # One pool of helper threads serves all rings of a thread; nothing here needs it.
            ring.register(abi.REGISTER_IOWQ_MAX_WORKERS, np.ones(2, np.uint32), 2)
            self._poll_wake(ring)
            self.poll_watched(ring)
            return
        # Several rings cannot be slept on by entering one of them: use the kernel's doorbell.
        if not self._watching:
            self.kernel.watch(self.places[0].ring)
            self._watching = True
        self.kernel.watch(ring)

    def _poll_wake(self, ring: RingLike) -> None:
        ring.push(poll(self.kernel.wake_fd(), abi.POLLIN, pack_one(0, 0, Op.WAKE)))

    def watch(self, fd: int) -> None:
        """A sleep also ends while this descriptor is readable (below 0: no more)."""
        if fd < 0 <= self.watched_fd and self.places:
            target = np.array([pack_one(0, 0, Op.WATCH)], np.uint64)
            self.places[0].ring.push(cancel(target))
        self.watched_fd, self.watched_is_ready = fd, False
        self.watch_again()

    def watch_again(self) -> bool:
        """Once for each time that it was readable: what is left then completes at once.

        False where the kernel gives no ring that could watch it: then it may be readable, for all
        that is known.
        """
        if self.watched_fd < 0:
            return True
        if self.places:
            self.poll_watched(self.places[0].ring)
            return True
        try:
            self.add(accepts=True)
        except LimitError:
            self.watched_is_ready = True
        return bool(self.places)

    def poll_watched(self, ring: RingLike) -> None:
        """What `watch_again` asks of a ring; the first ring does so as it begins."""
        if self.watched_fd >= 0:
            self.watched_is_ready = False
            ring.push_few(abi.OP_POLL_ADD, abi.POLLIN, [(self.watched_fd, 0, 0, 0, Op.WATCH)])

    def watched_came(self) -> None:
        """That poll has completed."""
        if self.watched_fd >= 0:
            self.woken = self.watched_is_ready = True

    def take_watched(self, watches: Completions) -> None:
        """Completions of that poll (at least one), or of one that `watch` has cancelled."""
        is_ready = watches[:, 2].view(np.int32) != -errno.ECANCELED
        if is_ready.any():
            self.watched_came()

    def take_wakes(self, wakes: Completions) -> None:
        """Completions (at least one) that say that `wake` was called."""
        self.woken = True
        if not int(wakes[-1, 3]) & abi.CQE_MORE:
            self._poll_wake(self.places[0].ring)

    def place_of(self, slot: int) -> Place:
        """The ring that holds a slot."""
        return self.places[slot // self.files_per_ring]

    def top(self) -> int:
        """No slot from here on is in use."""
        return len(self.places) * self.files_per_ring

    def files(self, slots: Slots) -> Slots:
        """Places in their rings' tables."""
        return slots if len(self.places) == 1 else slots % np.int32(self.files_per_ring)

    def rings_of(self, slots: Slots) -> Slots:
        """Ring numbers."""
        return slots // np.int32(self.files_per_ring)

    def push(self, slots: Slots, rows: Words) -> None:
        """Queue one submission for each slot on its ring, keeping the order of equal slots."""
        assert len(slots) == len(rows)
        if len(self.places) == 1 or len(slots) == 1:
            if len(slots):
                self.place_of(int(slots[0])).ring.push(rows)
            return
        which = self.rings_of(slots)
        if np.count_nonzero(which[1:] < which[:-1]):
            order = np.argsort(which, kind="stable")
            rows, which = rows.take(order, axis=0), which.take(order)
        start = 0
        for index, count in enumerate(np.bincount(which).tolist()):
            if count:
                self.places[index].ring.push(rows[start : start + count])
                start += count

    def close(self, slots: Slots, generations: npt.NDArray[np.uint16]) -> None:
        """Close the sockets of these slots."""
        self.push(slots, close(self.files(slots), pack(slots, generations, Op.CLOSE)))

    def give_places_back(self, slots: Slots) -> None:
        """Count these slots as free; the close that frees them is queued."""
        assert not len(slots) or int(slots.max()) < self.top()
        which = self.rings_of(slots)
        for index, count in enumerate(np.bincount(which).tolist()):
            if count:
                place = self.places[index]
                place.free += count
                assert place.free <= self.files_per_ring
                if not place.accepts:
                    place.unused = np.concatenate((place.unused, self.files(slots[which == index])))

    def take_places(self, count: int) -> Slots:
        """`count` free slots for connects, lowest first, on rings that connect.

        Raises LimitError, with nothing taken, when there are not so many.
        """
        free = sum(p.free for p in self.places if not p.accepts)
        while free < count:
            if not self._can_add():
                raise LimitError(
                    f"{count:,} more connections were asked for; {free:,} of this engine's "
                    f"{self.capacity:,} slots are free.",
                    free=free,
                )
            try:
                free += self.add(accepts=False).free
            except LimitError as limit:
                raise LimitError(limit.message, limit.remedy, free) from None
        taken: list[Slots] = []
        for index, place in enumerate(self.places):
            n = 0 if place.accepts else min(count, place.free)
            if n:
                files = place.unused[-n:][::-1]
                place.unused = place.unused[:-n]
                place.free -= n
                count -= n
                taken.append(files + np.int32(index * self.files_per_ring))
        assert count == 0
        return np.concatenate(taken).astype(np.int32) if taken else np.zeros(0, np.int32)

    def few_receive(self, most: int) -> bool:
        """Whether there is one ring, with less than `most` multishot receives armed."""
        return len(self.places) == 1 and self.places[0].receives < most

    def count_receives(self, slots: Slots) -> None:
        """These are all that have a multishot receive armed."""
        counts = np.bincount(self.rings_of(slots), minlength=len(self.places)).tolist()
        for place, count in zip(self.places, counts, strict=True):
            place.receives = count

    def split_by_buffers(self, slots: Slots) -> tuple[Slots, Slots]:
        """Slots whose single receives can be queued now, and those that should wait for buffers.

        Each takes a buffer at once. What a ring does not have itself is lent to it.
        """
        which = self.rings_of(slots)
        counts = np.bincount(which).tolist()
        late = np.zeros(len(slots), bool)
        for index, count in enumerate(counts):
            place = self.places[index]
            room = max(place.buffers.free - place.arming, 0)
            if count > room:
                room += place.buffers.lend(count - room)
            if count > room:
                late[np.flatnonzero(which == index)[room:]] = True
                count = room
            place.arming += count
        if not late.any():
            return slots, slots[:0]
        return slots[~late], slots[late]

    def is_low(self) -> bool:
        """Whether a ring has less than half of the buffers that it keeps for multishot receives."""
        for place in self.places:
            if place.receives and place.buffers.free * 2 < place.buffers.base:
                return True
        return False

    def submit_all(self) -> Completions:
        """Hand everything queued to the kernel; receive nothing.

        Returns the completions that this brought at once (sends that were short or refused above
        all), copied.
        """
        count = 0
        for place in self.places:
            # Also what was handed over before: a send's outcome may lie there.
            if place.ring.pending or place.ring.wants_attention():
                place.ring.submit()
                place.arming = 0
                count = self._reap(place.ring, count)
        return self._completions[:count].copy()

    def collect(self, sleep_ns: int) -> Completions:
        """Submit everything, collect what has come: [n, 4] words, valid until the next collect.

        Where there is nothing sleeps up to `sleep_ns` (negative: for ever; 0: not at all). May
        return nothing early, after a wake or a signal.
        """
        if len(self.places) == 1:
            ring = self.places[0].ring
            there = self.enter(sleep_ns) if self.entered < 0 else self.entered
            self.entered = -1
            self.brought = self._reap(ring, 0) if there else 0
            return self._completions[: self.brought]
        count = self._collect_from_all()
        if count == 0 and sleep_ns and not self.woken:
            self.woken |= self.kernel.sleep(sleep_ns)
            count = self._collect_from_all()
        return self._completions[:count]

    def enter(self, sleep_ns: int) -> int:
        """The first half of `collect` where there is one ring: how many completions are there.

        Who does not take them sets `entered` to this, and the next `collect` has the other half.
        """
        place, busy_poll = self.places[0], self._busy_poll
        if busy_poll is None and sleep_ns:
            return self._drain(place, sleep_ns)
        ring = place.ring
        # Behind a large batch a wake-up is a small part, and the look would only burn time.
        if (
            busy_poll is not None and sleep_ns
            and self.brought <= self.tuning.few and busy_poll.may_start()
        ):  # fmt: skip
            there = self._drain(place, 0)
            if there == 0 and busy_poll.finds(ring):
                there = self._drain(place, 0)
            if there:
                return there
        if sleep_ns or ring.pending or ring.wants_attention():
            return self._drain(place, sleep_ns)
        return 0

    def _collect_from_all(self) -> int:
        count = 0
        for place in self.places:
            ring = place.ring
            if (ring.pending or ring.wants_attention()) and self._drain(place, 0):
                count = self._reap(ring, count)
        return count

    def _drain(self, place: Place, sleep_ns: int) -> int:
        """Enter one ring; how many completions are there then."""
        ring = place.ring
        place.arming = 0
        most = ring.cq_entries
        if place.buffers.free < most and place.receives:
            # What comes unasked takes buffers: no more of it than there are avoids ENOBUFS.
            most = min(most, max(place.buffers.free, 32))
        return ring.drain(most, 1 if sleep_ns else 0, sleep_ns)

    def _reap(self, ring: RingLike, count: int) -> int:
        """Append the ring's completions to the first `count`; returns how many there are then.

        All of them: what did not fit into the completion queue as well, because a send's outcome
        must be known before its memory is given up.
        """
        while True:
            if len(self._completions) < count + ring.cq_entries:
                more = np.zeros((len(self._completions) + ring.cq_entries, 4), np.uint32)
                self._completions = np.concatenate((self._completions, more))
            count += ring.reap(self._completions[count:])
            if not ring.has_overflow():
                return count
            if not ring.drain(ring.cq_entries, 0, 0):
                return count

    def used(self, ids: Ids) -> None:
        """Buffers that came back full: the kernel does not have them any more."""
        self._each_owner(ids, give=False)

    def recycle(self, ids: Ids) -> None:
        """Buffers whose data is used up: the kernel may fill them again."""
        self._each_owner(ids, give=True)

    def recycle_few(self, ids: list[int]) -> None:
        """The scalar form of `recycle`."""
        self.exchange_few([], ids)

    def exchange_few(self, came: list[int], used: list[int]) -> None:
        """`used` and then `recycle`, for a few."""
        if len(self.places) == 1:
            buffers = self.places[0].buffers
            buffers.free -= len(came)
            buffers.take_few_back(used)
            return
        owner_of = self.arena.owner_of
        for buffer in came:
            self.places[owner_of[buffer]].buffers.free -= 1
        for buffer in used:
            self.places[owner_of[buffer]].buffers.take_one_back(buffer)

    def _each_owner(self, ids: Ids, give: bool) -> None:
        if len(self.places) == 1:
            owner = self.places[0].buffers
            if give:
                owner.take_back(ids)
            else:
                owner.free -= len(ids)
            return
        owners = self.arena.owners.take(ids)
        if np.count_nonzero(owners[1:] < owners[:-1]):  # else they came ring by ring
            ids = ids[np.argsort(owners, kind="stable")]
        counts = np.bincount(owners).tolist()
        start = 0
        for index, n in enumerate(counts):
            if n:
                owner = self.places[index].buffers
                if give:
                    owner.take_back(ids[start : start + n])
                else:
                    owner.free -= n
                start += n

    def grow_buffers(self, slots: Slots) -> None:
        """Rings that ran out of buffers get as many more as they have, while the arena lasts."""
        for index in set(self.rings_of(slots).tolist()):
            if self.arena.left() > self.arena.count // 2:
                buffers = self.places[index].buffers
                buffers.grow(buffers.base)

    def _enters_refused(self) -> int:
        """How often the kernel had no memory for what was handed over."""
        return self._refused_before + sum(place.ring.refused for place in self.places)

    def refusals(self, accepts: Shortage) -> tuple[dict[str, int], str]:
        """What was refused, for statistics."""
        counts, text = refusals(self.shortage, accepts)
        if count := self._enters_refused():
            counts["request"] = count
            text = text or refusal("memory for requests in a ring", errno.ENOMEM)[0]
        return counts, text

    def check_places(self, states: npt.NDArray[np.uint8]) -> None:
        """A costly check: each place of a table has a connection or is free, never both."""
        for index, place in enumerate(self.places):
            start = index * self.files_per_ring
            is_free = states[start : start + self.files_per_ring] == ConnState.FREE
            assert place.free == np.count_nonzero(is_free), f"ring {index} counts its places wrong"
            if not place.accepts:
                assert len(place.unused) == len(np.unique(place.unused)) == place.free
                assert is_free[place.unused].all(), "a place is unused and in use"

    def check_buffers(self, held: Ids) -> None:
        """A costly check: `held` and those the kernel may fill are all the buffers there are."""
        counts = np.bincount(self.arena.owners[held], minlength=len(self.places))
        for place, count in zip(self.places, counts.tolist(), strict=True):
            assert place.buffers.owned == place.buffers.free + count, "a buffer is lost"
        owned = sum(place.buffers.owned for place in self.places)
        resting = self._first.buffers.owned if self._first is not None else 0
        assert owned + resting + self.arena.left() == self.arena.count

    def shutdown(self) -> None:
        """Give all rings back."""
        self._close_rings()
        self.kernel.shutdown()

    def _close_rings(self) -> None:
        self._refused_before = self._enters_refused()
        for place in self.places:
            place.ring.close()
        if self._first is not None:
            self._first.ring.close()
            self._first = None
        self.places.clear()
