"""Source addresses: what may be written, how many ports connect() finds quickly, who goes where."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.addresses import AF_INET, AF_INET6, AF_UNIX, Endpoint, unpack
from c1m.errors import LimitError, UsageError
from c1m.loadgen.sources import SOURCES_MAX, parse_sources, plan_addresses

LOOPBACK = [Endpoint(AF_INET, "127.0.0.1", 8001)]
ELSEWHERE = [Endpoint(AF_INET, "192.0.2.1", 80)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", ["10.0.0.1"]),
        ("10.0.0.1,10.0.0.7", ["10.0.0.1", "10.0.0.7"]),
        (" 10.0.0.1 , 10.0.0.7 ", ["10.0.0.1", "10.0.0.7"]),
        ("10.0.0.1-10.0.0.3", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
        ("10.0.0.255-10.0.1.1", ["10.0.0.255", "10.0.1.0", "10.0.1.1"]),
        ("10.0.0.4-10.0.0.4", ["10.0.0.4"]),
        ("10.0.0.0/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.2/30", ["10.0.0.1", "10.0.0.2"]),
        ("10.0.0.9/32", ["10.0.0.9"]),
        ("10.0.0.8/31,10.1.0.1", ["10.0.0.8", "10.0.0.9", "10.1.0.1"]),
        ("::1", ["::1"]),
        ("fd00::1-fd00::2", ["fd00::1", "fd00::2"]),
    ],
)
def test_forms_of_sources(text: str, expected: list[str]) -> None:
    assert parse_sources(text) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a source"),
        ("10.0.0.1,", "not a source"),
        ("10.0.0.256", "not a source"),
        ("host", "not a source"),
        ("10.0.0.0/33", "not a source"),
        ("10.0.0.1-", "not a source"),
        ("10.0.0.9-10.0.0.1", "backwards"),
        ("10.0.0.1-::1", "mixes IPv4 and IPv6"),
        ("10.0.0.1,::1", "mixes IPv4 and IPv6"),
        ("10.0.0.0/8", "more than 65,536"),
        ("10.0.0.0-10.1.0.0", "more than 65,536"),
        ("10.0.0.0/17,10.1.0.0/17,10.2.0.0/24", "more than 65,536"),
        ("fd00::/64", "more than 65,536"),
    ],
)
def test_bad_sources_are_told_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_sources(text)


def test_a_source_counts_once_however_often_it_is_named() -> None:
    assert parse_sources("10.0.0.1,10.0.0.1-10.0.0.2,10.0.0.1") == ["10.0.0.1", "10.0.0.2"]


def test_as_many_sources_as_are_allowed() -> None:
    assert len(parse_sources("10.0.0.0-10.0.255.255")) == SOURCES_MAX


def test_few_loopback_connections_leave_the_source_to_the_kernel() -> None:
    plan = plan_addresses(3_000, LOOPBACK, [], 14_116)
    assert plan.sources is None
    assert plan.rows(np.arange(5))[0] is None


def test_a_million_on_loopback_bring_their_own_sources() -> None:
    plan = plan_addresses(1_000_000, LOOPBACK, [], 14_116)
    assert plan.sources is not None
    hosts = {unpack(AF_INET, bytes(row)).host for row in plan.sources.rows}
    assert len(hosts) == len(plan.sources)
    assert all(host.startswith("127.") for host in hosts)
    assert not hosts & {"127.0.0.1", "127.0.0.0", "127.255.255.255"}
    assert -(-1_000_000 // plan.triples) <= 14_116


def test_given_sources_are_used_also_where_one_would_do() -> None:
    plan = plan_addresses(10, LOOPBACK, ["127.0.0.9"], 100)
    sources, _ = plan.rows(np.arange(10))
    assert sources is not None
    assert {unpack(AF_INET, bytes(row)).host for row in sources.rows} == {"127.0.0.9"}


@pytest.mark.parametrize(
    ("sources", "targets", "fits", "more"),
    [
        ([], ELSEWHERE, "14,116", "71"),
        (["10.0.0.1", "10.0.0.2"], ELSEWHERE, "28,232", "71"),
        (["127.0.0.2"], LOOPBACK, "14,116", "71"),
        ([], [Endpoint(AF_INET6, "2001:db8::1", port) for port in (8001, 8002)], "28,232", "36"),
    ],
)
def test_too_few_sources_say_how_many_fit_and_how_many_are_needed(
    sources: list[str], targets: list[Endpoint], fits: str, more: str
) -> None:
    with pytest.raises(LimitError) as caught:
        plan_addresses(1_000_000, targets, sources, 14_116)
    assert f"carry {fits} " in caught.value.message
    assert f"Give {more} source addresses" in caught.value.remedy


def test_a_remedy_is_one_that_is_there() -> None:
    """lo has one IPv6 address: more sources cannot be given there."""
    with pytest.raises(LimitError) as caught:
        plan_addresses(250, [Endpoint(AF_INET6, "::1", 8001)], [], 100)
    assert "--source" not in caught.value.remedy
    assert "Use 127.0.0.1" in caught.value.remedy and "on 3 ports" in caught.value.remedy


def test_even_loopback_has_an_end_and_it_is_found_without_making_the_rows() -> None:
    with pytest.raises(LimitError, match=r"carry [0-9,]+ ") as caught:
        plan_addresses(10**12, LOOPBACK, [], 1)
    assert "1,000,000,000,000" in caught.value.message


def test_the_same_target_twice_is_one_target() -> None:
    with pytest.raises(LimitError, match="carry 100 "):
        plan_addresses(200, ELSEWHERE * 2, [], 100)


def test_families_are_not_mixed() -> None:
    with pytest.raises(UsageError, match="mix address families"):
        plan_addresses(1, [*LOOPBACK, Endpoint(AF_INET6, "::1", 8001)], [], 100)
    with pytest.raises(UsageError, match="not of the target's"):
        plan_addresses(1, LOOPBACK, ["::1"], 100)


def test_an_empty_port_range_is_told() -> None:
    with pytest.raises(LimitError, match="range is empty"):
        plan_addresses(1, LOOPBACK, [], 0)


def test_unix_sockets_have_no_ports_and_no_sources() -> None:
    targets = [Endpoint(AF_UNIX, path="/run/a"), Endpoint(AF_UNIX, path="/run/longer")]
    plan = plan_addresses(1_000_000, targets, [], 1)
    sources, destinations = plan.rows(np.arange(3))
    assert sources is None
    paths = [unpack(AF_UNIX, bytes(row)).path for row in destinations.rows]
    assert paths == ["/run/a", "/run/longer", "/run/a"]
    with pytest.raises(UsageError, match="no source addresses"):
        plan_addresses(1, targets, ["10.0.0.1"], 1)
