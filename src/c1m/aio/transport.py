"""The transport of one connection of an engine, with the behaviour of asyncio's own.

What is written in an iteration of the loop is collected and handed to the engine as one batch
before the loop waits. What asyncio would have learnt at once from the kernel is learnt then, or
where it is asked for: `get_write_buffer_size`, and a write that may pass the high watermark, hand
over what is there.
"""

from __future__ import annotations

import contextvars
import errno
import os
import warnings
from asyncio import BaseProtocol, BufferedProtocol, Transport, constants
from asyncio.log import logger
from typing import Any, Protocol

from c1m.aio import private
from c1m.aio.private import SENDFILE_FALLBACK, FlowControl
from c1m.aio.sockets import EngineSocket, address_of
from c1m.server.statistics import CloseReason

HIGH = 64 * 1024  # bytes: asyncio's own high watermark; the low one is a quarter
SMALL = 4096  # bytes: one piece of so much a connection and iteration is not weighed
PIECE_MAX = 256 * 1024  # bytes given to a protocol at once, as asyncio's: it may pause in between
Buffer = bytes | bytearray | memoryview


class Streams(Protocol):
    """What a transport asks of those who hold the engine; a slot is its connection's number."""

    loop: Any
    written: dict[int, Any]
    high: int  # bytes: the high watermark where the transport has none of its own
    to_close: list[EngineTransport]
    to_drop: list[EngineTransport]

    def send(self, transport: EngineTransport, slot: int, data: bytes) -> None:
        """Queue bytes for the end of this iteration."""

    def unsent(self, slot: int) -> int:
        """Bytes of the slot that the kernel has not taken: it is asked now."""

    def limit_output(self, slot: int, low: int, high: int) -> None:
        """Other watermarks, in bytes."""

    def end_output(self, slot: int) -> None:
        """A FIN behind what was written."""

    def receive(self, slot: int, on: bool) -> None:
        """Turn receiving off or on."""

    def descriptor(self, slot: int) -> int:
        """A new descriptor; raises OSError."""

    def close_later(self, transport: EngineTransport) -> None:
        """It is to be closed when its protocol may write again."""

    def end(self, transport: EngineTransport) -> None:
        """connection_lost in the iteration after close or abort, where nothing is unsent."""


