"""The connections of an event loop: what the engine brings goes to transports, and back.

One iteration of asyncio's loop runs the callbacks that are ready, waits, and runs what that
brought. Where nothing was ready, what the engine brings is first in line, so it is worked through
at once, and the loop waits again without leaving `select`. Else it goes behind what is ready, as
one callback. In debug mode each event is a callback of its own, so that the loop can name slow
ones.

The data of a large batch has its turn in groups, and what one group has made ready (tasks above
all) comes before the next: as if the kernel had reported no more at a time. A thousand tasks that
live at once are a thousand survivors for the garbage collector to look at again and again, and
none is in the cache when its turn comes (uvicorn with 1,000 connections: 15 % of all time).
"""

from __future__ import annotations

import contextvars
import errno
import os
from asyncio import events
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from c1m.addresses import Endpoint, ListeningSocket
from c1m.aio.private import format_callback
from c1m.aio.transport import HIGH, PIECE_MAX, EngineTransport
from c1m.clock import SystemClock
from c1m.engine.contract import NOTHING, Engine, EventBatch, Pieces, Slots
from c1m.engine.ragged import Ragged
from c1m.guard.reasons import BY_CODE
from c1m.loop import Int32s
from c1m.results.ramp import RampTimes
from c1m.server.statistics import CloseReason, ServerStatistics, reason_of

NS = 1_000_000_000
GROUP = 64  # pieces of a large batch that have their turn in one iteration
WRITTEN_MAX = 256  # pieces that are handed over before a large batch is through


@dataclass(slots=True, eq=False)
class Listening:
    """What is listened on, and what becomes of its connections."""

    place: Endpoint | ListeningSocket
    accept: Callable[[EngineTransport], None]
    server: Any
    context: contextvars.Context


