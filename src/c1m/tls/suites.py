"""The cipher suites of TLS 1.3, and the keys that follow from a traffic secret. Pure.

RFC 8446: 7.1 (HKDF-Expand-Label), 7.2 (the next secret), 7.3 (key and IV), B.4 (the suites).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

Aead = AESGCM | ChaCha20Poly1305

IV_SIZE = 12
TAG_SIZE = 16
SECRET_MAX = 48  # bytes of the longest traffic secret


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite: its number, OpenSSL's name, its hash, its AEAD and the size of its key."""

    number: int
    name: str
    digest: str
    secret_size: int
    key_size: int
    aead: type[Aead]
    records_max: int  # under one key, then it must be changed (RFC 8446, 5.5)


SUITES = (
    Suite(0x1301, "TLS_AES_128_GCM_SHA256", "sha256", 32, 16, AESGCM, 1 << 24),
    Suite(0x1302, "TLS_AES_256_GCM_SHA384", "sha384", 48, 32, AESGCM, 1 << 24),
    Suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", "sha256", 32, 32, ChaCha20Poly1305, 1 << 62),
)
BY_NAME = {suite.name: number for number, suite in enumerate(SUITES)}
"""An index into SUITES by OpenSSL's name."""


def expand_label(suite: Suite, secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with an empty context; `size` is at most one hash (RFC 8446, 7.1)."""
    full = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes((len(full),)) + full + b"\0"
    return hmac.digest(secret, info + b"\x01", suite.digest)[:size]


def next_secret(suite: Suite, secret: bytes) -> bytes:
    """The traffic secret behind a KeyUpdate (RFC 8446, 7.2)."""
    return expand_label(suite, secret, b"traffic upd", suite.secret_size)


def cipher_of(suite: Suite, secret: bytes) -> tuple[Aead, int]:
    """The AEAD with its key, and the IV as a number (RFC 8446, 7.3)."""
    key = expand_label(suite, secret, b"key", suite.key_size)
    iv = expand_label(suite, secret, b"iv", IV_SIZE)
    return suite.aead(key), int.from_bytes(iv, "big")
