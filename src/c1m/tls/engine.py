"""An engine whose connections speak TLS: the contract of engine/contract.py around another engine.

Of listeners that are told so (`Endpoint.is_tls`), and of all connects where there is a Connector.
A connection that was accepted is reported as opened when its handshake is done; one that was
connected is reported as connected at once, and as `secured` when that is done, or as closed with a
reason of `tls/reasons.py`. Data is plain text in both directions; what is sent before the handshake
is done goes out behind it. close_notify is `eof`; an end of the stream without it is `closed` with
TRUNCATED (RFC 8446, 6.1). Watermarks, `unsent` and the counts of bytes are about records.

Two ends without all that could be said. Who closes before the handshake is done closes at once:
what waits was for a peer that nobody knows yet, and counts as unsent. And one that is TRUNCATED
gets no close_notify of ours: it would say that the answer so far is all there is.

How many handshakes are under way, and how much of a tick they get, is in `handshakes.py`. While
there are as many as may be, the inner engine accepts nobody, and those whose peers say nothing for
a second give way.
"""

from __future__ import annotations

import ssl
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from c1m.addresses import Endpoint, ListeningSocket
from c1m.clock import Clock
from c1m.engine.contract import NOTHING, Engine, EventBatch, Pieces, Slots
from c1m.engine.decorated import FREE, HELD, OWN, PLAIN, Decorated
from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.kernel import libc
from c1m.tls.connector import Connector
from c1m.tls.failures import reason_of, words_of
from c1m.tls.handshakes import AHEAD_MAX, LOOK_NS, MOST, TIMEOUT_NS, Handshake, HandshakeQueue
from c1m.tls.not_tls import ANSWER, is_echo, is_http
from c1m.tls.overheard import Overheard
from c1m.tls.reasons import HANDSHAKE_EOF, HANDSHAKE_TIMEOUT, HTTP_TO_TLS, NOT_TLS, TRUNCATED
from c1m.tls.session import Session
from c1m.tls.statistics import Handshakes

if TYPE_CHECKING:
    from c1m.tls.handoff import HandOff

FEW, LONG = 8, 1 << 11  # pieces that are sealed one by one; bytes from which on they are, too
SHAKING, BY_SSL, HANDED = range(OWN, OWN + 3)  # connected, and not secured yet; behind that


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


