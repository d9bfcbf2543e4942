"""HTTP/1.1 (RFC 9110, 9112), without I/O: requests, upgrades as arrays, responses. Pure."""
