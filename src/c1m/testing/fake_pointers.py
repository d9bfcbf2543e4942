"""Whose memory it is that a fake kernel is pointed at: the engine must own it for as long.

Memory is owned while an object that has it can be reached from the engine, or from a function of
ours that is running. So nothing is registered, and nothing costs anything outside of tests: when
submissions are queued and when they are issued, all that can be reached is looked at. Between the
two what was found is kept, so that nothing else can be where it was.
"""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from c1m.kernel import uring_abi as abi
from c1m.kernel.libc import BYTES_AT
from c1m.testing.fake_requests import Sqe

_OURS = ("c1m.engine", "c1m.kernel")  # whose functions may own memory while they run
_NOBODYS = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, int)

_NONE: tuple[int, int] = (0, 0)
MEMORY: dict[int, Callable[[Sqe], tuple[int, int]]] = {
    abi.OP_SEND: lambda sqe: (sqe.addr, sqe.len),
    abi.OP_CONNECT: lambda sqe: (sqe.addr, sqe.off),
    abi.OP_BIND: lambda sqe: (sqe.addr, sqe.off),
    abi.OP_URING_CMD: lambda sqe: (sqe.addr3, sqe.file_index),
    **dict.fromkeys(
        (
            abi.OP_NOP, abi.OP_POLL_ADD, abi.OP_ACCEPT, abi.OP_ASYNC_CANCEL, abi.OP_CLOSE,
            abi.OP_RECV, abi.OP_SOCKET, abi.OP_SHUTDOWN, abi.OP_FIXED_FD_INSTALL,
        ),
        lambda sqe: _NONE,
    ),
}  # fmt: skip
"""The address and the length that each operation reads from or writes to; 0: none."""


class Pointers:
    """Checks all that one engine has a fake kernel do. `seen`: addresses, by operation."""

    def __init__(self, engine: object) -> None:
        self.seen: dict[int, int] = {}
        self._engine = engine
        self._owners: dict[int, list[Any]] = {}  # what was found for an address, until it is issued

    def queued(self, sqes: list[Sqe]) -> None:
        """They are in the queue."""
        owned = None
        for sqe in sqes:
            address, length = MEMORY[sqe.opcode](sqe)
            if length:
                owned = owned if owned is not None else [*self._owned()]
                owner = self._owner(owned, address, length, f"operation {sqe.opcode} is queued")
                self._owners.setdefault(address, []).append(owner)

    def issued(self, sqes: list[Sqe]) -> None:
        """The kernel looks at them, and in this very call at what they point to."""
        owned = None
        for sqe in sqes:
            address, length = MEMORY[sqe.opcode](sqe)
            if length:
                owned = owned if owned is not None else [*self._owned()]
                self._owner(owned, address, length, f"operation {sqe.opcode} is issued")
                self._owners.pop(address, None)
                self.seen[sqe.opcode] = self.seen.get(sqe.opcode, 0) + 1

    def used(self, what: str, places: Iterable[tuple[int, int]]) -> None:
        """The kernel reads from or writes to memory that it was told of long ago."""
        owned = [*self._owned()]
        for address, length in places:
            self._owner(owned, address, length, what)

    @staticmethod
    def _owner(owned: list[tuple[int, int, Any]], address: int, length: int, what: str) -> Any:
        for start, size, owner in owned:
            if start <= address and address + length <= start + size:
                return owner
        raise AssertionError(f"{what}, and nobody owns the {length} bytes that it points to")

    def _owned(self) -> Iterator[tuple[int, int, Any]]:
        """Address, size and owner of all memory that can be reached."""
        waiting: list[Any] = [self._engine, *_globals(), *_running()]
        seen: set[int] = set()
        while waiting:
            each = waiting.pop()
            if id(each) in seen or isinstance(each, _NOBODYS):
                continue
            seen.add(id(each))
            if isinstance(each, np.ndarray):
                if each.flags.c_contiguous:
                    yield each.ctypes.data, each.nbytes, each
            elif isinstance(each, bytes):
                yield id(each) + BYTES_AT, len(each), each
            elif isinstance(each, functools.partial):
                waiting += each.args
            elif not type(each).__module__.startswith("c1m.testing"):
                waiting += gc.get_referents(each)


@functools.cache
def _constants() -> tuple[types.ModuleType, ...]:
    return tuple(m for name, m in sys.modules.items() if name.startswith(_OURS))


def _globals() -> Iterator[Any]:
    """Arrays and bytes that are there for ever."""
    for module in _constants():
        yield from (v for v in vars(module).values() if isinstance(v, np.ndarray | bytes))


def _running() -> Iterator[Any]:
    """What functions of ours that have been called have in hand."""
    frame: types.FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_OURS):
            yield from frame.f_locals.values()
        frame = frame.f_back
