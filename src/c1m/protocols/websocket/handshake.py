"""The handshake of WebSocket (RFC 6455, 4), of both sides. Pure."""

from __future__ import annotations

import base64
import hashlib
import re

from c1m.protocols.http.requests import Head, Refused

VERSION = b"13"
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def accept_key(key: bytes) -> bytes:
    """Sec-WebSocket-Accept of a Sec-WebSocket-Key (RFC 6455, 4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def accepted(key: bytes, protocol: bytes = b"", extensions: bytes = b"") -> bytes:
    """The response that ends the handshake: 101."""
    more = b"Sec-WebSocket-Protocol: %b\r\n" % protocol if protocol else b""
    if extensions:
        more += b"Sec-WebSocket-Extensions: %b\r\n" % extensions
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n%b\r\n" % (accept_key(key), more)
    )


def check(head: Head) -> None:
    """Raise Refused where a request for a WebSocket is none that can be accepted (4.2.1)."""
    if head.method != b"GET" or head.minor != 1:
        raise Refused(400, "A WebSocket is asked for by GET and HTTP/1.1.")
    if b"websocket" not in head.tokens(b"upgrade") or b"upgrade" not in head.tokens(b"connection"):
        why = "A WebSocket needs the fields Upgrade and Connection; did a proxy take them away?"
        raise Refused(426, why, ("Upgrade", "websocket"))
    if head.get(b"sec-websocket-version") != VERSION:
        fields = ("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION.decode())
        raise Refused(426, "Only version 13 of WebSocket is spoken here.", *fields)
    if not _KEY.fullmatch(head.get(b"sec-websocket-key") or b""):
        raise Refused(400, "Sec-WebSocket-Key is not one key of 16 bytes.")
    if head.get(b"transfer-encoding") or head.get(b"content-length") not in (None, b"0"):
        raise Refused(400, "A request for a WebSocket has no body.")
