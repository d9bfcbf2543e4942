"""WebSocket (RFC 6455), without I/O: handshakes, frames one by one and in arrays. Pure."""
