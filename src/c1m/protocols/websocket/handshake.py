"""The handshake of WebSocket (RFC 6455, 4), of both sides. Pure."""

from __future__ import annotations

import base64
import hashlib

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
