"""Who may: signed tokens (JWT, RFC 7519), what they allow, and until when. Pure.

Signatures are PyJWT's matter. Claims that are read: `sub`, `exp`, `nbf`; `channels` and `publish`,
lists of names, `prefix*` or `*`; and Mercure's: `mercure`, with `subscribe` and `publish`, lists of
topics, templates or `*`, and the `authorization_details` of its later draft.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hmac import compare_digest
from http.cookies import CookieError, SimpleCookie
from math import ceil
from typing import Any

from c1m.errors import UsageError
from c1m.protocols.http.requests import Head
from c1m.push.history import EVERYBODY, NAMED, Publication
from c1m.push.topics import ALL, LENGTH_MAX, Selectors

SECRET_BYTES_MIN = 32  # RFC 7518, 3.2: at least as long as the hash
TOKEN_BYTES_MAX = 16 << 10
SELECTORS_MAX = 200  # of a token
HEADS_MAX = 1000  # of which the algorithm is remembered, when something was signed with it
CACHE_BYTES = 16 << 20
EARLY_S = 10  # by which a clock of who signs may be ahead of ours
COOKIES = ("mercureAuthorization", "__Secure-mercure_access_token")
DETAIL_TYPE = "https://mercure.rocks/authorization-detail"
END = 1 << 32  # what a column of expiries holds; later than that is never


class Refused(Exception):
    """A token that does not count; str() says why, to its owner."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What is allowed. Tokens that allow the same share one, whoever has them."""

    subscribe: Selectors
    publish: Selectors
    private: Selectors  # whose private updates are shown: what a token names, nothing else

    def may_subscribe(self, channel: str) -> bool:
        """Whether a channel may be listened to."""
        return self.subscribe.covers(channel)

    def may_publish(self, channel: str) -> bool:
        """Whether something may be published there."""
        return self.publish.covers(channel)

    def may_see(self, made: Publication) -> bool:
        """Whether a publication may be shown to a subscriber to whichever of its channels."""
        if made.seen_by == EVERYBODY:
            return True
        selectors = self.private if made.seen_by == NAMED else self.subscribe
        return any(map(selectors.covers, made.channels))


@dataclass(frozen=True, slots=True)
class Rights:
    """Who somebody is, what they may, and until when: `expires` in Unix seconds, 0 for ever."""

    grant: Grant
    subject: str = ""
    expires: int = 0

    def may_subscribe(self, channel: str) -> bool:
        """Whether a channel may be listened to."""
        return self.grant.may_subscribe(channel)

    def may_publish(self, channel: str) -> bool:
        """Whether something may be published there."""
        return self.grant.may_publish(channel)


_NONE, _EVERYTHING = Selectors(), Selectors([ALL])
EVERYTHING = Rights(Grant(_EVERYTHING, _EVERYTHING, _EVERYTHING))
LISTENS = Rights(Grant(_EVERYTHING, _NONE, _NONE))
NOTHING = Rights(Grant(_NONE, _NONE, _NONE))


class Keys:
    """What signatures are checked with. Raises UsageError for what is too weak, or no key."""

    def __init__(self, secret: bytes | None = None, public_key: bytes | None = None) -> None:
        self._jws = _signatures()
        self._by_algorithm: dict[str, Any] = {}
        self._algorithms: dict[str, str] = {}  # by a token's first part
        if secret is not None:
            if len(secret) < SECRET_BYTES_MIN:
                raise UsageError(
                    f"The secret has {len(secret)} bytes, which can be guessed.",
                    f"Give {SECRET_BYTES_MIN} random bytes or more: "
                    "head -c 48 /dev/urandom | base64 > FILE",
                )
            for size in (32, 48, 64):  # SHA-256, SHA-384, SHA-512
                if len(secret) >= size:
                    self._by_algorithm[f"HS{size * 8}"] = secret
        if public_key is not None:
            self._by_algorithm.update(_public_key(public_key))

    def payload(self, token: str) -> bytes:
        """What a token says, if it is signed by one of the keys. Raises Refused."""
        # The key goes by the algorithm that the token names, and each has its own: a public key is
        # never taken for a secret.
        head = token.partition(".")[0]  # the same in all tokens of one who signs
        try:
            algorithm = self._algorithms.get(head)
            if algorithm is None:
                algorithm = self._jws.get_unverified_header(token).get("alg")
                if not isinstance(algorithm, str) or algorithm not in self._by_algorithm:
                    raise Refused("The token is signed by an algorithm that does not count here.")
            payload: bytes = self._jws.decode(
                token, self._by_algorithm[algorithm], algorithms=[algorithm]
            )
            if len(self._algorithms) < HEADS_MAX:
                self._algorithms[head] = algorithm
        except Refused:
            raise
        except Exception as error:  # of PyJWT's, and of what it calls with what somebody sent
            raise Refused(f"The token is not right: {str(error)[:100] or 'no JWT'}.") from None
        return payload


