"""The documentation as a site: it builds without a warning, and the API reference is whole."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import c1m

ROOT = Path(__file__).parent.parent.parent
API = ROOT / "docs" / "reference" / "api.md"


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocstrings") is None, reason="mkdocs is not installed"
)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "mkdocs", "build", "--strict", "--quiet"]
    done = subprocess.run(
        [*command, "--site-dir", str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "reference" / "api" / "index.html").read_text()
    assert "on_data" in page
    assert "linger_ns" in page


def test_every_public_name_is_in_the_api_reference() -> None:
    text = API.read_text()
    assert [name for name in c1m.__all__ if f".{name}\n" not in text] == []


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    files = [path.as_posix() for path in (ROOT / "src" / "c1m").rglob("*.py")]
    named = set(re.findall(r"`([\w/]+\.py)`", text))
    folders = set(re.findall(r"`([\w/]+)/`", text))
    assert len(named) > 15
    there = [*files, *(path.as_posix() for path in (ROOT / "tests").rglob("test_*.py"))]
    assert [name for name in named if not any(f.endswith("/" + name) for f in there)] == []
    assert [f for f in folders if not any(f"/{f}/" in path for path in files)] == []
