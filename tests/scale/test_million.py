"""A million connections through `c1m demo`: complete, in one thread, in little memory. No times.

Takes a minute or two of two cores and about 9 GB. Deselect with `-m "not scale"`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from c1m.kernel import procfs
from c1m.results.record import RunRecord
from e2e.cli_helpers import assert_complete, start
from laws import broken_laws

MILLION = 1_000_000
NEEDED_BYTES = 10 << 30
USER_BYTES_PER_CONNECTION = 64


def lacking() -> str | None:
    """Why a million does not fit here now; None where it does."""
    available = procfs.meminfo().get("MemAvailable", 0)
    limit, used = procfs.cgroup_memory()
    if limit is not None:
        available = min(available, limit - (used or 0))
    if available < NEEDED_BYTES:
        return f"needs {NEEDED_BYTES >> 30} GiB of memory, {available / (1 << 30):.1f} available"
    return None


def demo(directory: Path, *arguments: str, patience_s: int) -> str:
    """What the demo of a million says; skips where a million does not fit."""
    reason = lacking()
    if reason is not None:
        pytest.skip(reason)
    running = start("demo", "--connections", "1M", *arguments, "--out", "out", cwd=directory)
    try:
        said, errors = running.communicate(timeout=patience_s)
    finally:
        if running.poll() is None:
            running.terminate()  # the client ends its run and stops the server
            running.communicate()
    assert (running.returncode, errors) == (0, ""), said[-3000:]
    return said


@pytest.mark.scale
@pytest.mark.timeout(900)
def test_a_million_connections(tmp_path: Path) -> None:
    said = demo(tmp_path, "--hold", "1s", patience_s=850)
    record = RunRecord.read(tmp_path / "out" / "run.json")
    assert broken_laws(record) == []
    assert_complete(record, MILLION)
    figures = json.loads((tmp_path / "out" / "server.json").read_text())
    assert (figures["opened"], figures["peak"], figures["live"]) == (MILLION, MILLION, 0)
    assert figures["messages"] >= 2 * MILLION
    assert sum(figures["closed"].values()) == MILLION
    assert figures["threads"] == 1
    assert re.search(r"server: process [0-9]+, 1 thread\)", said)
    per_connection = record.memory.server_user_bytes_per_connection
    assert per_connection is not None and per_connection <= USER_BYTES_PER_CONNECTION
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000


@pytest.mark.scale
@pytest.mark.timeout(1800)
def test_a_million_subscribers(tmp_path: Path) -> None:
    """Each of them hears each of ten messages by WebSocket, once and byte for byte."""
    said = demo(tmp_path, "--push", patience_s=1750)
    record = RunRecord.read(tmp_path / "out" / "run.json")
    assert broken_laws(record) == [] and record.verdict.shortfalls == []
    fan_out = record.fan_out
    assert fan_out is not None
    assert (fan_out.published, fan_out.expected, fan_out.received) == (10, *[10 * MILLION] * 2)
    assert (fan_out.doubled, fan_out.garbled, record.connections.lost) == (0, 0, 0)
    figures = json.loads((tmp_path / "out" / "server.json").read_text())
    assert (figures["peak"], figures["live"], figures["threads"]) == (MILLION + 1, 0, 1)
    idle = re.search(r"with 1,000,000 idle subscribers: .* than without, ([0-9.]+) B each", said)
    assert idle is not None and float(idle[1]) <= USER_BYTES_PER_CONNECTION
