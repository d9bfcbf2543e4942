"""The uring engine on the real and the fake kernel, with a record of what its rings went through.

So a test can prove that the case it is about did happen, by the same evidence on both.
"""

from __future__ import annotations

import errno
from collections import Counter
from typing import Any

import numpy as np

from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.submissions import OP, Op
from c1m.kernel import uring_abi as abi
from c1m.kernel.real import Kernel
from c1m.kernel.ring import Completions, RingLike, Rows
from c1m.kernel.uring_probe import OLDEST
from c1m.testing.fake_kernel import FakeKernel
from contract.harness import Harness, SocketHarness
from contract.uring_harnesses import FakeHarness, real_kernel

NAMES = {value: name for name, value in vars(Op).items() if name.isupper()}
KINDS = ["fake", "fake-oldest", "real", "real-oldest"]


class Seen(Counter[str]):
    """What was seen, by name: "full", "overflow", and "OP ERRNO", "OP MORE", "OP DATA-END"."""

    def watch(self, kernel: Kernel) -> None:
        """Record everything that the rings of this kernel will bring."""
        make = kernel.ring

        def ring(*sizes: Any, **options: Any) -> RingLike:
            made = make(*sizes, **options)
            self._watch_ring(made)
            return made

        kernel.ring = ring  # type: ignore[method-assign]

    def _watch_ring(self, ring: RingLike) -> None:
        push, reap = ring.push, ring.reap

        def watched_push(rows: Rows) -> None:
            self["full"] += ring.pending + len(rows) > ring.sq_entries  # type: ignore[attr-defined]
            push(rows)

        def watched_reap(into: Completions) -> int:
            self["overflow"] += ring.has_overflow()
            count = reap(into)
            for _, tag, result, flags in into[:count].tolist():
                self[self._name(tag & OP, result, flags)] += 1
            return count

        ring.push, ring.reap = watched_push, watched_reap  # type: ignore[method-assign]

    @staticmethod
    def _name(op: int, result: int, flags: int) -> str:
        result = int(np.int32(np.uint32(result)))
        if result < 0:
            return f"{NAMES[op]} {errno.errorcode[-result]}"
        if flags & abi.CQE_MORE:
            return f"{NAMES[op]} MORE"
        return f"{NAMES[op]} {'DATA-END' if result else 'END'}"


def harness(kind: str, seen: Seen, **faults: Any) -> Harness:
    """A harness of a kind; its engines take `tuning` as an option."""
    if kind.startswith("fake"):
        features = OLDEST if kind.endswith("oldest") else None
        fake = FakeHarness(features=features, **faults)
        seen.watch(fake.kernel)
        return fake

    def make(**options: Any) -> UringEngine:
        kernel = real_kernel(kind.endswith("oldest"))
        seen.watch(kernel)
        return UringEngine(kernel=kernel, **options)

    return SocketHarness(make)


def counts(harness: Harness) -> Counter[str]:
    """The fake kernel's own counters; empty for the real one."""
    kernel = getattr(harness, "kernel", None)
    return kernel.chance.counts if isinstance(kernel, FakeKernel) else Counter()
