"""A server of asyncio protocols: an event loop on the engine, and what `Server` has around it."""

from __future__ import annotations

import asyncio
import errno
import functools
import inspect
import re
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import numpy as np

from c1m import arguments
from c1m.addresses import Endpoint
from c1m.aio.connections import Connections, Listening
from c1m.aio.loop import EventLoop
from c1m.aio.transport import HIGH, EngineTransport
from c1m.bounds import QUIET_NS, REPORT_NS_MIN, TICK_NS_MAX
from c1m.clock import Clock
from c1m.engine.contract import NO_SLOTS, Slots
from c1m.errors import UsageError
from c1m.loop import frozen_heap
from c1m.server.draining import Draining, Quiet, accepted
from c1m.server.failures import STOP, Failure, OnError, decide
from c1m.server.listeners import Listeners
from c1m.server.logs import ServerLog
from c1m.server.operators import LOOK_NS, Operators
from c1m.server.options import ServerOptions
from c1m.server.statistics import CloseReason, ServerStatistics
from c1m.units import NS_PER_S

if TYPE_CHECKING:
    from c1m.server.security import Security

ENDS_S = 1.0  # how long connections that are dropped may take to say so


class ProtocolServer:
    """Runs asyncio protocols on an event loop of its own: `asyncio.get_running_loop()` is a
    c1m.EventLoop in all callbacks.

    `factory()` makes the protocol of a new connection. `listen` and the options are those of
    Server. `outbox_high`, where it is given, is the high watermark of all transports, and nobody is
    read from who has more unsent; else the watermarks are asyncio's (64 KiB), and only the protocol
    stops the reading. What a protocol raises is asyncio's to judge: its connection is closed, or
    the loop's exception handler says so; with on_error="stop" it ends the server, too. Raises
    UsageError, with nothing left behind, for what makes no protocols, for an endpoint that cannot
    be listened on and for invalid arguments.
    """

    def __init__(
        self,
        factory: Callable[[], Any],
        listen: str | Sequence[str],
        *,
        outbox_high: int | None = None,
        **options: Any,
    ) -> None:
        check_factory(factory)
        high = HIGH if outbox_high is None else outbox_high
        checked = ServerOptions(listen=listen, outbox_high=high, **options)
        checked.endpoints = checked.watched(checked.endpoints)
        self._factory = factory
        self.clock: Clock = checked.clock
        self.drain_ns: int = checked.drain_ns
        self.on_error: OnError = checked.on_error
        self._error: Exception | None = None  # that ends the server
        self.outbox_high: int = checked.outbox_high
        self.loop = EventLoop("auto")
        self.loop.set_exception_handler(self._reported)
        self._bell = threading.RLock()  # for those who stop while it ends
        self.drain_spread_ns: int = checked.drain_spread_ns
        self.at_stop: list[Callable[[], object]] = []  # called first when it drains
        self.drain_grace_ns = 0  # see Draining
        self._has_ended = False
        self._stop = asyncio.Event()
        self.listeners = Listeners(checked.endpoints)
        self.pulse = 0  # another number after each iteration that looks around: ten a second
        try:
            self.security = _security(checked, self.listeners)
            self.engine = checked.make_engine(needs_descriptors=True)
            self.engine = checked.with_proxies(self.engine, checked.endpoints)
            self.engine = checked.with_limits(self.engine)
            kind = _Served if outbox_high is None else _Bounded
            self._streams = kind(self.loop, self.engine, self.outbox_high, checked.backlog)
            self._streams.linger_s = checked.linger_ns / NS_PER_S
            self.loop.use(self._streams)
            places = zip(self.listeners.places(), checked.endpoints, strict=True)
            self.endpoints = self._streams.listen(
                *(
                    Listening(place, self._accepts(number, each), None, copy_context())
                    for number, (place, each) in enumerate(places)
                )
            )
            self.operators = Operators(self, checked, self._call_at)
            self._streams.access = self.operators.access
        except BaseException:
            self.loop.close()
            if hasattr(self, "engine"):
                self.engine.shutdown()
            self.listeners.close()
            raise

    @property
    def log(self) -> ServerLog:
        """What this server says of itself."""
        return self.operators.log

    def _call_at(self, when_ns: int, call: Callable[[], object]) -> None:
        if not self.loop.is_closed():
            self.loop.call_later(max(when_ns - self.clock.now_ns(), 0) / NS_PER_S, call)

    @property
    def statistics(self) -> ServerStatistics:
        """The counters; connections that protocols open themselves are in them."""
        return self._streams.statistics

    @property
    def ramp(self) -> Any:
        """When each further 1,000 connections were there."""
        return self._streams.ramp

    def update_statistics(self) -> ServerStatistics:
        """The counters, with the engine's brought up to date."""
        engine = self.engine.statistics()
        self.statistics.ticks = engine.ticks
        return self.statistics.updated(engine)

    def _accepts(self, number: int, endpoint: Endpoint) -> Callable[[EngineTransport], None]:
        """What becomes of the connections of a listener: with TLS they get asyncio's."""
        security = self.security
        if security is None or not endpoint.is_tls:
            return functools.partial(self.loop.accept, protocol_factory=self._make)

        def accept(transport: EngineTransport) -> None:
            context, timeout_s = security.context_of(number), security.handshake_s
            self.loop.accept_tls(transport, self._make, context, ssl_handshake_timeout=timeout_s)

        return accept

    def reload_tls(self) -> list[str]:
        """As Server.reload_tls. A client's certificate: transport.get_extra_info("peercert")."""
        if self.security is None:
            raise UsageError("This server has no TLS.", "Give tls=c1m.TLS(cert, key).")
        return self.security.reload()

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call it in the server's thread; may be called from another one."""
        with self._bell:
            if not self._has_ended:
                self.loop.call_soon_threadsafe(function)

    def _make(self) -> Any:
        """A protocol. asyncio says nothing of a factory that fails; here it is logged."""
        try:
            protocol = self._factory()
            if not is_protocol(protocol):
                if inspect.iscoroutine(protocol):
                    protocol.close()
                raise UsageError(
                    f"The factory has made {protocol!r}, which is no asyncio protocol."
                )
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            if not self.loop.get_debug():  # there the loop reports it
                said = "The factory of protocols failed; the connection is closed."
                self.loop.call_exception_handler({"message": said, "exception": error})
            raise
        return protocol

    def _reported(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio says of callbacks and tasks that have raised."""
        error, transport = context.get("exception"), context.get("transport")
        loop.default_exception_handler(context)
        if not isinstance(error, Exception):
            return
        name = _callback_of(context)
        counts = self.statistics.failed
        counts[name] = counts.get(name, 0) + 1
        slots = NO_SLOTS
        if isinstance(transport, EngineTransport) and transport._slot >= 0:
            transport.ends_as = CloseReason.APP  # asyncio closes it next
            slots = np.array([transport._slot], np.int32)
        try:
            word = decide(self.on_error, Failure(name, context.get("protocol"), slots, error))
        except Exception as why:  # of the function that is to say it
            word, error = STOP, why
        if word == STOP and self._error is None:
            self._error = error
            self._stop.set()

    # --- its life -------------------------------------------------------------------------------

    def run(self, on_report: Callable[[ProtocolServer], int] | None = None) -> None:
        """Serve until `stop`, then drain and close everything, as `Server.run` does.

        What is left of tasks then is cancelled, as by `asyncio.run`. SystemExit and
        KeyboardInterrupt of a callback end it, too, without a drain. Raises UsageError where
        another event loop runs in this thread, and where this server has ended.
        """
        arguments.function("on_report", on_report)
        if self._has_ended:
            raise UsageError("This server has ended.", "Make a new one.")
        with frozen_heap():
            try:
                check_no_loop_is_running()
                with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                    runner.run(self._serve(on_report))
            finally:
                self.shutdown()

    def stop(self) -> None:
        """Make `run` end; may be called from a signal handler or another thread."""
        with self._bell:
            if not self._has_ended:
                self.loop.call_soon_threadsafe(self._stop.set)

    @property
    def is_stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def every(self, interval_ns: int, function: Callable[[int], object]) -> None:
        """Call it with the time soon and after each interval, to the end."""

        def call() -> None:
            self.loop.call_later(interval_ns / NS_PER_S, call)
            function(self.clock.now_ns())

        self.loop.call_soon(call)

    def wake(self) -> None:
        """Make the loop have an iteration now; may be called from another thread."""
        with self._bell:
            if not self._has_ended:
                self.loop.call_soon_threadsafe(lambda: None)

    def shutdown(self) -> None:
        """End what is left at once and release everything. May be called twice."""
        with self._bell:
            self._has_ended = True
        self.loop.close()
        self.listeners.close()
        self.update_statistics()
        self.operators.end()

    async def _serve(self, on_report: Callable[[ProtocolServer], int] | None) -> None:
        try:
            self.operators.begin()
            due_ns = look_ns = 0
            while not self._stop.is_set():
                now_ns = self.clock.now_ns()
                if now_ns >= look_ns:
                    look_ns = now_ns + LOOK_NS
                    self.operators.look(now_ns)
                if on_report is not None and now_ns >= due_ns:
                    due_ns = max(on_report(self), now_ns + REPORT_NS_MIN)
                # Who lingers, and what the kernel has refused, is looked at in each tick.
                sleep_ns = TICK_NS_MAX if on_report is None else min(due_ns - now_ns, TICK_NS_MAX)
                await self._stops_within(sleep_ns / NS_PER_S)
            if self._error is not None:
                raise self._error
            await self._drain()
        finally:
            with self._bell:
                self._has_ended = True

    async def _stops_within(self, seconds: float) -> None:
        self.pulse += 1
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            pass

    async def _drain(self) -> None:
        """As Server.drain: what has come is answered, what is pending goes out, all are closed."""
        streams, now_ns = self._streams, self.clock.now_ns
        self.operators.stopping()
        now = now_ns()
        for call in self.at_stop:
            call()
        draining = Draining(0, now, self.drain_spread_ns, self.drain_ns)
        await self._let_in(now + self.drain_ns // 4)
        streams.stop_accepting()
        self.listeners.close()
        before, quiet, grace_end_ns = None, Quiet(), now + self.drain_grace_ns
        while (now := now_ns()) < draining.deadline_ns:
            counts = self.engine.statistics()
            heard = (counts.accepted, counts.received_bytes, counts.sent_bytes, counts.closed)
            is_over = now >= draining.spread_end_ns or not self.statistics.live
            is_quiet = quiet.is_so(heard == before, now) and not (
                now < grace_end_ns and (self.statistics.live or counts.opening)
            )
            is_quiet = is_quiet or draining.is_soon(now)
            if is_over and is_quiet and not counts.outbox_bytes:
                break
            before, self.pulse = heard, self.pulse + 1
            if not is_over:
                self._close_some(draining.quota(self.statistics.live, now))
            await asyncio.sleep(QUIET_NS / NS_PER_S)
        self._close_some(len(streams.transports()))
        await self._ends_by(draining.deadline_ns)
        for transport in streams.transports():
            transport.abort()
        await self._ends_by(now_ns() + int(ENDS_S * NS_PER_S))

    async def _let_in(self, until_ns: int) -> None:
        """Who is in the accept queues has connected, and may have sent something."""
        if not self.listeners.turn_away():
            return
        found = -1
        while found != (found := accepted(self.engine)) and self.clock.now_ns() < until_ns:
            await asyncio.sleep(QUIET_NS / NS_PER_S)

    def _close_some(self, count: int) -> None:
        for transport in self._streams.transports():
            if not count:
                return
            if not transport.is_closing():
                count -= 1
                transport.ends_as = CloseReason.DRAIN
                _outermost(transport).close()

    async def _ends_by(self, deadline_ns: int) -> None:
        await asyncio.sleep(0)
        while self._streams.transports() and self.clock.now_ns() < deadline_ns:
            self.pulse += 1
            await asyncio.sleep(0.001)


def _callback_of(context: dict[str, Any]) -> str:
    """The name of what has raised, as far as asyncio says it."""
    called = re.search(r"protocol\.(\w+)\(\)", context.get("message", ""))
    if called is not None:
        return called[1]
    if "task" in context or "future" in context:
        return "task"
    return "callback" if "handle" in context else "factory"


def _security(options: ServerOptions, listeners: Listeners) -> Security | None:
    found = options.prepare(listeners)
    if found is not None and getattr(options.tls, "handoff", False):
        raise UsageError(
            "Protocols of asyncio have asyncio's TLS, which is not handed off.",
            "Leave out --tls-handoff (in Python: handoff=True), or write a c1m.App.",
        )
    return found


def _outermost(transport: EngineTransport) -> Any:
    """What the protocol was given: over TLS that one says close_notify."""
    tls = transport.get_protocol()
    return getattr(tls, "_app_transport", None) or transport


class _Served(Connections):
    """A server ends its connections: what is left of them is no mistake of a program."""

    linger_s = 0.0

    def close_later(self, transport: EngineTransport) -> None:
        """As the engine has it for all that are closed: for as long as the peer takes some."""
        owed = self.unsent(transport._slot)

        def look() -> None:
            if not transport._is_close_put_off or transport._slot < 0:
                return
            if self.unsent(transport._slot) < owed:
                self.close_later(transport)
                return
            slot = transport._slot
            self.engine.close(np.array([slot], np.int32), abort=True)
            self._end(slot, errno.ETIMEDOUT, CloseReason.NOT_READ)

        self.loop.call_later(self.linger_s, look)

    def close(self) -> None:
        left = self.transports()
        super().close()
        for transport in left:
            transport._slot = -1


class _Bounded(_Served):
    """Reads from nobody whose unsent output is over the high watermark."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._over: set[int] = set()

    def receive(self, slot: int, on: bool) -> None:
        if not on or slot not in self._over:
            super().receive(slot, on)

    def _blocked(self, slots: Slots) -> None:
        self._over.update(slots.tolist())
        self.engine.receive(slots, False)
        super()._blocked(slots)

    def _fell(self, transport: EngineTransport) -> None:
        super()._fell(transport)
        slot = transport._slot
        if slot >= 0 and not transport._protocol_paused:
            self._over.discard(slot)
            if not transport._paused:
                super().receive(slot, True)

    def _end(self, slot: int, code: int, reason: CloseReason | None) -> None:
        self._over.discard(slot)
        super()._end(slot, code, reason)


# --- what is no factory of protocols -----------------------------------------------------------


def check_no_loop_is_running() -> None:
    """Raise UsageError inside a running event loop, which a server would stop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise UsageError(
        "An event loop runs in this thread already, and a server has one of its own.",
        "Await loop.create_server(...) instead, or serve in another thread.",
    )


def check_factory(factory: Any) -> None:
    """Raise UsageError for what makes no protocols when it is called without arguments."""
    if inspect.iscoroutine(factory):
        factory.close()
        called = f"{factory.__qualname__}(...)"
        raise UsageError(f"{called} is a coroutine.", f"Run it by c1m.run({called}).")
    if not isinstance(factory, type) and is_protocol(factory):
        kind = type(factory).__qualname__
        raise UsageError(
            f"This is one {kind} object; each connection needs its own.",
            f"Pass the class: {kind}.",
        )
    if not callable(factory):
        raise UsageError(f"{factory!r} makes no protocols.", "Give a Protocol class.")
    name = getattr(factory, "__qualname__", None) or repr(factory)
    if isinstance(factory, type):
        if not is_protocol(factory):
            raise UsageError(
                f"{name} is no asyncio protocol: it has no data_received and no get_buffer.",
                "Derive from asyncio.Protocol, or write a c1m.App.",
            )
    elif _is_asgi(factory):
        raise UsageError(
            f"{name} is an ASGI application, not a protocol.",
            "It needs an ASGI server: uvicorn "
            f"MODULE:{name if name.isidentifier() else 'NAME'} --loop c1m:new_event_loop.",
        )
    elif _is_coroutine_function(factory):
        raise UsageError(
            f"{name} is a coroutine function, which makes no protocols.",
            "Use asyncio.start_server or loop.create_server in a coroutine, and run that by "
            "c1m.run(main()).",
        )
    _check_needs_nothing(factory, name)


def is_protocol(thing: Any) -> bool:
    """Whether it has what a stream's protocol has."""
    takes = ("data_received", "get_buffer")
    return hasattr(thing, "connection_made") and any(hasattr(thing, name) for name in takes)


def _is_coroutine_function(thing: Any) -> bool:
    while isinstance(thing, functools.partial):
        thing = thing.func
    call = getattr(type(thing), "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(thing) or inspect.iscoroutinefunction(call)


def _is_asgi(thing: Any) -> bool:
    if not _is_coroutine_function(thing):
        return False
    try:
        names = [*inspect.signature(thing).parameters]
    except (TypeError, ValueError):
        return False
    return len(names) == 3 and names[1:] == ["receive", "send"]


def _check_needs_nothing(factory: Any, name: str) -> None:
    try:
        inspect.signature(factory).bind()
    except ValueError:  # it does not say what it takes
        return
    except TypeError as error:
        raise UsageError(
            f"{name} cannot be called without arguments ({error}).",
            f"Give a function that makes the protocol: lambda: {name}(...).",
        ) from None
