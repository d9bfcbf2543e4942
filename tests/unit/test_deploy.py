"""What is in deploy/ says what c1m understands, and systemd as well."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from c1m.cli.serve import serve
from e2e.debian_servers import program

DEPLOY = Path(__file__).parents[2] / "deploy"
SERVICE = (DEPLOY / "c1m.service").read_text()


def settings(text: str) -> dict[str, str]:
    """The last of each name; lines that go on are one."""
    lines = text.replace("\\\n", " ").splitlines()
    return dict(line.split("=", 1) for line in lines if re.match(r"[A-Z]\w*=", line))


def understood(words: list[str]) -> dict[str, object]:
    assert words[0] == "serve"
    return dict(serve.make_context("serve", words[1:]).params)


def test_the_units_command_is_understood() -> None:
    found = settings(SERVICE)
    _, *words = shlex.split(found["ExecStart"])
    options = understood(words)
    drain_ns, spread_ns = options["drain_ns"], options["drain_spread_ns"]
    assert isinstance(drain_ns, int) and isinstance(spread_ns, int)
    assert int(found["TimeoutStopSec"].removesuffix("s")) * 10**9 > drain_ns + spread_ns
    assert found["Type"] == "notify"


def test_the_containers_command_is_understood() -> None:
    text = (DEPLOY / "Containerfile").read_text().replace("\\\n", " ")
    given = dict(re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE))
    _, *words = json.loads(given["ENTRYPOINT"]) + json.loads(given["CMD"])
    options = understood(words)
    assert options["admin"] and f"http://{options['admin']}/healthz" in text
    assert re.search(r"^USER [1-9]", text, re.MULTILINE), "not root"


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    analyze = program("systemd-analyze", "systemd")
    run = Path(sys.executable).with_name("c1m")
    if not run.exists():
        pytest.skip("c1m is not installed beside this interpreter")
    (tmp_path / "c1m.service").write_text(SERVICE.replace("/opt/c1m/bin/c1m", str(run)))
    (tmp_path / "c1m.socket").write_text((DEPLOY / "c1m.socket").read_text())
    done = subprocess.run(
        [analyze, "verify", "--man=no", tmp_path / "c1m.service", tmp_path / "c1m.socket"],
        capture_output=True, text=True, check=False,
        env=os.environ | {"SYSTEMD_LOG_LEVEL": "warning"},
    )  # fmt: skip
    about_ours = [line for line in done.stderr.splitlines() if "c1m." in line]
    assert about_ours == []
