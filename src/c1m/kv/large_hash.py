"""A hash that has been large once: Redis keeps it as a table from then on. Pure."""

from __future__ import annotations

SMALL = (512, 64)  # by default: fields, and bytes of each part of it


class LargeHash(dict[bytes, bytes]):
    """Fields and values. A hash that was always small is a plain dict."""

    __slots__ = ()

    def copy(self) -> LargeHash:
        """Another one with the same content."""
        return LargeHash(self)
