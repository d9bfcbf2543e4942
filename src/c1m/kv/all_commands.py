"""Importing this fills the table of commands."""

from c1m.kv import bits, connection, keys, strings

__all__ = ["bits", "connection", "keys", "strings"]