class EngineTransport(FlowControl, Transport):  # type: ignore[misc]
    """A stream over TCP or a unix socket. Used in the loop's thread only."""

    __slots__ = (
        "__dict__", "__weakref__",
        "_closing", "_context", "_family", "_is_buffered", "_is_plain", "_is_writable", "_paused",
        "_peer", "_protocol", "_server", "_slot", "_streams",
        "_written",
    )  # fmt: skip
    # What most connections never have costs them nothing.
    ends_as = CloseReason.LOCAL  # unless an error ends it
    _conn_lost = 0
    _error: BaseException | None = None
    _fd = -1  # made for who has asked for one
    _held = False  # who awaits this connection has not been told of it
    _has_eof = False  # the end of the stream came while it could not be delivered
    _is_close_put_off = False  # until who was told to wait may write again
    _is_strict = False  # each write looks at the watermarks at once
    _kept = b""  # came while it could not be delivered
    _lost_writes = 0  # to a transport that takes none
    _wrote_eof = False

    _start_tls_compatible = True
    _sendfile_compatible = SENDFILE_FALLBACK

    def __init__(
        self,
        streams: Streams,
        slot: int,
        family: int,
        peer: bytes,
        context: contextvars.Context,
        server: Any = None,
    ) -> None:
        self._extra: dict[str, Any] | None = None  # made when it is first needed
        self._loop = streams.loop
        self._protocol_paused = False
        self._high_water, self._low_water = streams.high, streams.high // 4
        self._streams = streams
        self._written = streams.written
        self._slot = slot
        self._family = family
        self._peer = peer
        self._context = context  # in which all callbacks are called
        self._server = server
        self._protocol: Any = None
        self._is_buffered = False
        self._is_plain = False  # data goes to data_received as it comes
        self._is_writable = True
        self._closing = False
        self._paused = False
        if server is not None:
            private.attach(server, self)

    def __repr__(self) -> str:
        state = "closed" if self._slot < 0 else "closing" if self._closing else "open"
        names = f" {self._sockname()!r} <- {self._peername()!r}" if self._slot >= 0 else ""
        return f"<{type(self).__name__} slot={self._slot} {state}{names}>"

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if self._slot >= 0:
            _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)

    # --- about the connection -------------------------------------------------------------------

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As asyncio's: "peername", "sockname" and "socket" (an EngineSocket) among others."""
        if name == "peername":
            return self._peername()
        if name == "sockname":
            return self._sockname()
        known = self._known()
        if name == "socket" and name not in known:
            known[name] = self._socket()
        return known.get(name, default)

    def _known(self) -> dict[str, Any]:
        if self._extra is None:
            self._extra = {}
        return self._extra

    def _peername(self) -> Any:
        known = self._known()
        if "peername" not in known:
            known["peername"] = address_of(self._family, self._peer)
        return known["peername"]

    def _sockname(self) -> Any:
        known = self._known()
        if "sockname" not in known:
            try:
                real = self._socket().dup()
            except OSError:  # the connection has ended
                return None
            with real:
                known["sockname"] = real.getsockname()
        return known["sockname"]

    def _socket(self) -> EngineSocket:
        return EngineSocket(
            self._family, self._descriptor, self._fileno, self._sockname, self._peername
        )

    def _descriptor(self) -> int:
        return self._streams.descriptor(self._slot)

    def _fileno(self) -> int:
        if self._slot >= 0 and self._fd < 0:
            try:
                self._fd = self._descriptor()
            except OSError as error:
                if error.errno != errno.EBADF:
                    raise
                return -1  # it is closed, and connection_lost is still to come
            private.claim(self._loop, self._fd, self)
        return self._fd if self._slot >= 0 else -1

    def _close_descriptor(self) -> None:
        """What `fileno` has made, if anything: the peer sees the end when it is closed, too."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            private.disclaim(self._loop, fd)
            os.close(fd)

    def get_protocol(self) -> BaseProtocol:
        """The protocol that is called now."""
        protocol: BaseProtocol = self._protocol
        return protocol

    def set_protocol(self, protocol: BaseProtocol) -> None:
        """Call another protocol from now on."""
        self._protocol = protocol
        self._is_buffered = isinstance(protocol, BufferedProtocol)
        self._look()

    def _look(self) -> None:
        """Whether data goes the short way."""
        self._is_plain = not (
            self._closing or self._paused or self._is_buffered or self._kept or self._held
            or self._protocol is None
        )  # fmt: skip

    # --- reading --------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether data may be delivered."""
        return not self._closing and not self._paused

    def pause_reading(self) -> None:
        """Deliver nothing from now on; the TCP window slows the peer down."""
        if self.is_reading():
            self._paused = True
            self._is_plain = False
            self._streams.receive(self._slot, False)

    def resume_reading(self) -> None:
        """Deliver again, first what came meanwhile."""
        if self._closing or not self._paused:
            return
        self._paused = False
        self._streams.receive(self._slot, True)
        self._look()
        if self._kept or self._has_eof:
            self._loop.call_soon(self._deliver, context=self._context)

    def _keep_or_take(self, piece: bytes | memoryview) -> None:
        """Data of a connection that is not plain."""
        if self._closing:
            return
        if self._kept or self._paused or self._held or self._protocol is None:
            self._kept += piece
        else:
            self._hand(piece)

    def _hand(self, piece: bytes | memoryview) -> None:
        if self._is_buffered:
            self._fill(memoryview(piece))
        else:
            self._data_received(bytes(piece))

    def hold(self) -> None:
        """Keep what comes until the next iteration but one.

        As in asyncio: who awaits a connection has it before the first data is delivered.
        """
        self._held = True
        self._is_plain = False
        self._loop.call_soon(self._loop.call_soon, self.release)

    def release(self) -> None:
        """Deliver from now on."""
        if self._held:
            self._held = False
            self._look()
            if self._kept or self._has_eof:
                self._context.run(self._deliver)

    def _deliver(self) -> None:
        """What was kept, then the end of the stream."""
        if self._held:
            return
        while self._kept and self.is_reading():
            piece, self._kept = self._kept[:PIECE_MAX], self._kept[PIECE_MAX:]
            self._hand(piece)
        self._look()
        if self._has_eof and not self._kept and self.is_reading():
            self._has_eof = False
            self._end_of_input()

    def _data_received(self, data: bytes) -> None:
        try:
            self._protocol.data_received(data)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    def _fill(self, data: memoryview) -> None:
        """Into the buffers of a BufferedProtocol, as long as it takes them."""
        protocol = self._protocol
        while len(data):
            step = "get_buffer"
            try:
                buffer = protocol.get_buffer(-1)
                if not len(buffer):
                    raise RuntimeError("get_buffer() returned an empty buffer")
                view = memoryview(buffer).cast("B")
                count = min(len(view), len(data))
                view[:count] = data[:count]
                data = data[count:]
                step = "buffer_updated"
                protocol.buffer_updated(count)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self._fatal_error(error, f"Fatal error: protocol.{step}() call failed.")
                return
            if self._closing:
                return
            if len(data) and (self._paused or protocol is not self._protocol):
                self._kept = bytes(data) + self._kept
                self._is_plain = False  # set_protocol did not know of it
                if not self._paused:
                    self._loop.call_soon(self._deliver, context=self._context)
                return

    def _eof_came(self) -> None:
        if self._closing:
            return
        if self._kept or self._paused or self._held or self._protocol is None:
            self._has_eof = True
        else:
            self._end_of_input()

    def _end_of_input(self) -> None:
        if self._loop.get_debug():
            logger.debug("%r received EOF", self)
        try:
            keep_open = self._protocol.eof_received()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.eof_received() call failed.")
            return
        if not keep_open:
            self.close()

    # --- writing --------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        """Send bytes in order. Ignored on a transport that is closing."""
        if type(data) is not bytes or not self._is_writable:
            if not self._may_write(data):
                return
            data = bytes(data)
        if self._slot in self._written or len(data) > SMALL or self._is_strict:
            self._streams.send(self, self._slot, data)
        elif data:  # `send` without the call, for most messages
            self._written[self._slot] = data

    def _may_write(self, data: Any) -> bool:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(
                f"data argument must be a bytes-like object, not {type(data).__name__!r}"
            )
        if self._wrote_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_writable:
            return True
        if len(data):
            self._lost_writes += 1
            if self._lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("socket.send() raised exception.")
        return False

    def can_write_eof(self) -> bool:
        """True."""
        return True

    def write_eof(self) -> None:
        """Half-close: a FIN behind what was written."""
        if self._closing or self._wrote_eof:
            return
        self._wrote_eof = True
        self._is_writable = False
        self._streams.end_output(self._slot)

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken yet, also while closing."""
        if self._slot < 0 or self._conn_lost:  # what was left at an abort is dropped
            return 0
        return self._streams.unsent(self._slot)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When to call pause_writing and resume_writing; ValueError as asyncio raises it."""
        super().set_write_buffer_limits(high, low)
        if self._slot >= 0:
            self._is_strict = self._high_water < self._streams.high
            self._streams.limit_output(self._slot, self._low_water, self._high_water)

    def _maybe_resume_protocol(self) -> None:
        if self._protocol_paused and not self._conn_lost:
            super()._maybe_resume_protocol()
            # What was held back may be written behind close(), too: TLS does so.
            if self._is_close_put_off and not self._protocol_paused and not self._conn_lost:
                self._close_behind_output()

    # --- the end --------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        """Whether close or abort was called, or the connection has ended."""
        return self._closing

    def close(self) -> None:
        """Close after the output; then connection_lost(None) is called."""
        if not self._closing:
            self._closing = True
            self._is_plain = False
            self._is_close_put_off = self._protocol_paused
            if not self._protocol_paused:
                self._close_behind_output()
            else:
                self._streams.close_later(self)

    def _close_behind_output(self) -> None:
        self._is_close_put_off = False
        self._is_writable = False
        self._streams.to_close.append(self)
        self._loop.call_soon(self._streams.end, self, context=self._context)

    def abort(self) -> None:
        """Close at once and drop what the kernel has not taken; also after close()."""
        self._force_close(None)

    def _fatal_error(self, error: BaseException, message: str) -> None:
        if isinstance(error, OSError):
            if self._loop.get_debug():
                logger.debug("%r: %s", self, message, exc_info=True)
        else:
            self._loop.call_exception_handler(
                {
                    "message": message,
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
        self._force_close(error)

    def _force_close(self, error: BaseException | None) -> None:
        if self._conn_lost or self._slot < 0:
            return
        if self._closing and not self._streams.unsent(self._slot):
            return  # close() has ended it, and nothing is left to be dropped
        self._conn_lost = 1
        self._closing = True
        self._is_plain = False
        self._is_writable = False
        self._error = error
        self._kept = b""
        self._streams.to_drop.append(self)
        self._loop.call_soon(self._streams.end, self, context=self._context)

    def _call_connection_lost(self, error: BaseException | None) -> None:
        """The slot is no longer ours."""
        if error is None:
            self._maybe_resume_protocol()  # the output has gone
        self._slot = -1
        self._closing = True
        self._is_plain = False
        self._is_writable = False
        self._conn_lost += 1
        self._kept = b""
        try:
            if self._protocol is not None:
                self._protocol.connection_lost(error)
        finally:
            self._close_descriptor()
            self._protocol = self._error = None  # no cycle is left: its traceback holds us
            if self._extra is not None and "socket" in self._extra:
                self._extra["socket"].forget()
            server, self._server = self._server, None
            if server is not None:
                private.detach(server, self)
