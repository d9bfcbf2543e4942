"""Addresses are taken in few places, and each says who owns the memory for as long as it is used.

A new place needs a line here: what has the memory, and until when. What an engine does with
addresses while it runs is looked at by tests/unit/test_pointers.py.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "c1m"
CALLS = {"addressof", "from_address", "from_buffer", "byref", "c_void_p", "string_at", "memmove"}
LOW = ("kernel", "engine")  # where id() is an address

_CALL = "a local, longer than the call that is given it"
_RAGGED = "the Ragged, which has the memory beside its address; an engine keeps it until the sends"
OWNERS = {
    "engine/epoll EpollEngine.connect": _CALL,
    "engine/ragged Ragged.__init__": _RAGGED,
    "engine/ragged Ragged.of": _RAGGED,
    "engine/ragged Ragged.packed": _RAGGED,
    "engine/ragged Ragged.repeat": _RAGGED,
    "engine/uring/commands Commands.peers": "a local; a command completes while it is submitted",
    "engine/uring/connect Connector._addresses_of": "Connector._addresses, until submitted",
    "engine/uring/connect Connector._prepare_in_ring": "Connector._one, as long as the engine",
    "engine/uring/send Output.send_each": "Output._sent_few, until the sends are settled",
    "engine/uring/send Output._send_head": "Output._flights, until the send completes",
    "engine/uring/submissions disconnect": "_NOWHERE of the module, for ever",
    "fanout/deliveries _joined": _RAGGED,
    "kernel/buffer_ring BufferArena.__init__": "the arena, as long as the rings",
    "kernel/buffer_ring BufferRing.__init__": "BufferRing._mapping, kept beside its ring",
    "kernel/libc <module>": "no address: the one that means failure",
    "kernel/libc EpollWait.__init__": "EpollWait, whose own call it is for",
    "kernel/libc PeerName.__init__": "PeerName, whose own call it is for",
    "kernel/libc PeerName.of": "PeerName; it is copied out",
    "kernel/libc _bytes_at": "a local; looked at, and given to nobody",
    "kernel/libc pending_error": _CALL,
    "kernel/libc view_of": "whoever has mapped it: Ring, until `close` has dropped the views",
    "kernel/limits _is_granted": _CALL,
    "kernel/reuseport choose_below": "a local; the call copies the program",
    "kernel/ring Ring.__init__": "Ring._params; the call copies it",
    "kernel/ring Ring._map": "Ring._arg, as long as the ring",
    "kernel/ring Ring.register": "the caller's array, during the call",
    "kernel/ring register_file": _CALL,
    "kernel/sockets Listener.turn_away": "_DROP_ALL of the module; the call copies it",
    "kernel/uring_probe _direct_socket_works": _CALL,
    "kernel/uring_probe _getsockopt_works": _CALL,
    "loadgen/transports/http Known.times": "Known, whose Ragged has the memory as well",
    "protocols/mqtt/batch packets_of": _RAGGED,
    "protocols/websocket/batch _alike": _RAGGED,
    "protocols/websocket/batch _one_by_one": _RAGGED,
    "protocols/websocket/batch _with_headers": _RAGGED,
    "scenarios/message_rows MessageRows.__init__": "MessageRows, and each Ragged that it makes",
}
"""FILE FUNCTION, and what owns the memory whose address is taken there."""


def takes_address(node: ast.AST, module: str) -> bool:
    """Whether this expression is an address, or is made of one."""
    if isinstance(node, ast.Attribute):
        return node.attr == "data" and isinstance(node.value, ast.Attribute) and (
            node.value.attr == "ctypes"
        )  # fmt: skip
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    return name in CALLS or (name == "id" and module.startswith(LOW))


def places(node: ast.AST, module: str, within: tuple[str, ...] = ()) -> Iterator[str]:
    """FILE FUNCTION of each."""
    for child in ast.iter_child_nodes(node):
        inside = within
        if isinstance(child, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
            inside = (*within, child.name)
        if takes_address(child, module):
            yield f"{module} {'.'.join(within) or '<module>'}"
        yield from places(child, module, inside)


def found() -> set[str]:
    """In all of c1m but its fakes, which are the kernel."""
    there: set[str] = set()
    for path in SOURCE.rglob("*.py"):
        module = path.relative_to(SOURCE).with_suffix("").as_posix()
        if not module.startswith("testing"):
            there.update(places(ast.parse(path.read_text(encoding="utf-8")), module))
    return there


def test_addresses_are_taken_where_an_owner_is_named() -> None:
    assert found() - {*OWNERS} == set(), "say who owns that memory"


def test_each_owner_that_is_named_is_needed() -> None:
    assert {*OWNERS} - found() == set()


@pytest.mark.parametrize(
    "text",
    ["array.ctypes.data", "addressof(x)", "ctypes.byref(x)", "id(piece) + 32", "T.from_buffer(m)"],
)
def test_what_an_address_looks_like(text: str) -> None:
    assert [*places(ast.parse(f"def take():\n    return {text}"), "engine/x")] == ["engine/x take"]
