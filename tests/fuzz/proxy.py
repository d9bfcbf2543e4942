"""Random PROXY headers: what is read is what the plainest reader reads, however much has come."""

from __future__ import annotations

from random import Random

from c1m.protocols.proxy import LINE_MAX, SIGNATURE, V2_MAX, Broken, Header, Wrong, read
from proxy_headers import (
    AUTHORITY,
    CHECKSUM,
    NOOP,
    TLS,
    TLS_NAME,
    TLS_VERSION,
    Address,
    binary,
    binary_of,
    client_tls,
    field,
    line,
    read_slowly,
    with_checksum,
)

from .streams import mutated

TOKENS = (b"PROXY ", b"TCP4", b"TCP6", b"UNKNOWN", b"\r\n", b"\r", b"\n", b" ", b"0", b"65536",
          b"255.255.255.255", b"::", b"ffff:", b"%eth0", b"\0", SIGNATURE, b"\x20", b"\x21",
          b"\x11", b"\x02\0\0", b"\xff\xff")  # fmt: skip
HOSTS = ("0.0.0.0", "255.255.255.255", "192.0.2.1")
HOSTS6 = ("::", "::1", "2001:db8::8:800:200C:417A", "::ffff:192.0.2.1", ":".join(["ffff"] * 8))
KINDS = (AUTHORITY, CHECKSUM, NOOP, TLS, TLS_VERSION, TLS_NAME, 0xEA)


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    stream = mutated(random, _header(random), TOKENS, 0.5) + random.randbytes(random.randrange(9))
    wanted = read_slowly(stream)
    got = _read(stream)
    assert got == wanted, (stream, got, wanted)
    size = got.size if isinstance(got, Header) else len(stream)
    if not isinstance(got, Wrong):  # what is waited for has a bound
        assert 0 <= size <= (LINE_MAX if stream[:1] == b"P" else V2_MAX)
    for end in sorted(random.randrange(len(stream) + 1) for _ in range(8)):
        early = _read(stream[:end])
        assert early in (None, got), (stream, end, early, got)
        assert early is None or end >= size or not isinstance(got, Header)
    return len(stream)


def _read(stream: bytes) -> Header | Wrong | None:
    try:
        return read(stream)
    except Broken as broken:
        return broken.wrong


def _header(random: Random) -> bytes:
    kind = random.random()
    if kind < 0.1:
        return binary_of(random.randrange(256), random.randrange(256), random.randbytes(40))
    if kind < 0.2:
        return b"PROXY UNKNOWN" + random.choice((b"", b" x" * random.randrange(50))) + b"\r\n"
    hosts = random.choice((HOSTS, HOSTS6))
    source, destination = _address(random, hosts), _address(random, hosts)
    if kind < 0.5:
        return line(source, destination)
    header = binary(source, destination, b"".join(map(_field, [random] * random.randrange(4))))
    return with_checksum(header) if random.random() < 0.5 else header


def _address(random: Random, hosts: tuple[str, ...]) -> Address:
    return random.choice(hosts), random.choice((0, 1, 443, 65535))


def _field(random: Random) -> bytes:
    if random.random() < 0.4:
        inner = [field(random.choice(KINDS), random.randbytes(4)) for _ in range(2)]
        return client_tls(random.randrange(8), random.choice((0, 1)), *inner)
    return field(random.choice(KINDS), random.randbytes(random.choice((0, 4, 4, 300, 5000))))
