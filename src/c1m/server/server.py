"""The server: one thread, one loop, an engine below and an application above.

In a tick (see `c1m.loop`) the batches go to the application in the order opened, data, blocked,
drained, end of stream, closed; on_tick is last. The next wait hands what the application asks for
to the kernel, as one block.

Backpressure: a connection whose unsent output passes the high watermark is not read from until the
output has fallen to a quarter of that. When the unsent output of all connections passes a bound,
none that has output pending is read from. So memory is bounded however fast a peer sends and
however slowly it reads.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from c1m import arguments
from c1m.bounds import (
    BACKLOG,
    BUSY_POLL_NS,
    DRAIN_NS,
    LINGER_NS,
    OUTBOX_HIGH,
    REPORT_NS_MIN,
    TICK_NS_MAX,
)
from c1m.clock import Clock
from c1m.engine.contract import NO_SLOTS, Engine, Pieces, Slots, distinct
from c1m.engine.given import given_slots
from c1m.engine.ragged import Ragged, bytes_of
from c1m.errors import UsageError
from c1m.guard.options import Limits
from c1m.kernel.supervisor import Given
from c1m.loop import Handlers, Int32s, Loop, frozen_heap
from c1m.results.ramp import RampTimes
from c1m.server import failures
from c1m.server.batches import CloseBatch as CloseBatch
from c1m.server.batches import DataBatch as DataBatch
from c1m.server.batches import Makes as Makes
from c1m.server.batches import OpenBatch as OpenBatch
from c1m.server.checks import check_app
from c1m.server.connections import AT_EOF, BLOCKED, CLOSED, OPEN, AnySlots, ServerConnections
from c1m.server.draining import Draining, drain
from c1m.server.failures import Failure, OnError
from c1m.server.figures import Figures
from c1m.server.listeners import Listeners
from c1m.server.logs import ServerLog
from c1m.server.operators import LOOK_NS, Operators
from c1m.server.options import ServerOptions
from c1m.server.statistics import CloseReason, ServerStatistics, reason_of
from c1m.tls.options import TLS

if TYPE_CHECKING:
    from c1m.tls.credentials import PeerCertificate


TOP_KEPT = 1 << 16  # slots whose columns keep their memory when nobody is connected
TIMEOUT_NS_MAX = 1 << 50  # of a tick: 13 days; epoll counts milliseconds in an int


class App:
    """An application on a server: override what you need.

    A connection is a slot, an int32 row number. It stays the same until `on_close` (or until the
    application itself closes it); then it may be given to a new connection. Arrays with one row a
    slot (`np.zeros(server.capacity)`) are the natural place for a connection's state: they cost
    memory only where they are touched.
    """

    turn: int | None = None  # bytes of one connection in a tick, where Limits.turn says nothing
    closes_at_stop = False  # on_stop sees to it that all are closed, over `server.drain_spread_ns`

    def notes(self, server: Server) -> list[str]:
        """Lines for people that `c1m serve` shows when the server listens."""
        return []

    def figures(self, server: Server) -> Figures:
        """Further figures for operators (--admin), by their name in /stats."""
        return {}

    def further_listeners(self) -> list[tuple[str, Sequence[str]]]:
        """URLs to listen on besides those that the server is given, in groups: what the option is
        called by which a group was told, and its URLs."""
        return []

    def refusal(self, listener: int) -> bytes:
        """What clients are told who come by this listener when the server is full, if they are to
        be told so (`Limits.when_full`). Over TLS nothing is said."""
        return b""

    def on_start(self, server: Server) -> None:
        """The server listens; nothing has come yet."""

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        """Connections were accepted."""

    def on_data(self, batch: DataBatch, server: Server) -> None:
        """Bytes came."""

    def on_pieces(self, pieces: Pieces, server: Server) -> None:
        """Bytes came: (slot, bytes) in order. Where this is overridden, on_data is not called.

        For an application that takes the bytes apart in Python: it spares making arrays of them
        where the engine has none.
        """

    def on_eof(self, slots: Slots, server: Server) -> None:
        """The peers of these slots will send no more. The default closes, after the output."""
        server.close(slots)

    def on_blocked(self, slots: Slots, server: Server) -> None:
        """Unsent output is over the high watermark: these are not read from until it has drained.

        What is sent to them nevertheless is kept in memory.
        """

    def on_drained(self, slots: Slots, server: Server) -> None:
        """Their output has fallen to the low watermark: they are read from again."""

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        """Connections ended, by an error or because the server stops."""

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        """Last in every tick, and at least every 100 ms; `now_ns` is monotonic.

        May return the time (as `now_ns`) at which to call it at the latest, if that is sooner.
        """
        return None

    def on_stop(self, server: Server) -> None:
        """The server is stopping: connections are still open, and closed next."""

    def is_done(self, server: Server) -> bool:
        """Whether nothing is left to say, while the server stops: it waits for that until its
        deadline."""
        return True

    def on_end(self, server: Server) -> None:
        """Last of all: the server has ended, and there are no connections any more."""


class Server(ServerConnections):
    """Holds connections for an application.

    `listen` is one endpoint or several ("tcp://127.0.0.1:8001", "tcp://0.0.0.0:8001-8030",
    "tcp://[::1]:8001", "unix:///run/x.sock"). `busy_poll_ns`: how long the uring engine polls
    before it sleeps, while that pays: lower latency for more processor time (0: it sleeps at once;
    the epoll engine always does). `linger_ns`: a closed connection whose peer takes none of its
    output for this long is reset and counted as NOT_READ. `tls`: a c1m.TLS, or an ssl.SSLContext,
    for listeners with TLS (tls://, https://, rediss://). `proxy_protocol`: connections come from
    proxies that send a PROXY header first (of "tcp+proxy://127.0.0.1:8001" they do so anyway), and
    `proxy_from` names those that may: addresses or networks, "10.0.0.0/8". `limits`: a
    c1m.Limits, who may connect and what a connection may take. `admin`: where operators look
    ("127.0.0.1:9100": /healthz, /readyz, /metrics, /stats, /connections). `access_log`: a file
    that gets a line for each connection that ends. `drain_spread_ns`: when
    it stops, connections are closed over so long a time, not all at once. `user`: "NAME" or
    "NAME:GROUP", who the process is from when ports are bound and keys are read. `given`: sockets
    of another process, as `c1m.serve` finds them. `on_error`: what becomes of an exception out of
    a callback: "close" (the connections of its batch are closed, all others are served on), "stop"
    (the server ends), or a function of a c1m.Failure that returns one of these or "keep". Raises
    UsageError, with nothing left behind, for an endpoint that cannot be listened on and for invalid
    arguments.
    """

    def __init__(
        self,
        app: App | Makes,
        listen: str | Sequence[str],
        *,
        engine: str | Engine = "auto",
        connections_max: int | None = None,
        outbox_high: int = OUTBOX_HIGH,
        backlog: int = BACKLOG,
        busy_poll_ns: int = BUSY_POLL_NS,
        drain_ns: int = DRAIN_NS,
        linger_ns: int = LINGER_NS,
        tls: TLS | ssl.SSLContext | None = None,
        proxy_protocol: bool = False,
        proxy_from: str | Sequence[str] = (),
        limits: Limits | None = None,
        drain_spread_ns: int = 0,
        user: str | None = None,
        given: Sequence[Given] = (),
        admin: str | None = None,
        on_error: OnError = failures.CLOSE,
        access_log: str | None = None,
        access_log_json: bool = False,
        clock: Clock | None = None,
    ) -> None:
        app = app.as_app() if isinstance(app, Makes) else app
        check_app(app, App, Makes)
        options = ServerOptions(
            listen=listen, engine=engine, connections_max=connections_max, outbox_high=outbox_high,
            backlog=backlog, busy_poll_ns=busy_poll_ns, drain_ns=drain_ns, linger_ns=linger_ns,
            clock=clock, tls=tls, proxy_protocol=proxy_protocol, proxy_from=proxy_from,
            limits=limits, drain_spread_ns=drain_spread_ns, user=user, given=given, admin=admin,
            on_error=on_error, access_log=access_log, access_log_json=access_log_json,
        )  # fmt: skip
        self.app: App = app
        self.on_error: OnError = options.on_error
        self.clock: Clock = options.clock
        self.drain_ns: int = options.drain_ns
        self.drain_spread_ns: int = options.drain_spread_ns
        self.at_stop: list[Callable[[], object]] = []  # called first when it drains
        self.drain_grace_ns = 0  # see Draining
        self._draining: Draining | None = None
        self.outbox_high: int = options.outbox_high
        self.statistics = ServerStatistics()
        self.ramp = RampTimes(self.clock.now_ns())
        self.listeners = Listeners(options.endpoints, app.further_listeners())
        self.listeners.endpoints = options.watched(self.listeners.endpoints)
        with ExitStack() as made:
            made.callback(self.listeners.close)
            self.security = options.prepare(self.listeners)
            self.engine = options.make_engine()
            made.callback(lambda: self.engine.shutdown())
            self.capacity = self.engine.capacity
            self.engine = options.with_proxies(self.engine, self.listeners.endpoints)
            self.engine = options.with_limits(self.engine, self._refusal, app.turn)
            if self.security is not None:
                self.engine = self.security.around(self.engine, self.clock)
            self.endpoints = self.listeners.open(self.engine, options.backlog)
            self.operators = Operators(self, options, self._call_at)
            made.pop_all()
        # Of each listener: 0, or the place in further_listeners of who asked for it, from 1 on.
        self.listener_owners = self.listeners.owners
        self.loop = Loop(self.engine, self.clock, self._handlers(app))
        self._begin_afresh()
        self._has_ended = False  # the application has closed connections in this tick
        self._has_on_tick = type(app).on_tick is not App.on_tick
        self._due_ns: int | None = None  # when the application wants its next on_tick

    def _handlers(self, app: App) -> Handlers:
        takes_pieces = type(app).on_pieces is not App.on_pieces
        return Handlers(
            pieces=self._pieces if takes_pieces else None,
            expired=self._expired,
            opened=self._opened,
            data=self._data_in_pieces if takes_pieces else self._data,
            blocked=self._blocked,
            drained=self._drained,
            eof=self._eof,
            closed=self._lost,
        )

    def _begin_afresh(self) -> None:
        super()._begin_afresh()
        if self.operators.ledger is not None:
            self.operators.ledger.begin_afresh()

    @property
    def log(self) -> ServerLog:
        """What this server says of itself."""
        return self.operators.log

    @property
    def pulse(self) -> int:
        """Another number after each tick."""
        return self.statistics.ticks

    def _call_at(self, when_ns: int, call: Callable[[], object]) -> None:
        self.loop.call_at(when_ns, lambda now_ns: call())

    # --- what an application calls --------------------------------------------------------------

    def peer_certificate(self, slot: int) -> PeerCertificate | None:
        """Whom a client is that has shown a certificate over TLS (`TLS.client_ca`); else None."""
        return None if self.security is None else self.security.peer_certificate(slot)

    def reload_tls(self) -> list[str]:
        """Read certificates and keys anew; may be called from another thread.

        Connections from now on get the new ones; nobody is disconnected. Returns sentences about
        what is odd with them (they expire, they have no chain). Raises UsageError for files that
        are wrong, with the old ones kept, and where this server has no TLS of c1m.TLS.
        """
        if self.security is None:
            raise UsageError("This server has no TLS.", "Give tls=c1m.TLS(cert, key).")
        return self.security.reload()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call it in the server's thread, in the next tick; may be called from another thread."""
        self.loop.call_at(0, lambda now_ns: self.attempt("call_soon", function))
        self.loop.wake()

    def wake(self) -> None:
        """Make the current or the next tick come at once; may be called from another thread."""
        self.loop.wake()

    def stop(self) -> None:
        """Make `run` end; may be called from a signal handler or another thread."""
        self.loop.stop()

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self.loop.is_stopping

    def every(self, interval_ns: int, function: Callable[[int], object]) -> None:
        """Call it with the time in this tick and after each interval, to the end."""
        self.loop.call_every(interval_ns, function, self.clock.now_ns())

    # --- the loop -------------------------------------------------------------------------------

    def tick(self, timeout_ns: int = TICK_NS_MAX) -> int:
        """One pass; returns the number of events it brought."""
        if self.loop.has_ended:
            raise UsageError("This server has ended.", "Make a new one.")
        if type(timeout_ns) is not int or not 0 <= timeout_ns <= TIMEOUT_NS_MAX:
            timeout_ns = arguments.integer("timeout_ns", timeout_ns, most=TIMEOUT_NS_MAX)
        if self._due_ns is not None:
            timeout_ns = min(timeout_ns, max(self._due_ns - self.clock.now_ns(), 0))
        self._has_ended = False
        count = self.loop.tick(timeout_ns)
        self.statistics.ticks += 1
        if self._top > TOP_KEPT and self.statistics.live == 0:
            self._begin_afresh()
        if self._has_on_tick:
            self._due_ns = None
            try:
                due_ns = self.app.on_tick(self.clock.now_ns(), self)
                if due_ns is not None and type(due_ns) is not int:
                    due_ns = arguments.integer("What on_tick returned", due_ns)
                self._due_ns = due_ns
            except Exception as error:
                self.failed("on_tick", error)
        return count

    def _expired(self, slots: Slots) -> None:
        closed = self.statistics.closed
        for code, count in Counter(self._ended_by[slots].tolist()).items():
            closed[CloseReason(code)] -= count
        closed[CloseReason.NOT_READ] += len(slots)

    def _opened(self, slots: Slots, listeners: Int32s) -> None:
        self._live[slots] = OPEN
        self._top = max(self._top, int(slots.max()) + 1)
        statistics = self.statistics
        statistics.opened += len(slots)
        statistics.live += len(slots)
        statistics.peak = max(statistics.peak, statistics.live)
        self.ramp.add(len(slots), self.clock.now_ns())
        self.tell("on_open", slots, OpenBatch(slots, listeners))

    def _data(self, slots: Slots, data: Ragged) -> None:
        self.statistics.messages += len(slots)
        if self._draining is not None:
            self._draining.heard(slots, self.clock.now_ns())
        if self._has_ended:
            is_live = self._live[slots] != CLOSED
            slots, data = slots[is_live], data.take(is_live)
            if not len(slots):
                return
        self.tell("on_data", slots, DataBatch(slots, data))

    def _pieces(self, pieces: Pieces) -> None:
        self.statistics.messages += len(pieces)
        if self._draining is not None:
            slots = np.array([slot for slot, _ in pieces], np.int32)
            self._draining.heard(slots, self.clock.now_ns())
        try:
            self.app.on_pieces(pieces, self)
        except Exception as error:
            self.failed("on_pieces", error, [slot for slot, _ in pieces])

    def _data_in_pieces(self, slots: Slots, data: Ragged) -> None:
        """The same for what the engine has in arrays."""
        memory = data.memory.data
        columns = zip(slots.tolist(), data.offsets.tolist(), data.lengths.tolist(), strict=True)
        pieces = [(slot, bytes(memory[at : at + length])) for slot, at, length in columns]
        if self._has_ended:
            live = self._live
            pieces = [piece for piece in pieces if live[piece[0]] != CLOSED]
        if pieces:
            self._pieces(pieces)

    def _blocked(self, slots: Slots) -> None:
        slots = self._still_live(slots)
        self._hold(slots, BLOCKED)
        self.tell("on_blocked", slots)

    def _drained(self, slots: Slots) -> None:
        slots = self._still_live(slots)
        self._release(slots, BLOCKED)
        self.tell("on_drained", slots)

    def _eof(self, slots: Slots) -> None:
        slots = self._still_live(slots)
        self._live[slots] = AT_EOF
        self.tell("on_eof", slots)

    def tell(self, callback: str, slots: Slots, given: Any = None, app: Any = None) -> None:
        """Call it with what is given, else the slots: of the application, or of this part of it."""
        app = self.app if app is None else app
        try:
            getattr(app, callback)(slots if given is None else given, self)
        except Exception as error:
            self.failed(callback, error, slots, app)

    def _refusal(self, listener: int) -> bytes:
        """What the application tells those for whom there is no place."""
        said: bytes = self.attempt(
            "refusal", lambda: bytes_of("refusal", self.app.refusal(listener)), b""
        )
        return said

    def attempt(
        self,
        callback: str,
        function: Callable[[], Any],
        otherwise: Any = None,
        slots: AnySlots = NO_SLOTS,
        app: Any = None,
    ) -> Any:
        """What it returns; where it raises, and the server goes on, `otherwise`. See `failed`."""
        try:
            return function()
        except Exception as error:
            self.failed(callback, error, slots, app)
            return otherwise

    def failed(
        self,
        callback: str,
        error: Exception,
        slots: AnySlots = NO_SLOTS,
        app: Any = None,
        said: Callable[[Slots], object] | None = None,
    ) -> None:
        """A callback has raised, of the application or, with `app`, of a part of it.

        What becomes of it says `on_error`; raises the error where it is the server's end. `said`
        has a last word to those that are closed, which are int32[n].
        """
        those = distinct(given_slots(slots, self.capacity))
        failure = Failure(callback, self.app if app is None else app, those, error)
        if failures.take(failure, self) == failures.CLOSE:
            those = those[self._live.take(those) != CLOSED]
            if said is not None and len(those):
                said(those)
            self._end_all(those, CloseReason.APP)

    def _end_all(self, slots: Slots, reason: CloseReason) -> None:
        self._end(slots, reason)
        if len(slots):
            reasons = np.full(len(slots), reason, np.uint8)
            self.tell("on_close", slots, CloseBatch(slots, reasons))

    def _lost(self, slots: Slots, errnos: Int32s) -> None:
        still = self._live[slots] != CLOSED
        slots, errnos = slots[still], errnos[still]
        self._live[slots] = CLOSED
        self._holds[slots] = 0
        reasons = [reason_of(code) for code in errnos.tolist()]
        self.operators.ended(slots, reasons)
        for reason, count in Counter(reasons).items():
            self._count_closed(reason, count)
        if len(slots):
            self.tell("on_close", slots, CloseBatch(slots, np.array(reasons, np.uint8)))

    def run(self, on_report: Callable[[Server], int] | None = None) -> None:
        """Serve until `stop`, then drain and close everything.

        `on_report(server)` is called once at first and returns the time, in monotonic nanoseconds,
        at which it wants to be called next.
        """
        arguments.function("on_report", on_report)

        def report(now_ns: int) -> None:
            if on_report is not None and not self.loop.is_stopping:
                self.loop.call_at(max(on_report(self), now_ns + REPORT_NS_MIN), report)

        with frozen_heap():
            try:
                self.app.on_start(self)
                self.loop.call_at(self.clock.now_ns(), report)
                self.operators.begin()
                self.loop.call_every(LOOK_NS, self.operators.look, self.clock.now_ns())
                while not self.loop.is_stopping:
                    self.tick()
                self.drain()
            finally:
                self.shutdown()

    def drain(self) -> None:
        """Stop accepting, answer what has come, send pending output until the deadline; close all.

        Over `drain_spread_ns` some are closed at a time, those first from whom nothing comes. Ends
        early when nothing has come for QUIET_NS, no output is pending and the application is done
        (`is_done`). Its `on_close` gets what is closed here as DRAIN.
        """
        self.operators.stopping()
        self._draining = Draining(
            self.capacity, self.clock.now_ns(), self.drain_spread_ns, self.drain_ns
        )
        drain(self, self._draining)

    def end_drained(self, slots: Slots) -> None:
        """Close these because the server stops."""
        self._end_all(slots, CloseReason.DRAIN)

    def shutdown(self) -> None:
        """End what is left at once and release everything. May be called twice."""
        if not self.loop.has_ended:
            self._end(self.live_slots(), CloseReason.DRAIN, abort=False)
            self.loop.shutdown()
            self.listeners.close()
            self.update_statistics()
            try:
                self.app.on_end(self)
            finally:
                self.operators.end()

    def update_statistics(self) -> ServerStatistics:
        """The counters, with the engine's brought up to date."""
        return self.statistics.updated(self.engine.statistics())
