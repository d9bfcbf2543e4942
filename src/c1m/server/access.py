"""The access log: a line for each connection that has ended.

What there is to say is taken from the ledger's columns when a connection ends, and made into lines
later, LINES_MOST in a tick, with one write: also where a million end at once, no tick is long. What
is over ROWS_MOST, and what the file does not take (a full disk), is counted and said by the log;
the server goes on.

`received` and `sent` are bytes as the server got and gave them; what was still `unsent` when we
closed is taken off `sent`. Who reset the connection may have left some unread.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from c1m import files
from c1m.addresses import Endpoint
from c1m.clock import Clock, wall_time_s
from c1m.engine.contract import Slots
from c1m.engine.names import shown, unpacked
from c1m.errors import UsageError
from c1m.guard.ledger import Ledger, Row
from c1m.server.logs import ServerLog, time_of
from c1m.server.statistics import CloseReason
from c1m.units import NS_PER_MS, NS_PER_S

LINES_MOST = 512  # that are made and written in a tick
ROWS_MOST = 1 << 20  # that wait for that
STDOUT = 1
PIPE_BUF = 4096
RETRY_NS, END_S = 10 * NS_PER_MS, 1.0  # where the reader of standard output is slow

Columns = tuple[Any, ...]  # slots, reasons, unsent, when, and a Row's: one row a connection


class AccessLog:
    """Used by the server's thread only."""

    def __init__(
        self,
        path: str,
        *,
        is_json: bool,
        ledger: Ledger,
        log: ServerLog,
        clock: Clock,
        endpoints: Sequence[Endpoint],
        later: Callable[[int, Callable[[], object]], object],
    ) -> None:
        self._path = path
        self._line = _json_line if is_json else _human_line
        self._ledger, self._log, self._clock = ledger, log, clock
        self._names = [str(endpoint) for endpoint in endpoints]
        self._later = later
        self._rows: deque[Columns] = deque()
        self._waiting = 0  # rows in these
        self.lost = 0  # lines
        self._is_failing = self._is_torn = False
        self._rest = b""  # what standard output has not taken yet
        self._fd = -1
        try:
            self._open()
        except OSError as error:  # this may be another user than the one who was asked (--user)
            raise UsageError(
                f"{path} cannot be written: {error.strerror}.",
                "Give --access-log a file that the server's user may write.",
            ) from None

    def reopen(self) -> None:
        """Go on in the file that has this name now: the one before was put aside."""
        self._close()
        with contextlib.suppress(OSError):  # the next write says why
            self._open()

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
        self._fd = STDOUT if self._path == files.STANDARD else os.open(self._path, flags, 0o640)

    def _close(self) -> None:
        if self._fd > STDOUT:
            os.close(self._fd)
        self._fd = -1

    def ended(self, slots: Slots, reasons: Sequence[int], unsent: Sequence[int]) -> None:
        """These have: why, and what was owed to them."""
        ended_ns = np.full(len(slots), self._clock.now_ns())
        self._add((slots, reasons, unsent, ended_ns, *self._ledger.columns(slots)), len(slots))

    def one_ended(self, slot: int, reason: CloseReason, unsent: int) -> None:
        """The same for one."""
        row = (slot, reason, unsent, self._clock.now_ns(), *self._ledger.last(slot))
        self._add(tuple([each] for each in row), 1)

    def _add(self, columns: Columns, count: int) -> None:
        if self._waiting + count > ROWS_MOST:
            self._lose(count, f"{ROWS_MOST:,} lines wait for it")
            return
        if not self._waiting and not self._rest:
            self._later(0, self._write_some)
        self._rows.append(columns)
        self._waiting += count

    def _write_some(self) -> None:
        """One write, and the rest in the next tick."""
        lines: list[str] = []
        while self._rows and not self._rest and len(lines) < LINES_MOST:
            block = self._rows.popleft()
            room = LINES_MOST - len(lines)
            if len(block[0]) > room:
                self._rows.appendleft(tuple(column[room:] for column in block))
                block = tuple(column[:room] for column in block)
            lines += self._made(block)
        self._waiting -= len(lines)
        if lines or self._rest:
            self._write(lines)
        if self._rows or self._rest:
            self._later(self._clock.now_ns() + RETRY_NS * bool(self._rest), self._write_some)

    def _made(self, block: Columns) -> Iterator[str]:
        now_ns, now_s = self._clock.now_ns(), wall_time_s()
        columns = [c.tolist() if isinstance(c, np.ndarray) else c for c in block]
        for slot, reason, unsent, ended_ns, *kept in zip(*columns, strict=True):
            row = Row(*kept)
            lasted_s = (ended_ns - row.opened_ns) / NS_PER_S
            opened_s = now_s - (now_ns - row.opened_ns) / NS_PER_S
            yield self._line(
                {
                    "time": time_of(opened_s + lasted_s),
                    "connection": slot,
                    "peer": shown(unpacked(row.peer)),
                    "listener": self._names[row.listener] if row.listener >= 0 else "",
                    "opened": time_of(opened_s),
                    "seconds": round(lasted_s, 3),
                    "received": row.received,
                    "sent": max(row.sent - unsent, 0),
                    "unsent": unsent,
                    "reason": CloseReason(reason).name.lower(),
                }
            )

    def _write(self, lines: list[str]) -> None:
        data, self._rest = self._rest + "".join(lines).encode(), b""
        if self._is_torn:  # half a line is there already
            data = b"\n" + data
        try:
            if self._fd < 0:
                self._open()
            if self._fd == STDOUT:
                count = _written(data)
                self._rest, data = data[count:], data[:count]
            else:
                count = os.write(self._fd, data)
        except OSError as error:
            self._lose(data.count(b"\n"), (error.strerror or str(error)).lower())
            return
        self._is_torn = count < len(data) and data[count - 1 : count] != b"\n"
        if count < len(data):
            self._lose(data[count:].count(b"\n"), "it took a part only")
        elif self._is_failing:
            self._is_failing = False
            said = f"The access log is written again; {self.lost:,} lines were lost in all."
            self._log.say("access-log-over", said, logging.WARNING, count=self.lost)

    def _lose(self, count: int, why: str) -> None:
        self.lost += count
        if not self._is_failing:
            self._is_failing = True
            said = f"The access log {self._path} takes no lines: {why}. They are counted."
            self._log.say("access-log-lost", said, logging.ERROR, reason=why)

    def end(self) -> None:
        """Write what is left."""
        while self._rows or self._rest:
            self._write_some()
            if self._rest and not _takes(END_S):
                break
        if left := self._waiting + self._rest.count(b"\n"):
            self._lose(left, "nobody reads it")
        if self.lost:
            said = f"The access log has lost {self.lost:,} lines."
            self._log.say("access-log-lost", said, logging.ERROR, count=self.lost)
        self._close()


def _written(data: bytes) -> int:
    """What standard output takes without waiting: it may block, and a pipe that poll(2) reports as
    writable has room for 4,096 bytes."""
    count = 0
    while count < len(data) and _takes():
        count += os.write(STDOUT, data[count : count + PIPE_BUF])
    return count


def _takes(timeout_s: float = 0) -> bool:
    with selectors.PollSelector() as waits:
        waits.register(STDOUT, selectors.EVENT_WRITE)
        return bool(waits.select(timeout_s))


def _json_line(fields: dict[str, Any]) -> str:
    return json.dumps(fields) + "\n"


def _human_line(fields: dict[str, Any]) -> str:
    time = fields.pop("time")
    return f"{time} {' '.join(f'{name}={value}' for name, value in fields.items())}\n"


@contextlib.contextmanager
def reopened_by_signal(server: Any) -> Iterator[None]:
    """SIGUSR1 makes the access log go on in a new file, while this lasts.

    Without effect outside the main thread: only that one gets signals.
    """
    access = server.operators.access
    if access is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGUSR1, lambda number, frame: server.call_soon(access.reopen))
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
