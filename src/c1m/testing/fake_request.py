"""A submission on its way through a fake ring: what was asked, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.testing.fake_files import File

if TYPE_CHECKING:
    from c1m.testing.fake_ring import FakeRing


class Sqe(NamedTuple):
    """The fields of struct io_uring_sqe, in its order."""

    opcode: int
    flags: int
    ioprio: int
    fd: int
    off: int
    addr: int
    len: int
    op_flags: int
    user_data: int
    buf_group: int
    personality: int
    file_index: int
    addr3: int
    pad: int

    @classmethod
    def read(cls, rows: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> list[Sqe]:
        """Submissions out of [n, 8] words of 8 bytes."""
        return [cls(*row) for row in np.ascontiguousarray(rows).view(abi.SQE)[:, 0].tolist()]


@dataclass(frozen=True, slots=True)
class Done:
    """An operation has ended. `failed`: a completion is due even if success is skipped."""

    result: int
    flags: int = 0
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """An operation goes on when its file has one of these events; `again`: in any case.

    `looks`: whether the file is asked if it is ready already, or only a new event counts.
    """

    events: int
    again: bool = False
    looks: bool = True


class Request:
    """One submission in the kernel, from its issue to its last completion."""

    def __init__(self, ring: FakeRing, sqe: Sqe, file: File | None) -> None:
        self.ring = ring
        self.sqe = sqe
        self.file = file
        self.is_queued = False  # work for it is waiting to be run
        self.is_cancelled = False
        self.is_armed = False
        self.is_over = False
        self.sent = 0
        self.polled_first = False  # armed untried on a file that was ready
        self.memory = b""  # what a waiting send pointed to when it was issued
        if file is not None:
            file.hold()

    def wake(self) -> None:
        """Its file may be ready."""
        self.ring.queue_work(self)

    def has(self, flag: int) -> bool:
        """Whether a flag of the submission is set."""
        return bool(self.sqe.flags & flag)

    def leave(self) -> None:
        """The request is over: let go of its file."""
        self.is_over = True
        if self.file is not None:
            file, self.file = self.file, None
            file.forget(self)
            file.drop()
