"""An engine whose connections speak TLS: the contract of engine/contract.py around another engine.

Of listeners that are told so (`Endpoint.is_tls`), and of all connects where there is a Connector.
A connection that was accepted is reported as opened when its handshake is done; one that was
connected is reported as connected at once, and as `secured` when that is done, or as closed with a
reason of `tls/reasons.py`. Data is plain text in both directions. close_notify is `eof`; an end of
the stream without it is `closed` with TRUNCATED (RFC 8446, 6.1).

Handshakes cost a hundred times what a message does. So they wait in a queue, of which each tick
takes what fits into BUDGET_NS, and those who are connected are served in between. A connection that
has said nothing yet has no ssl object.
"""

from __future__ import annotations

import errno
import itertools
import ssl
from collections import Counter, deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from c1m.addresses import Endpoint, ListeningSocket, SockAddrs
from c1m.clock import Clock
from c1m.engine.contract import (
    NO_SLOTS,
    Engine,
    EngineStatistics,
    EventBatch,
    Pieces,
    Slots,
)
from c1m.engine.ragged import Ragged
from c1m.tls.connector import Connector
from c1m.tls.handoff import HandOff
from c1m.tls.reasons import HANDSHAKE_EOF, HANDSHAKE_FAILED, HANDSHAKE_TIMEOUT, TRUNCATED
from c1m.tls.session import Session
from c1m.tls.statistics import Handshakes
from c1m.units import NS_PER_MS, NS_PER_S

BUDGET_NS = NS_PER_MS // 2  # of a tick, for handshakes
HANDSHAKE_NS = 10 * NS_PER_S
HANDSHAKES_MAX = 1024
PLAIN, SHAKING, BY_SSL, HANDED = range(4)  # what a slot's connection speaks


@dataclass(slots=True)
class Acceptor:
    """What connections are accepted with.

    `by_listener`: where a listener has another context. `others`: those that may take the place of
    these when the client has said a name (SNI).
    """

    context: ssl.SSLContext
    by_listener: dict[int, ssl.SSLContext] = field(default_factory=dict)
    others: Sequence[ssl.SSLContext] = ()

    def all(self) -> list[ssl.SSLContext]:
        """Every context that a handshake may end with."""
        return [self.context, *self.by_listener.values(), *self.others]


