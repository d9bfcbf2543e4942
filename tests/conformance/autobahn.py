"""`autobahn`: the Autobahn test suite on both sides of c1m's WebSockets.

It is a program for Python 2.7, which has to be there; the suite is installed apart, under `build`.
By default its cases of frames (chapters 1 to 7 and 10) run against a server and a client; those of
compression (12 and 13) with `--compress`, and against the server only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import obtaining
from .kv_servers import free_port, running, takes_connections
from .obtaining import CannotBeHad

PACKAGE = "autobahntestsuite"
VIRTUALENV = "virtualenv==20.15.1"  # the last that makes environments for 2.7
FRAMES = ("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*")
COMPRESSION = ("12.*", "13.*")
# One of each chapter, and all of what is cut up: seconds.
SAMPLE = ("1.1.*", "2.*", "3.1", "4.1.1", "5.1", "5.6", "5.19", "6.3.2", "6.4.*", "7.1.*", "7.9.1")
GOOD = ("OK", "NON-STRICT", "INFORMATIONAL")
PATIENCE_S = 1800


@dataclass
class Case:
    """How one case went: of its messages, and of its end."""

    name: str
    behaviour: str
    close: str

    @property
    def is_good(self) -> bool:
        return self.behaviour in GOOD and self.close in GOOD


def program() -> Path:
    """The suite's `wstest`; raises CannotBeHad where it cannot be had."""
    where = obtaining.BUILD / "autobahn"
    made = where / "bin" / "wstest"
    if made.exists():
        return made
    old = _python2()
    site = obtaining.site(sys.executable, [VIRTUALENV], "virtualenv")
    shutil.rmtree(where, ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    _run([sys.executable, "-m", "virtualenv", "-q", "-p", old, str(where)], environment)
    words = ["install", "-q", "--only-binary=cryptography,cffi", PACKAGE]
    _run([str(where / "bin" / "pip"), *words], dict(os.environ))
    return made


def _python2() -> str:
    """An interpreter of Python 2.7: that of the path, or one that pyenv has."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for found in (shutil.which("python2.7"), *root.glob("versions/2.7*/bin/python2.7")):
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
            return str(found)
    raise CannotBeHad("the Autobahn test suite needs Python 2.7, and there is none here.")


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise CannotBeHad(f"{' '.join(command)} failed:\n{said}")


# --- running ------------------------------------------------------------------------------------


def of_server(cases: Sequence[str], *, compress: bool = False) -> list[Case]:
    """The suite as a client of our server."""
    wstest = program()
    with tempfile.TemporaryDirectory(prefix="c1m-autobahn-") as directory:
        where, port = Path(directory), free_port()
        more = ["--compress"] if compress else []
        ours = [sys.executable, "-m", "tests.conformance.autobahn_peers", "server", str(port)]
        server = {"agent": "c1m", "url": f"ws://127.0.0.1:{port}"}
        spec = _spec(where, cases, servers=[server])
        with running([*ours, *more], where, lambda: takes_connections(port), obtaining.ROOT):
            command = [str(wstest), "-m", "fuzzingclient", "-s", str(spec)]
            subprocess.run(command, stdout=subprocess.DEVNULL, timeout=PATIENCE_S, check=True)
        return list(_results(where))


def of_client(cases: Sequence[str]) -> list[Case]:
    """The suite as the server of our client."""
    wstest = program()
    with tempfile.TemporaryDirectory(prefix="c1m-autobahn-") as directory:
        where, port = Path(directory), free_port()
        spec = _spec(where, cases, url=f"ws://127.0.0.1:{port}", options={"failByDrop": False})
        # It has a page of its own, at a port that is taken elsewhere if it is not told.
        theirs = [str(wstest), "-m", "fuzzingserver", "-s", str(spec), "--webport", "0"]
        with running(theirs, where, lambda: takes_connections(port)):
            ours = [sys.executable, "-m", "tests.conformance.autobahn_peers", "client", str(port)]
            subprocess.run(ours, cwd=obtaining.ROOT, timeout=PATIENCE_S, check=True)
        return list(_results(where))


def _spec(where: Path, cases: Sequence[str], **more: Any) -> Path:
    said = {"outdir": str(where / "reports"), "cases": list(cases), "exclude-cases": [],
            "exclude-agent-cases": {}, **more}  # fmt: skip
    path = where / "spec.json"
    path.write_text(json.dumps(said))
    return path


def _results(where: Path) -> Iterator[Case]:
    said = json.loads((where / "reports" / "index.json").read_text())
    for name, result in said.get("c1m", {}).items():
        yield Case(name, result["behavior"], result["behaviorClose"])


# --- the command --------------------------------------------------------------------------------


def main(words: Sequence[str]) -> int:
    """0 where all cases are OK, not strict, or of information."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.conformance autobahn", description=__doc__
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="as in 6.*; all of 1-7 and 10")
    parser.add_argument("--side", choices=("server", "client"), help="both, unless one is named")
    parser.add_argument("--compress", action="store_true", help="chapters 12 and 13; the server")
    asked = parser.parse_args(words)
    cases = asked.cases or (COMPRESSION if asked.compress else FRAMES)
    is_good = True
    try:
        for side in ("server", "client"):
            if asked.side not in (None, side) or (asked.compress and side == "client"):
                continue
            ran = (
                of_client(cases) if side == "client" else of_server(cases, compress=asked.compress)
            )
            counts = Counter(case.behaviour for case in ran)
            said = ", ".join(f"{count} {name}" for name, count in counts.most_common())
            print(f"{side}: {len(ran)} cases: {said}", flush=True)
            for case in ran:
                if not case.is_good:
                    print(f"    {case.name}: {case.behaviour}, its end: {case.close}")
            is_good &= bool(ran) and all(case.is_good for case in ran)
    except CannotBeHad as why:
        print(f"autobahn cannot be had here: {why}", file=sys.stderr)
        return 2
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    return int(not is_good)
