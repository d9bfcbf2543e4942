"""Why TLS with a client failed or ended, in words: a server's side. Pure.

Numbers are those of tls/reasons.py; alerts are described in RFC 8446, 6.2.
"""

from __future__ import annotations

from c1m.tls import reasons
from c1m.tls.reasons import ALERT, ALERTS, OUR_ALERT

_WORDS = {
    reasons.TRUNCATED: "The client ended without a close_notify",
    reasons.NOT_TLS: "The client spoke something else than TLS",
    reasons.HTTP_TO_TLS: "The client spoke plain HTTP",
    reasons.EXPIRED: "The client's certificate has expired",
    reasons.NOT_YET_VALID: "The client's certificate is not valid yet",
    reasons.UNKNOWN_ISSUER: "The issuer of the client's certificate is unknown",
    reasons.SELF_SIGNED: "The client's certificate is signed by itself",
    reasons.BAD_CERTIFICATE: "The client's certificate is wrong",
    reasons.NO_CERTIFICATE: "The client showed no certificate",
    reasons.NO_COMMON: "No version, cipher or signature in common",
    reasons.BAD_RECORD: "A record could not be read",
    reasons.HANDSHAKE_TIMEOUT: "The TLS handshake took too long",
    reasons.HANDSHAKE_EOF: "The client ended within the TLS handshake",
    reasons.HANDSHAKE_FAILED: "The TLS handshake failed",
}
_ALERTS = {
    "unknown_ca": "The client does not know who issued the certificate",
    "certificate_expired": "To the client the certificate has expired",
    "bad_certificate": "The client refused the certificate",
    "certificate_unknown": "The client refused the certificate",
    "unsupported_certificate": "The client takes no certificate of this kind",
    "certificate_revoked": "To the client the certificate is revoked",
    "protocol_version": "The client speaks none of these versions of TLS",
    "handshake_failure": "The client found nothing in common",
}


def words_of(code: int) -> str:
    """A sentence without its full stop."""
    if code in _WORDS:
        return _WORDS[code]
    if code >= OUR_ALERT:
        return f"The client broke TLS (answered {ALERTS.get(code - OUR_ALERT, 'by an alert')})"
    alert = ALERTS.get(code - ALERT, f"alert {code - ALERT}")
    return f"{_ALERTS.get(alert, 'The client ended it by an alert')} ({alert})"
