"""An asyncio event loop on the engine.

asyncio's own selector loop, whose selector waits in the engine. TCP and unix streams are the
engine's: a connection takes no descriptor and no system call of its own. All else (subprocesses,
datagrams, pipes, add_reader, signals, executors, sock_* calls) is the standard library's code over
an ordinary epoll selector, which the engine watches: both wait in one place.

The engine is made when the first stream is, so a loop without streams is asyncio's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import selectors
import socket
import sys
import threading
import weakref
from asyncio import sslproto
from collections.abc import Coroutine
from typing import Any, TypeVar

from c1m.addresses import Endpoint, ListeningSocket
from c1m.aio.callbacks import QuickCalls
from c1m.aio.connections import Connections, Listening
from c1m.aio.private import set_nodelay, set_result_unless_cancelled
from c1m.aio.transport import HIGH, EngineTransport
from c1m.engine.choose import AUTO, check_name, choose
from c1m.engine.lingering import NEVER
from c1m.errors import C1mError

T = TypeVar("T")

FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class _Selector(selectors.EpollSelector):
    """epoll's, which from the first stream on is watched by the engine."""

    connections: Connections | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.connections is None:
            return super().select(timeout)
        if self.connections.select(timeout):
            return super().select(0)
        return []


class EventLoop(QuickCalls):
    """An event loop for any asyncio program.

    `engine`: "auto" (the default, or what the environment variable C1M_ENGINE says), "uring" or
    "epoll". Raises UsageError for another name.
    """

    _closed = True  # until there is something to close

    def __init__(self, engine: str | None = None) -> None:
        name = engine or os.environ.get("C1M_ENGINE") or AUTO
        check_name(name)
        self._engine_name = name
        self._own: weakref.WeakSet[socket.socket] = weakref.WeakSet()  # sockets that we have made
        self._connections: Connections | None = None
        self._waits_in = _Selector()
        super().__init__(self._waits_in)

    @property
    def connections(self) -> Connections:
        """The streams, and the engine that holds them; made when it is first asked for."""
        if self._connections is None:
            self._check_closed()
            engine = choose(
                self._engine_name, outbox_high=HIGH, linger_ns=NEVER >> 1, needs_descriptors=True,
                few_first=sys.maxsize,  # as many as the descriptors allow
            )  # fmt: skip
            self.use(Connections(self, engine))
            self._watch()
            assert self._connections is not None
        return self._connections

    def use(self, connections: Connections) -> None:
        """Have these for the streams, before there is any. They end with the loop."""
        self._connections = connections

    def _watch(self) -> None:
        """From now on wait in the engine: only one thread may do that, the one that runs."""
        if self._connections is not self._waits_in.connections:
            assert self._connections is not None
            self._connections.engine.watch(self._waits_in.fileno())
            self._waits_in.connections = self._connections

    def run_forever(self) -> None:
        """Run until stop(); what was written goes out before this returns.

        Raises RuntimeError in another thread than the one that has used its streams.
        """
        owner = None if self._connections is None else self._connections.engine.thread
        if owner is not None and owner != threading.get_ident():
            raise RuntimeError(
                "This loop has streams in io_uring, which the kernel ties to the thread that used "
                "them first. Run it in that thread, or make a loop in this one."
            )
        try:
            self._watch()
            super().run_forever()
        finally:
            if self._connections is not None and not self.is_closed():
                self._connections.flush()

    def close(self) -> None:
        """Close all that is open, and the loop. Raises RuntimeError while it runs."""
        if not self.is_running() and self._connections is not None:
            self._connections.close()
            self._connections = self._waits_in.connections = None
        super().close()

    # --- asyncio's own seams: where it would make a socket transport of its own -------------------

    def _start_serving(
        self,
        protocol_factory: Any,
        sock: socket.socket,
        sslcontext: Any = None,
        server: Any = None,
        *rest: Any,
        **named: Any,
    ) -> None:
        if sock.family not in FAMILIES:
            super()._start_serving(protocol_factory, sock, sslcontext, server, *rest, **named)
            return
        set_nodelay(sock)  # what it accepts inherits it
        sock.setblocking(False)
        timeouts = rest[1:]

        def accept_plain(transport: EngineTransport) -> None:
            self.accept(transport, protocol_factory)

        def accept_tls(transport: EngineTransport) -> None:
            self.accept_tls(transport, protocol_factory, sslcontext, server, *timeouts, **named)

        accept = accept_tls if sslcontext else accept_plain
        given = ListeningSocket(sock.fileno(), Endpoint(sock.family))
        self.connections.listen(Listening(given, accept, server, contextvars.copy_context()))

    def accept(self, transport: EngineTransport, protocol_factory: Any) -> None:
        """Give a connection that was accepted its protocol."""
        try:
            protocol = protocol_factory()
        except (SystemExit, KeyboardInterrupt):
            transport.abort()
            raise
        except BaseException as error:
            transport.abort()
            self._accept_failed(error)
            return
        transport.set_protocol(protocol)
        if self._debug:
            self.connections.call(transport, protocol.connection_made, transport)
        else:  # the transport's context is entered already
            protocol.connection_made(transport)

    def accept_tls(
        self,
        transport: EngineTransport,
        protocol_factory: Any,
        context: Any,
        server: Any = None,
        *timeouts: Any,
        **named: Any,
    ) -> None:
        """The same over TLS, which is asyncio's: its protocol comes when the handshake is done."""
        accepted = self._accept_connection2(
            protocol_factory, transport, {}, context, server, *timeouts, **named
        )
        self.create_task(accepted)

    def _accept_failed(self, error: BaseException) -> None:
        if self._debug:
            self.call_exception_handler(
                {
                    "message": "Error on transport creation for incoming connection",
                    "exception": error,
                }
            )

    def _stop_serving(self, sock: socket.socket) -> None:
        if self._connections is not None:
            self._connections.stop_listening(sock.fileno())
        super()._stop_serving(sock)

    def _make_socket_transport(
        self,
        sock: Any,
        protocol: Any,
        waiter: Any = None,
        *,
        extra: Any = None,
        server: Any = None,
        **named: Any,
    ) -> Any:
        if not isinstance(sock, EngineTransport):
            if sock not in self._own:
                return super()._make_socket_transport(
                    sock, protocol, waiter, extra=extra, server=server, **named
                )
            sock = self._adopt(sock)
        transport: EngineTransport = sock
        transport._known().update(extra or {})
        transport.set_protocol(protocol)
        self.call_soon(protocol.connection_made, transport, context=transport._context)
        if waiter is not None:
            self.call_soon(set_result_unless_cancelled, waiter, None)
        transport.hold()
        return transport

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        **timeouts: Any,
    ) -> Any:
        tls = sslproto.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        self._make_socket_transport(rawsock, tls, extra=extra, server=server)
        return tls._app_transport

    def _adopt(self, sock: socket.socket) -> EngineTransport:
        """Into the engine: its descriptor is free again. Raises OSError."""
        set_nodelay(sock)
        names = {"sockname": sock.getsockname(), "peername": _peername(sock)}
        family = sock.family
        try:
            transport = self.connections.adopt(sock.detach(), family)
        except C1mError as error:
            raise OSError(errno.EMFILE, str(error)) from None
        transport._known().update(names)
        return transport

    async def _connect_sock(self, *args: Any, **named: Any) -> socket.socket:
        try:
            sock: socket.socket = await super()._connect_sock(*args, **named)
        finally:
            del args, named  # they hold what is raised, whose traceback holds this frame
        if sock.type == socket.SOCK_STREAM:
            self._own.add(sock)
        return sock

    async def create_unix_connection(
        self, protocol_factory: Any, path: Any = None, *, sock: Any = None, **named: Any
    ) -> Any:
        """As asyncio's."""
        # What is wrong with the other arguments is asyncio's to say, before anything is connected.
        is_tls = bool(named.get("ssl"))
        timeouts = (named.get("ssl_handshake_timeout"), named.get("ssl_shutdown_timeout"))
        is_odd = is_tls == (named.get("server_hostname") is None) or (
            not is_tls and timeouts != (None, None)
        )
        if path is None or sock is not None or is_odd:
            return await super().create_unix_connection(protocol_factory, path, sock=sock, **named)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await self.sock_connect(sock, os.fspath(path))
            self._own.add(sock)
            return await super().create_unix_connection(protocol_factory, sock=sock, **named)
        except BaseException:
            sock.close()
            raise


def _peername(sock: socket.socket) -> Any:
    try:
        return sock.getpeername()
    except OSError:
        return None


def new_event_loop(engine: str | None = None) -> EventLoop:
    """A new EventLoop: for `asyncio.Runner(loop_factory=...)` and for whatever takes a factory."""
    return EventLoop(engine)


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """As asyncio.run, on an EventLoop. Raises RuntimeError inside a running event loop."""
    if asyncio._get_running_loop() is not None:
        if asyncio.iscoroutine(main):
            main.close()
        raise RuntimeError(
            "c1m.run() cannot be called from a running event loop. Await the coroutine instead."
        )
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
