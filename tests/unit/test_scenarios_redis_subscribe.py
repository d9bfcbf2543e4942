"""Scenario redis-subscribe: first requests, publications, and what is not as it should be."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.scenarios.ledger import OUTCOMES, Resolved
from c1m.scenarios.loader import find_scenario, rehearse
from c1m.scenarios.redis_subscribe import PONG, RedisSubscribe, SubscribedExchange

CHANNEL = b"c1m:00000007"
SUBSCRIBED = b"*3\r\n$9\r\nsubscribe\r\n$12\r\n" + CHANNEL + b"\r\n:1\r\n"


def exchange(count: int = 4) -> tuple[RedisSubscribe, SubscribedExchange]:
    """Connections that have just opened: the first ones publish."""
    scenario = RedisSubscribe()
    scenario.begin(count, 7)
    made = scenario.exchange(count, 1)
    assert isinstance(made, SubscribedExchange)
    made.opened(np.arange(count))
    return scenario, made


def say(made: SubscribedExchange, *numbers: int) -> list[bytes]:
    return made.requests(np.array(numbers))[0].pieces()


def take(made: SubscribedExchange, *pieces: tuple[int, bytes]) -> Resolved:
    numbers = np.array([n for n, _ in pieces], np.int64)
    return made.take(numbers, Ragged.of([p for _, p in pieces]))


def outcomes(resolved: Resolved) -> list[tuple[int, int, str]]:
    assert resolved.outcomes is not None
    rows = zip(
        resolved.numbers.tolist(), resolved.seqs.tolist(), resolved.outcomes.tolist(), strict=True
    )
    return [(number, seq, OUTCOMES[outcome]) for number, seq, outcome in rows]


def copy_of(said: bytes) -> bytes:
    """What a subscriber is sent for a PUBLISH."""
    return said.replace(b"$7\r\nPUBLISH", b"$7\r\nmessage")


def test_all_say_something_first_and_publishers_do_not_subscribe() -> None:
    _, made = exchange(3)
    assert not made.ledger.in_flight
    ping, *subscribes = say(made, 0, 1, 2)
    assert ping == b"*1\r\n$4\r\nPING\r\n"
    assert subscribes == [b"*2\r\n$9\r\nSUBSCRIBE\r\n$12\r\n" + CHANNEL + b"\r\n"] * 2
    came = take(made, (0, PONG), (1, SUBSCRIBED), (2, SUBSCRIBED[:10]))
    assert sorted(outcomes(came)) == [(0, 0, "right"), (1, 0, "right")]
    assert outcomes(take(made, (2, SUBSCRIBED[10:]))) == [(2, 0, "right")]
    assert made.is_free(np.arange(3)).tolist() == [True, False, False]


def test_a_publication_is_right_when_all_subscribers_have_it() -> None:
    scenario, made = exchange(4)
    say(made, 0, 1, 2, 3)
    take(made, (0, PONG), (1, SUBSCRIBED), (2, SUBSCRIBED))
    (said,) = say(made, 0)
    assert said.startswith(b"*3\r\n$7\r\nPUBLISH\r\n$12\r\n" + CHANNEL + b"\r\n$64\r\nclient 0 ")
    copy = copy_of(said)
    assert outcomes(take(made, (0, b":2\r\n"), (1, copy))) == []
    came = take(made, (2, copy[:30]), (2, copy[30:]), (3, SUBSCRIBED))
    assert sorted(outcomes(came)) == [(0, 1, "right"), (3, 0, "right")]
    told = scenario.fan_out()
    assert told is not None
    assert (told.published, told.expected, told.received) == (1, 2, 2)
    assert not made.ledger.extras and not made.ledger.faults


def test_what_is_wrong_is_found() -> None:
    scenario, made = exchange(4)
    say(made, 0, 1, 2, 3)
    came = take(made, (0, PONG), (1, SUBSCRIBED), (2, b"-ERR no\r\n"), (3, SUBSCRIBED))
    assert (2, 0, "garbled") in outcomes(came)
    (said,) = say(made, 0)
    copy = copy_of(said)
    take(made, (1, copy), (1, copy), (0, b"+OK\r\n"), (3, copy.replace(b"client", b"klient")))
    assert made.ledger.extras == {"doubled": 1, "unasked": 1}
    told = scenario.fan_out()
    assert told is not None and told.garbled == 1


def test_first_requests_that_are_given_up_and_connections_that_go() -> None:
    _, made = exchange(4)
    say(made, 0, 1, 2, 3)
    assert outcomes(made.give_up(np.array([1]), np.array([0]))) == [(1, 0, "missing")]
    assert outcomes(made.gone(np.array([2]))) == [(2, 0, "missing")]
    made.opened(np.array([2]))
    assert len(say(made, 2)) == 1
    assert outcomes(take(made, (2, SUBSCRIBED))) == [(2, 1, "right")]
    assert made.ledger.in_flight == 2


def test_it_can_be_asked_for_by_name() -> None:
    scenario = find_scenario("redis-subscribe", publishers=2, message="{n} {seq}")
    assert rehearse(scenario, 10, 7) > 64


@given(st.integers(0, 2**32))
def test_a_faultless_server_in_any_pieces(seed: int) -> None:
    """Connections subscribe at any time; streams come in any parts."""
    dice, count = Random(seed), 5
    scenario, made = exchange(count)
    streams = [b""] * count
    fresh = set(range(count))
    hears: set[int] = set()
    for _ in range(40):
        for number in list(fresh):
            if dice.random() < 0.3:
                fresh.remove(number)
                say(made, number)
                streams[number] += SUBSCRIBED if number else PONG
                hears |= {number} - {0}
        if 0 not in fresh and made.is_free(np.array([0]))[0] and hears:
            copy = copy_of(say(made, 0)[0])
            streams = [s + copy if n in hears else s for n, s in enumerate(streams)]
            streams[0] += b":%d\r\n" % len(hears)
        batch: list[tuple[int, bytes]] = []
        for number in dice.sample(range(count), dice.randint(0, count)):
            at = dice.choice([len(streams[number]), dice.randint(0, len(streams[number]))])
            if at:
                batch.append((number, streams[number][:at]))
            streams[number] = streams[number][at:]
        assert all(outcome == "right" for *_, outcome in outcomes(take(made, *batch)))
    take(made, *[(n, s) for n, s in enumerate(streams) if s])
    assert not made.ledger.faults
    told = scenario.fan_out()
    assert told is not None and told.received == told.expected