class TlsEngine:
    """See engine.contract.Engine. Takes over `inner`."""

    def __init__(
        self,
        inner: Engine,
        clock: Clock,
        *,
        acceptor: Acceptor | None = None,
        connector: Connector | None = None,
        handoff: bool = False,
        handshake_ns: int = HANDSHAKE_NS,
        handshakes_max: int = HANDSHAKES_MAX,
    ) -> None:
        self._inner = inner
        self._clock = clock
        self._acceptor, self._connector = acceptor, connector
        self._handshake_ns, self._handshakes_max = handshake_ns, handshakes_max
        self.name = inner.name
        self.capacity = inner.capacity
        self.reports_ends = False
        inner.reports_ends = True  # also of those whom only this one has closed
        self._are_tls: list[bool] = []  # by listener
        self._kinds = np.zeros(inner.capacity, np.uint8)
        self._sessions: dict[int, Session] = {}  # of those in a handshake, and of those by ssl
        self._queue: deque[int] = deque()  # handshakes that can go on
        self._begun: deque[tuple[int, Session]] = deque()  # handshakes by age
        self._own_ends: set[int] = set()  # closed by this engine: nobody else is told
        self._carried: EventBatch | None = None  # ends of connections that were opened just now
        self.handshakes = Handshakes()  # of those accepted
        self._counts: Counter[str] = Counter()
        self._handoff = HandOff(inner.capacity) if handoff else None
        self._records = self._handoff.records if self._handoff is not None else None
        self._certificates: dict[int, bytes] = {}  # that clients have shown, in DER
        if acceptor is not None:
            self.accept_with(acceptor)
        if self._handoff is not None and connector is not None:
            self._handoff.attach(connector.context)

    # --- as the inner one -------------------------------------------------------------------------

    if TYPE_CHECKING:
        reason: str
        sends_in_wait: bool
        uses_descriptors: bool
        thread: Any
        watched_is_ready: Any
        room: Any
        receive: Any
        adopt: Any
        descriptor: Any
        peers: Any
        watch: Any
        wake: Any
        flush: Any
        unsent: Any
        failure: Any
        limit_output: Any

    def __getattr__(self, name: str) -> Any:
        """All that TLS has no part in: reason, thread, room, receive, peers, wake ..."""
        return getattr(self._inner, name)

    @property
    def live_max(self) -> int:
        """See Engine.live_max."""
        return self._inner.live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._inner.live_max = value

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        """See Engine.listen."""
        found = self._inner.listen(endpoints, backlog)
        self._are_tls = [isinstance(e, Endpoint) and e.is_tls for e in endpoints]
        return found

    def accept_with(self, acceptor: Acceptor) -> None:
        """What is accepted from now on is; may be called from another thread."""
        if self._handoff is not None:
            for context in acceptor.all():
                self._handoff.attach(context)
        self._acceptor = acceptor

    def peer_certificate(self, slot: int) -> bytes | None:
        """The certificate that a client has shown, in DER; it was verified."""
        return self._certificates.get(slot)

    def connect(self, sources: SockAddrs | None, destinations: SockAddrs) -> Slots:
        """See Engine.connect."""
        return self._inner.connect(sources, destinations)

    # --- out --------------------------------------------------------------------------------------

    def send(self, slots: Slots, data: Ragged) -> None:
        """See Engine.send."""
        is_tls = self._kinds.take(slots) != PLAIN
        if not is_tls.any():
            self._inner.send(slots, data)
            return
        if not is_tls.all():
            self._inner.send(slots[~is_tls], data.take(~is_tls))
            slots, data = slots[is_tls], data.take(is_tls)
        self._send_tls(slots.tolist(), data.pieces())

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        """See Engine.send_each."""
        are_tls = [self._kinds[slot] != PLAIN for slot in slots]
        if not any(are_tls):
            self._inner.send_each(slots, pieces)
            return
        plain = [not each for each in are_tls]
        rest = list(itertools.compress(slots, plain))
        if rest:
            self._inner.send_each(rest, list(itertools.compress(pieces, plain)))
        self._send_tls(
            list(itertools.compress(slots, are_tls)), list(itertools.compress(pieces, are_tls))
        )

    def _send_tls(self, slots: list[int], pieces: list[bytes]) -> None:
        self._inner.send_each(slots, [self._seal(s, p) for s, p in zip(slots, pieces, strict=True)])

    def _seal(self, slot: int, piece: bytes) -> bytes:
        if self._kinds[slot] == HANDED:
            assert self._records is not None
            return self._records.seal(slot, piece)
        return self._sessions[slot].write(piece)

    def end_output(self, slot: int) -> None:
        """See Engine.end_output."""
        self._say_goodbye(slot)
        self._inner.end_output(slot)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        """See Engine.close."""
        for slot in slots[self._kinds.take(slots) != PLAIN].tolist():
            if not abort:
                self._say_goodbye(slot)
            self._forget(slot)
        self._inner.close(slots, abort=abort, drop=drop)

    def _say_goodbye(self, slot: int) -> None:
        kind = int(self._kinds[slot])
        said = b""
        if kind == HANDED:
            assert self._records is not None
            said = self._records.close_notify(slot)
        elif kind == BY_SSL:
            said = self._sessions[slot].close_notify()
        if said:
            self._inner.send_each([slot], [said])

    def _forget(self, slot: int) -> None:
        if self._kinds[slot] == HANDED:
            assert self._records is not None
            self._records.forget(slot)
        self._kinds[slot] = PLAIN
        self._sessions.pop(slot, None)
        self._certificates.pop(slot, None)

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        """See Engine.wait."""
        if self._carried is not None:
            carried, self._carried = self._carried, None
            return carried
        if self._queue:
            timeout_ns = 0
        elif self._begun:
            left_ns = self._begun[0][1].since_ns + self._handshake_ns - self._clock.now_ns()
            timeout_ns = max(left_ns, 0) if timeout_ns < 0 else min(timeout_ns, max(left_ns, 0))
        came: Pieces = []
        batch = self._inner.wait(timeout_ns, came)
        return _Tick(self, batch, came).result()

    def statistics(self) -> EngineStatistics:
        """See Engine.statistics. Connections in a handshake are in `extra`, and nowhere else."""
        found = self._inner.statistics()
        under_way, refused = self.handshakes.under_way, self.handshakes.failed.total()
        found.accepted -= under_way + refused
        found.live -= under_way
        found.closed -= refused
        found.extra = found.extra | {
            "tls_handshaking": under_way,
            "tls_refused": refused,
            **{f"tls_{name}": count for name, count in self._counts.items()},
        }
        return found

    def shutdown(self) -> None:
        """See Engine.shutdown."""
        self._inner.shutdown()
        self._sessions.clear()
        if self._handoff is not None:
            self._handoff.close()


