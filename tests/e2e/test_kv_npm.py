"""Two clients of other people, ioredis and redis of npm, on `c1m serve kv`: as they are.

They are installed below `build` once; a machine without node, npm or a registry skips this.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from conformance.kv_servers import c1m
from e2e.debian_servers import free_port
from e2e.npm import INSTALL_S, installed

PACKAGES = ("ioredis@^6", "redis@^6")
PATIENCE_S = 60


@pytest.mark.conformance
@pytest.mark.timeout(INSTALL_S + PATIENCE_S)
@pytest.mark.parametrize("program", ["with_ioredis.mjs", "with_redis.mjs 2", "with_redis.mjs 3"])
def test_what_programs_do(tmp_path: Path, program: str) -> None:
    where = installed("npm", PACKAGES)
    name, *protocol = program.split()
    port = free_port()
    with c1m(tmp_path, port):
        command = ["node", str(where / name), str(port), *protocol]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "all right\n"), done.stderr
