"""Why a connection ended over TLS: numbers beside the errnos, and words. Pure."""

from __future__ import annotations

BASE = 1 << 20  # errnos and what other protocols say are below (limits.reasons)

(
    TRUNCATED, NOT_TLS, EXPIRED, NOT_YET_VALID, WRONG_NAME, UNKNOWN_ISSUER, SELF_SIGNED,
    BAD_CERTIFICATE, NO_COMMON, BAD_RECORD, HANDSHAKE_TIMEOUT, HANDSHAKE_EOF, HANDSHAKE_FAILED,
    HTTP_TO_TLS,
) = range(BASE, BASE + 14)  # fmt: skip
ALERT = BASE + (1 << 8)  # + the alert that the peer sent (RFC 8446, 6)
OUR_ALERT = BASE + (1 << 9)  # + the alert that it was answered with


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