class _Tick:
    """What one wait of the inner engine becomes."""

    def __init__(self, engine: TlsEngine, batch: EventBatch, came: Pieces) -> None:
        self._engine = engine
        self._batch = batch
        self._came = came
        self._plain: Pieces = []
        self._opened: list[tuple[int, int]] = []  # slot, listener
        self._secured: list[int] = []
        self._eof: list[int] = []
        self._closed: list[tuple[int, int]] = []  # slot, reason

    def result(self) -> EventBatch:
        batch, engine = self._batch, self._engine
        if len(batch.opened):
            self._begin_accepted()
        if len(batch.connected) and engine._connector is not None:
            for slot in batch.connected.tolist():
                self._begin(slot, engine._connector.begin(slot))
        pieces = self._came
        if len(batch.data_slots):
            pieces = [*pieces, *zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True)]
        for slot, piece in pieces:
            self._take(slot, piece)
        self._shake()
        self._time_out()
        for slot in batch.eof.tolist():
            self._end_of_stream(slot)
        for slot, code in zip(batch.closed.tolist(), batch.closed_errnos.tolist(), strict=True):
            self._lost(slot, code)
        return self._made()

    # --- beginnings -------------------------------------------------------------------------------

    def _begin_accepted(self) -> None:
        engine, batch = self._engine, self._batch
        rows = zip(batch.opened.tolist(), batch.opened_listeners.tolist(), strict=True)
        for slot, listener in rows:
            if engine._acceptor is None or not engine._are_tls[listener]:
                self._opened.append((slot, listener))
                continue
            engine.handshakes.under_way += 1
            context = engine._acceptor.by_listener.get(listener, engine._acceptor.context)
            session = Session(context, server_side=True)
            session.listener = listener
            self._begin(slot, session)

    def _begin(self, slot: int, session: Session) -> None:
        engine = self._engine
        session.since_ns = engine._clock.now_ns()
        engine._sessions[slot] = session
        engine._kinds[slot] = SHAKING
        engine._begun.append((slot, session))
        if session.listener < 0:
            self._queue(slot, session)

    def _queue(self, slot: int, session: Session) -> None:
        if not session.is_queued:
            session.is_queued = True
            self._engine._queue.append(slot)

    # --- what came --------------------------------------------------------------------------------

    def _take(self, slot: int, piece: bytes) -> None:
        engine = self._engine
        kind = int(engine._kinds[slot])
        if kind == PLAIN:
            if slot not in engine._own_ends:
                self._plain.append((slot, piece))
        elif kind == SHAKING:
            session = engine._sessions[slot]
            session.feed(piece)
            self._queue(slot, session)
        elif kind == BY_SSL:
            session = engine._sessions[slot]
            session.feed(piece)
            self._read(slot, session)
        else:
            self._open(slot, piece)

    def _read(self, slot: int, session: Session) -> None:
        try:
            found = session.read()
        except ssl.SSLError:
            self._end(slot, HANDSHAKE_FAILED, session.said())
            return
        self._plain.extend([(slot, piece) for piece in found])
        if session.brings and self._engine._connector is not None:
            self._engine._connector.took(session)
        said = session.said()
        if said:
            self._engine._inner.send_each([slot], [said])
        if session.is_eof:
            self._eof.append(slot)

    def _open(self, slot: int, piece: bytes) -> None:
        engine = self._engine
        assert engine._records is not None
        opened = engine._records.open_many([(slot, piece)])
        self._plain.extend(opened.plain)
        for who, reply in opened.replies:
            engine._inner.send_each([who], [reply])
        self._eof.extend(opened.eof)
        for who, reason in opened.ended:
            self._end(who, reason)

    # --- handshakes -------------------------------------------------------------------------------

    def _shake(self) -> None:
        engine = self._engine
        if not engine._queue:
            return
        until = engine._clock.now_ns() + BUDGET_NS
        while engine._queue:
            slot = engine._queue.popleft()
            session = engine._sessions.get(slot)
            if session is None or not session.is_queued:
                continue
            session.is_queued = False
            self._step(slot, session)
            if engine._clock.now_ns() >= until:
                break

    def _step(self, slot: int, session: Session) -> None:
        engine = self._engine
        try:
            is_done = session.shake()
        except ssl.SSLError:
            self._end(slot, HANDSHAKE_FAILED, self._said(session))
            return
        said = self._said(session)
        if said:
            engine._inner.send_each([slot], [said])
        if not is_done:
            return
        engine._counts["secured"] += 1
        if session.listener >= 0:
            self._count_done(session)
            if session.object.context.verify_mode != ssl.CERT_NONE:
                shown = session.object.getpeercert(True)
                if shown:
                    engine._certificates[slot] = shown
            self._opened.append((slot, session.listener))
        else:
            self._secured.append(slot)
            assert engine._connector is not None
            engine._connector.done(session)
        rest = None
        if engine._handoff is not None and not session.brings:
            rest = engine._handoff.take_over(slot, session, session.overheard, said)
        if rest is None:
            engine._kinds[slot] = BY_SSL
            self._read(slot, session)
            return
        engine.handshakes.handed += session.listener >= 0
        engine._kinds[slot] = HANDED
        del engine._sessions[slot]
        if rest:
            self._open(slot, rest)

    def _said(self, session: Session) -> bytes:
        said, came = session.said(), session.came
        session.came = b""
        if self._engine._handoff is not None:
            session.overheard.step(came, said)
        return said

    def _count_done(self, session: Session) -> None:
        handshakes = self._engine.handshakes
        handshakes.under_way -= 1
        handshakes.done += 1
        handshakes.resumed += bool(session.object.session_reused)

    def _time_out(self) -> None:
        engine = self._engine
        begun = engine._begun
        if not begun:
            return
        limit = engine._clock.now_ns() - engine._handshake_ns
        while begun:
            slot, session = begun[0]
            if engine._sessions.get(slot) is session and not session.is_done:
                if session.since_ns > limit:
                    break
                self._end(slot, HANDSHAKE_TIMEOUT)
            begun.popleft()

    # --- ends -------------------------------------------------------------------------------------

    def _end(self, slot: int, reason: int, said: bytes = b"") -> None:
        """This engine ends a connection, with an alert before that."""
        engine = self._engine
        if said:
            engine._inner.send_each([slot], [said])
        self._lost(slot, reason)
        engine._own_ends.add(slot)
        engine._inner.close(np.array([slot], np.int32))

    def _lost(self, slot: int, reason: int) -> None:
        engine = self._engine
        session = engine._sessions.get(slot)
        if engine._kinds[slot] == SHAKING and session is not None and session.listener >= 0:
            engine.handshakes.under_way -= 1
            engine.handshakes.failed[reason] += 1
        else:
            self._closed.append((slot, reason))
        engine._forget(slot)

    def _end_of_stream(self, slot: int) -> None:
        engine = self._engine
        kind = int(engine._kinds[slot])
        if kind == PLAIN:
            if slot not in engine._own_ends:
                self._eof.append(slot)
        elif kind == SHAKING:
            self._end(slot, HANDSHAKE_EOF)
        elif slot not in self._eof:  # the records layer, or ssl, has not had a close_notify
            session = engine._sessions.get(slot)
            if session is None:
                assert engine._records is not None
                is_eof = engine._records.is_heard(slot)
            else:
                is_eof = session.is_eof
            if not is_eof:
                self._end(slot, TRUNCATED)

    # --- the batch --------------------------------------------------------------------------------

    def _made(self) -> EventBatch:
        engine, batch = self._engine, self._batch
        own = engine._own_ends
        over = list(zip(batch.ended.tolist(), batch.ended_errnos.tolist(), strict=True))
        theirs = [row for row in over if row[0] not in own]
        own.difference_update(slot for slot, _ in over)
        ended = theirs if engine.reports_ends else []
        expired = [] if engine.reports_ends else [s for s, c in theirs if c == errno.ETIMEDOUT]
        opened = {slot for slot, _ in self._opened}
        now = [row for row in self._closed if row[0] not in opened]
        late = [row for row in self._closed if row[0] in opened]
        if late:
            engine._carried = EventBatch(closed=_column(late, 0), closed_errnos=_column(late, 1))
        return EventBatch(
            opened=_column(self._opened, 0),
            opened_listeners=_column(self._opened, 1),
            connected=batch.connected,
            secured=np.array(self._secured, np.int32) if self._secured else NO_SLOTS,
            failed=batch.failed,
            failed_errnos=batch.failed_errnos,
            data_slots=_column(self._plain, 0),
            data=Ragged.of([piece for _, piece in self._plain]),
            eof=np.array(self._eof, np.int32) if self._eof else NO_SLOTS,
            closed=_column(now, 0),
            closed_errnos=_column(now, 1),
            blocked=self._reported(batch.blocked),
            drained=self._reported(batch.drained),
            expired=np.array(expired, np.int32) if expired else NO_SLOTS,
            ended=_column(ended, 0),
            ended_errnos=_column(ended, 1),
            came_ns=batch.came_ns,
        )

    def _reported(self, slots: Slots) -> Slots:
        if not len(slots):
            return slots
        reported: Slots = slots[self._engine._kinds.take(slots) != SHAKING]
        return reported


def _column(rows: list[Any], place: int) -> Slots:
    return np.array([row[place] for row in rows], np.int32) if rows else NO_SLOTS