class Access:
    """Who may what, by the options of the server.

    Without keys and without `publish_token` everybody may everything. With a `publish_token`
    everybody may subscribe, and who has it may publish. With keys a token of theirs is needed for
    both, but for subscribing where `anonymous` says so.
    """

    def __init__(
        self, *, keys: Keys | None = None, publish_token: str = "", anonymous: bool = False
    ) -> None:
        self._keys = keys
        self._publish_token = publish_token
        self.is_open = keys is None and not publish_token
        if self.is_open:
            self.nobody = EVERYTHING
        else:
            self.nobody = LISTENS if keys is None or anonymous else NOTHING
        self.may_listen = self.nobody.grant.subscribe.is_all
        self._kept: OrderedDict[str, Rights] = OrderedDict()
        self._kept_bytes = 0
        self._grants: dict[Any, Grant] = {}  # of what is kept, by what they say

    def rights(self, token: str, now_s: float) -> Rights:
        """Of who has this token, "" for nobody's. Raises Refused."""
        if not token or self.is_open:
            return self.nobody
        if self._publish_token and _same(token, self._publish_token):
            return EVERYTHING
        if self._keys is None:
            raise Refused("The token is not the one that may publish.")
        if len(token) > TOKEN_BYTES_MAX:
            raise Refused(f"The token has more than {TOKEN_BYTES_MAX:,} bytes.")
        rights = self._kept.get(token)
        if rights is None:
            claims = _claims(self._keys.payload(token))
            if _time(claims, "nbf") > now_s + EARLY_S:
                raise Refused("The token is not valid yet.")
            rights = self._rights(claims)
            self._keep(token, rights)
        if rights.expires and rights.expires <= now_s:
            raise Refused("The token has expired.")
        return rights

    def _rights(self, claims: dict[str, Any]) -> Rights:
        mercure = claims.get("mercure", {})
        if not isinstance(mercure, dict):
            raise Refused("The token's mercure is no object.")
        details = _details(claims)
        named = Selectors(
            _texts(claims, "channels"),
            _texts(mercure, "subscribe", "mercure.subscribe"),
            details["subscribe"],
        )
        publish = Selectors(
            _texts(claims, "publish"),
            _texts(mercure, "publish", "mercure.publish"),
            details["publish"],
        )
        subscribe = _EVERYTHING if self.nobody.grant.subscribe.is_all else named
        key = subscribe.keys, publish.keys, named.keys
        grant = self._grants.get(key)
        if grant is None:
            grant = self._grants[key] = Grant(subscribe, publish, named)
        subject = claims.get("sub", "")
        if not _is_text(subject):
            raise Refused("The token's sub is no text.")
        expires = _time(claims, "exp") if "exp" in claims else END
        if expires <= 0:
            raise Refused("The token has expired.")
        return Rights(grant, subject, expires if expires < END else 0)

    def _keep(self, token: str, rights: Rights) -> None:
        """A bound of memory: what has not been used longest goes first."""
        self._kept[token] = rights
        self._kept_bytes += 2 * len(token) + 500
        while self._kept_bytes > CACHE_BYTES:
            gone, _ = self._kept.popitem(last=False)
            self._kept_bytes -= 2 * len(gone) + 500
        if len(self._grants) > 2 * len(self._kept) + 1000:
            self._grants = {(g.subscribe.keys, g.publish.keys, g.private.keys): g
                            for g in (rights.grant for rights in self._kept.values())}  # fmt: skip


