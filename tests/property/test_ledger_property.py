"""The ledger's columns and the first of many connections, against slow forms."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.addresses import AF_INET, AF_INET6
from c1m.engine.contract import EventBatch, Pieces
from c1m.engine.names import ROW, packed, shown, unpacked
from c1m.engine.ragged import Ragged
from c1m.guard.ledger import FEW, Ledger
from c1m.server.connections_page import _largest
from c1m.testing.manual_clock import ManualClock
from c1m.units import NS_PER_S

SLOTS = 40
DATA = st.lists(st.tuples(st.integers(0, SLOTS - 1), st.integers(0, 300)), max_size=3 * FEW)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("opened"), st.sets(st.integers(0, SLOTS - 1), min_size=1)),
        st.tuples(st.sampled_from(["data", "pieces", "sent", "sent_each"]), DATA),
        st.tuples(st.just("time"), st.integers(0, 100)),
    ),
    max_size=20,
)


class NoEngine:
    """Knows the address of nobody."""

    def peers(self, slots: Any, family: int) -> list[bytes]:
        return [b""] * len(slots)


@given(STEPS, st.booleans())
def test_columns_add_up(steps: list[tuple[str, Any]], keeps_peers: bool) -> None:
    clock, engine = ManualClock(), NoEngine()
    ledger = Ledger(SLOTS, clock, keeps_peers=keeps_peers)
    slow = {slot: [0, 0, 0, 0] for slot in range(SLOTS)}
    for kind, given_ in steps:
        batch = EventBatch.nothing()
        pieces: Pieces = []
        rows = [] if kind in ("opened", "time") else list(given_)
        slots = np.array([slot for slot, _ in rows], np.int32)
        data = Ragged.of([b"x" * size for _, size in rows])
        second = clock.now_ns() // NS_PER_S
        if kind == "time":
            clock.advance(given_ * NS_PER_S)
        elif kind == "opened":
            batch.opened = np.array(sorted(given_), np.int32)
            batch.opened_listeners = np.zeros(len(given_), np.int32)
            slow.update((slot, [clock.now_ns(), second, 0, 0]) for slot in given_)
        elif kind == "sent":
            ledger.gave(slots, data)
        elif kind == "sent_each":
            ledger.gave_each(slots.tolist(), data.pieces())
        elif kind == "data":
            batch.data_slots, batch.data = slots, data
        else:
            pieces = list(zip(slots.tolist(), data.pieces(), strict=True))
        ledger.note(engine, batch, pieces, 0)  # type: ignore[arg-type]
        for slot, size in rows:
            slow[slot][3 if kind.startswith("sent") else 2] += size
            if not kind.startswith("sent"):
                slow[slot][1] = second
    for slot, row in slow.items():
        assert list(ledger.row(slot)[:4]) == row


@given(st.lists(st.integers(-5, 5), max_size=50), st.integers(1, 60))
def test_the_first_of_many(keys: list[int], limit: int) -> None:
    slots = np.arange(len(keys), dtype=np.int32)
    found = _largest(slots, np.array(keys, np.int64), limit)[0].tolist()
    assert len(set(found)) == len(found) == min(limit, len(keys))
    assert [keys[slot] for slot in found] == sorted(keys, reverse=True)[:limit]


@given(
    st.one_of(st.just(b""), st.tuples(st.integers(0, 65535), st.binary(min_size=16, max_size=16)))
)
def test_addresses_are_packed_and_unpacked(given_: Any) -> None:
    names = [b""]
    if given_ != b"":
        port, address = given_
        place = port.to_bytes(2, "big")
        names = [
            AF_INET.to_bytes(2, "little") + place + address[:4] + bytes(8),
            AF_INET6.to_bytes(2, "little") + place + bytes(4) + address + bytes(4),
        ]
    for name in names:
        assert len(packed(name)) == ROW
        assert unpacked(packed(name)) == name
        assert shown(name) == "unix" or shown(name).endswith(f":{given_[0]}")
