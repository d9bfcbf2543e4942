"""io_uring_enter that has no memory, or takes only some: what was queued is in the kernel all the
same when `submit` and `drain` return, for a send's memory is given up then."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import numpy as np
import pytest

from c1m.kernel import libc
from c1m.kernel import uring_abi as abi
from c1m.kernel.ring import Ring
from contract.uring_harnesses import real_kernel

COUNT = 40
ANSWERS = [
    [-errno.EAGAIN] * 3, [-errno.EINTR] * 3, [1, 2, 3], [0, 0], [-errno.EAGAIN, 5, -errno.EINTR],
]  # fmt: skip
SLEEP_NS = 1_000_000


@pytest.fixture
def ring() -> Iterator[Ring]:
    kernel = real_kernel()
    ring = kernel.ring(0, 64, 128)
    assert isinstance(ring, Ring)
    yield ring
    ring.close()
    kernel.shutdown()


def push(ring: Ring) -> None:
    rows = np.zeros((COUNT, 8), np.uint64)
    rows[:, 4] = np.arange(COUNT)
    ring.push(rows)


@pytest.mark.parametrize("answers", ANSWERS)
@pytest.mark.parametrize("how", ["submit", "drain", "sleep"])
def test_all_is_in_the_kernel_afterwards(
    how: str, answers: list[int], ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an enter takes is as many as it is given in `answers`, or none and that errno."""
    left = list(answers)
    enter, enter_now = libc.enter, libc.enter_now

    def some(fd: int, submit: int, least: int, flags: int) -> int:
        if submit and left:
            answer = left.pop(0)
            return enter_now(fd, answer, least, flags) if answer > 0 else answer
        return enter_now(fd, submit, least, flags)

    def sleep(fd: int, submit: int, least: int, flags: int, arg: object, size: object) -> int:
        if submit and left:
            answer = left.pop(0)
            return enter_now(fd, answer, 0, flags & ~abi.ENTER_EXT_ARG) if answer > 0 else answer
        return enter(fd, submit, least, flags, arg, size)  # type: ignore[arg-type]

    monkeypatch.setattr(libc, "enter_now", some)
    monkeypatch.setattr(libc, "enter", sleep)
    push(ring)
    if how == "submit":
        ring.submit()
    else:
        ring.drain(2 * COUNT, how == "sleep", SLEEP_NS)
    assert (ring.pending, left) == (0, [])
    assert ring.refused == answers.count(-errno.EAGAIN)
    monkeypatch.undo()
    there = ring.drain(2 * COUNT, 0, 0)
    assert [row[0] for row in ring.peek(there)] == list(range(COUNT))


def test_an_idle_ring_does_not_spin_while_there_is_no_memory(
    ring: Ring, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each refusal is a pause, in a `drain` that has nothing to hand over as well."""
    pauses: list[float] = []
    monkeypatch.setattr(libc, "enter", lambda *_: -errno.EAGAIN)
    monkeypatch.setattr("select.select", lambda *given: pauses.append(given[3]))
    for _ in range(10):
        ring.drain(1, 1, SLEEP_NS)
    assert ring.refused == len(pauses) == 10
    assert pauses == sorted(pauses) and pauses[0] < pauses[-1] == pauses[-2]
