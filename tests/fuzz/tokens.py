"""Tokens as somebody may make them: none but signed ones counts, and none brings an error.

Changed ones, claims of all kinds that are signed rightly, and rights that are asked about all kinds
of names. What is let in says what one of the signed tokens says.
"""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from c1m.protocols.http.requests import Head
from c1m.push.tokens import DETAIL_TYPE, Access, Keys, Refused, token_of

SECRET = b"0123456789abcdef0123456789abcdef0123456789abcdef"
NOW = 1_800_000_000
PRIVATE = ec.generate_private_key(ec.SECP256R1())
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ACCESSES = (
    Access(keys=Keys(SECRET)),
    Access(keys=Keys(SECRET, PUBLIC), anonymous=True, publish_token="a publish token, long"),
)
NAMES = (
    "sub",
    "exp",
    "nbf",
    "iat",
    "aud",
    "channels",
    "publish",
    "mercure",
    "subscribe",
    "x",
    "authorization_details",
    "type",
    "actions",
    "topics",
    "match",
    "match_type",
)
TEXTS = (
    "",
    "*",
    "a",
    "a*",
    "/u/{id}",
    "{",
    "{+a*,b}",
    "\0",
    "é☃",
    "\ud800",
    "x" * 3000,
    "{a}" * 40,
)
NUMBERS = (0, 1, -1, NOW, NOW + 60, NOW + 0.5, 1e300, -1e300, 1 << 70, float("inf"), float("nan"))


def run(random: Random) -> int:
    """One execution; how many bytes it was about."""
    access = random.choice(ACCESSES)
    claims = _claims(random)
    token = _signed(random, claims)
    if random.random() < 0.5:
        token = _changed(random, token)
    size = len(token)
    try:
        rights = access.rights(_as_sent(random, token), NOW)
    except Refused as refused:
        assert str(refused)
        return size
    if rights is access.nobody:
        assert not token
        return size
    assert rights.expires == 0 or rights.expires > NOW
    said = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "==="))
    assert rights.subject == said.get("sub", "")
    for text in TEXTS:
        if text == "\ud800":  # no channel has such a name
            continue
        may = rights.may_publish(text)
        named = [*(said.get("publish") or ()), *((said.get("mercure") or {}).get("publish") or ())]
        assert may or text not in named, text
        assert named or not may
        rights.may_subscribe(text)
    return size


def _claims(random: Random) -> Any:
    if random.random() < 0.1:
        return _value(random, 0)
    claims = {name: _value(random, 1) for name in random.sample(NAMES, random.randrange(5))}
    if random.random() < 0.5:
        claims["channels"] = random.choices(TEXTS, k=random.randrange(4))
    if random.random() < 0.3:
        topics = [{"match": random.choice(TEXTS)} for _ in range(random.randrange(3))]
        claims["authorization_details"] = [
            {"type": DETAIL_TYPE, "actions": ["subscribe", "x"], "topics": topics}
        ]
    if random.random() < 0.5:
        claims["mercure"] = {"publish": random.choices(TEXTS, k=random.randrange(4))}
    return claims


def _value(random: Random, depth: int) -> Any:
    kind = random.randrange(7 if depth < 3 else 4)
    if kind < 4:
        return (random.choice(TEXTS), random.choice(NUMBERS), None, random.random() < 0.5)[kind]
    if kind == 4:
        if random.random() < 0.02:
            return ["a"] * 250
        return [_value(random, depth + 1) for _ in range(random.randrange(4))]
    return {random.choice(NAMES): _value(random, depth + 1) for _ in range(random.randrange(4))}


def _signed(random: Random, claims: Any) -> str:
    payload = json.dumps(claims).encode()
    if random.random() < 0.02:
        payload = random.choice(
            (b"", b"[" * 5000, b"\xff", b'{"a":1}' * 2, b'"' + b"9" * 9000 + b'"')
        )
    headers = {} if random.random() < 0.8 else {
        random.choice(("kid", "jku", "crit", "b64", "typ", "zip", "cty")): _value(random, 2)
    }  # fmt: skip
    try:
        if random.random() < 0.9:
            algorithm = random.choice(("HS256", "HS256", "HS384", "none"))
            key: Any = None if algorithm == "none" else SECRET
            return jwt.PyJWS().encode(payload, key, algorithm, headers)
        return jwt.PyJWS().encode(payload, PRIVATE, "ES256", headers)
    except (TypeError, ValueError, jwt.PyJWTError):  # headers that it does not write
        return jwt.PyJWS().encode(payload, SECRET, "HS256")


def _changed(random: Random, token: str) -> str:
    parts = token.split(".")
    kind = random.randrange(5)
    if kind == 0 and parts[-1]:
        at = random.randrange(len(parts[-1]))
        parts[-1] = parts[-1][:at] + random.choice("AZaz09-_=.é") + parts[-1][at + 1 :]
    elif kind == 1:
        head: dict[str, Any] = {
            "alg": random.choice(("none", "HS256", "RS256", "ES256", "PS512", "", 5, None, []))
        }
        parts[0] = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
    elif kind == 2:
        random.shuffle(parts)
    elif kind == 3:
        return token[: random.randrange(len(token) + 1)]
    else:
        at = random.randrange(len(token) + 1)
        return token[:at] + chr(random.randrange(0x300)) * random.randrange(4) + token[at:]
    return ".".join(parts)


def _as_sent(random: Random, token: str) -> str:
    """By way of a request, in one of the places that it may be in."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        return token
    place = random.randrange(3)
    if place == 0:
        head = Head(b"GET", b"/", 1, [(b"authorization", b"bearer " + token.encode())])
        return token_of(head)
    if place == 1 and token.replace(".", "").replace("-", "").replace("_", "").isalnum():
        return token_of(Head(b"GET", b"/?token=" + token.encode(), 1, []))
    cookie = b'a="b\\073"; ' * random.randrange(2) + b"mercureAuthorization=" + token.encode()
    found = token_of(Head(b"GET", b"/", 1, [(b"cookie", cookie)]), lambda head: True)
    return found if found == token else token
