"""What an engine has told, kept by connection, and the rules that hold for every batch.

A `Conn` is one connection from its opening to its end: a slot that is used again is another Conn.
`Log.add` raises AssertionError when a batch breaks the contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from c1m.engine.contract import EventBatch


@dataclass(eq=False)
class Conn:
    """One connection as the engine's caller sees it."""

    slot: int
    listener: int = -1  # index; -1: we connected
    data: bytearray = field(default_factory=bytearray)
    pieces: int = 0
    is_secured: bool = False
    is_eof: bool = False
    blocked: int = 0  # how often
    drained: int = 0
    errno: int | None = None  # of `closed`
    ended: int | None = None  # errno of `ended`
    is_closed_by_us: bool = False

    @property
    def slots(self) -> np.ndarray:
        """The slot as the engine takes it."""
        return np.array([self.slot], np.int32)


class Log:
    """All that came: `conns` in the order they opened, `at` the live ones by slot."""

    def __init__(self) -> None:
        self.conns: list[Conn] = []
        self.at: dict[int, Conn] = {}
        self.connecting: set[int] = set()
        self.failed: list[tuple[int, int]] = []
        self.expired: list[int] = []
        self.reports_ends = False  # the engine has been asked to
        self.ending: dict[int, Conn] = {}  # closed by the caller, and their end is to be reported
        self.received_bytes = 0
        self.batches = 0

    def live(self) -> list[Conn]:
        """The connections that are open for the caller, oldest first."""
        return [conn for conn in self.conns if self.at.get(conn.slot) is conn]

    def forget(self, slot: int, *, abort: bool = False) -> None:
        """The caller has closed the slot: nothing about it may follow but its end."""
        if slot in self.connecting:
            self.connecting.remove(slot)
            return
        conn = self.at.pop(slot)
        conn.is_closed_by_us = True
        if self.reports_ends and not abort:
            assert slot not in self.ending
            self.ending[slot] = conn

    def adopted(self, slot: int) -> Conn:
        """A connection that the caller has brought."""
        self._open(Conn(slot))
        return self.conns[-1]

    def add(self, batch: EventBatch) -> None:
        """Record a batch, and check it."""
        self.batches += 1
        _check_shapes(batch)
        for slot in batch.expired.tolist():
            assert slot not in self.at, f"slot {slot} expired, which the caller has not closed"
            self.expired.append(slot)
        for slot, code in zip(batch.ended.tolist(), batch.ended_errnos.tolist(), strict=True):
            assert slot not in self.at, f"slot {slot} ended, which is another's by now"
            assert slot in self.ending, f"slot {slot} ended unasked, or twice"
            assert code >= 0
            self.ending.pop(slot).ended = code
        fresh = {*batch.opened.tolist(), *batch.connected.tolist()}
        assert not fresh & {*batch.closed.tolist()}, "rule 7: a slot closed and opened in one batch"
        for slot, listener in zip(
            batch.opened.tolist(), batch.opened_listeners.tolist(), strict=True
        ):
            self._open(Conn(slot, listener))
        for slot in batch.connected.tolist():
            self.connecting.remove(slot)
            self._open(Conn(slot))
        for slot in batch.secured.tolist():
            conn = self._of(slot, "secured")
            assert conn.listener < 0, "one that was accepted is secured when it is opened"
            assert not conn.is_secured
            conn.is_secured = True
        for slot, code in zip(batch.failed.tolist(), batch.failed_errnos.tolist(), strict=True):
            self.connecting.remove(slot)
            assert code > 0
            self.failed.append((slot, code))
        for slot, piece in zip(batch.data_slots.tolist(), batch.data.pieces(), strict=True):
            conn = self._of(slot, "data")
            assert piece, "a piece of data has at least one byte"
            assert not conn.is_eof, f"data after eof on slot {slot}"
            conn.data += piece
            conn.pieces += 1
            self.received_bytes += len(piece)
        for slot in batch.eof.tolist():
            conn = self._of(slot, "eof")
            assert not conn.is_eof, f"a second eof on slot {slot}"
            conn.is_eof = True
        for slot in batch.blocked.tolist():
            self._of(slot, "blocked").blocked += 1
        for slot in batch.drained.tolist():
            conn = self._of(slot, "drained")
            conn.drained += 1
            assert conn.drained <= conn.blocked, f"slot {slot} drained before it was blocked"
        for slot, code in zip(batch.closed.tolist(), batch.closed_errnos.tolist(), strict=True):
            self._of(slot, "closed").errno = code
            assert code > 0
            del self.at[slot]

    def _open(self, conn: Conn) -> None:
        assert conn.slot not in self.at, f"slot {conn.slot} opened while it is open"
        assert conn.slot not in self.ending, f"slot {conn.slot} opened before its end was reported"
        self.at[conn.slot] = conn
        self.conns.append(conn)

    def _of(self, slot: int, what: str) -> Conn:
        assert slot in self.at, f"{what} for slot {slot}, which is not open"
        return self.at[slot]


def _check_shapes(batch: EventBatch) -> None:
    columns = (
        batch.opened, batch.opened_listeners, batch.connected, batch.failed, batch.failed_errnos,
        batch.data_slots, batch.eof, batch.closed, batch.closed_errnos, batch.blocked,
        batch.drained, batch.expired, batch.ended, batch.ended_errnos, batch.secured,
    )  # fmt: skip
    for column in columns:
        assert column.dtype == np.int32
        assert column.ndim == 1
    assert batch.data.memory.dtype == np.uint8
    assert len(batch.data_slots) == len(batch.data) == len(batch.data.offsets)
    kinds = (
        batch.opened, batch.connected, batch.failed, batch.data_slots, batch.eof, batch.closed,
        batch.blocked, batch.drained, batch.expired, batch.ended, batch.secured,
    )  # fmt: skip
    assert len(batch) == sum(map(len, kinds))
    for column in (
        batch.opened, batch.connected, batch.failed, batch.eof, batch.closed, batch.ended,
    ):  # fmt: skip
        assert len({*column.tolist()}) == len(column), "a slot twice among events that come once"
