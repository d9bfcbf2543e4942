"""Plans of addresses against counting: every connection has one, no triple passes its bound."""

from __future__ import annotations

import ipaddress
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.addresses import AF_INET, AF_INET6, Endpoint, unpack
from c1m.errors import LimitError
from c1m.loadgen.sources import parse_sources, plan_addresses

LOOPBACK = "127.0.0.1"
ELSEWHERE = "192.0.2.1"
V6 = "2001:db8::1"


def sources_of(host: str) -> list[str]:
    return [f"2001:db8::{n:x}" for n in range(9, 16)] if ":" in host else ["10.0.0.1", "10.0.0.2"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[int, list[Endpoint], list[str], int]:
    """Connections, targets (some perhaps named twice), sources (likewise), ports."""
    host = draw(st.sampled_from([LOOPBACK, ELSEWHERE, V6]))
    family = AF_INET6 if ":" in host else AF_INET
    ports = draw(st.lists(st.integers(8001, 8006), min_size=1, max_size=8))
    sources = draw(st.lists(st.sampled_from(sources_of(host)), max_size=6))
    targets = [Endpoint(family, host, port) for port in ports]
    return draw(st.integers(1, 3000)), targets, sources, draw(st.integers(1, 300))


@given(cases())
def test_every_connection_has_its_addresses_and_no_triple_too_many(
    case: tuple[int, list[Endpoint], list[str], int],
) -> None:
    connections, targets, sources, ports = case
    family = targets[0].family
    triples = len(set(targets)) * max(len(set(sources)), 1)
    is_bounded = bool(sources) or targets[0].host != LOOPBACK
    try:
        plan = plan_addresses(connections, targets, sources, ports)
    except LimitError as limit:
        assert is_bounded
        assert connections > triples * ports
        assert f" {triples * ports:,} " in limit.message  # how many do fit
        return
    assert not is_bounded or connections <= triples * ports
    froms, tos = plan.rows(np.arange(connections))
    assert len(tos) == connections
    ends = [unpack(family, bytes(row)) for row in tos.rows]
    assert set(ends) <= set(targets)
    starts = ["kernel's choice"] * connections
    if froms is not None:
        assert len(froms) == connections
        starts = [unpack(family, bytes(row)).host for row in froms.rows]
        allowed = set(sources)
        assert all(s in allowed if sources else s.startswith("127.") for s in starts)
    assert froms is not None or not sources
    used = Counter(zip(starts, ends, strict=True))
    assert max(used.values()) <= min(ports, -(-connections // plan.triples))
    assert len(used) <= plan.triples


@given(cases(), st.lists(st.integers(0, 2999), max_size=20))
def test_a_connection_has_the_same_addresses_in_whatever_batch(
    case: tuple[int, list[Endpoint], list[str], int], picked: list[int]
) -> None:
    connections, targets, sources, ports = case
    try:
        plan = plan_addresses(connections, targets, sources, ports)
    except LimitError:
        return
    numbers = np.array([p % connections for p in picked], np.int64)
    all_froms, all_tos = plan.rows(np.arange(connections))
    froms, tos = plan.rows(numbers)
    assert np.array_equal(tos.rows, all_tos.rows[numbers])
    if all_froms is not None and froms is not None:
        assert np.array_equal(froms.rows, all_froms.rows[numbers])
    else:
        assert froms is None and all_froms is None


@given(
    st.lists(
        st.tuples(st.integers(0, 1 << 32), st.integers(0, 40)).map(
            lambda t: (min(t[0], (1 << 32) - 1 - t[1]), t[1])
        ),
        min_size=1,
        max_size=5,
    )
)
def test_ranges_are_all_addresses_from_first_to_last(ranges: list[tuple[int, int]]) -> None:
    texts = [f"{ipaddress.IPv4Address(a)}-{ipaddress.IPv4Address(a + n)}" for a, n in ranges]
    slow = [str(ipaddress.IPv4Address(a + i)) for a, n in ranges for i in range(n + 1)]
    assert parse_sources(",".join(texts)) == list(dict.fromkeys(slow))
