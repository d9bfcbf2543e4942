"""The key-value server: what `c1m.kv` does, on sockets, in time and on disk."""
