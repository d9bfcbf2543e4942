"""Why a connection ended over TLS: numbers beside the errnos, and the alerts. Pure."""

from __future__ import annotations

BASE = 1 << 20  # errnos and what other protocols say are below (limits.reasons)

(
    TRUNCATED, NOT_TLS, EXPIRED, NOT_YET_VALID, WRONG_NAME, UNKNOWN_ISSUER, SELF_SIGNED,
    BAD_CERTIFICATE, NO_COMMON, BAD_RECORD, HANDSHAKE_TIMEOUT, HANDSHAKE_EOF, HANDSHAKE_FAILED,
    HTTP_TO_TLS, NO_CERTIFICATE,
) = range(BASE, BASE + 15)  # fmt: skip
ALERT = BASE + (1 << 8)  # + the alert that the peer sent (RFC 8446, 6)
OUR_ALERT = BASE + (1 << 9)  # + the alert that it was answered with

# Names by description (RFC 8446, B.2; 41, 60 and 100 are older).
ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 21: "decryption_failed",
    22: "record_overflow", 30: "decompression_failure", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate",
    44: "certificate_revoked", 45: "certificate_expired", 46: "certificate_unknown",
    47: "illegal_parameter", 48: "unknown_ca", 49: "access_denied", 50: "decode_error",
    51: "decrypt_error", 60: "export_restriction", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback",
    90: "user_canceled", 100: "no_renegotiation", 109: "missing_extension",
    110: "unsupported_extension", 111: "certificate_unobtainable", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 114: "bad_certificate_hash_value",
    115: "unknown_psk_identity", 116: "certificate_required", 120: "no_application_protocol",
}  # fmt: skip


class Broken(Exception):
    """The peer does not keep to TLS: it is sent `alert`, and the connection ends."""

    def __init__(self, alert: int, why: str) -> None:
        super().__init__(why)
        self.alert = alert


class Alert:
    """Descriptions of alerts (RFC 8446, B.2)."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    RECORD_OVERFLOW = 22
    ILLEGAL_PARAMETER = 47
    DECODE_ERROR = 50
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
