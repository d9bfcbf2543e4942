"""Rows and lines about what a run took: memory and CPU of both processes, kernel counters."""

from __future__ import annotations

from collections.abc import Sequence

from c1m.report.text_layout import Row, named
from c1m.results.record import ProcessColumns, RunRecord
from c1m.units import format_bytes, format_count

MEMORY_HEAD: Row = ("memory and CPU", "at start", "highest", "/connection", "CPU time")


def memory_rows(record: RunRecord) -> list[Row]:
    """(who, memory at start, highest, bytes a connection, CPU seconds)."""
    samples, memory = record.samples, record.memory
    rows: list[Row] = []
    for name, process, each in (
        ("server", samples.server, memory.server_user_bytes_per_connection),
        ("client", samples.client, memory.client_user_bytes_per_connection),
    ):
        if process is not None and (rss := [b for b in process.rss_bytes if b is not None]):
            row = (format_bytes(rss[0]), format_bytes(max(rss)), _bytes_each(each))
            rows.append((f"{name} (resident)", *row, cpu_text(process)))
    kernel = samples.kernel
    if any(kernel.used_bytes):  # without /proc they are 0
        rows.append(("machine (used)", *_from_to(kernel.used_bytes), "", ""))
    if memory.kernel_bytes_per_connection is not None:
        ends = "sockets, both ends" if samples.server is not None else "sockets"
        rows.append(
            (f"kernel ({ends})", "", "", _bytes_each(memory.kernel_bytes_per_connection), "")
        )
    if any(kernel.slab_bytes):
        each_slab = _bytes_each(memory.slab_bytes_per_connection)
        rows.append(("kernel slab", *_from_to(kernel.slab_bytes), each_slab, ""))
    if kernel.tcp_mem_bytes and any(kernel.used_bytes):
        rows.append(("TCP buffers", *_from_to(kernel.tcp_mem_bytes), "", ""))
    return rows


def memory_text(memory_bytes: int) -> str:
    """A machine's memory; 0 is what a record has where /proc could not be read."""
    return format_bytes(memory_bytes) if memory_bytes else "memory not known"


def _from_to(column: Sequence[int]) -> tuple[str, str]:
    return format_bytes(column[0]), format_bytes(max(column))


def _bytes_each(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f} B"


def cpu_text(process: ProcessColumns) -> str:
    """'user 12.3 s, system 20.1 s': used between the first and the last sample."""
    parts = []
    for name, column in (("user", process.user_s), ("system", process.system_s)):
        known = [value for value in column if value is not None]
        if known:
            parts.append(f"{name} {known[-1] - known[0]:.1f} s")
    return ", ".join(parts)


def counter_lines(record: RunRecord) -> list[str]:
    """The kernel counters that moved over the run."""
    if not record.kernel_counters:
        return []
    moved = {k: v for k, v in record.kernel_counters.items() if v and not k.endswith("Opens")}
    text = ", ".join(f"{name} {format_count(value)}" for name, value in moved.items())
    return named("kernel", text or "no retransmission, overflow or drop")
