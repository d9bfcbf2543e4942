"""Processor time of a process from the kernel's accounting, as the C generator reads it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def account(pid: int) -> dict[str, int]:
    """Since its start: `cpu_ns` and `waited_ns` (ready to run, and something else had the core) of
    all threads, exact; `user_ticks` and `system_ticks` of 10 ms, sampled. 0 when it has ended.
    """
    spent = dict.fromkeys(("cpu_ns", "waited_ns", "user_ticks", "system_ticks"), 0)
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                ran, waited, *_ = (task / "schedstat").read_text().split()
                spent["cpu_ns"] += int(ran)
                spent["waited_ns"] += int(waited)
        # The name in parentheses may hold anything: count fields from the last one.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        spent["user_ticks"], spent["system_ticks"] = int(fields[11]), int(fields[12])
    return spent


def growth(pid: int, since: dict[str, int]) -> dict[str, int]:
    """What was spent since an earlier account."""
    return {name: value - since[name] for name, value in account(pid).items()}
