"""Memory that the kernel is pointed at is owned by the engine until the kernel is done with it.

The fake kernel looks (testing/fake_pointers.py) while an engine does all that it can do; engines
that give up memory early are caught.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from c1m.engine.uring import submissions
from c1m.engine.uring.connect import Connector
from c1m.engine.uring.engine import UringEngine
from c1m.engine.uring.send import Output
from c1m.kernel import uring_abi as abi
from c1m.kernel.buffer_ring import BufferRing
from c1m.testing.fake_pointers import MEMORY, Pointers
from contract.refusing import SMALL_TABLES
from contract.test_refused_operations import Run
from contract.uring_harnesses import ARRAYS, PLAIN

Patch = pytest.MonkeyPatch
POINTING = {abi.OP_SEND, abi.OP_CONNECT, abi.OP_URING_CMD}
NOT_OWNED = "and nobody owns the"


class WatchedRun(Run):
    """One whose addresses are looked at."""

    def __init__(self, tuning: Any = PLAIN) -> None:
        super().__init__(tuning)
        self.pointers = Pointers(self.world.engine)
        self.harness.kernel.pointers = self.pointers

    def sends_rows(self) -> None:
        """As asyncio's transports do."""
        slots = [conn.slot for _, conn in self.there[:3]]
        self.world.send_each(slots, [bytes([65 + i]) * 40 for i in range(3)])
        self.world.turn()

    def empty(self) -> None:
        self.sends_rows()
        for peer in self.harness.all_peers():
            peer.close()
        self.world.pump(lambda: not self.world.log.at)


@pytest.mark.parametrize("tuning", [PLAIN, ARRAYS, SMALL_TABLES], ids=["plain", "arrays", "small"])
def test_an_engine_owns_what_it_points_to(tuning: Any) -> None:
    run = WatchedRun(tuning)
    run.play()
    assert {*run.pointers.seen} >= POINTING


def test_of_each_operation_it_is_known_where_it_points() -> None:
    operations = {code for name, code in vars(abi).items() if name.startswith("OP_")}
    assert {*MEMORY} == operations


# --- engines that give memory up early --------------------------------------------------------


def forgets_sends(patch: Patch) -> None:
    """What was sent, a batch or a few, is not kept until the kernel has it."""
    push = Output._push_few

    def push_few(self: Output, rows: Any) -> None:
        push(self, rows)
        self._sent_few.clear()

    patch.setattr(Output, "_push_few", push_few)


def forgets_batches(patch: Patch) -> None:
    send = Output._send_now

    def send_now(self: Output, slots: Any, data: Any) -> None:
        send(self, slots, data.packed())
        self._sent.clear()

    patch.setattr(Output, "_send_now", send_now)


def forgets_heads(patch: Patch) -> None:
    send = Output._send_head

    def send_head(self: Output, slot: int, *most: int) -> None:
        send(self, slot, *most)
        self._flights.clear()

    patch.setattr(Output, "_send_head", send_head)


def forgets_addresses(patch: Patch) -> None:
    start = Connector.start

    def begin(self: Connector, *given: Any) -> None:
        start(self, *given)
        self._addresses.clear()

    patch.setattr(Connector, "start", begin)


def forgets_options(patch: Patch) -> None:
    start = Connector.start

    def begin(self: Connector, *given: Any) -> None:
        self._one = np.ones(1, np.int32)
        start(self, *given)
        del self._one

    patch.setattr(Connector, "start", begin)


def forgets_names(patch: Patch) -> None:
    """The memory that a name is told into."""
    ask = submissions.get_option

    def get_option(files: Any, name: int, addresses: Any, size: int, data: Any) -> Any:
        elsewhere = np.zeros(size, np.uint8).ctypes.data
        return ask(files, name, np.full_like(addresses, elsewhere), size, data)

    patch.setattr(submissions, "get_option", get_option)


def forgets_buffers(patch: Patch) -> None:
    """The arena, which receives are told into."""
    begin = UringEngine.listen

    def listen(self: UringEngine, *given: Any) -> Any:
        arena = self._rings.arena
        arena.address += 1 << 40  # as if another mapping had come in its place
        arena.entries["addr"] += 1 << 40
        return begin(self, *given)

    patch.setattr(UringEngine, "listen", listen)


def forgets_queues(patch: Patch) -> None:
    """The ring of provided buffers, where the kernel reads which there are."""
    make = BufferRing.__init__

    def init(self: BufferRing, *given: Any) -> None:
        make(self, *given)
        vars(self)["kept"] = Hidden(self.entries, self._mapping)
        for name in ("entries", "_mapping", "_bytes", "_tail_word"):
            setattr(self, name, Hidden.copied(getattr(self, name)))

    patch.setattr(BufferRing, "__init__", init)


class Hidden:
    """What is kept so that the test does not crash, where nothing finds it."""

    __module__ = "c1m.testing.hidden"

    def __init__(self, *things: Any) -> None:
        self.things = things

    @staticmethod
    def copied(thing: Any) -> Any:
        """Something like it in another place."""
        if isinstance(thing, np.ndarray):
            return thing.copy()
        return memoryview(bytearray(thing)).cast("B").cast(getattr(thing, "format", "B"))


FORGETFUL: dict[str, tuple[Callable[[Patch], None], Any]] = {
    each.__name__: (each, tuning)
    for each, tuning in [
        (forgets_sends, PLAIN), (forgets_batches, ARRAYS), (forgets_heads, PLAIN),
        (forgets_addresses, PLAIN), (forgets_options, PLAIN), (forgets_names, PLAIN),
        (forgets_buffers, ARRAYS), (forgets_queues, ARRAYS),
    ]
}  # fmt: skip


@pytest.mark.parametrize("name", FORGETFUL)
def test_an_engine_that_gives_memory_up_early_is_caught(name: str, monkeypatch: Patch) -> None:
    forget, tuning = FORGETFUL[name]
    forget(monkeypatch)
    run = WatchedRun(tuning)
    with pytest.raises(AssertionError, match=NOT_OWNED):
        run.play()
