"""What Mercure's subscribers and publishers ask for, in the terms of the hub."""

from __future__ import annotations

import pytest

from c1m.push.asked import Limits
from c1m.push.history import EVERYBODY, NAMED
from c1m.push.mercure import FORM, subscription_of, update_of
from c1m.push.mistakes import Mistake
from c1m.push.topics import key_of

LIMITS = Limits(5, 1000)


def test_an_update() -> None:
    said = update_of(
        FORM + b"; charset=utf-8",
        b"topic=https://e.com/1&topic=b&data=h%C3%A9%0Ay&id=urn:x:1&type=t&retry=500&other=1",
        LIMITS,
    )
    assert said.channels == ["https://e.com/1", "b"]
    assert said.data == "hé\ny".encode()
    assert (said.id, said.event, said.retry_ms, said.seen_by) == ("urn:x:1", "t", 500, EVERYBODY)
    assert update_of(FORM, b"topic=a&private", LIMITS).seen_by == NAMED
    assert update_of(FORM, b"topic=a&private=", LIMITS).seen_by == NAMED


@pytest.mark.parametrize(
    "body, said",
    [
        (b"data=x", 'Missing "topic"'),
        (b"topic=*", "Nobody may publish"),
        (b"topic=", "A channel's name"),
        (b"topic=%00", "A channel's name"),
        (b"topic=%FF", "cannot be read"),
        (b"topic=a&data=%FF", "cannot be read"),
        (b"topic=a&" + b"x&" * 1000, "cannot be read"),
        (b"topic=a&topic=b&topic=c&topic=d&topic=e&topic=f", "5 are allowed"),
        (b"topic=a&retry=-1", "retry"),
        (b"topic=a&retry=1x", "retry"),
        (b"topic=a&retry=99999999999", "retry"),
        (b"topic=a&id=%23x", "no id of a publisher's"),
        (b"topic=a&id=earliest", "no id of a publisher's"),
        (b"topic=a&id=a%0Adata:x", "id is a text"),
        (b"topic=a&type=a%0Adata:x", "type is a text"),
        (b"topic=/.well-known/mercure", "Nobody may publish"),
        (b"topic=https://x/.well-known/%256Dercure/subscriptions", "Nobody may publish"),
        (b"topic=/.well-known/a/../mercure/x", "Nobody may publish"),
        (b"topic=/../.well-known/mercure/x", "Nobody may publish"),
        (b"topic=a&data=" + b"x" * 1001, "1,001 bytes"),
    ],
)
def test_updates_that_are_refused(body: bytes, said: str) -> None:
    with pytest.raises(Mistake, match=said):
        update_of(FORM, body, LIMITS)


def test_an_update_is_a_form() -> None:
    with pytest.raises(Mistake, match="comes as application/x-www-form-urlencoded"):
        update_of(b"application/json", b"{}", LIMITS)
    with pytest.raises(Mistake, match="comes as"):
        update_of(None, b"topic=a", LIMITS)


def test_a_subscription_has_names_and_selectors() -> None:
    wanted = subscription_of({"topic": ["a", "b/{id}", "{", "*"], "match": ["c{d}"]}, None, LIMITS)
    assert wanted.channels == ["a", "{", "c{d}"]
    assert wanted.selectors == (key_of("b/{id}", True), key_of("*", True))
    assert wanted.ids == []


@pytest.mark.parametrize(
    "query, header, id",
    [
        ({}, None, None),
        ({"lastEventID": ["1"]}, None, "1"),
        ({"last_event_id": ["1"]}, None, "1"),
        ({"Last-Event-ID": ["1"]}, None, "1"),
        ({"lastEventID": ["1"]}, b"2", "2"),
        ({}, "é".encode(), "é"),
    ],
)
def test_where_the_last_id_is_found(
    query: dict[str, list[str]], header: bytes | None, id: str | None
) -> None:
    wanted = subscription_of({"topic": ["a"], **query}, header, LIMITS)
    assert wanted.ids == ([] if id is None else [id])


@pytest.mark.parametrize(
    "query, said",
    [
        ({}, "Missing"),
        ({"topic": [""]}, "A channel's name"),
        ({"topic": ["x" * 513]}, "A channel's name"),
        ({"topic": list("abcdef")}, "5 are allowed"),
        ({"topic": ["a"], "Match": ["a"]}, "Match is not there"),
        ({"match_urlpattern": ["/:id"]}, "match_urlpattern is not there"),
        ({"topic": ["a"], "lastEventID": ["a\nb"]}, "id is a text"),
    ],
)
def test_subscriptions_that_are_refused(query: dict[str, list[str]], said: str) -> None:
    with pytest.raises(Mistake, match=said):
        subscription_of(query, None, LIMITS)
