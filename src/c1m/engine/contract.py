"""The contract of all engines: completions, in batches, over slots.

An engine holds connections and moves bytes; it knows nothing of protocols or of applications. A
connection is a *slot*, an int32 row number that the engine gives out and that stays the same until
the connection has ended. The contract is completion-shaped (the stronger kind): the caller says
what should happen and `wait` reports what did. No descriptor and no kernel socket appears in it.

The rules, which `tests/contract` holds every engine to:

1.  `wait` returns when something happened, `wake` was called or the time is up. What it returns
    (its data above all) is valid until the next `wait`.
2.  Bytes of one connection arrive in order, each once. Several pieces for one slot in one batch
    are in order too.
3.  `send` takes all it is given. What the kernel does not take at once waits in the slot's outbox,
    in order. The memory handed to `send` must stay unchanged until the next `wait` returns; the
    engine keeps it alive.
4.  A slot whose outbox passes `outbox_high` bytes is reported once in `blocked`; when it has fallen
    to a quarter of that, once in `drained`. The engine does not stop by itself: the caller turns
    receiving off (backpressure).
5.  `eof` means that the peer will send no more; the connection can still be sent to and must be
    closed by the caller. `closed` means that the connection is gone and its slot free.
6.  `close` is graceful: what is in the outbox is still sent. The slot is gone for the caller at
    once: no event about it follows except, where the peer has taken none of it for `linger_ns`, its
    slot in `expired`: it was reset. `close(abort=True)` drops the outbox and resets the peer, also
    of a connection that was closed and lingers.
    With `reports_ends` the end of each such connection is reported in `ended`, once, with an errno:
    0 when its output has gone or was to be dropped, ETIMEDOUT in place of `expired`, ECONNABORTED
    for an abort behind the close. One that is aborted while it is open is over at once: no report.
7.  Within one batch no slot is both in `closed` and in `opened`/`connected` again. One in `expired`
    or `ended` may be: that is about the connection before.
8.  When all slots are taken, connections wait in the kernel's accept queue; none is dropped. They
    also wait when the kernel refuses what further ones need (descriptors, rings, memory): existing
    connections are served, accepting pauses and is tried again when something was closed and after
    a while, and `statistics` counts and names the refusal.
9.  opened + connected + adopted = live + lingering + closed, at any time (`statistics`, where those
    adopted count as connected). What a decorator (engine/decorated.py) has accepted and not
    reported is in none of these: it is in `opening`, or was `never_opened`.
10. A connection has no descriptor of its own. `descriptor` makes one for what has no other way, and
    the caller closes it at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from c1m.addresses import Endpoint, ListeningSocket, SockAddrs
from c1m.engine.ragged import Ragged

Slots = npt.NDArray[np.int32]

Pieces = list[tuple[int, bytes]]  # of data: whose, and what
Owed = tuple[Slots, npt.NDArray[np.int64]]  # whom something is owed, and how many bytes

NO_SLOTS: Slots = np.zeros(0, np.int32)


def distinct(slots: Slots) -> Slots:
    """The slots ascending, each once. For some thousand a tenth of the time of np.unique."""
    if len(slots) < 2:
        return slots
    slots = np.sort(slots)
    is_new = slots[1:] != slots[:-1]
    if np.count_nonzero(is_new) == len(is_new):
        return slots
    return np.concatenate((slots[:1], slots[1:].compress(is_new)))


@dataclass(slots=True)
class EventBatch:
    """What one `wait` brought, grouped by kind. All arrays may be empty; none is None."""

    opened: Slots = field(default_factory=lambda: NO_SLOTS)  # accepted connections
    opened_listeners: npt.NDArray[np.int32] = field(default_factory=lambda: NO_SLOTS)
    connected: Slots = field(default_factory=lambda: NO_SLOTS)  # connects that succeeded
    failed: Slots = field(default_factory=lambda: NO_SLOTS)  # connects that did not: slot is free
    failed_errnos: npt.NDArray[np.int32] = field(default_factory=lambda: NO_SLOTS)
    data_slots: Slots = field(default_factory=lambda: NO_SLOTS)  # the slot of each piece of `data`
    data: Ragged = field(default_factory=Ragged.empty)
    eof: Slots = field(default_factory=lambda: NO_SLOTS)  # the peer will send no more
    closed: Slots = field(default_factory=lambda: NO_SLOTS)  # gone by an error: slot is free
    closed_errnos: npt.NDArray[np.int32] = field(default_factory=lambda: NO_SLOTS)
    blocked: Slots = field(default_factory=lambda: NO_SLOTS)  # outbox over the high watermark
    drained: Slots = field(default_factory=lambda: NO_SLOTS)  # outbox down to the low watermark
    expired: Slots = field(default_factory=lambda: NO_SLOTS)  # lingered too long: reset, slot free
    ended: Slots = field(default_factory=lambda: NO_SLOTS)  # closed by the caller, and over now
    ended_errnos: npt.NDArray[np.int32] = field(default_factory=lambda: NO_SLOTS)
    secured: Slots = field(default_factory=lambda: NO_SLOTS)  # connected, and the TLS is done
    is_plain: bool = False  # data and nothing else, for sure: no need to look at the other kinds
    came_ns: int = 0  # monotonic: when the kernel handed it over, before any of it was looked at

    @classmethod
    def nothing(cls) -> EventBatch:
        """An empty batch, made in a fraction of the time that the defaults take."""
        return cls(*_NOTHING)

    def __len__(self) -> int:
        """Number of events of all kinds."""
        if self.is_plain:
            return len(self.data_slots)
        return (
            len(self.opened) + len(self.connected) + len(self.failed) + len(self.data_slots)
            + len(self.eof) + len(self.closed) + len(self.blocked) + len(self.drained)
            + len(self.expired) + len(self.ended) + len(self.secured)
        )  # fmt: skip

    def check(self, capacity: int) -> None:
        """A costly check of what the rules say about one batch."""
        assert len(self.opened) == len(self.opened_listeners)
        assert len(self.failed) == len(self.failed_errnos)
        assert len(self.closed) == len(self.closed_errnos)
        assert len(self.ended) == len(self.ended_errnos)
        assert len(self.data_slots) == len(self.data)
        for slots in (self.opened, self.connected, self.failed, self.eof, self.closed):
            assert len(distinct(slots)) == len(slots), "a slot is reported twice"
            assert not len(slots) or 0 <= int(slots.min()) <= int(slots.max()) < capacity
        begun = np.concatenate((self.opened, self.connected))
        assert not np.isin(begun, self.closed).any(), "closed and opened in one batch"
        self.data.check()


_NO = NO_SLOTS
_NOTHING = (
    _NO, _NO, _NO, _NO, _NO, _NO, Ragged.empty(), _NO, _NO, _NO, _NO, _NO, _NO, _NO, _NO, _NO,
)  # fmt: skip
NOTHING = EventBatch.nothing()  # for who looks at it only


@dataclass(slots=True)
class EngineStatistics:
    """Counters since the start; `live`, `lingering`, `connecting` and `outbox_bytes` are gauges."""

    accepted: int = 0
    connected: int = 0
    connect_failed: int = 0
    closed: int = 0  # ended for any reason, outbox flushed or lost
    live: int = 0  # open for the caller
    lingering: int = 0  # closed by the caller, still flushing the outbox
    connecting: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0  # taken over by the kernel
    unsent_bytes: int = 0  # lost with connections that ended before they could go out
    outbox_bytes: int = 0
    ticks: int = 0  # calls of wait
    opening: int = 0  # accepted, and held back: nobody has been told yet (engine/decorated.py)
    never_opened: dict[int, int] = field(default_factory=dict)  # held back to the end, by reason
    limited: dict[str, int] = field(default_factory=dict)  # which limit acted how often (guard/)
    refused: dict[str, int] = field(default_factory=dict)  # what the kernel refused, how often
    refusal: str = ""  # the last of that in a sentence
    extra: dict[str, int] = field(default_factory=dict)  # an engine's own counters, by name


@runtime_checkable
class Engine(Protocol):
    """Holds connections and moves bytes. Used by one thread only, except `wake`."""

    name: str
    reason: str  # why this engine, as text for people
    capacity: int  # slots: every slot number is below it
    live_max: int  # accept no further while this many are live (set by the caller)
    sends_in_wait: bool  # what `send` is given goes to the kernel in the next `wait`, not before
    uses_descriptors: bool  # each connection takes a descriptor of the process: RLIMIT_NOFILE binds
    reports_ends: bool  # set by the caller: report in `ended` what it has closed (rule 6)

    @property
    def thread(self) -> int | None:
        """The thread (threading.get_ident) that must make all calls; None: any, one at a time."""
        ...

    @property
    def watched_is_ready(self) -> bool:
        """Whether the descriptor of `watch` was readable in the last `wait`."""
        ...

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """Listen on exactly these endpoints (an empty list stops all accepting).

        Of a ListeningSocket is accepted as it is. Returns the endpoints, with the ports the
        kernel chose where 0 was asked. Raises UsageError with the endpoint in it when one cannot be
        listened on; then none of the new ones is.
        """
        ...

    def room(self) -> int:
        """Connections that fit, existing ones included, as far as current limits say."""
        ...

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        """Start n connects; row i from sources[i] (port 0: the kernel's choice) to destinations[i].

        Returns n slots. Raises LimitError, with nothing started, when n slots are not free; its
        `free` says how many are.
        """
        ...

    def send(self, slots: Slots, data: Ragged) -> None:
        """Send piece i of `data` to slots[i], in this order where a slot appears twice."""
        ...

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        """`send` of Python's own rows, for callers that have no arrays."""
        ...

    def flush(self) -> None:
        """Hand what was sent so far to the kernel, without waiting: `unsent` is exact then."""
        ...

    def unsent(self, slot: int) -> int:
        """Bytes in the slot's outbox, also of a connection that lingers."""
        ...

    def owed(self) -> Owed:
        """All who have something in their outbox, and how much: cost follows them, once."""
        ...

    def failure(self, slot: int) -> int:
        """The errno that a send to the slot has met, and that `wait` will report; 0: none."""
        ...

    def limit_output(self, slot: int, low: int, high: int) -> None:
        """Watermarks of one connection, in place of the engine's (rule 4), in bytes.

        Where the outbox is over `high` already nothing says so: ask `unsent`. `drained` follows.
        """
        ...

    def end_output(self, slot: int) -> None:
        """Half-close: a FIN behind the outbox. Nothing may be sent after it."""
        ...

    def receive(self, slots: Slots, on: bool) -> None:
        """Turn receiving off (backpressure) or on again. New connections have it on."""
        ...

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        """End connections: after their outbox (default), or at once with a reset (`abort`).

        `drop`: a FIN behind what the kernel has taken or takes at once; the outbox is dropped, also
        that of a connection that lingers.
        """
        ...

    def adopt(self, fd: int) -> int:
        """Take over a connected stream socket: its slot. The descriptor is the engine's from now.

        The slot is none of those whose ends the last batch has: the caller may still be at that.
        Raises LimitError or OSError, with the descriptor closed, where it cannot be had.
        """
        ...

    def descriptor(self, slot: int) -> int:
        """A new descriptor of the connection's socket, which the caller closes. Raises OSError."""
        ...

    def peers(self, slots: Slots, family: int) -> list[bytes]:
        """The peers' addresses as struct sockaddr; b"" where the kernel says none."""
        ...

    def watch(self, fd: int) -> None:
        """`wait` also returns while this descriptor is readable (`watched_is_ready`)."""
        ...

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """Hand what was asked for to the kernel and return what happened; see rule 1.

        With `pieces` an engine may add data to that list instead of to the batch, in order: for a
        caller who wants Python's objects. It comes before all else in the batch.
        """
        ...

    def wake(self) -> None:
        """Make the current or the next `wait` return; may be called from a signal handler."""
        ...

    def statistics(self) -> EngineStatistics:
        """The counters now."""
        ...

    def shutdown(self) -> None:
        """End everything that is left and give all resources back. May be called twice."""
        ...
