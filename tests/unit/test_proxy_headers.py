"""PROXY headers one by one: what is read of each, and what is wrong with others."""

from __future__ import annotations

import pytest

from c1m.protocols.proxy import V2_MAX, Broken, ClientTLS, Header, Wrong, crc32c, read
from proxy_headers import (
    AUTHORITY,
    NOOP,
    TLS,
    TLS_NAME,
    TLS_VERSION,
    binary,
    binary_of,
    checksum,
    client_tls,
    field,
    line,
    sockaddr,
    with_checksum,
)

IPV4 = ("192.0.2.7", 51000), ("198.51.100.1", 443)
IPV6 = ("2001:db8::7", 51000), ("::ffff:198.51.100.1", 443)


@pytest.mark.parametrize("ends", [IPV4, IPV6])
@pytest.mark.parametrize("make", [line, binary])
def test_addresses_of_both_families_and_forms(make, ends) -> None:  # type: ignore[no-untyped-def]
    header, (source, destination) = make(*ends), ends
    found = read(header + b"GET / HTTP/1.1")
    assert found is not None and found.size == len(header)
    assert found.source == sockaddr(*source) and found.destination == sockaddr(*destination)
    assert all(read(header[:size]) is None for size in range(len(header)))


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN ffff:f anything 65535\r\n",
        binary_of(0x20, 0x00),
        binary_of(0x20, 0x77, b"to be passed over"),
        binary_of(0x21, 0x00),
        binary_of(0x21, 0x00, b"addresses of no known form"),
        binary_of(0x21, 0x10, bytes(12)),
    ],
)
def test_the_connections_own_addresses_are_meant(header: bytes) -> None:
    found = read(header + b"x")
    assert found == Header(len(header), found.version if found else 0)
    assert found.source is None and found.destination is None


def test_a_client_over_a_unix_socket_has_no_address() -> None:
    assert read(binary_of(0x21, 0x31, bytes(216))) == Header(232, 2, b"", b"")


LONGEST = b"PROXY UNKNOWN " + b"f" * 91 + b"\r\n"


def test_the_longest_line() -> None:
    assert len(LONGEST) == 107 and read(LONGEST) == Header(107, 1)


TCP4 = b"PROXY TCP4 "


