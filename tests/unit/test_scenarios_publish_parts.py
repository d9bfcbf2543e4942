"""Publications that several load clients hear: the sums are those of one with all connections."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.engine.ragged import Ragged
from c1m.errors import UsageError
from c1m.results.share import Share, Stretch
from c1m.scenarios.publish import NEW_NS, FanOutExchange, Heard, Publish

NEWS = "news {seq} of {n};"
COUNT = 10


def a_part(index: int, of: int, publishers: int = 1) -> FanOutExchange:
    """Its connections are open since long."""
    share = Share(index, of)
    publish = Publish(NEWS, publishers=publishers)
    publish.stretch = Stretch(share.first(COUNT), share.count(COUNT), COUNT, share)
    publish.begin(share.count(COUNT), 0)
    fan = publish.exchange(share.count(COUNT), 1)
    assert isinstance(fan, FanOutExchange)
    fan.opened(np.arange(share.count(COUNT)))
    fan.now_ns = 10 * NEW_NS
    return fan


def hear(fan: FanOutExchange, *pieces: tuple[int, bytes]) -> None:
    numbers = np.array([n for n, _ in pieces], np.int64)
    fan.take(numbers, Ragged.of([p for _, p in pieces]))


def told(fan: FanOutExchange) -> tuple[int, int, int, int]:
    """Published, heard of, expected, received."""
    return fan.published, fan.heard.count, fan.expected, fan.received


def test_who_publishes_nothing_hears_all() -> None:
    talker, listener = a_part(0, 2), a_part(1, 2)
    assert not listener.is_free(np.arange(5)).any()
    news = talker.requests(np.array([0]))[0].piece(0)
    assert news == b"news 0 of 0;"
    hear(listener, *((n, news) for n in range(4)))
    assert told(listener) == (0, 1, 5, 4) and listener.awaited == 1
    hear(listener, (4, news[:6]))
    hear(listener, (4, news[6:]))
    assert told(listener) == (0, 1, 5, 5) and listener.awaited == 0
    hear(listener, (3, news))
    assert dict(listener.ledger.extras) == {"doubled": 1}


def test_a_first_copy_in_pieces() -> None:
    talker, listener = a_part(0, 2), a_part(1, 2)
    news = talker.requests(np.array([0]))[0].piece(0)
    hear(listener, (2, news[:3]))
    hear(listener, (2, news[3:]), (1, news))
    assert told(listener) == (0, 1, 5, 2) and not listener.ledger.extras


def test_what_is_none_of_theirs_is_unasked_or_garbled() -> None:
    listener = a_part(1, 2)
    hear(listener, (0, b"nobody says this;"))
    assert listener.ledger.extras["unasked"] and told(listener) == (0, 0, 0, 0)
    hear(listener, (0, b"news 0 of 0;"))
    hear(listener, (1, b"nows 0 of 0;"))
    assert listener.garbled == 1 and told(listener) == (0, 1, 5, 1)


def test_who_has_just_come_may_hear_it_or_not() -> None:
    listener = a_part(1, 2)
    listener.gone(np.array([4]))
    listener.opened(np.array([4]))
    hear(listener, (0, b"news 0 of 0;"))
    assert told(listener) == (0, 1, 4, 1)
    hear(listener, (4, b"news 0 of 0;"))
    assert told(listener) == (0, 1, 5, 2)
    listener.now_ns += NEW_NS
    hear(listener, (0, b"news 1 of 0;"))
    assert told(listener) == (0, 2, 10, 3)


def test_a_message_that_does_not_say_whose_it_is() -> None:
    publish = Publish("{seq};")
    publish.stretch = Stretch(5, 5, 10, Share(1, 2))
    with pytest.raises(UsageError, match=r"Put \{n\} into it"):
        publish.begin(5, 0)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(0, 1 << 30), st.integers(1, 30))
def test_parts_together_hear_what_one_would(of: int, publishers: int, seed: int, size: int) -> None:
    """Each connection has a stream of all that was said, cut anywhere."""
    random = Random(seed)
    parts = [a_part(index, of, publishers) for index in range(of)]
    streams = [
        [(part, n, [b""]) for n in range(Share(index, of).count(COUNT))]
        for index, part in enumerate(parts)
    ]
    every = [one for own in streams for one in own]
    for _ in range(20):
        part = random.choice(parts)
        free = np.flatnonzero(part.is_free(np.arange(part.ledger.sent.size)))
        if len(free):
            said = part.requests(np.array([random.choice(free.tolist())]))[0].piece(0)
            for _, _, waiting in every:
                waiting[0] += said
        for listener, number, waiting in random.sample(every, random.randint(1, len(every))):
            piece, waiting[0] = waiting[0][:size], waiting[0][size:]
            if piece:
                hear(listener, (number, piece))
    for listener, number, waiting in every:
        if waiting[0]:
            hear(listener, (number, waiting[0]))
    published = sum(part.published for part in parts)
    assert all(part.heard.count == published - part.published for part in parts)
    assert sum(part.expected for part in parts) == published * COUNT
    assert sum(part.received for part in parts) == published * COUNT
    assert not any(part.ledger.extras or part.awaited for part in parts)


@given(st.permutations(range(30)))
def test_what_was_heard_of(seqs: list[int]) -> None:
    heard = Heard()
    for at, seq in enumerate(seqs):
        assert not heard.has(7, seq) and not heard.has(8, seq)
        heard.add(7, seq)
        assert all(heard.has(7, each) for each in seqs[: at + 1])
    assert heard.count == 30
