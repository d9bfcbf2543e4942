"""Scenario publish: who has heard what, in batches and one at a time, and exact counts."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.scenarios.ledger import OUTCOMES, RIGHT, Resolved
from c1m.scenarios.message_rows import equal_to
from c1m.scenarios.publish import FanOutExchange, Publish

NEWS = "news {seq} of {n};"


def a_fan(count: int = 5, depth: int = 1, **options: object) -> tuple[Publish, FanOutExchange]:
    publish = Publish(NEWS, **options)  # type: ignore[arg-type]
    publish.begin(count, 0)
    fan = publish.exchange(count, depth)
    assert isinstance(fan, FanOutExchange)
    fan.opened(np.arange(count))
    return publish, fan


def say(fan: FanOutExchange, number: int = 0) -> bytes:
    return fan.requests(np.array([number]))[0].piece(0)


def hear(fan: FanOutExchange, *pieces: tuple[int, bytes]) -> list[str]:
    return names(take(fan, *pieces))


def take(fan: FanOutExchange, *pieces: tuple[int, bytes]) -> Resolved:
    numbers = np.array([n for n, _ in pieces], np.int64)
    return fan.take(numbers, Ragged.of([p for _, p in pieces]))


def names(resolved: Resolved) -> list[str]:
    outcomes = resolved.outcomes
    return ["right"] * len(resolved) if outcomes is None else [OUTCOMES[o] for o in outcomes]


def counts(publish: Publish) -> tuple[int, int, int]:
    told = publish.fan_out()
    assert told is not None
    assert told.reach == (told.received / told.expected if told.expected else None)
    return told.published, told.expected, told.received


def test_it_is_right_when_all_have_heard_it() -> None:
    publish, fan = a_fan()
    news = say(fan)
    assert pushed(take(fan, (1, news), (3, news))) == ([0], [0], [2])
    last = take(fan, (2, news), (4, news))
    assert names(last) == ["right"] and pushed(last) == ([0], [0], [2])
    assert pushed(take(fan)) == ([], [], [])
    assert counts(publish) == (1, 4, 4) and fan.ledger.in_flight == 0


def pushed(resolved: Resolved) -> tuple[list[int], ...]:
    pushes = resolved.pushes
    assert pushes is not None
    return pushes.numbers.tolist(), pushes.seqs.tolist(), pushes.counts.tolist()


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("hears", [False, True])
def test_the_publisher_itself(hears: bool, is_last: bool) -> None:
    publish, fan = a_fan()
    news = say(fan)
    pieces = [(n, news) for n in [1, 2, 3, 4]]
    if hears:
        pieces.insert(4 if is_last else 0, (0, news))
    came = [name for piece in pieces for name in hear(fan, piece)]
    assert came == ["right"]
    assert counts(publish) == ((1, 5, 5) if hears else (1, 4, 4))
    assert not fan.ledger.extras


def test_only_publishers_may_publish() -> None:
    _, fan = a_fan(depth=2, publishers=2)
    assert fan.is_free(np.arange(5)).tolist() == [True, True, False, False, False]
    say(fan, 1)
    say(fan, 1)
    assert fan.is_free(np.arange(3)).tolist() == [True, False, False]


def test_several_under_way_in_any_order_and_in_parts() -> None:
    publish, fan = a_fan(3, depth=2, publishers=2)
    first, second, third = say(fan, 0), say(fan, 1), say(fan, 0)
    assert hear(fan, (2, third + first), (2, second[:4]), (1, first)) == ["right"]
    assert hear(fan, (2, second[4:]), (0, second)) == ["right"]
    assert hear(fan, (1, third[:1]), (1, third[1:])) == ["right"]
    assert counts(publish) == (3, 6, 6) and not fan.ledger.extras and not fan.ledger.faults


def test_doubled_garbled_and_unasked() -> None:
    publish, fan = a_fan(4)
    assert hear(fan, (1, b"hello")) == []
    news = say(fan)
    assert hear(fan, (1, news), (1, news), (2, b"NEWS 0 of 0;")) == []
    assert hear(fan, (3, news)) == ["garbled"]
    assert hear(fan, (3, news)) == []
    assert fan.ledger.extras == {"unasked": 1, "doubled": 2}
    assert counts(publish) == (1, 3, 2) and fan.garbled == 1
    assert hear(fan, (2, news)) == [] and fan.ledger.extras["late"] == 1
    kinds = [fault.kind for fault in fan.ledger.faults]
    assert kinds == ["unasked", "doubled", "garbled", "doubled", "late"]


@pytest.mark.parametrize("cut", [1, 6, 11])
def test_a_copy_that_is_cut_off_is_missing_and_nothing_else(cut: int) -> None:
    publish, fan = a_fan(4)
    news = say(fan)
    hear(fan, (1, news[:cut]), (2, news), (3, news))
    assert names(fan.give_up(np.array([0]), np.array([0]))) == ["missing"]
    (fault,) = fan.ledger.faults
    assert (fault.number, fault.expected, fault.received) == (1, news, b"")
    assert fault.note == "connection 0 published it; 1 copy did not come"
    news = say(fan)
    assert hear(fan, (1, news[:5]), (2, news), (3, news)) == []
    assert hear(fan, (1, news[5:])) == ["right"]
    assert not fan.ledger.extras and fan.garbled == 0 and counts(publish) == (2, 6, 5)


def test_bytes_before_a_copy_are_unasked_for() -> None:
    _, fan = a_fan(2)
    news = say(fan)
    assert hear(fan, (1, b"?" + news)) == ["right"]
    assert fan.ledger.extras == {"unasked": 1} and fan.garbled == 0


def test_what_is_given_up_is_missing_and_late_when_it_comes() -> None:
    publish, fan = a_fan(4)
    news = say(fan)
    hear(fan, (1, news))
    assert names(fan.give_up(np.array([0]), np.array([0]))) == ["missing"]
    assert hear(fan, (2, news), (1, news)) == []
    assert fan.ledger.extras == {"late": 1, "doubled": 1}
    assert counts(publish) == (1, 3, 1)


def test_receivers_that_end_and_receivers_that_are_closed() -> None:
    publish, fan = a_fan(4)
    news = say(fan)
    hear(fan, (1, news))
    assert names(fan.gone(np.array([2]))) == []
    assert names(fan.gone(np.array([3]), by_peer=True)) == ["missing"]
    assert counts(publish) == (1, 2, 1)
    say(fan)
    assert names(fan.gone(np.array([1]))) == ["right"]  # nobody is left to hear it
    assert counts(publish) == (2, 2, 1)


def test_one_that_was_opened_later_may_hear_it_or_not() -> None:
    _, fan = a_fan(4)
    fan.gone(np.array([3]))
    news = say(fan)
    fan.opened(np.array([3]))
    assert hear(fan, (3, news), (1, news), (2, news)) == ["right"]
    assert not fan.ledger.extras


def test_a_publisher_that_ends_takes_its_publication_with_it() -> None:
    publish, fan = a_fan(3)
    news = say(fan)
    hear(fan, (1, news))
    assert names(fan.gone(np.array([0]))) == ["missing"]
    assert fan.ledger.in_flight == 0 and counts(publish) == (1, 2, 1)


@pytest.mark.parametrize(
    ("message", "options", "told"),
    [
        ("x", {}, "looks like another"),
        (b"{seq}", {}, "looks like another"),
        ("{seq}", {"publishers": 2}, "{seq} into it and {n}"),
        (NEWS, {"publishers": 0}, "say nothing"),
        (NEWS, {"publishers": 9}, "9 publishers were asked for, of 5 connections"),
    ],
)
def test_what_cannot_be_counted_is_told(message: str, options: dict[str, int], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Publish(message, **options).begin(5, 0)  # type: ignore[arg-type]


def test_too_many_to_count() -> None:
    publish = Publish(NEWS, publishers=1 << 12)
    publish.begin(1 << 20, 0)
    with pytest.raises(UsageError, match="at most 1,024 publishers"):
        publish.exchange(1 << 20, 1)


@given(st.lists(st.sampled_from([b"ab", b"abc", b"", b"xb", b"abd"])), st.sampled_from([b"abc"]))
def test_equal_to_is_its_slow_form(pieces: list[bytes], piece: bytes) -> None:
    assert equal_to(Ragged.of(pieces), piece).tolist() == [p == piece for p in pieces]


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 3), st.integers(1, 2))
def test_a_faultless_server_in_any_pieces(seed: int, count: int, depth: int, speakers: int) -> None:
    """Everybody hears everything, in one order for all; connections come and go."""
    dice = Random(seed)
    publish, fan = a_fan(count, depth, publishers=speakers)
    streams = [b""] * count
    resolved: list[str] = []
    copies = 0

    def heard(*batch: tuple[int, bytes]) -> None:
        nonlocal copies
        came = take(fan, *batch)
        copies += sum(pushed(came)[2])
        resolved.extend(names(came))

    for _ in range(40):
        if dice.random() < 0.4:
            for number in range(speakers):
                if fan.is_free(np.array([number]))[0]:
                    news = say(fan, number)
                    streams = [stream + news for stream in streams]
        batch: list[tuple[int, bytes]] = []
        for number in dice.sample(range(count), dice.randint(0, count)):
            for _ in range(dice.randint(1, 2)):
                at = dice.choice([len(streams[number]), dice.randint(0, len(streams[number]))])
                if at:
                    batch.append((number, streams[number][:at]))
                streams[number] = streams[number][at:]
        heard(*batch)
        if dice.random() < 0.1 and count > speakers:
            number = dice.randrange(speakers, count)
            resolved += names(fan.gone(np.array([number])))
            streams[number] = b""
            fan.opened(np.array([number]))
    heard(*[(n, s) for n, s in enumerate(streams) if s])
    assert set(resolved) <= {OUTCOMES[RIGHT]}
    told = publish.fan_out()
    assert told is not None
    assert not fan.ledger.faults and not fan.ledger.extras and fan.garbled == 0
    assert told.received == told.expected
    # A publisher's own copy may be the last of all: it is received, and no push any more.
    assert 0 <= told.received - copies <= told.published