@pytest.mark.parametrize(
    ("stream", "wrong"),
    [
        (b"GET / HTTP/1.1\r\n", Wrong.NO_HEADER),
        (b"\x16\x03\x01", Wrong.NO_HEADER),
        (b"proxy TCP4", Wrong.NO_HEADER),
        (b"PROXY\r\n", Wrong.NO_HEADER),
        (b"\r\n\r\n\0\r\nQUIX", Wrong.NO_HEADER),
        (LONGEST[:-2] + b"ff", Wrong.LINE_LENGTH),
        (LONGEST[:-2] + b"f\r\n", Wrong.LINE_LENGTH),
        (TCP4 + b"1.2.3.4 1.2.3.4 1 2\n", Wrong.LINE_END),
        (TCP4 + b"1.2.3.4 1.2.3.4 1 2\r\r\n", Wrong.LINE_END),
        (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", Wrong.LINE_FAMILY),
        (b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", Wrong.LINE_FAMILY),
        (b"PROXY \r\n", Wrong.LINE_FAMILY),
        (TCP4 + b"1.2.3.4 1.2.3.4 1\r\n", Wrong.LINE_FIELDS),
        (TCP4 + b"1.2.3.4 1.2.3.4 1 2 3\r\n", Wrong.LINE_FIELDS),
        (TCP4 + b"1.2.3.4 1.2.3.4 1 2 \r\n", Wrong.LINE_FIELDS),
        (TCP4 + b"1.2.3.4  1.2.3.4 1 2\r\n", Wrong.LINE_FIELDS),
        (TCP4 + b"1.2.3.4\t1.2.3.4 1 2\r\n", Wrong.LINE_FIELDS),
        (TCP4 + b"1.2.3.256 1.2.3.4 1 2\r\n", Wrong.LINE_ADDRESS),
        (TCP4 + b"1.2.3 1.2.3.4 1 2\r\n", Wrong.LINE_ADDRESS),
        (TCP4 + b"1.2.3.04 1.2.3.4 1 2\r\n", Wrong.LINE_ADDRESS),
        (TCP4 + b"::1 ::1 1 2\r\n", Wrong.LINE_ADDRESS),
        (b"PROXY TCP6 1.2.3.4 ::1 1 2\r\n", Wrong.LINE_ADDRESS),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", Wrong.LINE_ADDRESS),
        (b"PROXY TCP6 1::2::3 ::1 1 2\r\n", Wrong.LINE_ADDRESS),
        (TCP4 + b"1.2.3.4 1.2.3.4 65536 2\r\n", Wrong.LINE_PORT),
        (TCP4 + b"1.2.3.4 1.2.3.4 01 2\r\n", Wrong.LINE_PORT),
        (TCP4 + b"1.2.3.4 1.2.3.4 +1 2\r\n", Wrong.LINE_PORT),
        (TCP4 + b"1.2.3.4 1.2.3.4 1 \xb2\r\n", Wrong.LINE_PORT),
        (binary_of(0x11, 0x11, bytes(12)), Wrong.VERSION),
        (binary_of(0x22, 0x11, bytes(12)), Wrong.COMMAND),
        (binary_of(0x21, 0x41, bytes(12)), Wrong.FAMILY),
        (binary_of(0x21, 0x13, bytes(12)), Wrong.FAMILY),
        (binary_of(0x21, 0x11, bytes(V2_MAX - 15)), Wrong.TOO_LONG),
        (binary_of(0x21, 0x11, bytes(11)), Wrong.TOO_SHORT),
        (binary_of(0x21, 0x21, bytes(35)), Wrong.TOO_SHORT),
        (binary_of(0x21, 0x31, bytes(215)), Wrong.TOO_SHORT),
        (binary(*IPV4, b"\x02\0"), Wrong.FIELD),
        (binary(*IPV4, b"\x02\0\x02x"), Wrong.FIELD),
        (binary(*IPV4, field(TLS, bytes(4))), Wrong.FIELD),
        (binary(*IPV4, client_tls(1, 0, b"\x21\0\x09TLSv1.3")), Wrong.FIELD),
        (binary(*IPV4, field(3, bytes(4))), Wrong.CHECKSUM),
        (binary(*IPV4, field(3, b"")), Wrong.CHECKSUM),
    ],
)
def test_what_is_wrong_has_a_reason(stream: bytes, wrong: Wrong) -> None:
    with pytest.raises(Broken) as raised:
        read(stream)
    assert raised.value.wrong is wrong and str(raised.value) == wrong.value
    assert wrong.value.endswith(".")


def test_a_header_that_is_wrong_is_not_waited_for() -> None:
    for stream in (b"P\r", b"GET", b"\r\n\r\n\r", binary_of(0x21, 0x41, bytes(12))[:16]):
        with pytest.raises(Broken):
            read(stream)


def test_further_fields() -> None:
    tls = client_tls(7, 0, field(TLS_VERSION, b"TLSv1.3"), field(TLS_NAME, "Jürgen".encode()))
    fields = field(NOOP, b"12") + field(AUTHORITY, b"kv.example") + field(0xE3, b"own") + tls
    found = read(with_checksum(binary(*IPV4, fields)) + b"rest")
    assert found is not None and found.authority == "kv.example"
    assert found.tls == ClientTLS("TLSv1.3", is_verified=True, common_name="Jürgen")


@pytest.mark.parametrize(
    ("client", "verify", "is_verified"),
    [(1, 0, False), (3, 0, True), (5, 0, True), (3, 18, False), (1, 1, False)],
)
def test_a_client_is_verified_that_has_shown_a_certificate(
    client: int, verify: int, is_verified: bool
) -> None:
    found = read(binary(*IPV4, client_tls(client, verify)))
    assert found is not None and found.tls == ClientTLS(is_verified=is_verified)


def test_a_client_without_tls() -> None:
    found = read(binary(*IPV4, client_tls(0, 1)))
    assert found is not None and found.tls is None


def test_the_checksum_is_the_one_of_the_specification() -> None:
    """RFC 3720, B.4."""
    assert crc32c(bytes(32)) == checksum(bytes(32)) == 0x8A9136AA
    assert crc32c(b"123456789") == checksum(b"123456789") == 0xE3069283
