"""Where little is there: no /proc, as in a chroot; nothing of what c1m does not need installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from c1m.results.record import RunRecord
from e2e.cli_helpers import Server, run
from report_records import complete_record

WITHOUT_PROC = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$0" "$@"')


@pytest.fixture
def without_proc() -> tuple[str, ...]:
    """What starts a command with an empty /proc; skips where that cannot be."""
    tried = subprocess.run([*WITHOUT_PROC, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no mount namespace can be made here: {tried.stderr.strip()}")
    return WITHOUT_PROC


def test_both_ends_without_proc(tmp_path: Path, engine: str, without_proc: tuple[str, ...]) -> None:
    path = tmp_path / "run.json"
    with Server(tmp_path, "--engine", engine, before=without_proc) as server:
        done = run("load", server.url, "--connections", 50, "--engine", engine, "--json", path,
                   "--csv", tmp_path / "run.csv", before=without_proc)  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert server.stop() == 0
    assert "COMPLETE: 50 of 50" in done.stdout
    assert "memory not known" in done.stdout and " 0 B" not in done.stdout
    assert RunRecord.read(path).metadata.nofile_soft > 0
    assert json.loads((tmp_path / "server.json").read_text())["opened"] == 50


@pytest.mark.parametrize(
    "arguments",
    [
        ("doctor", "--connections", "100"),
        ("doctor", "--connections", "100", "--engine", "epoll", "--json"),
        ("doctor", "--connections", "100", "--fix"),
        ("doctor", "--connections", "100", "--sysctl"),
        ("report", "run.json", "--html", "run.html"),
        ("compare", "run.json", "run.json"),
        ("demo", "--connections", "20", "--hold", "0s", "--out", "demo"),
    ],
    ids=" ".join,
)
def test_the_other_commands_without_proc(
    tmp_path: Path, arguments: tuple[str, ...], without_proc: tuple[str, ...]
) -> None:
    complete_record(1_000).write(tmp_path / "run.json")
    done = run(*arguments, cwd=tmp_path, before=without_proc)
    assert (done.returncode, done.stderr) == (0, "")
    assert "None" not in done.stdout


def test_without_click() -> None:
    """As after `pip install c1m` without its extras."""
    code = "import sys; sys.modules['click'] = None; from c1m.__main__ import main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "c1m: The commands need click, which is not installed. "
        "Install it with: pip install 'c1m[cli]'\n"
    )


def test_what_the_command_line_begins_with_needs_nothing() -> None:
    """Only what comes with Python is imported before it is asked what is there."""
    code = (
        "import sys; import c1m.cli.main;"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'click', 'rich', 'plotly'}))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
