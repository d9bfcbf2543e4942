"""Runs an unchanged asyncio.Protocol on a c1m server.

One Protocol and one Transport object a connection: that is what this interface costs (about 1 KB of
memory and a microsecond an event), and why App has batches. As with asyncio:

- callbacks come in the order connection_made, data_received*, eof_received?, connection_lost; none
  but pause_writing is called from within a call on the transport;
- pause_writing and resume_writing by watermarks, pause_reading and resume_reading;
- an exception in data_received or eof_received ends that connection, after what was written; one in
  another callback ends nothing. Both are logged (logger "c1m"), an OSError of the former at debug
  level. SystemExit and KeyboardInterrupt end the server.

Other than with asyncio there is no event loop, so asyncio.get_running_loop(), tasks and futures do
not work; BufferedProtocol and write_eof are not supported; the watermarks are the server's
(`outbox_high` and a quarter of it); abort() sends a reset; connection_lost(None) after close()
comes at the end of the tick and does not wait for the output, which still goes out. So does what
was written before an exception, of which asyncio drops what the kernel has not taken.

What is written in a tick is collected and handed to the server as one batch at its end.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from c1m.addresses import AF_INET, AF_UNIX, Endpoint
from c1m.engine.contract import Slots
from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.server.server import App, CloseBatch, DataBatch, OpenBatch, Server
from c1m.server.statistics import CloseReason

logger = logging.getLogger("c1m")

WRITE_MAX = 1 << 30  # bytes one connection may be given in one tick: lengths are int32

_AT_START = np.zeros(1, np.int64)
_TAKE_INPUT = ("data_received", "eof_received")
_ERRNOS = {  # what connection_lost is given: OSError picks the class by the errno
    CloseReason.RESET: errno.ECONNRESET,
    CloseReason.TIMED_OUT: errno.ETIMEDOUT,
    CloseReason.IDLE: errno.ETIMEDOUT,
    CloseReason.ERROR: errno.EIO,
}

Buffer = bytes | bytearray | memoryview


class ServerTransport(asyncio.Transport):
    """The transport of one connection. Used in the server's thread only."""

    __slots__ = (
        "__dict__", "__weakref__",  # as asyncio's have them: weak keys, a user's own attributes
        "_app", "_endpoint", "_error", "_has_eof", "_is_aborted", "_is_blocked", "_is_closing",
        "_is_reading", "_is_write_paused", "_kept", "_protocol", "_slot", "_written",
        "_written_bytes",
    )  # fmt: skip

    def __init__(self, app: ProtocolApp, slot: int, endpoint: Endpoint) -> None:
        super().__init__()
        self._app = app
        self._slot = slot
        self._endpoint = endpoint
        self._protocol: Any = None
        self._is_closing = False
        self._is_aborted = False
        self._error: BaseException | None = None  # why it is closing
        self._is_reading = True
        self._is_blocked = False  # the engine says: over the high watermark
        self._is_write_paused = False  # pause_writing was called
        self._written: list[bytes] = []  # in this tick
        self._written_bytes = 0
        self._kept: list[bytes] = []  # came while reading was paused
        self._has_eof = False  # so did the end of the stream

    def __repr__(self) -> str:
        state = "closing" if self._is_closing else "open"
        return f"<ServerTransport slot={self._slot} {self._endpoint} {state}>"

    # --- writing ------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send bytes in order, at the end of this tick. Ignored on a closing transport.

        Calls the protocol's pause_writing when more than `outbox_high` is written in a tick. Raises
        TypeError for what is not bytes-like, UsageError for more than 1 GiB in a tick.
        """
        if type(data) is not bytes:
            if not isinstance(data, bytes | bytearray | memoryview):
                raise TypeError(f"data must be a bytes-like object, not {type(data).__name__}")
            data = bytes(data)
        if self._is_closing or not data:
            return
        size = self._written_bytes + len(data)
        if size > WRITE_MAX:
            raise UsageError(
                f"More than {WRITE_MAX:,} bytes were written to one connection at once.",
                "Write in pieces, and stop when pause_writing is called.",
            )
        if not self._written:
            self._app._to_send.append(self)
        self._written.append(data)
        self._written_bytes = size
        if size > self._app._outbox_high:
            self._pause_writing()

    def can_write_eof(self) -> bool:
        """False: write_eof raises NotImplementedError."""
        return False

    def get_write_buffer_size(self) -> int:
        """A lower bound of the bytes unsent: what was written in this tick, and the low watermark
        while the output is over the high one.
        """
        return self._written_bytes + (self._app._outbox_high // 4 if self._is_blocked else 0)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high) in bytes: the server's, the same for all connections."""
        return self._app._outbox_high // 4, self._app._outbox_high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Has no effect: the limits are the server's (`outbox_high`).

        Raises ValueError, as asyncio does, for impossible limits.
        """
        if high is None:
            high = self._app._outbox_high if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"these are no limits: high {high!r}, low {low!r}")

    # --- reading ------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether data_received may be called."""
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """No data_received from now on; the TCP window slows the peer down."""
        if self.is_reading():
            self._is_reading = False
            self._app._server.pause(self._slot)

    def resume_reading(self) -> None:
        """Read again; what came meanwhile is delivered at the end of this tick."""
        if self._is_reading or self._is_closing:
            return
        self._is_reading = True
        self._app._server.resume(self._slot)
        if self._kept or self._has_eof:
            self._app._to_deliver.append(self)

    # --- the end ------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether close or abort was called, or the connection has ended."""
        return self._is_closing

    def close(self) -> None:
        """Close after the output. connection_lost(None) follows at the end of this tick."""
        self._end(None, abort=False)

    def abort(self) -> None:
        """Close at once with a reset, and drop the output; also after close()."""
        self._end(None, abort=True)

    def _end(self, error: BaseException | None, *, abort: bool) -> None:
        if abort:
            self._written = []
            self._is_aborted = True
        if not self._is_closing:
            self._is_closing = True
            self._error = error
            self._app._to_end.append(self)
        elif abort and self._app._closed.get(self._slot) is self:
            self._app._server.close(self._slot, abort=True)

    def _lost(self, error: BaseException | None) -> None:
        self._written = []
        self._written_bytes = 0
        self._kept = []
        if self._protocol is not None:
            self._call("connection_lost", error)

    # --- about the connection -----------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """ "sockname": the listener's address, `default` where it listens on all addresses.

        "peername", "socket" and all others: `default`, for a connection here is neither a Python
        socket nor a descriptor.
        """
        endpoint = self._endpoint
        if name != "sockname" or endpoint.host in ("0.0.0.0", "::"):
            return default
        if endpoint.family == AF_UNIX:
            return endpoint.path
        if endpoint.family == AF_INET:
            return endpoint.host, endpoint.port
        return endpoint.host, endpoint.port, 0, 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        """The protocol that is called now."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Use another protocol from now on. Raises UsageError for a BufferedProtocol."""
        _check(protocol)
        self._protocol = protocol

    # --- calls of the protocol ----------------------------------------------------------------

    def _call(self, name: str, *arguments: object) -> Any:
        try:
            return getattr(self._protocol, name)(*arguments)
        except BaseException as error:
            self._failed(name, error)
            return None

    def _failed(self, name: str, error: BaseException) -> None:
        """A callback raised; the connection ends if it is one that takes input, as with asyncio.

        SystemExit and KeyboardInterrupt end the server, as they end asyncio's loop. What was
        written until then still goes out.
        """
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._app._send()
            raise error
        ends = name in _TAKE_INPUT
        is_quiet = ends and isinstance(error, OSError)  # as if it came from the socket
        if self._protocol is not None:
            name = f"{type(self._protocol).__qualname__}.{name}"
        level = logging.DEBUG if is_quiet else logging.ERROR
        logger.log(level, "%s failed (%r).", name, self, exc_info=error)
        if ends:
            self._end(error, abort=False)

    def _deliver(self) -> None:
        """What came while reading was paused, then the end of the stream."""
        if self._kept and self.is_reading():
            kept, self._kept = self._kept, []
            self._call("data_received", b"".join(kept))
        if self._has_eof and self.is_reading():
            self._has_eof = False
            if not self._call("eof_received"):
                self.close()

    def _pause_writing(self) -> None:
        if not self._is_write_paused:
            self._is_write_paused = True
            self._call("pause_writing")

    def _resume_writing(self) -> None:
        if self._is_write_paused and not self._is_closing:
            self._is_write_paused = False
            self._call("resume_writing")


