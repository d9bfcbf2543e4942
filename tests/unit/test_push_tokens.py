"""Tokens: which count, what they allow, and until when."""

from __future__ import annotations

import json
from typing import Any

import jwt
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from c1m.errors import UsageError
from c1m.protocols.http.requests import Head
from c1m.push.holders import Holders
from c1m.push.tokens import DETAIL_TYPE, NOTHING, Access, Keys, Refused, Rights, token_of

SECRET = b"0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000


def signed(key: Any = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    return jwt.encode(claims, key, algorithm)


def access(**options: Any) -> Access:
    return Access(keys=Keys(SECRET), **options)


def public(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_a_token_allows_what_it_names() -> None:
    rights = access().rights(
        signed(sub="u1", exp=NOW + 60, channels=["news", "chat.*"], publish=["chat.1"]), NOW
    )
    assert (rights.subject, rights.expires) == ("u1", NOW + 60)
    allowed = [name for name in ("news", "newsy", "chat.1", "chat.", "chat", "*")
               if rights.may_subscribe(name)]  # fmt: skip
    assert allowed == ["news", "chat.1", "chat."]
    assert rights.may_publish("chat.1") and not rights.may_publish("news")


def test_mercures_claims_count_as_topics_and_templates() -> None:
    mercure = {"subscribe": ["https://example.com/users/{id}"], "publish": ["*"]}
    rights = access().rights(signed(mercure=mercure), NOW)
    assert rights.may_subscribe("https://example.com/users/7")
    assert not rights.may_subscribe("https://example.com/users/7/keys")
    assert rights.may_publish("anything")


def detail(actions: Any, topics: Any, type: str = DETAIL_TYPE) -> dict[str, Any]:
    return {"type": type, "actions": actions, "topics": topics}


def test_mercures_later_claims_count_as_names() -> None:
    details = [
        detail(["subscribe"], [{"match": "/u/*"}, {"match": "/b/{id}", "match_type": "exact"}]),
        detail(["publish", "fly"], [{"match": "*", "match_type": "urlpattern"}]),
        detail(["publish"], "whatever", "https://example.com/of-others"),
    ]
    rights = access().rights(signed(authorization_details=details), NOW)
    assert rights.may_subscribe("/u/*") and rights.may_subscribe("/b/{id}")
    assert not rights.may_subscribe("/u/1") and not rights.may_subscribe("/b/1")
    assert rights.may_publish("anything")


def test_nobody_may_nothing_with_keys_but_what_anonymous_allows() -> None:
    nobody = access().rights("", NOW)
    assert not nobody.may_subscribe("news") and not nobody.may_publish("news")
    listens = access(anonymous=True).rights("", NOW)
    assert listens.may_subscribe("news") and not listens.may_publish("news")
    assert not listens.grant.private.covers("news")


def test_without_keys_everybody_may_everything_and_a_publish_token_closes_that() -> None:
    assert Access().rights("whatever", NOW).may_publish("news")
    closed = Access(publish_token="sesame")
    assert closed.rights("", NOW).may_subscribe("news")
    assert not closed.rights("", NOW).may_publish("news")
    assert closed.rights("sesame", NOW).may_publish("news")
    with pytest.raises(Refused, match="not the one that may publish"):
        closed.rights("Sesame", NOW)


@pytest.mark.parametrize(
    "claims, said",
    [
        ({"exp": NOW}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": NOW - 0.5}, "has expired"),
        ({"nbf": NOW + 60}, "not valid yet"),
        ({"exp": "soon"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"channels": "news"}, "channels is no list"),
        ({"channels": [""]}, "what is no name"),
        ({"channels": ["a"] * 201}, "channels is no list"),
        ({"mercure": []}, "mercure is no object"),
        ({"mercure": {"publish": [1]}}, "mercure.publish has what is no name"),
        ({"sub": 5}, "sub is no text"),
        ({"authorization_details": {}}, "authorization_details is no list"),
        ({"authorization_details": [detail("publish", [])]}, "actions is no list"),
        ({"authorization_details": [detail(["publish"], ["a"])]}, "topics is no list"),
        ({"authorization_details": [detail(["publish"], [{}])]}, "match has what is no name"),
        (
            {
                "authorization_details": [
                    detail(["publish"], [{"match": "/:id", "match_type": "urlpattern"}])
                ]
            },
            "match_type that is not there",
        ),
    ],
)
def test_claims_that_do_not_count_are_refused_with_a_reason(claims: Any, said: str) -> None:
    payload = jwt.PyJWS().encode(json.dumps(claims).encode(), SECRET, "HS256")
    with pytest.raises(Refused, match=said):
        access().rights(payload, NOW)


def test_a_token_ends_though_it_is_remembered() -> None:
    one, token = access(), signed(exp=NOW + 60, channels=["*"])
    assert one.rights(token, NOW) is one.rights(token, NOW + 59)
    with pytest.raises(Refused, match="expired"):
        one.rights(token, NOW + 60)


def test_tokens_that_allow_the_same_share_a_grant() -> None:
    one = access()
    first, second = (one.rights(signed(sub=sub, channels=["news"]), NOW) for sub in "ab")
    assert first is not second and first.grant is second.grant


@pytest.mark.parametrize(
    "token",
    [
        "x", "a.b.c", "..", "é", "a" * 20_000, signed(b"another key, also of 32 bytes.....")[:-1],
        signed(b"another key, also of 32 bytes....."), signed(None, "none"),
        signed()[:-3] + "AAA", signed(SECRET + SECRET, "HS512"),
    ],
)  # fmt: skip
def test_what_is_not_signed_by_the_key_is_refused(token: str) -> None:
    with pytest.raises(Refused):
        access().rights(token, NOW)


def test_a_public_key_checks_and_is_never_a_secret() -> None:
    for key, algorithm in (
        (rsa.generate_private_key(65537, 2048), "RS256"),
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ):
        one = Access(keys=Keys(public_key=public(key)))
        assert one.rights(signed(key, algorithm, channels=["a"]), NOW).may_subscribe("a")
        with pytest.raises(Refused, match="does not count here"):
            one.rights(signed(SECRET), NOW)


def test_a_weak_key_is_refused() -> None:
    with pytest.raises(UsageError, match="The secret has 31 bytes"):
        Keys(SECRET[:-1])
    with pytest.raises(UsageError, match="1024 bits is too weak"):
        Keys(public_key=public(rsa.generate_private_key(65537, 1024)))
    with pytest.raises(UsageError, match="no public key in PEM"):
        Keys(public_key=b"hello")
    with pytest.raises(UsageError, match=r"has a private key\. .* openssl pkey"):
        Keys(public_key=b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(UsageError, match="of a kind"):
        Keys(public_key=public(ec.generate_private_key(ec.SECP384R1())))


def head(target: str = "/connect", *fields: tuple[str, str]) -> Head:
    named = [(name.lower().encode(), value.encode()) for name, value in fields]
    return Head(b"GET", target.encode(), 1, named)


def test_where_a_token_is_found() -> None:
    assert token_of(head()) == ""
    assert token_of(head("/c?token=a", ("Authorization", "Bearer b"))) == "b"
    assert token_of(head("/c?authorization=a")) == token_of(head("/c?token=a")) == "a"
    with pytest.raises(Refused, match="Bearer"):
        token_of(head("/c", ("Authorization", "Basic b")))
    cookie = head("/c", ("Cookie", "x=1; mercureAuthorization=abc; y=2"))
    assert token_of(cookie) == ""
    assert token_of(cookie, lambda head: True) == "abc"
    later = head("/c", ("Cookie", "__Secure-mercure_access_token=abc"))
    assert token_of(later, lambda head: True) == "abc"


def test_holders_keep_grants_and_ends_without_an_object_each() -> None:
    holders, one = Holders(100), access()
    grants = [one.rights(signed(channels=[name], exp=NOW + 5), NOW) for name in "ab"]
    first, second = np.arange(10, dtype=np.int32), np.arange(50, 60, dtype=np.int32)
    holders.enter(first, grants[0])
    holders.enter(second, grants[1])
    holders.enter(np.array([99], np.int32), Rights(grants[0].grant))
    assert holders.of(3) is grants[0].grant and holders.of(55) is grants[1].grant
    assert holders.of(20) is NOTHING.grant
    assert not len(holders.ended(NOW + 4))
    assert holders._look_s == NOW + 5
    over = holders.ended(NOW + 5)
    assert over.tolist() == [*range(10), *range(50, 60)]
    holders.forget(over)
    assert not len(holders.ended(NOW + 6)) and not holders._look_s
    assert holders.of(3) is NOTHING.grant and holders.of(99) is grants[0].grant
    holders.enter(first, grants[1])
    assert holders.of(9) is grants[1].grant and holders._look_s == NOW + 5


def test_who_has_no_token_takes_no_memory() -> None:
    holders = Holders(100, Access().nobody.grant)
    everybody = np.arange(100, dtype=np.int32)
    holders.enter(everybody, Access().nobody)
    assert holders.of(7) is Access().nobody.grant
    assert holders.who(everybody, lambda grant: grant.may_publish("a")).all()
    holders.forget(everybody)
    assert not holders._look_s and not holders._grant_of.any()
