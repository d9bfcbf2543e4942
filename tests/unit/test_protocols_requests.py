"""Requests as redis-server 7.0.15 reads them; what is right here is what it answered."""

from __future__ import annotations

import pytest

from c1m.protocols.resp.replies import command
from c1m.protocols.resp.requests import (
    ARGUMENTS_MAX,
    BULK_MAX,
    Args,
    RequestBounds,
    Requests,
    whole,
)
from resp_streams import Watched

ERROR = b"ERR Protocol error: "
GUEST = RequestBounds(is_guest=True)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (b"  PING  ", [b"PING"]),
        (b"PING\r", [b"PING"]),
        (b'ECHO "a b"', [b"ECHO", b"a b"]),
        (b"ECHO 'a b'", [b"ECHO", b"a b"]),
        (b"ECHO 'a\\'b'", [b"ECHO", b"a'b"]),
        (b"ECHO 'a\\x41\\n'", [b"ECHO", b"a\\x41\\n"]),
        (b'ECHO "\\x41\\n\\r\\t\\b\\a\\q\\\\\\""', [b"ECHO", b'A\n\r\t\b\aq\\"']),
        (b'ECHO "\\xzz\\x4"', [b"ECHO", b"xzzx4"]),
        (b'ECHO ""', [b"ECHO", b""]),
        (b'""', [b""]),
        (b'ECHO a"b"', [b"ECHO", b"ab"]),
        (b"ECHO a'b'", [b"ECHO", b"ab"]),
        (b"ECHO a\tb", [b"ECHO", b"a", b"b"]),
        (b"ECHO\ta\x0b", [b"ECHO", b"a\x0b"]),
        (b"ECHO \x0ca", [b"ECHO", b"a"]),
        (b"ECHO a\rb", [b"ECHO", b"a", b"b"]),
        (b'ECHO "a\rb"', [b"ECHO", b"a\rb"]),
        (b"ECHO a\xa0b\x85\x1c", [b"ECHO", b"a\xa0b\x85\x1c"]),
    ],
)
def test_inline(line: bytes, wanted: Args) -> None:
    assert Requests().feed(b"\r\n\n" + line + b"\n" + line + b"\r\n") == [wanted, wanted]


@pytest.mark.parametrize(
    "line", [b'ECHO "a', b'ECHO "a"b', b"ECHO 'a'b", b"ECHO '", b'ECHO "a\\', b'ECHO "a\\"', b"'"]
)
def test_quotes_that_do_not_close(line: bytes) -> None:
    requests = Requests()
    assert requests.feed(b"PING\r\n" + line + b"\r\nPING\r\n") == [[b"PING"]]
    assert requests.error == ERROR + b"unbalanced quotes in request"
    assert not requests.is_idle and requests.feed(b"PING\r\n") == []


@pytest.mark.parametrize(
    "stream",
    [
        b"*0\r\n",
        b"*-1\r\n",
        b"*-9223372036854775808\r\n",
        b"*1\r\n$4\r\nPINGxx",
        b"*1\rX$4\rYPINGxy",
    ],
)
def test_what_is_passed_over(stream: bytes) -> None:
    commands = Requests().feed(stream + b"PING\r\n")
    assert commands in ([[b"PING"]], [[b"PING"], [b"PING"]])


@pytest.mark.parametrize(
    ("stream", "error"),
    [
        (b"*%b\r\n" % count, b"invalid multibulk length")
        for count in (b"", b"a", b"+1", b"01", b"-0", b" 1", b"1 ", b"1\n", b"1\0", b"9" * 30)
    ]
    + [
        (b"*1\r\n$%b\r\n" % size, b"invalid bulk length")
        for size in (b"", b"-1", b"04", b"4 ", b"+4", b"a", b"9" * 30)
    ]
    + [
        (b"*%d\r\n" % (ARGUMENTS_MAX + 1), b"invalid multibulk length"),
        (b"*-9223372036854775809\r\n", b"invalid multibulk length"),
        (b"*1\r\n$%d\r\n" % (BULK_MAX + 1), b"invalid bulk length"),
        (b"*1\r\nPING\r\n", b"expected '$', got 'P'"),
        (b"*1\r\n\r\n", b"expected '$', got ' '"),
        (b"*1\r\n\n\r\n", b"expected '$', got ' '"),
        (b"*1\r\n\xff\r\n", b"expected '$', got '\xff'"),
        (b"*2\r\n$1\r\na\r\n*\r\n", b"expected '$', got '*'"),
        (b"*" + b"1" * 65536, b"too big mbulk count string"),
        (b"*1\r\n$" + b"1" * 65536, b"too big bulk count string"),
        (b"a" * 65537, b"too big inline request"),
        (b"a" * 65537 + b"\r\n", b"too big inline request"),
        (b"*2\r\n" + b"$536870912\r\n" + b"", None),
        (b"*%d\r\n" % ARGUMENTS_MAX, None),
        (b"*" + b"1" * 65535, None),
        (b"*1\r\n$" + b"1" * 65535, None),
        (b"a" * 65536, None),
        (b"*1\r\n!", None),
        (b"*1\n$4\nPING\n", None),
    ],
)
def test_protocol_errors(stream: bytes, error: bytes | None) -> None:
    for pieces in ([stream], [stream[:5], stream[5:]]):
        requests = Requests()
        assert [requests.feed(piece) for piece in pieces] == [[]] * len(pieces)
        assert requests.error == (error and ERROR + error)
        assert not requests.is_idle


