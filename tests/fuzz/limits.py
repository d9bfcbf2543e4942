"""Random limits of a server: those that can be meant are taken, others are refused in a sentence;
and who is in a network is whom Python's ipaddress has in it."""

from __future__ import annotations

import ipaddress
import struct
from random import Random
from typing import Any

import numpy as np

from c1m.addresses import AF_INET, AF_INET6
from c1m.errors import UsageError
from c1m.guard.networks import Networks, network_of, number_of
from c1m.guard.options import OPTIONS, Limits
from c1m.guard.sources import Sources

ODD: tuple[Any, ...] = (
    None, "", "0", 0, 1, -1, 5, 1 << 40, 1 << 70, 0.5, float("nan"), float("inf"), True, b"x", [],
    "1k", "10s", "1ms", "9h", "5/s", "1M", "1K", "wait", "refuse", "é", "\0", "32,64", "8,16",
    "0,0", "33,65", "32", ",", "a,b", "9" * 40, "-1s", "1e9", ["10.0.0.0/8"], "::1", ["::/0", "x"],
    {"a": 1}, object(), ["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"], ("1.2.3.4",), [5],
)  # fmt: skip
PORT = 4242
HOSTS = ("10.0.0.1", "10.255.255.255", "0.0.0.0", "255.255.255.255", "127.0.0.1", "192.0.2.77")
HOSTS6 = ("::", "::1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1", ":".join(["ffff"] * 8))


def run(random: Random) -> int:
    """One execution; how many values it was about."""
    names = random.sample([option.name for option in OPTIONS], random.randrange(1, 5))
    given = {name: random.choice(ODD) for name in names}
    try:
        limits = Limits(**given)
    except UsageError as error:
        assert error.message, given
    else:
        limits.any(), limits.networks(), limits.source_widths()
        for name in names:
            limits.value(name)
    return len(given) + _networks(random) + _sources(random)


def _networks(random: Random) -> int:
    texts = [_network(random) for _ in range(random.randrange(6))]
    nets = []
    for text in texts:
        try:
            nets.append(network_of(text, "--allow"))
        except UsageError:
            continue
    found = Networks(nets)
    for _ in range(8):
        address = ipaddress.ip_address(_host(random))
        plain = getattr(address, "ipv4_mapped", None) or address
        wanted = any(_plainly_in(plain, net) for net in nets)
        assert found.have(number_of(_sockaddr(address))) == wanted, (texts, address)
    return len(texts)


def _plainly_in(address: Any, net: Any) -> bool:
    mapped = net.version == 6 and net.network_address.ipv4_mapped
    if mapped and net.prefixlen >= 96:
        net = ipaddress.ip_network(f"{mapped}/{net.prefixlen - 96}")
    return address.version == net.version and address in net


def _network(random: Random) -> str:
    host = random.choice((*HOSTS, *HOSTS6)) if random.random() < 0.7 else _host(random)
    bits = random.choice((0, 1, 8, 24, 31, 32, 33, 64, 95, 96, 104, 127, 128, 129, -1))
    ends = (f"/{bits}", f"/{bits}", "", "/255.0.0.0", "/", "%eth0", " ", "/x")
    return host + random.choice(ends)


def _host(random: Random) -> str:
    if random.random() < 0.5:
        return random.choice((*HOSTS, *HOSTS6))
    if random.random() < 0.5:
        return str(ipaddress.IPv4Address(random.getrandbits(32)))
    return str(ipaddress.IPv6Address(random.getrandbits(128)))


def _sockaddr(address: Any) -> bytes:
    if address.version == 4:
        return struct.pack("=HH4s8x", AF_INET, PORT, address.packed)
    return struct.pack("=HHI16sI", AF_INET6, PORT, 0, address.packed, 0)


def _sources(random: Random) -> int:
    """Counts of sources are those of the plainest dict, and nothing is left in the end."""
    most, v4_bits, v6_bits = (
        random.randrange(1, 4),
        random.randrange(1, 33),
        random.randrange(1, 65),
    )
    sources, there = Sources(most, 16, v4_bits, v6_bits), dict[int, Any]()
    for slot in [random.randrange(16) for _ in range(40)]:
        if slot in there:
            sources.give_back(np.array([slot], np.int32))
            del there[slot]
            continue
        address = ipaddress.ip_address(random.choice((*HOSTS, *HOSTS6)))
        plain = getattr(address, "ipv4_mapped", None) or address
        bits = v4_bits if plain.version == 4 else v6_bits
        source = ipaddress.ip_network(f"{plain}/{bits}", strict=False)
        may = sum(each == source for each in there.values()) < most
        assert sources.take(slot, number_of(_sockaddr(address))) == may, (most, source, there)
        if may:
            there[slot] = source
    sources.give_back(np.array([*there], np.int32))
    assert len(sources) == 0
    return 40
