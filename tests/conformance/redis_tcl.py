"""Redis's own tests, in Tcl, from Debian's source package of it: one unit after the other.

A unit is run against a server that is there already (`--host`), so what looks into the server's
process, its files or its replicas is left out by the suite itself.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Sequence

from . import obtaining
from .obtaining import CannotBeHad
from .protocol import Outcome, Result

_TYPES = "string incr hash list list-2 list-3 set zset"
_OTHERS = """
keyspace expire scan sort dump multi bitops bitfield pubsub pubsubshard protocol querybuf auth quit
info info-command introspection introspection-2 slowlog latency-monitor maxmemory limits networking
other wait
"""
UNITS = [
    *(f"unit/type/{name}" for name in _TYPES.split()),
    *(f"unit/{name}" for name in _OTHERS.split()),
]
# needs:debug is DEBUG's inside of Redis, needs:repl are replicas; slow and large-memory are theirs.
DENIED = "-needs:debug -needs:repl -needs:save -slow -large-memory"
STILL_S = 60  # a test that says nothing for so long hangs
PATIENCE_S = 900
PORTS_TRIED = 10

HANGS = "It hangs, or the suite broke off; what follows it was not run."

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SAID = re.compile(r"\[(ok|err|skip|ignore|exception)\]: (.*)")
_HANGS = re.compile(r"=> \(IN PROGRESS\) (.*)")
OUTCOMES: dict[str, Outcome] = {"ok": "passed", "err": "failed", "exception": "failed"}


class RedisTcl:
    """The suite."""

    name = "redis-tcl"
    nodes = 1
    parts: Sequence[str] = UNITS

    def __init__(self) -> None:
        if shutil.which("tclsh") is None:
            raise CannotBeHad("tclsh is not installed; try: apt-get install tcl")
        self._source = obtaining.debian_source("redis")

    def run(self, unit: str, port: int, without: Sequence[str]) -> dict[str, Result]:
        """The results of a unit's tests; those that `without` matches are not run."""
        skipped = self._source / "skipped"
        names = [name.partition(": ")[2] for name in without if name.startswith(f"{unit}: ")]
        skipped.write_text("".join(f"/^{_pattern(name)}$\n" for name in names))
        command = ["tclsh", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--timeout", str(STILL_S)]
        command += ["--durable", "--ignore-digest", "--tags", DENIED, "--single", unit]
        command += ["--skipfile", str(skipped)]
        for _ in range(PORTS_TRIED):
            # It listens on a port of the 32 before this one, which somebody may have.
            ports = ["--baseport", str(random.randrange(20_000, 32_000)), "--portcount", "32"]
            done = subprocess.run(
                [*command, *ports],
                cwd=self._source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
                check=False,
            )
            said = done.stdout.decode("utf-8", "replace")
            if "address already in use" not in said:
                return results(unit, said)
        raise CannotBeHad(f"the suite found no port to listen on: {said[-500:]}")

    def came_to_its_end(self, results: dict[str, Result]) -> bool:
        """What it has not run then is for servers that have other things: jemalloc."""
        return bool(results) and not any(result.text == HANGS for result in results.values())


def _pattern(name: str) -> str:
    """A name with `*` in it, as a regular expression of Tcl's."""
    return ".*".join(re.sub(r"(\W)", r"\\\1", part) for part in name.split("*"))


def results(unit: str, said: str) -> dict[str, Result]:
    """What the suite's output says of each test."""
    found: dict[str, Result] = {}
    lines = _COLOUR.sub("", said).partition("The End")[0].splitlines()
    for at, line in enumerate(lines):
        if hangs := _HANGS.search(line):
            name = f"{unit}: {hangs[1]}"
            found[name] = Result(name, "failed", HANGS)
        if match := _SAID.match(line):
            kind, text = match.groups()
            if kind in ("ok", "skip"):
                text = re.sub(r" \(\d+ ms\)$", "", text)
            elif kind == "err":
                text = re.sub(r" in tests/[\w/-]+\.tcl$", "", text)
            name = f"{unit}: {text}"
            if name in found and found[name].outcome == "failed":
                continue
            more = "\n".join(lines[at + 1 : at + 8]) if kind == "err" else ""
            if kind == "exception":
                more = HANGS
            found[name] = Result(name, OUTCOMES.get(kind, "skipped"), more)
    return found
