"""A server that has to wait for its core, because others have it: the verdict says so."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cli_helpers import load
from e2e.process_server import ProcessServer

OTHERS = 3
NICE = 10  # a tenth of the weight of each of the others


@contextlib.contextmanager
def crowded(pid: int) -> Iterator[None]:
    """A process on one core with others that never sleep, and counting for less than they do.

    All are in the test's session, or else their weights would not be held against each other.
    """
    core = max(os.sched_getaffinity(0))
    busy = f"import os\nos.sched_setaffinity(0, [{core}])\nprint(flush=True)\nwhile True: pass"
    others = [
        subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE)
        for _ in range(OTHERS)
    ]
    try:
        for one in others:
            assert one.stdout is not None
            one.stdout.readline()
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
        os.sched_setaffinity(pid, [core])
        yield
    finally:
        for one in others:
            one.kill()
            one.communicate()


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(),
    reason="this kernel does not say how long threads waited (CONFIG_SCHED_INFO)",
)
@pytest.mark.parametrize("loop", [("--think", "0s"), ("--rate", "20k/s")])
def test_a_server_whose_core_others_have(loop: tuple[str, str], tmp_path: Path) -> None:
    with ProcessServer() as server, crowded(server.pid):
        _, record, said = load(
            tmp_path, server.url, "--connections", 20, "--hold", "6s", *loop, "--timeout", "60s"
        )
    limit = record.limit
    assert limit.server_cpu is not None and limit.server_waited is not None
    assert limit.server_waited > limit.server_cpu
    assert (limit.who, limit.is_lower_bound) == ("both", True), limit.sentences
    told = [one for one in limit.sentences if one.startswith("The server waited for a CPU")]
    assert len(told) == 1 and "other processes had it" in told[0]
    assert "server had CPU to spare" not in said
    assert "waiting for one" in said
    server_columns = record.samples.server
    assert server_columns is not None
    waited = [seconds for seconds in server_columns.waited_s if seconds is not None]
    assert waited == sorted(waited) and waited[-1] > 0
