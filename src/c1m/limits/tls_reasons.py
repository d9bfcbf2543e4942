"""Why TLS failed or ended, in words, with what to do: a load client's side. Pure.

Numbers are those of tls/reasons.py, names what a record has for them. Alerts are described in
RFC 8446, 6.2.
"""

from __future__ import annotations

from c1m.tls import reasons
from c1m.tls.reasons import ALERT, ALERTS, OUR_ALERT

NAMES = {
    reasons.TRUNCATED: "truncated", reasons.NOT_TLS: "no TLS", reasons.HTTP_TO_TLS: "plain HTTP",
    reasons.EXPIRED: "certificate expired", reasons.NOT_YET_VALID: "certificate not yet valid",
    reasons.WRONG_NAME: "wrong name", reasons.UNKNOWN_ISSUER: "unknown issuer",
    reasons.SELF_SIGNED: "self-signed", reasons.BAD_CERTIFICATE: "bad certificate",
    reasons.NO_CERTIFICATE: "no certificate", reasons.NO_COMMON: "nothing in common",
    reasons.BAD_RECORD: "bad record", reasons.HANDSHAKE_TIMEOUT: "TLS timed out",
    reasons.HANDSHAKE_EOF: "TLS EOF", reasons.HANDSHAKE_FAILED: "TLS failed",
}  # fmt: skip
_LOG = "Look at the server's log."
_CLOCKS = "Renew it, or look at the clocks of both machines; --insecure takes it as it is."
_TRUST = "Give the certificate of who signed it: --ca FILE; or --insecure, which takes any."
_PLAIN = (
    "Is there TLS on that port? Without it the targets are http://, ws://, sse://, mqtt://, "
    "redis://, tcp://."
)

# Name -> (what it is, what to do).
WORDS = {
    "truncated": (
        "the stream ended without a close_notify: what the server had sent may be cut off",
        "Look at the server's log: it crashed, gave up a handshake that was slow, or ends "
        "connections without TLS's own goodbye.",
    ),
    "no TLS": ("what came is no TLS", _PLAIN),
    "plain HTTP": ("what came is HTTP without TLS", _PLAIN),
    "certificate expired": ("the server's certificate has expired", _CLOCKS),
    "certificate not yet valid": ("the server's certificate is not valid yet", _CLOCKS),
    "wrong name": (
        "the server's certificate is for other names",
        "Give one of its names: --server-name NAME, or as the target's host.",
    ),
    "unknown issuer": ("nobody who is trusted has signed the server's certificate", _TRUST),
    "self-signed": ("the server's certificate is signed by itself, and is not trusted", _TRUST),
    "bad certificate": (
        "the server's certificate cannot be verified",
        "Look at it: openssl s_client -connect HOST:PORT -showcerts; --insecure takes any.",
    ),
    "no certificate": ("the server has shown no certificate", _LOG),
    "nothing in common": (
        "the server speaks no version or cipher that this client takes",
        "Look at the server's versions and ciphers, and at --tls-min.",
    ),
    "bad record": ("a record came that cannot be read", _LOG),
    "TLS timed out": (
        "the handshake was not done in time",
        "Look at the server's load, or give --timeout more.",
    ),
    "TLS EOF": (
        "the server ended the connection within the handshake",
        f"{_LOG} {_PLAIN}",
    ),
    "TLS failed": ("OpenSSL could not do the handshake", _LOG),
}
# The same of alerts that a server sends.
ALERT_WORDS = {
    "handshake_failure": (
        "the server found no cipher, group or signature that both know",
        "Look at the server's versions, ciphers and certificate.",
    ),
    "protocol_version": (
        "the server speaks no version of TLS that this client takes",
        "Look at the server's versions, and at --tls-min.",
    ),
    "insufficient_security": (
        "the server wants stronger ciphers than this client has", "Look at the server's ciphers.",
    ),
    "certificate_required": (
        "the server wants a certificate of the client",
        "Give one: --cert FILE --key FILE.",
    ),
    "unknown_ca": (
        "the server does not trust who signed this client's certificate",
        "Compare --cert with the authority that the server takes clients of.",
    ),
    "certificate_expired": ("this client's certificate has expired", "Renew it."),
    "certificate_revoked": ("this client's certificate was revoked", "Give another with --cert."),
    "bad_certificate": (
        "the server could not verify this client's certificate",
        "Look at --cert: its chain, its dates and what it is for.",
    ),
    "access_denied": (
        "the server does not let this client's certificate in", "Give another with --cert."
    ),
    "unrecognized_name": (
        "the server has nothing under the name that was asked for",
        "Give one that it knows: --server-name NAME.",
    ),
    "no_application_protocol": (
        "the server does not speak HTTP/1.1 there, by ALPN",
        "Look at its protocols: this client offers http/1.1 only.",
    ),
    "internal_error": ("the server met an error of its own", _LOG),
    "user_canceled": ("the server gave the handshake up", _LOG),
}  # fmt: skip
# What an open connection, or one in the kernel's words, is beside these.
SHAKING = {
    "EOF": WORDS["TLS EOF"],
    "ECONNRESET": (
        "the server reset the connection within the handshake", f"{_LOG} {_PLAIN}"
    ),
    "EPIPE": (
        "the server reset the connection within the handshake", f"{_LOG} {_PLAIN}"
    ),
    "ETIMEDOUT": (
        "the server did not finish the handshake in time",
        f"Look at the server's load, or give --timeout more. {_PLAIN}",
    ),
}  # fmt: skip


def name_of(code: int) -> str:
    """As a record has it: "wrong name", "alert unknown_ca", "answered decode_error"."""
    if code in NAMES:
        return NAMES[code]
    if code >= OUR_ALERT:
        return f"answered {_alert(code - OUR_ALERT)}"
    return f"alert {_alert(code - ALERT)}" if code >= ALERT else f"TLS {code}"


def words_of(code: int) -> tuple[str, str]:
    """(reason in words, remedy)."""
    if code in NAMES:
        return WORDS[NAMES[code]]
    if code >= OUR_ALERT:
        alert = _alert(code - OUR_ALERT)
        return f"the server broke TLS, and was answered with the alert {alert}", _LOG
    alert = _alert(code - ALERT)
    return ALERT_WORDS.get(alert, (f"the server ended it with the alert {alert}", _LOG))


def _alert(number: int) -> str:
    return ALERTS.get(number, str(number))
