"""What must hold for any machine and any request."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from c1m.limits.forecast import forecast
from c1m.limits.limit import OK, SHORT, UNKNOWN, Situation
from c1m.limits.needs import LOOPBACK_SOURCES
from c1m.limits.ports import format_ports, parse_ports, ports_before_scan


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


counts = st.integers(0, 1 << 24)
triples = st.tuples(counts, counts, counts).map(lambda three: " ".join(map(str, three)))
port = st.integers(1, 65535)
port_ranges = st.tuples(port, port).map(lambda pair: (min(pair), max(pair)))
sysctls = st.fixed_dictionaries(
    {},
    optional={
        "fs.nr_open": counts.map(str),
        "fs.file-max": counts.map(str),
        "fs.file-nr": triples,
        "fs.epoll.max_user_watches": counts.map(str),
        "kernel.sched_autogroup_enabled": st.sampled_from(["0", "1"]),
        "kernel.io_uring_disabled": st.sampled_from(["0", "1", "2"]),
        "net.core.netdev_max_backlog": counts.map(str),
        "net.core.somaxconn": counts.map(str),
        "net.ipv4.ip_local_port_range": port_ranges.map(lambda pair: f"{pair[0]}\t{pair[1]}"),
        "net.ipv4.ip_local_reserved_ports": st.lists(port_ranges, max_size=3).map(
            lambda ranges: format_ports(tuple(ranges))
        ),
        "net.ipv4.tcp_ehash_entries": st.integers(-(1 << 24), 1 << 24).map(str),
        "net.ipv4.tcp_max_syn_backlog": counts.map(str),
        "net.ipv4.tcp_syncookies": st.sampled_from(["0", "1"]),
        "net.ipv4.tcp_mem": triples,
        "net.ipv4.tcp_rmem": triples,
        "net.ipv4.tcp_wmem": triples,
        "net.netfilter.nf_conntrack_max": counts.map(str),
        "net.netfilter.nf_conntrack_count": counts.map(str),
        "net.netfilter.nf_conntrack_tcp_timeout_established": counts.map(str),
    },
)
situations = st.builds(
    Situation,
    kernel=st.sampled_from([(0, 0), (5, 10), (6, 1), (6, 12), (6, 18)]),
    sysctls=sysctls,
    nofile=maybe(st.integers(16, 1 << 22).map(lambda n: (n // 2, n))),
    memlock_bytes=maybe(st.integers(0, 1 << 26)),
    memory_available_bytes=maybe(st.integers(0, 1 << 38)),
    cgroup_limit_bytes=maybe(st.integers(0, 1 << 38)),
    cgroup_used_bytes=maybe(st.integers(0, 1 << 38)),
    slab_bytes=st.dictionaries(st.sampled_from(["TCP", "filp", "other"]), st.integers(1, 9000)),
    softnet_dropped=counts,
    uring_errno=st.sampled_from([None, 0, 1, 12, 22, 38]),
    has_ipc_lock=st.booleans(),
    has_sys_admin=st.booleans(),
)
requests = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["server", "client", "both"]),
        "engine": st.sampled_from(["auto", "uring", "epoll"]),
        "listen_ports": st.lists(port, min_size=1, max_size=5),
        "sources": st.sampled_from([1, 2, 50, LOOPBACK_SOURCES]),
    }
)
connections = st.integers(1, 20_000_000)

# A busy machine is no failure.
calm = settings(suppress_health_check=[HealthCheck.too_slow])


@calm
@given(situations, requests)
def test_what_fits_is_diagnosed_as_fitting_and_one_more_is_not(
    situation: Situation, request: dict[str, Any]
) -> None:
    fits = forecast(1, situation=situation, **request).fits
    if fits is None:
        assert not forecast(1 << 39, situation=situation, **request).is_short
        return
    if fits:
        assert not forecast(fits, situation=situation, **request).is_short
    above = forecast(fits + 1, situation=situation, **request)
    assert above.is_short
    assert above.fits == fits
    limit = {finding.name: finding for finding in above.findings}[above.first_limit or ""]
    assert (limit.verdict, limit.fits) == (SHORT, fits)


@calm
@given(situations, requests, connections, connections)
def test_more_connections_never_turn_short_into_ok(
    situation: Situation, request: dict[str, Any], one: int, other: int
) -> None:
    few = forecast(min(one, other), situation=situation, **request)
    many = forecast(max(one, other), situation=situation, **request)
    assert few.fits == many.fits
    assert few.first_limit == many.first_limit
    for before, after in zip(few.findings, many.findings, strict=True):
        assert before.name == after.name
        assert (before.verdict, after.verdict) != (SHORT, OK)
        assert (before.verdict == UNKNOWN) == (after.verdict == UNKNOWN)
        assert before.fits == after.fits


@calm
@given(situations, requests, connections)
def test_each_verdict_follows_from_what_fits_and_short_has_a_remedy(
    situation: Situation, request: dict[str, Any], asked: int
) -> None:
    for finding in forecast(asked, situation=situation, **request).findings:
        is_short = finding.fits is not None and finding.fits < asked
        assert (finding.verdict == SHORT) == is_short
        assert finding.remedy or not is_short
        assert finding.remedy or not finding.fixes


@calm
@given(port, port, st.lists(port_ranges, max_size=3))
def test_ports_before_scan_against_counting(
    low: int, high: int, reserved: list[tuple[int, int]]
) -> None:
    disjoint = parse_ports(format_ports(tuple(reserved)))
    size = max(0, (high - low + 1) // 2 * 2)
    taken = [any(a <= p <= b for a, b in disjoint) for p in range(low, low + size, 2)]
    assert ports_before_scan(low, high, disjoint) == taken.count(False)


@calm
@given(st.lists(port_ranges, max_size=6))
def test_port_lists_keep_their_ports(ranges: list[tuple[int, int]]) -> None:
    def ports(pairs: Any) -> set[int]:
        return {p for first, last in pairs for p in range(first, last + 1)}

    text = format_ports(tuple(ranges))
    assert ports(parse_ports(text)) == ports(ranges)
    assert format_ports(parse_ports(text)) == text
