"""TLS between an engine and its user: handshakes by Python's ssl, records by that or by us."""
