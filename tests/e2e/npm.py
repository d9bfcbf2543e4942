"""Packages of npm, installed once below `build`, and the programs of `node/` that use them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from conformance.obtaining import BUILD

INSTALL_S = 300


@cache
def installed(name: str, packages: Sequence[str]) -> Path:
    """A directory with these packages and all programs in it; skips where they cannot be had."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    where = BUILD / name
    stamp = where / ".installed"
    if not stamp.exists() or stamp.read_text() != " ".join(packages):
        where.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", *packages]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        if done.returncode != 0:
            pytest.skip(f"npm could not install {packages}: {done.stderr.strip()[-300:]}")
        stamp.write_text(" ".join(packages))
    for program in (Path(__file__).parent / "node").glob("*.mjs"):
        shutil.copy(program, where)  # it finds packages beside itself only
    return where