def token_of(head: Head, may_use_cookie: Callable[[Head], bool] = lambda head: False) -> str:
    """The token that a request brings, "" without one: of Authorization, the query or a cookie.

    A browser sends a cookie whoever asks it to: it counts where `may_use_cookie`, which looks at
    the Origin. Raises Refused for an Authorization of another kind.
    """
    said = head.get(b"authorization")
    if said is not None:
        kind, _, token = said.decode("latin-1").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise Refused("Authorization is not 'Bearer TOKEN'.")
        return token.strip()
    for name in ("token", "authorization", "access_token"):
        values = head.query.get(name)
        if values:
            return values[0]
    cookies = head.get(b"cookie")
    if cookies is None or not any(name.encode() in cookies for name in COOKIES):
        return ""
    if not may_use_cookie(head):
        return ""
    try:
        found = SimpleCookie(cookies.decode("latin-1"))
    except CookieError:
        return ""
    return next((found[name].value for name in COOKIES if name in found), "")


def _claims(payload: bytes) -> dict[str, Any]:
    try:
        claims = json.loads(payload)
    except (ValueError, RecursionError):
        raise Refused("The token's claims are no JSON.") from None
    if not isinstance(claims, dict):
        raise Refused("The token's claims are no object.")
    return claims


def _time(claims: dict[str, Any], name: str) -> int:
    """A NumericDate (RFC 7519, 2), which may have decimals; 0 where it is not there."""
    value = claims.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
        raise Refused(f"The token's {name} is no time.")
    return ceil(value)


def _texts(claims: dict[str, Any], name: str, shown: str = "") -> list[str]:
    values = claims.get(name)
    if values is None:
        return []
    if not isinstance(values, list) or len(values) > SELECTORS_MAX:
        raise Refused(f"The token's {shown or name} is no list of at most {SELECTORS_MAX} texts.")
    if not all(_is_text(value) and 0 < len(value) <= LENGTH_MAX for value in values):
        raise Refused(f"The token's {shown or name} has what is no name.")
    return values


def _details(claims: dict[str, Any]) -> dict[str, list[str]]:
    """By action the names that `authorization_details` allow it for (draft-dunglas-mercure-08).

    What is not understood of those that are Mercure's refuses the token: half of it might say more
    than all of it.
    """
    found: dict[str, list[str]] = {"subscribe": [], "publish": []}
    details = claims.get("authorization_details", [])
    if not isinstance(details, list) or not all(isinstance(each, dict) for each in details):
        raise Refused("The token's authorization_details is no list of objects.")
    for detail in details:
        if detail.get("type") != DETAIL_TYPE:
            continue
        topics, actions = detail.get("topics"), _texts(detail, "actions")
        if not isinstance(topics, list) or not all(isinstance(topic, dict) for topic in topics):
            raise Refused("The token's topics is no list of objects.")
        for topic in topics:
            if topic.get("match_type", "exact") != "exact" and topic.get("match") != ALL:
                raise Refused("The token has a match_type that is not there: exact is.")
            for action in found.keys() & set(actions):
                found[action] += _texts({"match": [topic.get("match")]}, "match")
    if any(len(names) > SELECTORS_MAX for names in found.values()):
        raise Refused(f"The token has more than {SELECTORS_MAX} topics.")
    return found


def _is_text(value: Any) -> bool:
    """JSON can write half a character, which is none."""
    return isinstance(value, str) and value.encode("utf-8", "replace").decode() == value


def _same(one: str, other: str) -> bool:
    """In a time that does not tell where they differ."""
    return compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _signatures() -> Any:
    try:
        import jwt
    except ImportError:
        raise UsageError(
            "Tokens need PyJWT, which is not installed.", "Install it with: pip install 'c1m[push]'"
        ) from None
    return jwt.PyJWS()


def _public_key(text: bytes) -> dict[str, Any]:
    """The key by the algorithms that it is for."""
    try:
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError:
        raise UsageError(
            "A public key needs cryptography, which is not installed.",
            "Install it with: pip install 'c1m[push]'",
        ) from None
    try:
        key = load_pem_public_key(text)
    except Exception:
        what = "a private key" if b"PRIVATE KEY-----" in text else "no public key in PEM"
        raise UsageError(
            f"The file of the public key has {what}.",
            "Make one from the private key: openssl pkey -in PRIVATE -pubout -out PUBLIC",
        ) from None
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < 2048:
            raise UsageError(f"An RSA key of {key.key_size} bits is too weak.", "Use 2048 or more.")
        return dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), key)
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1":
        return {"ES256": key}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {"EdDSA": key}
    raise UsageError("The public key is of a kind that tokens do not have here.",
                     "Use RSA, EC P-256 or Ed25519.")  # fmt: skip
