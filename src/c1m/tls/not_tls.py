"""Peers that do not speak TLS: plain HTTP, and what it is answered with; an echo. Pure."""

from __future__ import annotations

import re

_REQUEST = re.compile(rb"[A-Z]{3,12} [^\r\n]{1,4096} HTTP/1\.[01]\r?\n")
_TEXT = b"This port speaks TLS. Ask for https:// or wss:// instead of http:// or ws://.\n"

ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(_TEXT), _TEXT)
)


def is_http(came: bytes) -> bool:
    """Whether this is how a request of HTTP/1 begins."""
    return _REQUEST.match(came) is not None


def is_echo(came: bytes) -> bool:
    """Whether a server's first record has a ClientHello: what it was sent (RFC 8446, 4 and 5.1)."""
    return came[:2] == b"\x16\x03" and came[5:6] == b"\x01"
