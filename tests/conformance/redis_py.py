"""redis-py's own tests, from its source distribution: one file after the other.

Those of its client of one server, and those of its client of a cluster.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from . import obtaining
from .protocol import Outcome, Result

# Not `lock`: its locks are let go by a script, and scripting is left out.
_BOTH = "commands pubsub pipeline encoding connect connection connection_pool client hash"
FILES = [
    *(f"tests/test_{name}.py" for name in _BOTH.split()),
    *(f"tests/test_asyncio/test_{name}.py" for name in _BOTH.split() if name != "client"),
    "tests/test_keyspace_notifications.py",
    "tests/test_multiprocessing.py",
    "tests/test_monitor.py",
]
CLUSTER_FILES = [
    f"tests/{kind}test_{name}.py"
    for name in ("cluster", "cluster_transaction")
    for kind in ("", "test_asyncio/")
]
# What its tests import, as far as it is there as wheels.
NEEDS = ("pytest>=9", "pytest-asyncio", "pytest-timeout", "numpy", "xxhash", "PyJWT", "pybreaker",
         "aiohttp", "cryptography", "opentelemetry-api", "opentelemetry-sdk")  # fmt: skip
WITHOUT = "not redismod and not ssl"  # marks: what needs other servers
TEST_S = 30
PATIENCE_S = 1800


class RedisPy:
    """The suite."""

    name = "redis-py"
    parts: Sequence[str] = FILES
    nodes = 1
    database = 9
    marks = f"not onlycluster and {WITHOUT}"

    def __init__(self) -> None:
        # Not this environment's: what it has installed would come first.
        self._python = getattr(sys, "_base_executable", "") or sys.executable
        self._site = obtaining.site(self._python, NEEDS, "site-redis-py")
        self._source = obtaining.sdist(self._python, "redis")

    def run(self, file: str, port: int, without: Sequence[str]) -> dict[str, Result]:
        """The results of a file's tests; those that `without` matches are not run."""
        here = Path(__file__).parent / "in_place"
        paths = os.pathsep.join(map(str, (self._site, self._source, here)))
        with tempfile.TemporaryDirectory(prefix="c1m-redis-py-") as directory:
            report = Path(directory) / "report.xml"
            command = [self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
            command += ["-p", "left_out", "-m", self.marks, "--timeout", str(TEST_S)]
            command += ["--redis-cluster-nodes", str(self.nodes)]
            command += [
                "--redis-url",
                f"redis://127.0.0.1:{port}/{self.database}",
                f"--junitxml={report}",
            ]
            done = subprocess.run(
                command,
                cwd=self._source,
                env={**os.environ, "PYTHONPATH": paths, "LEFT_OUT": json.dumps(list(without))},
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            if not report.exists():
                return {file: Result(file, "failed", done.stdout[-2000:] + done.stderr[-2000:])}
            return results(file, ElementTree.parse(report).getroot())

    def came_to_its_end(self, results: dict[str, Result]) -> bool:
        """pytest lists all tests."""
        return False


class RedisPyCluster(RedisPy):
    """The same for a cluster."""

    name = "redis-py-cluster"
    parts = CLUSTER_FILES
    nodes = 3
    database = 0
    marks = f"not onlynoncluster and {WITHOUT}"


def results(file: str, root: ElementTree.Element) -> dict[str, Result]:
    """What pytest's report says of each test."""
    found: dict[str, Result] = {}
    for case in root.iter("testcase"):
        classes = case.get("classname", "").split(".")
        name = "::".join([file, *classes[file.count("/") + 1 :], case.get("name", "")])
        outcome: Outcome = "passed"
        text = ""
        for said in case:
            if said.tag in ("failure", "error"):
                outcome, text = "failed", f"{said.get('message')}\n{said.text}"
            elif said.tag == "skipped" and outcome == "passed":
                outcome, text = "skipped", said.get("message", "")
        if name not in found or found[name].outcome != "failed":
            found[name] = Result(name, outcome, text)
    return found
