"""Importing this fills the table of commands."""

from c1m.kv import connection, keys, strings

__all__ = ["connection", "keys", "strings"]
