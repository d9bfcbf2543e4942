"""AUTH and SELECT before a connection counts as open; then bytes as they are."""

from __future__ import annotations

import numpy as np
import pytest

from c1m.engine.ragged import Ragged
from c1m.limits.reasons import AUTH_REFUSED, NOT_REDIS, SELECT_REFUSED, failures_of
from c1m.loadgen.schemes.known import meant
from c1m.loadgen.transports.base import Taken
from c1m.loadgen.transports.login import LINE_MAX, LoginTransport
from c1m.results.options import LoadOptions

BOTH = [[b"AUTH", b"me", b"secret"], [b"SELECT", b"3"]]
SAID = b"*3\r\n$4\r\nAUTH\r\n$2\r\nme\r\n$6\r\nsecret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n"
GOOD = b"+OK\r\n+OK\r\n"


def opened(count: int = 3) -> LoginTransport:
    transport = LoginTransport(count, BOTH, "secret")
    numbers, said = transport.opened(np.arange(count))
    assert numbers.tolist() == list(range(count))
    assert said.pieces() == [SAID] * count
    return transport


def take(transport: LoginTransport, *pieces: tuple[int, bytes]) -> Taken:
    numbers = np.array([number for number, _ in pieces], np.int64)
    return transport.take(numbers, Ragged.of([piece for _, piece in pieces]))


def heard(taken: Taken) -> list[tuple[int, bytes]]:
    return [
        pair for numbers, data in taken.messages
        for pair in zip(numbers.tolist(), data.pieces(), strict=True)
    ]  # fmt: skip


def test_open_when_all_is_answered_in_whatever_pieces() -> None:
    transport = opened()
    assert take(transport, (0, GOOD)).ready.tolist() == [0]
    for byte in GOOD[:-1]:
        assert not len(take(transport, (1, bytes([byte]))).ready)
    taken = take(transport, (0, b"+PONG\r\n"), (1, GOOD[-1:] + b"+A"), (1, b"B"), (2, b"+OK\r\n"))
    assert taken.ready.tolist() == [1]
    assert sorted(heard(taken)) == [(0, b"+PONG\r\n"), (1, b"+A"), (1, b"B")]
    assert take(transport, (2, b"+OK\r\n")).ready.tolist() == [2]


def test_when_all_are_open_nothing_is_looked_at() -> None:
    transport = opened(1)
    take(transport, (0, GOOD))
    numbers, data = np.zeros(1, np.int64), Ragged.of([b"-ERR no login\r\n"])
    taken = transport.take(numbers, data)
    assert taken.messages[0][1] is data
    assert transport.wrap(numbers, data) is data


@pytest.mark.parametrize(
    ("reply", "reason", "said"),
    [
        (b"-WRONGPASS invalid username-password pair\r\n-NOAUTH\r\n", AUTH_REFUSED, "WRONGPASS"),
        (b"-ERR unknown command 'AUTH' with 'me' 'secret'\r\n", AUTH_REFUSED, "'me' '***'"),
        (b"+OK\r\n-ERR DB index is out of range\r\n", SELECT_REFUSED, "out of range"),
        (b"HTTP/1.1 400 Bad Request\r\n", NOT_REDIS, "HTTP/1.1"),
        (b"\x15\x03\x01", NOT_REDIS, "\x15"),
        (b"+" + b"x" * LINE_MAX, NOT_REDIS, "xxx"),
    ],
)
def test_what_is_refused_in_the_servers_words(reply: bytes, reason: int, said: str) -> None:
    transport = opened()
    taken = take(transport, (1, reply), (1, b"+OK\r\n"))
    assert taken.failed == [(1, reason)]
    assert not len(taken.ready) and not heard(taken)
    assert said in taken.said[reason]
    assert "secret" not in failures_of("handshake", {reason: 1}, taken.said)[0].text
    transport.gone(np.array([1]))
    assert take(transport, (0, GOOD), (2, GOOD)).ready.tolist() == [0, 2]
    assert not transport._shaking
    transport.opened(np.array([1]))  # again
    assert take(transport, (1, GOOD)).ready.tolist() == [1]


def test_a_connection_that_ended_in_its_login_is_forgotten() -> None:
    transport = opened(1)
    take(transport, (0, b"+O"))
    transport.gone(np.array([0]))
    transport.opened(np.array([0]))
    assert take(transport, (0, GOOD)).ready.tolist() == [0]


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("redis://:pass@a", [b"AUTH", b"pass"]),
        ("redis://p%40ss@a/0", [b"AUTH", b"p@ss"]),
        ("redis://m%C3%A9:@a", [b"AUTH", "m\u00e9".encode(), b""]),
        ("redis://a/12", [b"SELECT", b"12"]),
    ],
)
def test_what_a_url_means(target: str, said: list[bytes]) -> None:
    scheme, options = meant(LoadOptions(targets=[target]))
    scenario = scheme.scenario_for(options)
    transport = scheme.transport(scenario, 1, options)
    assert transport is not None
    parts = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in said)
    _, first = transport.opened(np.zeros(1, np.int64))
    assert first.pieces() == [b"*%d\r\n" % len(said) + parts]


@pytest.mark.parametrize("target", ["redis://a", "redis://@a/", "redis://a/0"])
def test_a_url_that_asks_for_nothing(target: str) -> None:
    scheme, options = meant(LoadOptions(targets=[target]))
    assert scheme.transport(scheme.scenario_for(options), 1, options) is None
