"""Costly checks of an engine's invariants, over whole tables: off unless the tests turn them on.

Cheap ones (a length, a bound of a batch) are plain asserts where they belong and are always on. The
costly ones say after a `wait` that brought something (and after some that did not) whether all that
is counted twice agrees: states and counters, places and slots, buffers and their owners, output
pending and output watched.
"""

from __future__ import annotations

COSTLY = False
"""Read when an engine is made."""