class Connections:
    """Owns the engine until `close`."""

    def __init__(self, loop: Any, engine: Engine, high: int = HIGH, backlog: int = 0) -> None:
        self.loop = loop
        self.engine = engine
        self.high = high  # what the engine was made with as `outbox_high`
        self._backlog = backlog  # of endpoints; a socket has its own
        engine.reports_ends = True
        self.statistics = ServerStatistics()
        self._clock = SystemClock()
        self.ramp = RampTimes(self._clock.now_ns())  # of connections that were accepted
        self.to_close: list[EngineTransport] = []
        self.to_drop: list[EngineTransport] = []
        self.access: Any = None  # the access log of a server that has one
        self._transports: dict[int, EngineTransport] = {}
        self._listening: list[Listening] = []
        self._heard_on = self._listening  # what the last batch's listeners are places in
        # What was written in this iteration, by slot; a list where it was more than one piece.
        # Always the same dict: transports put the first small piece there themselves.
        self.written: dict[int, bytes | list[bytes]] = {}
        self._has_lists = False
        self._bytes = 0
        self._interrupt: BaseException | None = None
        self._has_ended = False
        self._is_waiting = False  # a batch waits for its turn behind what was ready
        self._pieces: Pieces = []  # its data
        self._rest: Iterator[tuple[int, bytes]] | None = None  # of that, for the next iteration
        self._batch = NOTHING  # the last that came
        self._turn = events.Handle(self._dispatch, (), loop, contextvars.Context())

    # --- what transports ask for ----------------------------------------------------------------

    def send(self, transport: EngineTransport, slot: int, data: bytes) -> None:
        """Queue bytes for the end of this iteration."""
        written = self.written
        if slot not in written:
            written[slot] = data
        else:
            before = written[slot]
            if type(before) is list:
                before.append(data)
            else:
                self._has_lists = True
                written[slot] = [before, data]  # type: ignore[list-item]
        self._bytes += len(data)
        if self._bytes > self.high or transport._is_strict:
            transport._maybe_pause_protocol()
            code = self.engine.failure(slot)
            if code:  # who writes in a loop that does not wait must learn it now
                error = OSError(code, os.strerror(code))
                transport._fatal_error(error, "Fatal write error on socket transport")

    def limit_output(self, slot: int, low: int, high: int) -> None:
        """Other watermarks, in bytes."""
        self.engine.limit_output(slot, low, high)

    def unsent(self, slot: int) -> int:
        """Bytes of the slot that the kernel has not taken: it is asked now."""
        self._send()
        self.engine.flush()
        return self.engine.unsent(slot)

    def receive(self, slot: int, on: bool) -> None:
        """Turn receiving off or on."""
        self.engine.receive(np.array([slot], np.int32), on)

    def end_output(self, slot: int) -> None:
        """A FIN behind what was written."""
        self._send()
        self.engine.end_output(slot)

    def close_later(self, transport: EngineTransport) -> None:
        """It is to be closed when its protocol may write again, however long that takes."""

    def descriptor(self, slot: int) -> int:
        """A new descriptor; raises OSError."""
        if slot < 0 or self._has_ended:
            raise OSError(errno.EBADF, "This connection has ended.")
        return self.engine.descriptor(slot)

    def end(self, transport: EngineTransport) -> None:
        """connection_lost in the iteration after close or abort, where nothing is unsent.

        So does asyncio, and who closes and waits for one iteration relies on it. The engine reports
        the end later, and is not listened to.
        """
        slot = transport._slot
        if slot < 0:
            return  # it was reported meanwhile
        if transport in self.to_drop:
            self._hand_over()  # what was written before goes out as far as the kernel takes it
        elif not transport._conn_lost:
            if transport in self.to_close:  # what is ready comes before the next wait
                self.flush()
            if self.engine.unsent(slot):
                return
        del self._transports[slot]
        self._count_end(slot, transport.ends_as)
        transport._call_connection_lost(transport._error)

    # --- connections begin ----------------------------------------------------------------------

    def listen(self, *further: Listening) -> list[Endpoint]:
        """Listen on these, too: their endpoints, ports chosen. Raises UsageError as the engine."""
        return self._listen_on([*self._listening, *further])[-len(further) :]

    def stop_listening(self, fd: int) -> None:
        """Accept no more from this socket, which may be none of ours."""
        rest = [each for each in self._listening if getattr(each.place, "fd", None) != fd]
        if len(rest) < len(self._listening):
            self._listen_on(rest)

    def stop_accepting(self) -> None:
        """Listen on nothing."""
        self._listen_on([])

    def _listen_on(self, wanted: list[Listening]) -> list[Endpoint]:
        bound = self.engine.listen([each.place for each in wanted], self._backlog)
        for each, endpoint in zip(wanted, bound, strict=True):
            if isinstance(each.place, Endpoint):
                each.place = endpoint  # by which it is known from now on
        self._listening = wanted
        return bound

    def transports(self) -> list[EngineTransport]:
        """All that have not ended, also those that are closing."""
        return list(self._transports.values())

    def adopt(self, fd: int, family: int) -> EngineTransport:
        """A transport, still without a protocol, for a socket that is connected."""
        slot = self.engine.adopt(fd)
        return self._add(slot, family, b"", contextvars.copy_context(), None)

    def _add(
        self, slot: int, family: int, peer: bytes, context: contextvars.Context, server: Any
    ) -> EngineTransport:
        transport = EngineTransport(self, slot, family, peer, context, server)
        self._transports[slot] = transport
        self.statistics.opened += 1
        self.statistics.live += 1
        self.statistics.peak = max(self.statistics.peak, self.statistics.live)
        return transport

    # --- an iteration ---------------------------------------------------------------------------

    def select(self, timeout: float | None) -> bool:
        """Wait, and work through what came; whether the descriptor that is watched is readable."""
        if self._is_waiting:  # an exception has ended the iteration before its turn came
            return False
        loop, engine = self.loop, self.engine
        if self._rest is not None:
            if len(self.written) >= WRITTEN_MAX:
                self._hand_over()
            self._has_turn()
            return engine.watched_is_ready
        if timeout is not None and timeout <= 0:
            self._hand_over()
            self._heard_on = self._listening
            self._batch = batch = engine.wait(0, self._pieces)
            if self._pieces or batch.is_plain or len(batch):
                self._has_turn()
            return engine.watched_is_ready
        left_ns = -1 if timeout is None else int(timeout * NS) + 1
        while True:
            if self.written:
                self._send()
            if self.to_close or self.to_drop:
                self._hand_over()
            self._heard_on = self._listening
            batch = engine.wait(left_ns, self._pieces)
            if batch is not NOTHING or len(self._pieces) > GROUP:
                self._work_through(batch)
            elif self._pieces:
                pieces, self._pieces = self._pieces, []
                self._take_each(pieces)
            if self._interrupt is not None:
                self._raise()
            if engine.watched_is_ready:
                return True
            if loop._ready or loop._stopping:
                return False
            if loop._scheduled:
                left_ns = int((loop._scheduled[0]._when - loop.time()) * NS) + 1
                if left_ns <= 1:
                    return False
            else:
                left_ns = -1

    def _has_turn(self) -> None:
        """What has come goes behind what is ready."""
        self._is_waiting = True
        self.loop._ready.append(self._turn)

    def _dispatch(self) -> None:
        self._is_waiting = False
        if self._rest is None:
            self._work_through(self._batch)
        else:
            self._go_on()
            if self._rest is None and not self._batch.is_plain:
                self._finish(self._batch)
        if self._interrupt is not None:
            self._raise()

    def _work_through(self, batch: EventBatch) -> None:
        """In this order: what has gone, what is new, data, and what comes behind data."""
        self._batch = batch
        is_mixed = batch is not NOTHING and not batch.is_plain
        if is_mixed:
            if len(batch.ended):
                self._ended(batch.ended, batch.ended_errnos)
            if len(batch.opened):
                self._opened(batch.opened, batch.opened_listeners)
        pieces = self._pieces
        if len(batch.data_slots):
            pieces += _pieces_of(batch.data_slots, batch.data)
        if pieces:
            self._pieces = []
            if len(pieces) <= GROUP or self.loop._debug:
                self._take_each(pieces)
            else:
                self._rest = iter(pieces)
                self._go_on()
        if is_mixed and self._rest is None:
            if pieces and self.loop._ready and (len(batch.eof) or len(batch.closed)):
                self._rest = iter(())  # what the data has made ready goes first, as in asyncio
            else:
                self._finish(batch)

    def _finish(self, batch: EventBatch) -> None:
        """The part of a batch that comes behind its data."""
        if len(batch.blocked):
            self._blocked(batch.blocked)
        if len(batch.drained):
            self._drained(batch.drained)
        if len(batch.eof):
            self._eof(batch.eof)
        if len(batch.closed):
            self._lost(batch.closed, batch.closed_errnos)

    def _raise(self) -> None:
        error, self._interrupt = self._interrupt, None
        assert error is not None
        raise error

    def _hand_over(self) -> None:
        """Everything that was asked for in this iteration."""
        if self.written:
            self._send()
        if self.to_close:
            self._close()
        if self.to_drop:
            self._drop()

    def _send(self) -> None:
        written = self.written
        if self._has_lists:
            self._has_lists = False
            for slot, piece in written.items():
                if type(piece) is list:
                    written[slot] = b"".join(piece)
        self._bytes = 0
        try:
            self.engine.send_each(written, written.values())  # type: ignore[arg-type]
        finally:
            written.clear()

    def _close(self) -> None:
        closing, self.to_close = self.to_close, []
        self.engine.close(_slots_of(closing))

    def _drop(self) -> None:
        self._send()
        self.engine.flush()  # what is dropped is what the kernel does not take
        dropping, self.to_drop = self.to_drop, []
        self.engine.close(_slots_of(dropping), drop=True)

    def flush(self) -> None:
        """The loop stops for now: what was written goes out nevertheless."""
        self._hand_over()
        self.engine.flush()

    def close(self) -> None:
        """End all that is left."""
        self._hand_over()
        self._has_ended = True
        for slot in self._transports:
            self._count_end(slot, CloseReason.DRAIN)
        self.engine.shutdown()
        for transport in self._transports.values():
            transport._close_descriptor()
        self._listening.clear()
        self._transports.clear()

    # --- what the engine brings -----------------------------------------------------------------

    def call(self, transport: EngineTransport, callback: Callable[..., object], *args: Any) -> None:
        """Call as asyncio's loop would, with its reports of what is raised."""
        if self.loop._debug:
            handle = events.Handle(callback, args, self.loop, transport._context)
            self.loop._ready.append(handle)
            return
        self._run(transport, callback, *args)

    def _run(self, transport: EngineTransport, callback: Callable[..., object], *args: Any) -> None:
        """The same at once, in debug mode too."""
        try:
            transport._context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt) as error:
            self._interrupt = self._interrupt or error
        except BaseException as error:
            self._report(transport, callback, args, error)

    def _report(
        self, transport: EngineTransport, callback: Any, args: tuple[Any, ...], error: BaseException
    ) -> None:
        """What asyncio's Handle says of a callback that has raised."""
        self.loop.call_exception_handler(
            {
                "message": f"Exception in callback {format_callback(callback, args)}",
                "exception": error,
                "handle": events.Handle(callback, args, self.loop, transport._context),
            }
        )

    def _opened(self, slots: Slots, listeners: Int32s) -> None:
        self.ramp.add(len(slots), self._clock.now_ns())
        heard_on = self._heard_on
        for index in set(listeners.tolist()):
            mine = slots[listeners == index]
            if index >= 0 and heard_on is not self._listening:  # changed before this had its turn
                index = index if heard_on[index] in self._listening else -1
            if index < 0:  # its listener is closed already
                self.engine.close(mine, drop=True)
            else:
                self._accepted(mine, heard_on[index])

    def _accepted(self, slots: Slots, listening: Listening) -> None:
        family, accept = listening.place.family, listening.accept
        peers, known = self.engine.peers(slots, family), self._listening
        for at, (slot, peer) in enumerate(zip(slots.tolist(), peers, strict=True)):
            if self._listening is not known and listening not in self._listening:
                self.engine.close(slots[at:], drop=True)  # the one before has closed the server
                return
            context = listening.context.copy()
            transport = self._add(slot, family, peer, context, listening.server)
            self._run(transport, accept, transport)

    def _go_on(self) -> None:
        """As many groups of pieces as come before anything else is ready."""
        assert self._rest is not None
        loop = self.loop
        while group := list(islice(self._rest, GROUP)):
            self._take_each(group)
            if loop._ready or loop._stopping or self._interrupt is not None:
                return
        self._rest = None

    def _take_each(self, pieces: Pieces) -> None:
        """Data has come.

        It is not written back piece by piece: the kernel's code of receiving, Python's, and the
        kernel's code of sending do not fit into a core's first cache together (measured: an eighth
        of an echo's time with 64 connections, a quarter with 1,000).
        """
        transport_of, is_debug = self._transports.get, self.loop._debug
        for slot, piece in pieces:
            transport = transport_of(slot)
            if transport is None:
                continue
            if is_debug or not transport._is_plain:
                self.call(transport, transport._keep_or_take, piece)
                continue
            try:  # `call` without the call
                transport._context.run(transport._protocol.data_received, piece)
            except BaseException as error:
                self._not_taken(transport, error)
        self.statistics.messages += len(pieces)

    def _not_taken(self, transport: EngineTransport, error: BaseException) -> None:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            self._interrupt = self._interrupt or error
        else:
            transport._fatal_error(error, "Fatal error: protocol.data_received() call failed.")

    def _blocked(self, slots: Slots) -> None:
        for transport in self._of(slots):
            self.call(transport, transport._maybe_pause_protocol)

    def _drained(self, slots: Slots) -> None:
        for transport in self._of(slots):
            self.call(transport, self._fell, transport)

    def _fell(self, transport: EngineTransport) -> None:
        """Its output is down to the low watermark, or was when the engine noticed."""
        transport._maybe_resume_protocol()
        if transport._protocol_paused and transport._slot >= 0:  # more was written since
            slot, low = transport._slot, transport._low_water
            self.engine.limit_output(slot, low, low)  # over it: so this is said once more
            self.engine.limit_output(slot, low, transport._high_water)

    def _eof(self, slots: Slots) -> None:
        for transport in self._of(slots):
            if not transport._closing:
                transport.ends_as = CloseReason.PEER_EOF
            self.call(transport, transport._eof_came)

    def _of(self, slots: Slots) -> list[EngineTransport]:
        found = (self._transports.get(slot) for slot in slots.tolist())
        return [transport for transport in found if transport is not None]

    def _ended(self, slots: Slots, errnos: Int32s) -> None:
        for slot, code in zip(slots.tolist(), errnos.tolist(), strict=True):
            self._end(slot, code, CloseReason.NOT_READ if code == errno.ETIMEDOUT else None)

    def _lost(self, slots: Slots, errnos: Int32s) -> None:
        for slot, code in zip(slots.tolist(), errnos.tolist(), strict=True):
            self._end(slot, code, reason_of(code))

    def _end(self, slot: int, code: int, reason: CloseReason | None) -> None:
        transport = self._transports.pop(slot, None)
        if transport is None:
            return
        self._count_end(slot, reason or transport.ends_as)
        error = transport._error
        if code and error is None:
            error = _error_of(code)
        transport.release()
        transport._slot, transport._is_writable = -1, False  # there is nowhere to write to
        self.call(transport, transport._call_connection_lost, error)

    def _count_end(self, slot: int, reason: CloseReason) -> None:
        if self.access is not None:
            self.access.one_ended(slot, reason, self.engine.unsent(slot))
        self.statistics.closed[reason] += 1
        self.statistics.live -= 1


def _pieces_of(slots: Slots, data: Ragged) -> Pieces:
    """A batch's data as Python's objects; what came for one connection as one."""
    memory, those = data.memory.data, slots.tolist()
    columns = zip(those, data.offsets.tolist(), data.lengths.tolist(), strict=True)
    if len(set(those)) == len(those):
        return [(slot, bytes(memory[at : at + length])) for slot, at, length in columns]
    by_slot: dict[int, list[memoryview]] = {}
    for slot, at, length in columns:
        by_slot.setdefault(slot, []).append(memory[at : at + length])
    pieces = []
    for slot, mine in by_slot.items():
        whole = b"".join(mine)
        pieces += [(slot, whole[at : at + PIECE_MAX]) for at in range(0, len(whole), PIECE_MAX)]
    return pieces


def _error_of(code: int) -> OSError:
    """What a protocol is told of the end of its connection: of a limit, in the limit's words."""
    if code not in BY_CODE:
        return OSError(code, os.strerror(code))
    return OSError(errno.ECONNABORTED, f"The server has closed it: {BY_CODE[code].words}.")


def _slots_of(transports: list[EngineTransport]) -> Slots:
    return np.array([each._slot for each in transports if each._slot >= 0], np.int32)
