"""What a connection takes of the kernel where nobody waits for its input: pairs of plain sockets.

A million descriptors may not be had, but the objects of one socket are the same however many there
are. So a few thousand connections are opened here as c1m opens its own (a source address each few
hundred, the same local ports on all of them), and the growth of each slab cache is rounded to whole
objects a connection: that takes out what others and the caches' own half-full pages add.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Mapping

from harness.counting import NOT_OURS

from c1m.kernel import procfs
from c1m.kernel.limits import raise_nofile
from c1m.kernel.procfs import Slab

PAIRS = 4_000
EACH_SOURCE = 500
TRIES = 5
SETTLE_S = 0.5
RESET = struct.pack("ii", 1, 0)  # close with a reset: nothing is left in TIME_WAIT
FIRST_SOURCE_PORT = 10_000  # below the ephemeral range


def objects_a_connection(
    before: Mapping[str, Slab], after: Mapping[str, Slab], pairs: int
) -> dict[str, int]:
    """Whole objects that a connection (both ends) takes of each cache, where it takes any."""
    found = {}
    for name, slab in after.items():
        old = before[name].active_objects if name in before else 0
        objects = round((slab.active_objects - old) / pairs)
        if objects > 0 and not name.startswith(NOT_OURS):
            found[name] = objects
    return found


def bytes_a_connection(objects: Mapping[str, int], slabs: Mapping[str, Slab]) -> int:
    """Of both ends together."""
    return sum(count * slabs[name].object_bytes for name, count in objects.items())


def measure(port: int) -> tuple[int | None, dict[str, int]]:
    """Bytes a connection, both ends, and the objects: the middle of several tries, since others
    open and close sockets too.

    None where slabinfo cannot be read, or where others open so many connections that the two ends
    are never seen as two.
    """
    found: list[tuple[int, dict[str, int]]] = []
    nofile, _ = raise_nofile()
    pairs = min(PAIRS, (nofile - 200) // 2)
    for _ in range(TRIES):
        before = procfs.slabs()
        held = _open(port, pairs)
        try:
            time.sleep(SETTLE_S)
            after = procfs.slabs()
        finally:
            for each in held:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                each.close()
        time.sleep(SETTLE_S)
        objects = objects_a_connection(before, after, pairs)
        if objects.get("TCP") == 2:
            found.append((bytes_a_connection(objects, after), objects))
    found.sort(key=lambda each: each[0])
    return found[len(found) // 2] if found else (None, {})


def _open(port: int, pairs: int) -> list[socket.socket]:
    """Both ends of so many connections, each echoed once."""
    held: list[socket.socket] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen()
        for number in range(pairs):
            ours = socket.socket()
            held.append(ours)
            source, place = divmod(number, EACH_SOURCE)
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            ours.bind((f"127.2.0.{source + 1}", FIRST_SOURCE_PORT + place))
            ours.connect(("127.0.0.1", port))
            theirs, _ = listener.accept()
            held.append(theirs)
            ours.send(b"x" * 64)
            theirs.send(theirs.recv(64))
            ours.recv(64)
    return held
