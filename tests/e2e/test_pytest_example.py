"""The pytest example, run as a user runs it, and with a threshold that does not hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from e2e.cli_helpers import PATIENCE_S

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(directory: Path) -> subprocess.CompletedProcess[str]:
    """pytest over the example in this directory, with no configuration but its own."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", "."]
    return subprocess.run(
        [*command, "test_my_server.py"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )


def test_it_passes() -> None:
    done = run(EXAMPLES)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_a_threshold_that_does_not_hold_fails_it_and_says_what_was_measured(tmp_path: Path) -> None:
    for name in ("test_my_server.py", "asyncio_echo.py"):
        text = (EXAMPLES / name).read_text()
        (tmp_path / name).write_text(text.replace("quantile(0.95) < 1e9", "quantile(0.95) < 10"))
    done = run(tmp_path)
    assert done.returncode == 1 and "1 failed" in done.stdout
    assert "quantile(0.95) < 10" in done.stdout
