"""`python -m tests.torture [NAME ...] [--scale F] [--json FILE]`: run them, whole or in proportion.

Each is a module here with a `TORTURE`. What they find is added to the file, with the conditions.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from .verdict import Torture

# In the order in which they are run; those that are not there yet are left out.
MODULES = (
    "faults",
    "protocols",
    "refused",
    "churn",
    "killed",
    "reconnect",
    "sigterm",
    "takeover",
    "hostile",
    "lossy",
    "ordinary",
    "hour",
)


def found() -> dict[str, Torture]:
    """By name."""
    there = [name for name in MODULES if (Path(__file__).parent / f"{name}.py").exists()]
    modules = [importlib.import_module(f"tests.torture.{name}") for name in there]
    return {module.TORTURE.name: module.TORTURE for module in modules}


def conditions() -> dict[str, Any]:
    """Where and when."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M"), "linux": platform.release(),
        "python": platform.python_version(), "cpus": os.cpu_count(),
        "memory_gib": round(memory / 2**30), "load_before": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> int:
    tests = found()
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(tests)}; all")
    parser.add_argument("--scale", type=float, default=1.0, help="0.01: a hundredth of each")
    parser.add_argument("--json", type=Path, help="add what is found to this file")
    parser.add_argument("--seed", type=int, help="repeat one run of a test that has seeds")
    asked = parser.parse_args()
    unknown = {*asked.names} - {*tests}
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    if asked.seed is not None:
        return again(parser, [tests[name] for name in asked.names], asked.seed)
    is_well = True
    for name in asked.names or tests:
        said = run(tests[name], asked.scale)
        is_well &= not said["wrong"]
        if asked.json is not None:
            keep(asked.json, name, said)
    return 0 if is_well else 1


def again(parser: argparse.ArgumentParser, tests: list[Torture], seed: int) -> int:
    """One run of one of them."""
    if len(tests) != 1 or tests[0].replay is None:
        parser.error("--seed repeats a run of one test that has seeds, such as faults")
    tests[0].replay(seed)
    return 0


def run(test: Torture, scale: float) -> dict[str, Any]:
    """One of them, and what is shown of it."""
    where, start = conditions(), time.monotonic()
    print(f"{test.name}: {test.asked}", flush=True)
    verdict = test.run(scale)
    seconds = round(time.monotonic() - start, 1)
    for name, value in verdict.figures.items():
        print(f"  {name}: {value:,}" if isinstance(value, int) else f"  {name}: {value}")
    for sentence in verdict.wrong:
        print(f"  WRONG: {sentence}")
    print(f"  {'failed' if verdict.wrong else 'passed'} in {seconds:,} s", flush=True)
    return {
        "asked": test.asked, "scale": scale, "seconds": seconds, "conditions": where,
        **asdict(verdict),
    }  # fmt: skip


def keep(path: Path, name: str, said: dict[str, Any]) -> None:
    """Beside what is in the file already."""
    there = json.loads(path.read_text()) if path.exists() else {}
    there[name] = said
    path.write_text(json.dumps(there, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
