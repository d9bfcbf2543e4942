"""addresses: endpoints as text, socket addresses as rows in the kernel's layout."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.addresses import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    PORTS_MAX,
    SUN_PATH_MAX,
    Endpoint,
    family_of,
    pack,
    pack_ipv4,
    pack_many,
    parse_url,
    unpack,
)
from c1m.errors import UsageError


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tcp://127.0.0.1:8001", ("tcp", "127.0.0.1", 8001, 8001)),
        ("tcp://127.0.0.1:8001/", ("tcp", "127.0.0.1", 8001, 8001)),
        ("tcp://0.0.0.0:8001-8030", ("tcp", "0.0.0.0", 8001, 8030)),
        ("tcp://[::1]:80", ("tcp", "::1", 80, 80)),
        ("TCP://127.0.0.1:80", ("tcp", "127.0.0.1", 80, 80)),
        ("127.0.0.1:80", ("tcp", "127.0.0.1", 80, 80)),
        ("localhost:8001-8030", ("tcp", "localhost", 8001, 8030)),
        ("[::1]:80", ("tcp", "::1", 80, 80)),
        ("UNIX:///run/A.sock", ("unix", "/run/A.sock", 0, 0)),
        ("tcp://localhost:0", ("tcp", "localhost", 0, 0)),
        ("http://127.0.0.1:80", ("http", "127.0.0.1", 80, 80)),
        ("HTTPS://127.0.0.1:80", ("https", "127.0.0.1", 80, 80)),
        ("unix:///run/c1m.sock", ("unix", "/run/c1m.sock", 0, 0)),
    ],
)
def test_parse_url(text: str, parts: tuple[str, str, int, int]) -> None:
    assert parse_url(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "", "80", ":80", "/run/c1m.sock", "ftp://127.0.0.1:80", "tcp://127.0.0.1", "tcp://:80",
        "ws://127.0.0.1:80", "wss://127.0.0.1:80", "http://127.0.0.1:80/path",
        "tcp://[]:80", "tcp://::1:80", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:9-8",
        "tcp://127.0.0.1:0-5", f"tcp://127.0.0.1:1-{PORTS_MAX + 1}", "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:80/path", "tcp://a\0b:80", "tcp://127.0.0.1:80\n", "unix:///\udcff",
        "unix://relative", "unix://", "unix:///" + "x" * SUN_PATH_MAX,
    ],
)  # fmt: skip
def test_what_is_no_endpoint_is_a_usage_error_that_shows_it(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_url(text)
    assert repr(text) in caught.value.message
    assert caught.value.remedy


@given(st.text(max_size=40))
def test_parse_url_accepts_or_raises_usage_error(text: str) -> None:
    for form in (text, f"tcp://{text}", f"unix://{text}"):
        try:
            scheme, host, first, last = parse_url(form)
        except UsageError:
            continue
        assert scheme in ("tcp", "unix")
        assert host
        assert 0 <= first <= last <= 65535


@pytest.mark.parametrize(
    "endpoint",
    [
        Endpoint(AF_INET, "127.0.0.1", 8001),
        Endpoint(AF_INET6, "fe80::1", 65535),
        Endpoint(AF_UNIX, path="/run/c1m.sock"),
    ],
)
def test_an_endpoint_that_is_written_can_be_read(endpoint: Endpoint) -> None:
    scheme, host, first, _ = parse_url(str(endpoint))
    if scheme == "unix":
        assert Endpoint(AF_UNIX, path=host) == endpoint
    else:
        assert Endpoint(family_of(host) or 0, host, first) == endpoint
    assert unpack(endpoint.family, pack(endpoint)) == endpoint


def test_family_of() -> None:
    assert family_of("10.0.0.1") == AF_INET
    assert family_of("::1") == AF_INET6
    assert family_of("fe80::1%eth0") == AF_INET6
    assert family_of("localhost") is None
    assert (AF_UNIX, AF_INET, AF_INET6) == (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)


def test_a_row_is_the_kernels_struct_sockaddr() -> None:
    assert pack(Endpoint(AF_INET, "127.1.2.3", 0x1234)) == bytes(
        [2, 0, 0x12, 0x34, 127, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0]
    )
    row = pack(Endpoint(AF_INET6, "::1", 0x1234))
    assert row == bytes([10, 0, 0x12, 0x34, *[0] * 4, *[0] * 15, 1, *[0] * 4])
    assert pack(Endpoint(AF_UNIX, path="/a")) == b"\x01\x00/a\x00"


@given(st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 65535)), max_size=20))
def test_pack_many_ipv4_is_pack_of_each(pairs: list[tuple[object, int]]) -> None:
    hosts, ports = [str(host) for host, _ in pairs], [port for _, port in pairs]
    rows = pack_many(AF_INET, hosts, ports)
    assert rows.rows.shape == (len(pairs), 16)
    assert len(rows) == len(pairs)
    for index, (host, port) in enumerate(zip(hosts, ports, strict=True)):
        endpoint = Endpoint(AF_INET, host, port)
        assert rows.rows[index].tobytes() == pack(endpoint)
        assert unpack(AF_INET, rows.rows[index].tobytes()) == endpoint


@given(st.lists(st.tuples(st.ip_addresses(v=6), st.integers(0, 65535)), max_size=20))
def test_pack_many_ipv6_is_pack_of_each(pairs: list[tuple[object, int]]) -> None:
    hosts, ports = [str(host) for host, _ in pairs], [port for _, port in pairs]
    rows = pack_many(AF_INET6, hosts, ports)
    assert rows.rows.shape == (len(pairs), 28)
    for index, (host, port) in enumerate(zip(hosts, ports, strict=True)):
        assert unpack(AF_INET6, rows.rows[index].tobytes()) == Endpoint(AF_INET6, host, port)


def test_pack_ipv4_takes_numbers() -> None:
    rows = pack_ipv4(np.array([0x7F000001, 0x7F010203], np.uint32), np.array([1, 2], np.uint16))
    assert [unpack(AF_INET, bytes(row)) for row in rows.rows] == [
        Endpoint(AF_INET, "127.0.0.1", 1),
        Endpoint(AF_INET, "127.1.2.3", 2),
    ]


def test_take_keeps_the_order_asked_for() -> None:
    rows = pack_many(AF_INET, ["127.0.0.1"] * 3, [1, 2, 3])
    taken = rows.take(np.array([2, 0]))
    assert [unpack(AF_INET, bytes(row)).port for row in taken.rows] == [3, 1]
    assert taken.size == 16


def test_a_bad_literal_is_a_value_error() -> None:
    with pytest.raises(ValueError):
        pack_many(AF_INET, ["localhost"], [1])