class ProtocolApp(App):
    """An application made of asyncio protocols.

    `factory()` returns the protocol of a new connection. Raises UsageError for a class that is not
    an asyncio.Protocol.
    """

    def __init__(self, factory: Callable[[], Any]) -> None:
        if isinstance(factory, type):
            _check(factory)
        elif not callable(factory):
            raise UsageError(f"{factory!r} makes no protocols.", "Give a Protocol class.")
        self._factory = factory
        self._transports: dict[int, ServerTransport] = {}
        # Closed, perhaps still sending, until the slot is given to a new connection.
        self._closed: WeakValueDictionary[int, ServerTransport] = WeakValueDictionary()
        # Work for the end of this tick:
        self._to_send: list[ServerTransport] = []
        self._to_end: list[ServerTransport] = []
        self._to_deliver: list[ServerTransport] = []
        self._unsure: list[ServerTransport] = []  # paused by one tick's writes: did they fit?
        self._server: Server
        self._outbox_high = 0

    def on_start(self, server: Server) -> None:
        self._server = server
        self._outbox_high = server.outbox_high

    def on_open(self, batch: OpenBatch, server: Server) -> None:
        endpoints = server.endpoints
        for slot, listener in zip(batch.slots.tolist(), batch.listeners.tolist(), strict=True):
            transport = ServerTransport(self, slot, endpoints[listener])
            self._transports[slot] = transport
            self._closed.pop(slot, None)
            try:
                protocol = self._factory()
                _check(protocol)
            except BaseException as error:
                transport._failed("the factory of protocols", error)
                transport.close()
                continue
            transport._protocol = protocol
            transport._call("connection_made", transport)

    def on_data(self, batch: DataBatch, server: Server) -> None:
        data, transports = batch.data, self._transports
        memory = data.memory.data
        slots, starts, lengths = batch.slots.tolist(), data.offsets.tolist(), data.lengths.tolist()
        columns = zip(slots, starts, lengths, strict=True)
        if len(set(slots)) == len(slots):
            pieces = [(slot, bytes(memory[at : at + length])) for slot, at, length in columns]
        else:  # several pieces of one connection are one call of data_received
            by_slot: dict[int, list[memoryview]] = {}
            for slot, at, length in columns:
                by_slot.setdefault(slot, []).append(memory[at : at + length])
            pieces = [(slot, b"".join(mine)) for slot, mine in by_slot.items()]
        for slot, piece in pieces:
            transport = transports.get(slot)
            if transport is None or transport._is_closing:
                continue
            if transport._kept or not transport._is_reading:
                transport._kept.append(piece)
                continue
            try:  # _call without the call, for each message
                transport._protocol.data_received(piece)
            except BaseException as error:
                transport._failed("data_received", error)

    def on_blocked(self, slots: Slots, server: Server) -> None:
        for transport in self._of(slots):
            transport._is_blocked = True
            transport._pause_writing()

    def on_drained(self, slots: Slots, server: Server) -> None:
        for transport in self._of(slots):
            transport._is_blocked = False
            transport._resume_writing()

    def on_eof(self, slots: Slots, server: Server) -> None:
        for transport in self._of(slots):
            transport._has_eof = True
            transport._deliver()

    def on_close(self, batch: CloseBatch, server: Server) -> None:
        for slot, reason in zip(batch.slots.tolist(), batch.reasons.tolist(), strict=True):
            transport = self._transports.pop(slot, None)
            if transport is not None:
                transport._is_closing = True
                code = _ERRNOS.get(reason)
                transport._lost(None if code is None else OSError(code, os.strerror(code)))

    def on_tick(self, now_ns: int, server: Server) -> int | None:
        unsure, self._unsure = self._unsure, []
        for transport in unsure:
            if not transport._is_blocked:
                transport._resume_writing()
        while self._to_deliver or self._to_send or self._to_end:
            resumed, self._to_deliver = self._to_deliver, []
            for transport in resumed:
                transport._deliver()
            self._send()
            if self._to_end:
                self._close()
        return now_ns if self._unsure else None  # do not sleep: the next wait brings the answer

    def _of(self, slots: Slots) -> list[ServerTransport]:
        found = (self._transports.get(slot) for slot in slots.tolist())
        return [t for t in found if t is not None and not t._is_closing]

    def _send(self) -> None:
        """What was written since the last time, as one batch."""
        writers, self._to_send = self._to_send, []
        slots, pieces = [], []
        for transport in writers:
            written = transport._written
            if not written:  # lost or aborted meanwhile
                continue
            slots.append(transport._slot)
            pieces.append(written[0] if len(written) == 1 else b"".join(written))
            transport._written = []
            transport._written_bytes = 0
            if transport._is_write_paused and not transport._is_blocked:
                self._unsure.append(transport)
        if slots:
            self._server.engine.send(np.array(slots, np.int32), _ragged(pieces))

    def _close(self) -> None:
        """Close what the protocols wanted closed, and call their connection_lost."""
        ending, self._to_end = self._to_end, []
        for abort in (False, True):
            slots = [t._slot for t in ending if t._is_aborted == abort]
            if slots:
                self._server.close(np.array(slots, np.int32), abort=abort)
        for transport in ending:
            self._transports.pop(transport._slot, None)
            self._closed[transport._slot] = transport
            transport._lost(transport._error)


def _check(protocol: Any) -> None:
    """Raise UsageError for a protocol, or a class of protocols, that cannot be run."""
    kind = protocol if isinstance(protocol, type) else type(protocol)
    if issubclass(kind, asyncio.BufferedProtocol) or not hasattr(kind, "data_received"):
        what = "a BufferedProtocol" if hasattr(kind, "get_buffer") else "no asyncio.Protocol"
        raise UsageError(
            f"{kind.__name__} is {what}; a c1m server runs protocols that have data_received.",
            "Derive from asyncio.Protocol, or write a c1m.App.",
        )


def _ragged(pieces: list[bytes]) -> Ragged:
    """As Ragged.of; for a single piece, as a quiet server sends it, 3 us faster."""
    if len(pieces) > 1:
        return Ragged.of(pieces)
    memory = np.frombuffer(pieces[0], np.uint8)
    lengths = np.array([len(memory)], np.int32)
    return Ragged(memory, _AT_START, lengths, memory.ctypes.data)
