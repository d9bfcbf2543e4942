"""The guard's pure parts against slow forms: the bucket, networks, sources."""

from __future__ import annotations

import ipaddress
from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.addresses import AF_INET, AF_INET6, pack_many
from c1m.guard.bucket import Bucket
from c1m.guard.networks import NO_ADDRESS, Networks, network_of, number_of
from c1m.guard.sources import Sources
from c1m.units import NS_PER_S

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Few bits differ, so that networks meet each other and addresses meet networks.
V4 = st.integers(0, 255).map(lambda n: ipaddress.IPv4Address((10 << 24) + (n >> 4 << 20) + n % 16))
V6 = st.integers(0, 255).map(
    lambda n: ipaddress.IPv6Address((0x20010DB8 << 96) + (n >> 4 << 60) + n % 16)
)
MAPPED = V4.map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}"))
ADDRESSES = st.one_of(V4, V6, MAPPED)
NETWORKS = st.one_of(
    st.tuples(V4, st.integers(0, 32)),
    st.tuples(V6, st.integers(0, 128)),
    st.tuples(MAPPED, st.integers(96, 128)),
).map(lambda pair: f"{pair[0]}/{pair[1]}")


def sockaddr(address: Address) -> bytes:
    family = AF_INET if address.version == 4 else AF_INET6
    return bytes(pack_many(family, [str(address)], [40_000]).rows[0])


def plain(address: Address) -> Address:
    return getattr(address, "ipv4_mapped", None) or address


def has(text: str, address: Address) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= 96:
        network = ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return plain(address) in network


@given(st.lists(NETWORKS, max_size=12), st.lists(ADDRESSES, min_size=1, max_size=20))
def test_networks(texts: list[str], addresses: list[Address]) -> None:
    networks = Networks(network_of(text, "allow") for text in texts)
    assert bool(networks) == bool(texts)
    for address in addresses:
        expected = any(has(text, address) for text in texts)
        assert networks.have(number_of(sockaddr(address))) == expected


@given(
    st.integers(1, 1_000_000),
    st.integers(1, 1_000),
    st.lists(st.tuples(st.integers(0, NS_PER_S), st.integers(0, 50)), max_size=40),
)
def test_a_bucket(rate: int, burst: int, steps: list[tuple[int, int]]) -> None:
    """As a bucket of fractions; who comes only when there is a token comes no more than `rate` a
    second and a burst."""
    now_ns, came = 0, 0
    bucket, exact = Bucket(rate, burst, 0), Fraction(burst)
    for passed_ns, wanted in steps:
        now_ns += passed_ns
        exact = min(exact + Fraction(passed_ns * rate, NS_PER_S), Fraction(burst))
        tokens = bucket.tokens(now_ns)
        assert abs(tokens - exact) < 1.001
        count = min(wanted, max(tokens, 0))
        bucket.take(count)
        exact -= count
        came += count
        assert came <= burst + now_ns * rate / NS_PER_S + 1
        due_ns = bucket.due_ns(wanted)
        assert (due_ns > 0) == (min(wanted, burst) > exact) or abs(wanted - exact) < 0.001
        if due_ns:
            later = Bucket(rate, burst, 0)
            later.take(burst - float(exact))  # type: ignore[arg-type]
            assert later.tokens(due_ns + 1_000) >= min(wanted, burst) - 1


@given(
    st.integers(1, 3),
    st.integers(8, 32),
    st.integers(16, 64),
    st.lists(st.one_of(ADDRESSES, st.integers(0, 30)), max_size=80),
)
def test_sources(most: int, v4_bits: int, v6_bits: int, steps: list[Address | int]) -> None:
    """An address comes, or a connection goes, by its place among those that are there."""
    sources, there = Sources(most, 100, v4_bits, v6_bits), dict[int, object]()
    for slot, step in enumerate(steps):
        if isinstance(step, int):
            going = np.array(sorted(there)[:step], np.int32)
            sources.give_back(going)
            for each in going.tolist():
                del there[each]
        else:
            address = plain(step)
            bits = v4_bits if address.version == 4 else v6_bits
            whose = ipaddress.ip_network(f"{address}/{bits}", strict=False)
            count = Counter(there.values())[whose]
            assert sources.take(slot, number_of(sockaddr(step))) == (count < most)
            if count < most:
                there[slot] = whose
        assert len(sources) == len(set(there.values()))


def test_who_has_no_address() -> None:
    assert number_of(b"") == NO_ADDRESS == number_of(b"\x01\x00")
    assert not Networks([network_of("::/0", "deny")]).have(NO_ADDRESS)


def test_the_hosts_own_address_of_ipv6_is_a_source() -> None:
    sources, own = Sources(1, 10), number_of(sockaddr(ipaddress.IPv6Address("::1")))
    assert sources.take(0, own) and not sources.take(1, own)
