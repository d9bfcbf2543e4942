"""Whatever a server is given as slots and as data: the bytes meant go to whom they were meant for,
or nothing goes to anybody and a UsageError says why. Never a byte from beyond a piece's memory.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import c1m
from c1m.engine.ragged import FEW

PEERS = 3
KINDS = ["i1", "u1", "i2", "i4", ">i4", "i8", "u8", "f8", "?", "O", "U5", "M8[s]"]


class Peers:
    """A server with connections, and what each of their peers has received."""

    def __init__(self, engine: str) -> None:
        self.server = c1m.Server(c1m.App(), "tcp://127.0.0.1:0", engine=engine, busy_poll_ns=0)
        self.capacity = self.server.capacity
        self.socks: dict[int, socket.socket] = {}
        self.marks = 0
        self.fill()

    def fill(self) -> None:
        """Connections in the place of those that were closed."""
        while len(self.socks) < PEERS:
            endpoint = self.server.endpoints[0]
            sock = socket.create_connection((endpoint.host, endpoint.port))
            sock.settimeout(30)
            before = set(self.server.live_slots().tolist())
            while not (new := set(self.server.live_slots().tolist()) - before):
                self.server.tick(10_000_000)
            self.socks[new.pop()] = sock

    def received(self) -> dict[int, bytes]:
        """What came since the last time: all that is before a mark sent now."""
        self.marks += 1
        mark = b"<mark %d>" % self.marks
        self.server.broadcast(mark)
        self.server.tick(0)
        came = {}
        for slot, sock in self.socks.items():
            stream = b""
            while not stream.endswith(mark):
                stream += sock.recv(1 << 16)
            came[slot] = stream.removesuffix(mark)
        return {slot: data for slot, data in came.items() if data}

    def drop(self, slots: set[int]) -> None:
        for slot in slots & self.socks.keys():
            self.socks.pop(slot).close()

    def close(self) -> None:
        self.drop(set(self.socks))
        self.server.shutdown()


@pytest.fixture(scope="module", params=["uring", "epoll"])
def peers(request: pytest.FixtureRequest) -> Iterator[Peers]:
    made = Peers(request.param)
    yield made
    made.close()


@st.composite
def slots_given(draw: st.DrawFn, peers: Peers) -> Any:
    """What somebody might give as slots: often right, and odd in one way or another."""
    own = st.sampled_from(sorted(peers.socks))
    odd = st.sampled_from([-1, -(2**40), 0, peers.capacity - 1, peers.capacity, 2**31, 2**63])
    numbers: list[int] = draw(st.lists(own | own | own | odd, max_size=5))
    if draw(st.booleans()):
        numbers = numbers * (FEW // max(len(numbers), 1) + 1)  # beyond what is looked at by one
    form = draw(st.sampled_from(["array", "array", "strided", "deep", "other", "plain"]))
    if form == "plain":
        forms = [numbers, tuple(numbers), dict.fromkeys(numbers), numbers[:1]]
        return draw(st.sampled_from(forms))
    if form == "other":
        one = numbers[0] if numbers else 0
        others = [None, "12", b"12", 1.5, 1j, one, {}, object(), [None], [[1]], True]
        return draw(st.sampled_from(others))
    dtype = draw(st.sampled_from(KINDS)) if draw(st.booleans()) else "i4"
    try:
        with np.errstate(all="ignore"):
            array = np.array(numbers).astype(dtype)
    except (OverflowError, ValueError, TypeError):
        array = np.array(numbers, object)
    if form == "deep":
        return array.reshape(draw(st.sampled_from([(-1, 1), (1, -1), (1, 1, -1)])))
    return np.repeat(array, 2)[::2] if form == "strided" else array


def meant_slots(given: Any, capacity: int) -> list[int] | None:
    """The slow form of what is taken; None: it cannot be meant."""
    if isinstance(given, np.ndarray):
        if given.ndim > 1:
            return None
        if given.size and given.dtype.kind not in "iu":
            return None
        given = given.tolist()
    if isinstance(given, int) and not isinstance(given, bool):
        given = [given]
    if not isinstance(given, list | tuple | dict):
        return None
    is_good = all(type(n) is int and 0 <= n < capacity for n in given)
    return list(given) if is_good else None


@st.composite
def data_given(draw: st.DrawFn, count: int) -> Any:
    """What somebody might give as data for so many slots."""
    form = draw(st.sampled_from(["ragged", "ragged", "ragged", "same", "list", "other"]))
    if form == "same":
        data = draw(st.binary(max_size=30))
        array = np.frombuffer(data, np.uint8)
        forms = [data, bytearray(data), memoryview(data), array, np.repeat(array, 2)[::2]]
        return draw(st.sampled_from(forms))
    if form == "other":
        others = ["text", None, 5, object(), [1, 2], ["a"], np.zeros(3), np.zeros((2, 2), np.uint8)]
        return draw(st.sampled_from(others))
    n = draw(st.sampled_from([count, count, count, count, max(count - 1, 0), count + 1]))
    if form == "list":
        pieces = st.binary(max_size=9) | st.binary(max_size=9).map(bytearray)
        return draw(st.lists(pieces, min_size=n, max_size=n))
    return draw(raggeds(n))


@st.composite
def raggeds(draw: st.DrawFn, n: int) -> c1m.Ragged:
    """Pieces of a memory that lies between secrets; mostly, but not always, inside it."""
    size = draw(st.integers(0, 40))
    whole = np.full(size + 200, ord("!"), np.uint8)
    whole[100 : 100 + size] = np.arange(size) % 26 + ord("a")
    starts = draw(st.lists(st.integers(0, size), min_size=n, max_size=n))
    lengths = [draw(st.integers(0, size - at)) for at in starts]
    if n and draw(st.booleans()):
        at = draw(st.integers(0, n - 1))
        far = st.sampled_from([-1, -100, size, size + 1, 2**31 - 1, 2**40, -(2**63), 2**63 - 1])
        starts[at] = draw(far | st.integers(-50, 50))
        near = st.sampled_from([-1, 0, 1, size + 1, 2**31 - 1, -(2**31)])
        lengths[at] = draw(near | st.integers(-50, 50))
    memory: Any = whole[100 : 100 + size]
    if draw(st.booleans()):
        memory = np.repeat(memory, 2)[::2]
    if draw(st.booleans()):
        return c1m.Ragged(memory, starts, lengths)  # type: ignore[arg-type]
    return c1m.Ragged(memory, np.array(starts, np.int64), np.array(lengths, np.int32))


def meant_pieces(given: Any, count: int) -> list[bytes] | None:
    """The slow form of what is taken for so many slots; None: it cannot be meant."""
    if isinstance(given, c1m.Ragged):
        size = len(given.memory)
        rows = list(zip(given.offsets.tolist(), given.lengths.tolist(), strict=True))
        is_good = all(at >= 0 and n >= 0 and at + n <= size for at, n in rows)
        pieces = [given.memory.tobytes()[at : at + n] for at, n in rows] if is_good else None
    elif isinstance(given, list):
        is_good = all(isinstance(piece, bytes | bytearray) for piece in given)
        pieces = [bytes(piece) for piece in given] if is_good else None
    elif isinstance(given, np.ndarray):
        is_good = given.dtype == np.uint8 and given.ndim == 1
        pieces = [given.tobytes()] * count if is_good else None
    else:
        is_good = isinstance(given, bytes | bytearray | memoryview)
        pieces = [bytes(given)] * count if is_good else None
    return pieces if pieces is not None and len(pieces) == count else None


@given(data=st.data())
def test_what_is_sent_is_what_was_meant(peers: Peers, data: st.DataObject) -> None:
    slots = data.draw(slots_given(peers), "slots")
    meant = meant_slots(slots, peers.capacity)
    payload = data.draw(data_given(2 if meant is None else len(meant)), "data")
    pieces = None if meant is None else meant_pieces(payload, len(meant))
    expected = dict.fromkeys(peers.socks, b"")
    if pieces is None:
        with pytest.raises(c1m.UsageError, match=r"slots|data|pieces"):
            peers.server.send(slots, payload)
    else:
        assert meant is not None
        peers.server.send(slots, payload)
        for slot, piece in zip(meant, pieces, strict=True):
            if slot in expected:
                expected[slot] += piece
    assert peers.received() == {slot: came for slot, came in expected.items() if came}


@given(data=st.data())
def test_a_broadcast_is_bytes_for_all(peers: Peers, data: st.DataObject) -> None:
    payload = data.draw(data_given(PEERS), "data")
    is_bytes = not isinstance(payload, c1m.Ragged | list) and meant_pieces(payload, 1)
    if not is_bytes:
        with pytest.raises(c1m.UsageError, match="data"):
            peers.server.broadcast(payload)
        assert peers.received() == {}
        return
    assert peers.server.broadcast(payload) == PEERS
    came = is_bytes[0]
    assert peers.received() == (dict.fromkeys(peers.socks, came) if came else {})


@given(data=st.data(), abort=st.booleans())
def test_what_is_closed_paused_and_resumed_is_what_was_meant(
    peers: Peers, data: st.DataObject, abort: bool
) -> None:
    server = peers.server
    for call in data.draw(st.permutations(["pause", "resume", "close"])):
        slots = data.draw(slots_given(peers), call)
        meant = meant_slots(slots, peers.capacity)
        act = (lambda s: server.close(s, abort=abort)) if call == "close" else getattr(server, call)
        if meant is None:
            with pytest.raises(c1m.UsageError, match="slots"):
                act(slots)
            continue
        act(slots)
        if call == "close":
            peers.drop(set(meant))
            assert set(server.live_slots().tolist()) == set(peers.socks)
            peers.fill()
    server.resume(server.live_slots())
    for slot, sock in peers.socks.items():  # whoever is there now is read from
        before = server.statistics.messages
        sock.sendall(b"%d" % slot)
        while server.statistics.messages == before:
            server.tick(10_000_000)
