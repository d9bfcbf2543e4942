"""What a failure of Python's ssl is: a number of tls/reasons.py, and what ssl says. Pure.

Facts. OpenSSL names an alert of the peer TLSV1_ALERT_X, SSLV3_ALERT_X, TLSV13_ALERT_X or, for those
of extensions, TLSV1_X. Of what verifying a certificate came to, x509_vfy.h has the numbers. A peer
that speaks something else than TLS is noticed by the version in what should be a record's header;
the beginnings of some methods of HTTP, but not of all, have a name of their own.
"""

from __future__ import annotations

import ssl

from c1m.tls.reasons import (
    ALERT,
    ALERTS,
    BAD_CERTIFICATE,
    BAD_RECORD,
    EXPIRED,
    HANDSHAKE_EOF,
    HANDSHAKE_FAILED,
    HTTP_TO_TLS,
    NO_CERTIFICATE,
    NO_COMMON,
    NOT_TLS,
    NOT_YET_VALID,
    SELF_SIGNED,
    UNKNOWN_ISSUER,
    WRONG_NAME,
)

_VERIFIED = {
    9: NOT_YET_VALID, 10: EXPIRED, 18: SELF_SIGNED, 19: UNKNOWN_ISSUER, 2: UNKNOWN_ISSUER,
    20: UNKNOWN_ISSUER, 21: UNKNOWN_ISSUER, 62: WRONG_NAME, 63: WRONG_NAME, 64: WRONG_NAME,
}  # fmt: skip
_REASONS = {
    "HTTP_REQUEST": HTTP_TO_TLS,
    "HTTPS_PROXY_REQUEST": HTTP_TO_TLS,
    "WRONG_VERSION_NUMBER": NOT_TLS,
    "UNKNOWN_PROTOCOL": NOT_TLS,
    "BAD_RECORD_TYPE": NOT_TLS,
    "RECORD_TOO_SMALL": NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": BAD_RECORD,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": BAD_RECORD,
    "BAD_RECORD_MAC": BAD_RECORD,
    "DATA_LENGTH_TOO_LONG": BAD_RECORD,
    "ENCRYPTED_LENGTH_TOO_LONG": BAD_RECORD,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NO_CERTIFICATE,
    "UNEXPECTED_EOF_WHILE_READING": HANDSHAKE_EOF,
    **dict.fromkeys(
        (
            "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW",
            "VERSION_TOO_HIGH", "WRONG_SSL_VERSION", "INAPPROPRIATE_FALLBACK",
            "NO_SHARED_CIPHER", "NO_CIPHERS_AVAILABLE", "WRONG_CIPHER_RETURNED",
            "NO_SUITABLE_KEY_SHARE", "NO_SUITABLE_GROUPS", "NO_SHARED_GROUPS",
            "NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_SHARED_SIGNATURE_ALGORITHMS",
            "NO_APPLICATION_PROTOCOL", "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        ),
        NO_COMMON,
    ),
}  # fmt: skip
_PREFIXES = ("TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV13_ALERT_", "TLSV1_")
_ALERT_NUMBERS = {name.upper(): number for number, name in ALERTS.items()}
_ALERT_NUMBERS["USER_CANCELLED"] = _ALERT_NUMBERS["USER_CANCELED"]


def reason_of(error: ssl.SSLError) -> int:
    """The number of tls/reasons.py."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFIED.get(error.verify_code, BAD_CERTIFICATE)
    name = getattr(error, "reason", None) or ""
    if name in _REASONS:
        return _REASONS[name]
    for prefix in _PREFIXES:
        number = _ALERT_NUMBERS.get(name.removeprefix(prefix))
        if name.startswith(prefix) and number is not None:
            return ALERT + number
    return HANDSHAKE_FAILED


def words_of(error: ssl.SSLError) -> str:
    """What ssl says, without its file and line."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message)
    text = str(error.args[1] if len(error.args) > 1 else error)
    return text.partition("] ")[2].rpartition(" (_ssl.c")[0] or text