def test_what_a_guest_may_send_and_that_it_may_send_more_afterwards() -> None:
    for stream, error in (
        (b"*11\r\n", b"unauthenticated multibulk length"),
        (b"*1\r\n$16385\r\n", b"unauthenticated bulk length"),
        (b"*10\r\n", None),
        (b"*1\r\n$16384\r\n", None),
    ):
        requests = Requests(GUEST)
        assert requests.feed(stream) == []
        assert requests.error == (error and ERROR + error)
    auth, many = [b"AUTH", b"x"], [b"DEL", *[b"k"] * 20]
    requests = Requests(GUEST)
    seen = []
    for args in requests.read(command(*auth) + command(*many)):
        seen.append(args)
        requests.bounds = RequestBounds()
    assert seen == [auth, many] and requests.is_idle


def test_one_command_has_a_bound_over_all_its_arguments() -> None:
    requests = Requests(RequestBounds(request=10_000))
    assert requests.feed(command(b"DEL", *[b"k"] * 190)) != []
    assert requests.feed(command(b"DEL", *[b"k"] * 300)) == []
    assert requests.error == ERROR + b"too big request"


def test_what_is_whole_is_cut_at_once() -> None:
    ping, get = command(b"PING"), command(b"GET", b"k")
    assert whole(get) == ([[b"GET", b"k"]], len(get))
    assert whole(ping + get + get[:-1]) == ([[b"PING"], [b"GET", b"k"]], len(ping + get))
    assert whole(ping + b"PING\r\n") == ([[b"PING"]], len(ping))
    assert whole(ping + command(b"SET", b"k", b"\r\n")) == ([], 0)
    assert whole(b"") == whole(b"P") == whole(b"PING\r\n") == ([], 0)


@pytest.mark.parametrize("size", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize(
    "stream",
    [
        command(b"SET", b"k", b"x" * 400_000),
        command(b"MSET", *[b"k"] * 40_000),
        command(b"GET", b"k") * 10_000,
        command(b"SET", b"k", b"\r\n") * 5_000,
        (command(b"GET", b"k") + command(b"SET", b"k", b"\r\n") + b"PING\r\n") * 3_000,
        (b"PING " + b"x" * 60_000 + b"\r\n") * 3,
        b"\r\n" * 50_000,
        b"*0\r\n" * 50_000,
        b"PING " + b"\r" * 60_000,
        b"*1\r\n" * 50_000,
    ],
    ids=[
        "bulk",
        "mset",
        "get",
        "line ends",
        "mixed",
        "inline",
        "empty",
        "none",
        "returns",
        "wrong",
    ],
)
def test_each_byte_is_looked_at_a_few_times(stream: bytes, size: int) -> None:
    requests = Requests()
    Watched.seen = 0
    for at in range(0, len(stream), size):
        requests.feed(Watched(stream[at : at + size]))
    assert Watched.seen <= 8 * len(stream)


@pytest.mark.parametrize("cut", range(12))
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\nPING\r\n"])
def test_a_client_that_speaks_tls_is_told_so_wherever_it_is_cut(cut: int, end: bytes) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + end
    requests = Requests()
    assert requests.feed(hello[:cut]) + requests.feed(hello[cut:]) == []
    assert requests.error == b"ERR Protocol error: this is TLS, and this port speaks none"
    requests = Requests()
    assert requests.feed(b"*1\r\n$3\r\n" + hello[:3] + b"\r\n") == [[hello[:3]]]
    assert requests.error is None
