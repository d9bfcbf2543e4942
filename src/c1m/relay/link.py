"""The thread that speaks with the broker: an asyncio loop beside the server's own.

Between the two threads are two queues, each with one that adds and one that takes. `hand_over` adds
to what goes to the broker; the link puts what came, and what became of the connection, into
`events`, and wakes the server. Both are bounded: the server takes no more publications than
`Relay.is_busy` allows, and the link reads no further while INBOX_MAX bytes wait for the server.

A connection counts only once a probe of ours has come back by it: then publishing and hearing both
work. Each connection has a number. What the server hands over says by which it was meant to go, and
is dropped if that has ended: the server has told its publisher so, or will.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from c1m.errors import UsageError
from c1m.relay.broker import Broker
from c1m.relay.envelope import HEAD_BYTES, ITEM_BYTES, Envelope, packed, unpacked
from c1m.relay.sessions import CONNECT_S, Session, open_session, words

PROBE_S = 1.0  # without a publication
CANCEL_S = 1.0  # so long a task may take to end; then it is told again
SILENT_S = 5.0  # nothing comes back for so long: the broker is lost
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0)  # between attempts to connect
BATCH_ITEMS, BATCH_BYTES = 256, 256 << 10  # publications that go together
WINDOW_BYTES = 8 << 20  # of ours that have not come back
INBOX_MAX = 64 << 20  # bytes that the server has not taken yet
JOIN_S = 2.0


class Up(NamedTuple):
    """Connection `number` works; it takes so many bytes at a time."""

    number: int
    message_max: int


class Down(NamedTuple):
    """It has ended, or none could be made. Of ours, numbers up to `sent` may have got there."""

    why: str
    sent: int


class Came(NamedTuple):
    """Publications of any server."""

    envelope: Envelope
    size: int


class Link:
    """Connects from `start` on, again and again, until `close`."""

    def __init__(self, broker: Broker, origin: str, wake: Callable[[], None]) -> None:
        self._broker, self._origin, self._wake = broker, origin, wake
        self.events: deque[Up | Down | Came] = deque()
        self.has_news = threading.Event()  # for who waits for them
        self.foreign = 0  # messages in the channel that are no server's
        self._out: deque[tuple[int, int, bytes]] = deque()  # connection, number, publication
        self._inbox = 0  # bytes of what came; one thread adds, the other takes off
        self._taken = 0
        self._connection = 0  # its number
        self._sent = 0  # the number of the last publication that may have got to the broker
        self._flying: deque[tuple[int, int, float]] = deque()  # ours: next number, bytes, since
        self._flying_bytes = 0
        self._back_s = 0.0  # when something came back last
        self._is_idle = False
        self._is_held = False  # it waits for the server to take something
        self._is_closing = False
        self._task: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Raises UsageError where there is no thread to be had."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="c1m-relay", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as why:  # Python's word for a thread that the kernel refuses
            self._loop.close()
            raise UsageError(
                f"--relay: no thread is to be had ({why}).",
                "Raise ulimit -u (TasksMax=, pids.max).",
            ) from None

    # --- in the server's thread -----------------------------------------------------------------

    def hand_over(self, connection: int, number: int, item: bytes) -> None:
        """One more for the broker."""
        self._out.append((connection, number, item))
        if self._is_idle:
            self._call(self._more.set)

    def take(self) -> Up | Down | Came | None:
        """The next event; None: there is none."""
        if not self.events:
            return None
        event = self.events.popleft()
        if isinstance(event, Came):
            self._taken += event.size
            if self._is_held:
                self._call(self._room.set)
        return event

    def close(self) -> None:
        """End the connection. May be called twice."""
        if not self._is_closing:
            self._is_closing = True
            self._call(self._cancel)
            self._thread.join(JOIN_S)

    def _call(self, call: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(call)

    # --- in its own -----------------------------------------------------------------------------

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _main(self) -> None:
        try:
            self._loop.run_until_complete(self._begin())
        finally:
            self._loop.close()

    async def _begin(self) -> None:
        self._more, self._room, self._back = (asyncio.Event() for _ in range(3))
        self._task = asyncio.ensure_future(self._run())
        if self._is_closing:
            self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        failed = 0
        while True:
            connection = self._connection
            try:
                async with asyncio.timeout(CONNECT_S):
                    session = await open_session(self._broker)
                try:
                    await self._talk(session)
                finally:
                    await session.close()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                self._put(Down(words(error), self._sent))
            failed = 0 if self._connection > connection else failed + 1
            await asyncio.sleep(PAUSES_S[min(failed, len(PAUSES_S) - 1)])

    async def _talk(self, session: Session) -> None:
        """Until something fails."""
        self._flying.clear()
        self._flying_bytes = 0
        tasks = [
            asyncio.ensure_future(each)
            for each in (self._hear(session), self._say(session), self._watch())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for each in done:
                each.result()
        finally:
            self._is_idle = self._is_held = False
            await _end(tasks)

    async def _hear(self, session: Session) -> None:
        is_up = False
        while True:
            payload = await session.receive()
            envelope = unpacked(payload)
            if envelope is None:
                self.foreign += 1
                continue
            if envelope.origin == self._origin:
                self._came_back(envelope.first + len(envelope.items))
                if not is_up and not envelope.items:  # else it may be of the connection before
                    is_up = True
                    self._connection += 1
                    self._put(Up(self._connection, session.message_max))
            self._inbox += len(payload)
            self._put(Came(envelope, len(payload)))
            while self._inbox - self._taken > INBOX_MAX:
                self._is_held = True
                self._room.clear()
                if self._inbox - self._taken > INBOX_MAX:  # it was not taken just now
                    await self._room.wait()
                self._is_held = False
                self._back_s = self._loop.time()

    async def _say(self, session: Session) -> None:
        connection = self._connection
        await self._send(session, [])
        while self._connection == connection:
            self._back.clear()
            await self._back.wait()
        while True:
            items = self._batch(session.message_max)
            if not items:
                self._is_idle = True
                self._more.clear()
                if not self._out:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(PROBE_S):
                            await self._more.wait()
                self._is_idle = False
                items = self._batch(session.message_max)
            await self._send(session, items)

    def _batch(self, message_max: int) -> list[bytes]:
        """What is to go now, in order."""
        found: list[bytes] = []
        size = HEAD_BYTES
        most = min(BATCH_BYTES, message_max)
        while self._out and len(found) < BATCH_ITEMS:
            connection, number, item = self._out[0]
            size += ITEM_BYTES + len(item)
            if connection == self._connection:
                if found and size > most:
                    break
                assert number == self._sent + len(found) + 1, "numbers follow each other"
                found.append(item)
            self._out.popleft()
        return found

    async def _send(self, session: Session, items: list[bytes]) -> None:
        first = self._sent + 1
        payload = packed(self._origin, first, items)
        self._sent += len(items)
        self._flying.append((self._sent + 1, len(payload), self._loop.time()))
        self._flying_bytes += len(payload)
        await session.publish(payload)
        while self._flying_bytes > WINDOW_BYTES:
            self._back.clear()
            await self._back.wait()

    def _came_back(self, number: int) -> None:
        self._back_s = self._loop.time()
        while self._flying and self._flying[0][0] <= number:
            self._flying_bytes -= self._flying.popleft()[1]
        self._back.set()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            if self._flying and not self._is_held:
                since_s = max(self._flying[0][2], self._back_s)
                if self._loop.time() - since_s > SILENT_S:
                    raise TimeoutError(f"nothing has come back for {SILENT_S:.0f} s")

    def _put(self, event: Up | Down | Came) -> None:
        self.events.append(event)
        self.has_news.set()
        self._wake()


async def _end(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Cancel them until they have ended.

    Once is not enough: what a client does behind a failure may swallow it, and the task would go
    on with a connection that was made anew (seen with redis-py 8).
    """
    going: Iterable[asyncio.Future[None]] = tasks
    while going:
        for each in going:
            each.cancel()
        _, going = await asyncio.wait(going, timeout=CANCEL_S)
    await asyncio.gather(*tasks, return_exceptions=True)  # else asyncio logs what they raised