class TlsEngine(Decorated):
    """See engine.contract.Engine. Takes over `inner`.

    `said` has the first failure's words by reason, as ssl put them.
    """

    def __init__(
        self,
        inner: Engine,
        clock: Clock,
        *,
        acceptor: Acceptor | None = None,
        connector: Connector | None = None,
        handoff: bool = False,
        handshake_ns: int = TIMEOUT_NS,
        handshakes_max: int = MOST,
    ) -> None:
        super().__init__(inner)
        self._clock = clock
        self._connector = connector
        # By listener. The last is for -1, one that was there before: never plain where it had TLS.
        self._are_tls: list[bool] = []
        self._shaking = HandshakeQueue(clock, handshake_ns, handshakes_max)
        self._sessions: dict[int, Session] = {}  # of those by ssl, behind their handshake
        self._live_max = inner.live_max
        self._is_throttled = False
        self._counts = Handshakes(failed=self._never_opened)
        self.said: dict[int, str] = {}
        self._handoff = handoff_class()(inner.capacity) if handoff else None
        self._records = None if self._handoff is None else self._handoff.records
        self._certificates: dict[int, bytes] = {}  # that clients have shown, in DER
        self._acceptor = acceptor
        if acceptor is not None:
            self.accept_with(acceptor)
        if connector is not None:
            self._prepare(connector.context)

    def accept_with(self, acceptor: Acceptor) -> None:
        """What is accepted from now on is; may be called from another thread."""
        for context in acceptor.all():
            self._prepare(context)
        self._acceptor = acceptor

    def _prepare(self, context: ssl.SSLContext) -> None:
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self._handoff is not None:
            self._handoff.attach(context)

    def peer_certificate(self, slot: int) -> bytes | None:
        """The certificate that a client has shown, in DER; it was verified."""
        return self._certificates.get(slot)

    # --- what the caller asks for -----------------------------------------------------------------

    @property
    def live_max(self) -> int:
        return self._live_max

    @live_max.setter
    def live_max(self, value: int) -> None:
        self._live_max = value
        if not self._is_throttled:
            self._inner.live_max = value

    def room(self) -> int:
        self._inner.live_max = self._live_max
        try:
            return self._inner.room()
        finally:
            if self._is_throttled:
                self._inner.live_max = 0

    def listen(
        self, endpoints: Sequence[Endpoint | ListeningSocket], backlog: int
    ) -> list[Endpoint]:
        found = self._inner.listen(endpoints, backlog)
        had_tls = any(self._are_tls)
        self._are_tls = [(e if isinstance(e, Endpoint) else e.endpoint).is_tls for e in endpoints]
        self._are_tls.append(had_tls or any(self._are_tls))
        return found

    def send(self, slots: Slots, data: Ragged) -> None:
        if not self._others:
            self._inner.send(slots, data)
        elif len(slots) <= FEW:
            self.send_each(slots.tolist(), data.pieces())
        else:
            kinds = self.kinds.take(slots)
            is_long = data.nbytes() >= len(slots) * LONG
            if self._records is not None and not is_long and (kinds == HANDED).all():
                self._inner.send(slots, self._records.seal_many(slots.tolist(), data.pieces()))
            elif (kinds != PLAIN).any():
                self.send_each(slots.tolist(), data.pieces())
            else:
                self._inner.send(slots, data)

    def send_each(self, slots: Collection[int], pieces: Collection[bytes]) -> None:
        if not self._others:
            self._inner.send_each(slots, pieces)
            return
        kinds = self._kind_bytes
        to: list[int] = []
        sealed: list[bytes] = []
        for slot, piece in zip(slots, pieces, strict=True):
            kind = kinds[slot]
            if kind == BY_SSL:
                try:
                    piece = self._sessions[slot].write(piece)
                except ssl.SSLError as error:  # it has failed in reading, which is told next
                    self._lose(slot, len(piece), error)
                    continue
            elif kind == HANDED:
                assert self._records is not None
                piece = self._records.seal(slot, piece)
            elif kind == SHAKING:
                self._shaking[slot].waiting.append(bytes(piece))
                continue
            elif kind == HELD:  # meant for whoever had that slot before
                self._unsent_bytes += len(piece)
                continue
            to.append(slot)
            sealed.append(piece)
        if to:
            self._inner.send_each(to, sealed)

    def _lose(self, slot: int, size: int, error: ssl.SSLError) -> None:
        self._unsent_bytes += size
        self._later.setdefault(slot, (reason_of(error), b""))

    def unsent(self, slot: int) -> int:
        unsent = self._inner.unsent(slot)
        if self._kind_bytes[slot] == SHAKING:
            unsent += sum(map(len, self._shaking[slot].waiting))
        return unsent

    def end_output(self, slot: int) -> None:
        if self._kind_bytes[slot] == SHAKING:
            self._shaking[slot].ends_output = True
            return
        self._say_goodbye([slot])
        self._inner.end_output(slot)

    def close(self, slots: Slots, *, abort: bool = False, drop: bool = False) -> None:
        if self._others and not abort:
            self._say_goodbye(slots[self.kinds.take(slots) >= BY_SSL].tolist())
        super().close(slots, abort=abort, drop=drop)

    def _say_goodbye(self, slots: list[int]) -> None:
        said: Pieces = []
        for slot in slots:
            if self._kind_bytes[slot] == HANDED:
                assert self._records is not None
                said.append((slot, self._records.close_notify(slot)))
            elif self._kind_bytes[slot] == BY_SSL:
                said.append((slot, self._sessions[slot].close_notify()))
        self._reply(said)

    def _reply(self, said: Pieces) -> None:
        said = [row for row in said if row[1]]
        if said:
            self._inner.send_each([slot for slot, _ in said], [piece for _, piece in said])

    @property
    def handshakes(self) -> Handshakes:
        """What became of those of accepted connections."""
        self._counts.under_way = len(self._held)
        return self._counts

    def shutdown(self) -> None:
        super().shutdown()
        self._sessions.clear()
        self._shaking.clear()
        if self._handoff is not None:
            self._handoff.close()

    # --- the tick ---------------------------------------------------------------------------------

    def wait(self, timeout_ns: int, pieces: Pieces | None = None) -> EventBatch:
        batch = super().wait(timeout_ns, pieces)
        if batch is NOTHING and self._shaking.has_shrunk():
            libc.trim()
        if self._is_throttled or (self._held and self._shaking.is_full()):
            self._throttle()
        return batch

    def _throttle(self) -> None:
        """Accept nobody while there are too many handshakes, until half of them are done."""
        self._is_throttled = self._shaking.is_full(2 if self._is_throttled else 1)
        self._inner.live_max = 0 if self._is_throttled else self._live_max

    def _holds(self, listener: int) -> bool:
        return self._acceptor is not None and self._are_tls[listener]

    def _begin(self, slot: int) -> None:
        self._shaking.begin(slot)

    def _begin_connected(self, slots: Slots) -> None:
        if self._connector is None:
            super()._begin_connected(slots)
            return
        for slot in slots.tolist():
            self._set_kind(slot, SHAKING)
            self._shaking.queue(self._shaking.begin(slot))  # a client speaks first

    def _take(self, pieces: Pieces) -> None:
        kinds, sessions = self._kind_bytes, self._sessions
        handed: Pieces = []
        for each in pieces:
            slot, piece = each
            kind = kinds[slot]
            if kind == BY_SSL:
                session = sessions[slot]
                session.incoming.write(piece)
                self._read(slot, session)
            elif kind == HANDED:
                handed.append(each)
            elif kind != FREE:
                self._feed(self._shaking[slot], piece)
        if handed:
            self._open_records(handed)

    def _read(self, slot: int, session: Session) -> None:
        if session.is_eof:
            session.leftover()
            return
        try:
            session.read(slot, self._told.data)
        except ssl.SSLError as error:
            self._fail(slot, error, session.said())
            return
        if session.outgoing.pending:
            self._reply([(slot, session.said())])
        if session.is_eof:
            self._told.eof.append(slot)
        if session.brings and self._connector is not None:
            self._connector.took(session)

    def _open_records(self, came: Pieces) -> None:
        assert self._records is not None
        opened = self._records.open_many(came)
        self._told.data += opened.plain
        self._reply(opened.replies)
        self._told.eof += opened.eof
        for slot, reason in opened.ended:
            self._end(slot, reason)

    def _end_of_input(self, slot: int) -> None:
        kind = self._kind_bytes[slot]
        if kind == BY_SSL:
            is_heard = self._sessions[slot].is_eof
        elif kind == HANDED:
            assert self._records is not None
            is_heard = self._records.is_heard(slot)
        else:
            shake = self._shaking[slot]
            shake.has_ended = is_heard = True
            self._shaking.queue(shake)
        if not is_heard:
            self._end(slot, self._inner.failure(slot) or TRUNCATED)

    def _fail(self, slot: int, error: ssl.SSLError, said: bytes) -> None:
        """TLS has: the peer is sent what ssl says."""
        reason = reason_of(error)
        if reason not in self.said:
            self.said[reason] = words_of(error)
        self._end(slot, reason, said)

    def _forget(self, slot: int) -> None:
        kind = self._kind_bytes[slot]
        if kind == HANDED:
            assert self._records is not None
            self._records.forget(slot)
        elif kind == BY_SSL:
            self._sessions.pop(slot).leftover()
        else:
            shake = self._shaking.remove(slot)
            assert shake is not None
            self._unsent_bytes += sum(map(len, shake.waiting))
        self._certificates.pop(slot, None)

    # --- handshakes -------------------------------------------------------------------------------

    def _feed(self, shake: Handshake, piece: bytes) -> None:
        self._shaking.feed(shake, piece)
        if shake.ahead > AHEAD_MAX and shake.slot in self._held:
            shake.is_muted = True
            self._inner.receive(np.array([shake.slot], np.int32), False)

    def _work(self) -> None:
        shaking = self._shaking
        if not len(shaking):
            return
        is_busy = self._told.passes or bool(self._told.data)
        for shake in shaking.ready(is_busy=is_busy):
            self._step(shake)
        for slot in shaking.late():
            self._end(slot, HANDSHAKE_TIMEOUT)
        if self._is_throttled:
            for slot in shaking.stalled():
                self._end(slot, HANDSHAKE_TIMEOUT)

    def _due_ns(self) -> int:
        due_ns = self._shaking.due_ns()
        if self._is_throttled:
            due_ns = min(due_ns, LOOK_NS)
        if self._records is not None:
            sweep_ns = self._records.tick(self._clock.now_ns())
            due_ns = min(due_ns, sweep_ns) if sweep_ns >= 0 else due_ns
        return due_ns

    def _step(self, shake: Handshake) -> None:
        slot, session = shake.slot, shake.session
        if session is None:
            session = self._first_step(shake)
            if session is None:
                return
        came = shake.taken()
        session.incoming.write(came)
        if shake.is_muted:
            shake.is_muted = False
            self._inner.receive(np.array([slot], np.int32), True)
        error, is_done = None, False
        try:
            is_done = session.shake()
        except ssl.SSLError as failed:
            error = failed
        said = session.said()
        if self._handoff is not None:
            shake.overheard = shake.overheard or Overheard(is_client=slot not in self._held)
            shake.overheard.step(came, said)
        if error is not None:
            self._fail_handshake(slot, error, came, said)
            return
        if said:
            self._inner.send_each([slot], [said])
        if is_done:
            self._secure(shake, session, said)
        elif shake.has_ended:
            self._end(slot, HANDSHAKE_EOF)

    def _fail_handshake(self, slot: int, error: ssl.SSLError, came: bytes, said: bytes) -> None:
        if slot in self._held:
            self._fail(slot, error, ANSWER if reason_of(error) == HTTP_TO_TLS else said)
        elif is_echo(came):
            self._end(slot, NOT_TLS, said)
        else:
            self._fail(slot, error, said)

    def _first_step(self, shake: Handshake) -> Session | None:
        """The ssl object, which nobody needs before there is something to say."""
        slot = shake.slot
        if self._kind_bytes[slot] == SHAKING:
            assert self._connector is not None
            shake.session = self._connector.begin(slot)
        elif not shake.came:
            self._end(slot, HANDSHAKE_EOF)
        elif is_http(shake.came[0]):
            self._end(slot, HTTP_TO_TLS, ANSWER)
        else:
            assert self._acceptor is not None
            by_listener = self._acceptor.by_listener
            context = by_listener.get(self._held[slot], self._acceptor.context)
            shake.session = Session(context, server_side=True)
        return shake.session

    def _secure(self, shake: Handshake, session: Session, said: bytes) -> None:
        """Its handshake is done."""
        slot = shake.slot
        self._shaking.remove(slot)
        is_accepted = slot in self._held
        if is_accepted:
            self._count(slot, session)
            self._open(slot, BY_SSL)
        else:
            assert self._connector is not None
            self._connector.done(session)
            self._set_kind(slot, BY_SSL)
            self._told.secured.append(slot)
        rest = None
        if self._handoff is not None and not session.brings:
            assert shake.overheard is not None
            rest = self._handoff.take_over(slot, session, shake.overheard, said)
        if rest is None:
            self._sessions[slot] = session
            self._read(slot, session)
        else:
            self._set_kind(slot, HANDED)
            if is_accepted:
                self.handshakes.handed += 1
            elif self._connector is not None:
                self._connector.handed += 1
            if rest:
                self._open_records([(slot, rest)])
        self._go_on(shake)

    def _go_on(self, shake: Handshake) -> None:
        """What the caller has asked for, and the peer has done, in the meantime."""
        slot = shake.slot
        if self._kind_bytes[slot] == FREE:
            self._unsent_bytes += sum(map(len, shake.waiting))
            return
        if shake.waiting:
            self.send_each([slot] * len(shake.waiting), shake.waiting)
        if shake.ends_output:
            self.end_output(slot)
        if shake.has_ended:
            self._end_of_input(slot)

    def _count(self, slot: int, session: Session) -> None:
        found, counts = session.object, self._counts
        counts.done += 1
        counts.resumed += bool(found.session_reused)
        counts.versions[found.version() or ""] += 1
        shown = found.getpeercert(True)
        if shown:
            self._certificates[slot] = shown


def handoff_class() -> type[HandOff]:
    """Imported only where it is asked for: ssl alone needs no other package. Raises UsageError."""
    try:
        from c1m.tls.handoff import HandOff
    except ImportError as error:
        raise UsageError(
            f"The hand-off of TLS needs cryptography, which is not here ({error}).",
            "Install it with: pip install 'c1m[tls]'",
        ) from error
    return HandOff
