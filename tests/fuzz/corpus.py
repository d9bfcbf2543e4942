"""Seeds that are kept: those that found something, and those that reach lines that no other does.

`python -m tests.fuzz TARGET --keep` tries seeds for its time, and adds those to corpus.json whose
execution reaches a line of c1m that none before it reached. `make test` repeats all that are kept.
A seed is worth something for as long as its target draws as it does; then they are to be made anew.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import Any

import c1m

PATH = Path(__file__).with_name("corpus.json")
OURS = str(Path(c1m.__file__).parent)
Lines = set[tuple[CodeType, int]]


def kept() -> dict[str, list[int]]:
    """By target."""
    found: dict[str, list[int]] = json.loads(PATH.read_text()) if PATH.exists() else {}
    return found


def keep(target: str, run: Callable[[Random], int], seconds: float) -> int:
    """Add what reaches further; how many were tried."""
    seeds = kept().get(target, [])
    lines: Lines = set()
    for seed in seeds:
        lines |= reached(run, seed)
    start, tried = time.monotonic(), 0
    while time.monotonic() - start < seconds:
        found = reached(run, tried)
        if not found <= lines and tried not in seeds:
            lines |= found
            seeds.append(tried)
        tried += 1
    rows = [
        f"{json.dumps(name)}: {seeds}" for name, seeds in sorted({**kept(), target: seeds}.items())
    ]
    PATH.write_text("{\n" + ",\n".join(rows) + "\n}\n")
    return tried


def reached(run: Callable[[Random], int], seed: int) -> Lines:
    """The lines of c1m that one execution reaches."""
    found: Lines = set()

    def of_line(frame: FrameType, event: str, _: Any) -> Any:
        found.add((frame.f_code, frame.f_lineno))
        return of_line

    def of_call(frame: FrameType, event: str, _: Any) -> Any:
        return of_line if frame.f_code.co_filename.startswith(OURS) else None

    sys.settrace(of_call)
    try:
        run(Random(seed))
    finally:
        sys.settrace(None)
    return found
