"""Files are tried before a run: what can be written is left as it was, what cannot is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from c1m import files
from c1m.errors import UsageError


def test_a_path_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    files.check_writable(tmp_path / "new.html")
    assert list(tmp_path.iterdir()) == []
    old = tmp_path / "old.html"
    old.write_text("kept")
    before = old.stat().st_mtime_ns
    files.check_writable(old)
    assert old.read_text() == "kept"
    assert old.stat().st_mtime_ns == before
    files.check_writable("/dev/null")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is a directory"),
        ("absent/run.html", "there is no directory"),
        ("file/run.html", "there is no directory"),
        ("x" * 300, "file name too long"),
        ("pipe", "no such device"),
        ("dangling", "file exists|no such file"),
    ],
)
def test_paths_that_cannot_be_written(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "no" / "where")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=says) as caught:
        files.check_writable(tmp_path / name)
    assert caught.value.remedy
    assert sorted(tmp_path.iterdir()) == before


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:  # root passes over permissions: let the call itself refuse
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(UsageError, match="permission denied"):
        files.check_writable(tmp_path / "run.html")
