"""Two clients of other people, ioredis and redis of npm, on `c1m serve kv`: as they are.

They are installed below `build` once; a machine without node, npm or a registry skips this.
"""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from conformance.kv_servers import c1m
from conformance.obtaining import BUILD
from e2e.debian_servers import free_port

PACKAGES = ("ioredis@^6", "redis@^6")
PATIENCE_S = 60
INSTALL_S = 300


@cache
def installed() -> Path:
    """A directory with both packages in it."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is not installed")
    where = BUILD / "npm"
    stamp = where / ".installed"
    if not stamp.exists() or stamp.read_text() != " ".join(PACKAGES):
        where.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(where), "--no-audit", "--no-fund", *PACKAGES]
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S)
        if done.returncode != 0:
            pytest.skip(f"npm could not install {PACKAGES}: {done.stderr.strip()[-300:]}")
        stamp.write_text(" ".join(PACKAGES))
    for program in (Path(__file__).parent / "node").glob("*.mjs"):
        shutil.copy(program, where)  # it finds packages beside itself only
    return where


@pytest.mark.conformance
@pytest.mark.timeout(INSTALL_S + PATIENCE_S)
@pytest.mark.parametrize("program", ["with_ioredis.mjs", "with_redis.mjs 2", "with_redis.mjs 3"])
def test_what_programs_do(tmp_path: Path, program: str) -> None:
    where = installed()
    name, *protocol = program.split()
    port = free_port()
    with c1m(tmp_path, port):
        command = ["node", str(where / name), str(port), *protocol]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr
