"""needs.py and the arithmetic of ports.py against plain counting and known figures."""

from __future__ import annotations

import pytest

from c1m.limits import needs, ports
from c1m.limits.needs import Request


def counted_ports(low: int, high: int, reserved: tuple[tuple[int, int], ...]) -> int:
    """The slow form: walk the first half as inet_hash_connect does."""
    size = (high - low + 1) // 2 * 2
    ports = range(low, low + size, 2)
    return sum(not any(first <= port <= last for first, last in reserved) for port in ports)


@pytest.mark.parametrize(
    ("low", "high", "reserved"),
    [
        (32768, 60999, ()),
        (1024, 65535, ((8001, 8030),)),
        (1024, 65535, ((8002, 8030), (8040, 8040), (65535, 65535))),
        (10, 20, ((1, 10), (19, 30))),
        (11, 20, ((1, 100),)),
        (5, 5, ()),
        (9, 3, ()),
    ],
)
def test_ports_before_scan_counts_one_parity(
    low: int, high: int, reserved: tuple[tuple[int, int], ...]
) -> None:
    assert ports.ports_before_scan(low, high, reserved) == counted_ports(low, high, reserved)


def test_a_million_on_loopback_needs_71_pairs_here_and_32_with_the_widest_range() -> None:
    assert ports.triples(1_000_000, ports.ports_before_scan(32768, 60999)) == 71
    assert ports.triples(1_000_000, ports.ports_before_scan(1024, 65535)) == 32


def test_uring_needs_rings_and_epoll_descriptors() -> None:
    uring, epoll = Request(1_000_000), Request(1_000_000, engine="epoll")
    assert needs.rings(uring, 20_000) == 50
    assert needs.rings(uring, 1 << 30) == 1
    assert needs.rings(Request(1 << 20 | 1), 1 << 30) == 2
    assert needs.rings(epoll, 20_000) == 0
    assert needs.descriptors(uring, 20_000) == needs.PROCESS_DESCRIPTORS + 1 + 50
    assert needs.descriptors(epoll, 20_000) == needs.PROCESS_DESCRIPTORS + 1 + 1_000_000


def test_memory_of_a_million_with_both_ends_is_about_10_gigabytes() -> None:
    forecast = needs.memory(Request(1_000_000), {}, 20_000)
    assert 9e9 < forecast.total < 12e9
    server = needs.memory(Request(1_000_000, "server"), {}, 20_000)
    assert server.total < 0.6 * forecast.total


def test_memory_uses_this_kernels_sizes_and_falls_back_by_name() -> None:
    request = Request(1000, "server")
    by_default = needs.memory(request, {}, 1024).sockets
    larger = needs.memory(request, {"TCP": needs.SLAB_BYTES["TCP"] + 100}, 1024).sockets
    assert larger - by_default == 1000 * 100


def test_accept_queue_is_shared_by_the_listeners() -> None:
    assert needs.accept_queue(Request(1_000_000)) == 65535
    assert needs.accept_queue(Request(1000, listen_ports=(1, 2, 3))) == 334


def test_largest() -> None:
    for limit in (0, 1, 2, 3, 7, 8, 1000, 12345):
        assert needs.largest(limit.__ge__) == limit
    assert needs.largest(lambda n: True, ceiling=1 << 20) >= (1 << 20) - 1
