"""The reference pages have what the catalogue says, the published schema is the generated one."""

from __future__ import annotations

import plan_tables
import reference_tables


def test_the_pages_are_as_they_are_written() -> None:
    """After a change of the record or of the catalogue: python tests/reference_tables.py"""
    written = reference_tables.written()
    assert [path.name for path in written] == [
        "admin.md",
        "key-value-server.md",
        "load.md",
        "metrics.md",
        "push.md",
        "record.md",
        "server-limits.md",
        "targets.md",
        "tls.md",
        "past-one-machine.md",
        "record.schema.json",
    ]
    for path, text in written.items():
        assert path.read_text() == text, path.name


def test_the_plan_for_100_million_connections_holds() -> None:
    """By the arithmetic of c1m doctor: past-one-machine.md says no more than that."""
    plan_tables.check()
