"""HTTP: wrk is the client. It is no part of this repository, and left out where it is missing."""

from __future__ import annotations

import json
import math
import resource
import shutil
from importlib.util import find_spec
from typing import Any

from harness import accounts, build
from harness.processes import RunFailed, Server, run_to_its_end

SCRIPT = build.BENCH / "c" / "wrk.lua"
WARM_UP = 8  # connections, for a second
TIMEOUT_S = 8  # of a reply: wrk only counts those that came later
MANY = 5_000  # connections from which opening them is a part of the run that shows
MANY_S_MIN = 5.0


def why_missing() -> str:
    """Empty if HTTP can be measured here."""
    if shutil.which("wrk") is None:
        return "wrk is not installed: apt-get install wrk"
    for name in ("uvicorn", "httptools"):
        if find_spec(name) is None:
            return f"the Python package {name} is not installed"
    return ""


def run(server: Server, cpu: int, connections: int, seconds: float) -> dict[str, Any]:
    """One run of wrk against one server, in the words of the C generator. Raises RunFailed.

    wrk knows neither a warm-up nor parts of a second, and opens its connections within the time
    that counts. So the server is warmed by a run of its own, and where there are many connections a
    run takes MANY_S_MIN at least. The server's processor time is over all of a run.
    """
    if connections >= MANY:
        seconds = max(seconds, MANY_S_MIN)
    _wrk(server, cpu, WARM_UP, 1)
    server.wait_until_idle()
    server_before, own_before = accounts.account(server.pid), _own_cpu_s()
    result = _wrk(server, cpu, connections, math.ceil(seconds))
    spent = accounts.growth(server.pid, server_before)
    return {
        "connections": connections, **result, "step_seconds": [],
        **{f"server_{name}": value for name, value in spent.items()},
        "own_cpu_ns": round(1e9 * (_own_cpu_s() - own_before)),
    }  # fmt: skip


def _own_cpu_s() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _wrk(server: Server, cpu: int, connections: int, seconds: int) -> dict[str, Any]:
    command = [
        "wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s",
        "--timeout", f"{TIMEOUT_S}s", "--script", str(SCRIPT), f"http://127.0.0.1:{server.port}/",
    ]  # fmt: skip
    output = run_to_its_end(command, cpu, seconds)
    last = output.splitlines()[-1:]
    if not last or not last[0].startswith(b"{"):
        raise RunFailed(f"wrk has counted nothing: {output[-200:].decode(errors='replace')}")
    result: dict[str, Any] = json.loads(last[0])
    return result
