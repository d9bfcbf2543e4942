"""Fixes on a made-up /proc/sys: all or nothing, and everything can be undone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from c1m.errors import UsageError
from c1m.kernel import procfs
from c1m.limits import fixes
from c1m.limits.fixes import Change, FixError
from c1m.limits.forecast import forecast, read_situation
from c1m.limits.limit import OK, SHORT, Finding, Fix

VALUES = {
    "fs.file-max": "1000",
    "fs.file-nr": "500\t0\t1000",
    "fs.nr_open": "1048576",
    "net.core.somaxconn": "128",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_local_reserved_ports": "",
    "net.ipv4.tcp_mem": "100\t200\t300",
    "net.ipv4.tcp_max_syn_backlog": "128",
    "kernel.osrelease": "6.18.0",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, value in VALUES.items():
        path = tmp_path / procfs.sysctl_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return tmp_path


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return fixes.state_path(str(tmp_path / "state"))


def values(root: Path) -> dict[str, str | None]:
    return {name: procfs.read_sysctl(name, root) for name in VALUES}


def put(root: Path, name: str, value: str) -> None:
    (root / procfs.sysctl_path(name)).write_text(value + "\n")


def change(name: str, after: str) -> Change:
    return Change(name, VALUES[name], after, "a test", True)


TWO = [
    change("net.core.somaxconn", "65535"),
    change("net.ipv4.ip_local_port_range", "1024 65535"),
]


def test_plan_takes_each_sysctl_once_and_the_needed_first(root: Path) -> None:
    findings = [
        Finding("a", OK, fixes=(Fix("net.core.somaxconn", "4096", "advice"),)),
        Finding("b", SHORT, fixes=(Fix("net.core.somaxconn", "65535", "need"),)),
        Finding("c", OK, fixes=(Fix("net.ipv4.tcp_mem", "100 200 300", "is so already"),)),
        Finding("d", SHORT, fixes=(Fix("net.no_such", "1", "does not exist"),)),
    ]
    assert fixes.plan(findings, root) == [
        Change("net.core.somaxconn", "128", "65535", "need", True)
    ]


def test_what_is_diagnosed_short_is_ok_after_its_fixes(root: Path, state: Path) -> None:
    def look() -> dict[str, Finding]:
        result = forecast(1_000_000, "both", "uring", situation=read_situation(root), sources=32)
        return {finding.name: finding for finding in result.findings}

    before = look()
    names = ["fs.file-max", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_mem"]
    assert [before[name].verdict for name in names] == [SHORT] * 3
    changes = fixes.plan(before.values(), root)
    fixes.apply(changes, state, root)
    after = look()
    assert [after[name].verdict for name in names] == [OK] * 3
    assert after["net.ipv4.ip_local_reserved_ports"].have == "8001"
    assert {item.outcome for item in fixes.revert(state, root)} == {"restored"}
    assert values(root) == VALUES
    assert not state.exists()


def test_the_record_is_written_before_each_change(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    real = fixes._set

    def spy(name: str, value: str, root: Path) -> None:
        content = json.loads(state.read_text())
        seen.append([entry["sysctl"] for entry in content["changes"]])
        assert procfs.read_sysctl(name, root) == VALUES[name]
        real(name, value, root)

    monkeypatch.setattr(fixes, "_set", spy)
    fixes.apply(TWO, state, root)
    assert seen == [[TWO[0].sysctl], [TWO[0].sysctl, TWO[1].sysctl]]


def test_one_failure_puts_the_others_back(root: Path, state: Path) -> None:
    missing = Change("net.no_such", "1", "2", "a test", True)
    with pytest.raises(FixError, match=r"net\.no_such could not be set .* restored") as caught:
        fixes.apply([*TWO, missing], state, root)
    assert "root" not in str(caught.value)
    assert values(root) == VALUES
    assert not state.exists()


def test_a_value_that_the_kernel_changes_is_a_failure(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = procfs.read_sysctl

    def clamped(name: str, root: Path) -> str | None:
        value = real(name, root)
        return "4096" if value == "65535" else value

    monkeypatch.setattr(procfs, "read_sysctl", clamped)
    with pytest.raises(FixError, match="Nothing is changed"):
        fixes.apply(TWO, state, root)
    monkeypatch.undo()
    assert values(root) == VALUES


def test_an_interrupt_puts_everything_back(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = fixes._set

    def interrupted(name: str, value: str, root: Path) -> None:
        real(name, value, root)
        if value == TWO[1].after:
            raise KeyboardInterrupt

    monkeypatch.setattr(fixes, "_set", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fixes.apply(TWO, state, root)
    assert values(root) == VALUES
    assert not state.exists()


def test_no_record_no_change(root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        fixes.apply(TWO, tmp_path / "file" / "x.json", root)
    assert values(root) == VALUES


def test_a_value_changed_by_somebody_else_is_left_and_reported(root: Path, state: Path) -> None:
    fixes.apply(TWO, state, root)
    put(root, "net.core.somaxconn", "777")
    outcomes = {item.entry.sysctl: item.outcome for item in fixes.revert(state, root)}
    assert outcomes == {
        "net.core.somaxconn": "foreign", "net.ipv4.ip_local_port_range": "restored",
    }  # fmt: skip
    assert procfs.read_sysctl("net.core.somaxconn", root) == "777"
    assert [entry.sysctl for entry in fixes.load(state)] == ["net.core.somaxconn"]
    put(root, "net.core.somaxconn", "65535")
    assert [item.outcome for item in fixes.revert(state, root)] == ["restored"]
    assert values(root) == VALUES
    assert not state.exists()


def test_two_runs_of_fix_are_put_back_to_the_very_first(root: Path, state: Path) -> None:
    name = "net.core.somaxconn"
    fixes.apply([change(name, "4096")], state, root)
    fixes.apply([Change(name, "4096", "65535", "a test", True)], state, root)
    assert [item.outcome for item in fixes.revert(state, root)] == ["restored", "restored"]
    assert values(root) == VALUES


@pytest.mark.parametrize("present", ["128", "4096", "65535"])
def test_a_crash_at_any_moment_can_be_put_back(root: Path, state: Path, present: str) -> None:
    name = "net.core.somaxconn"
    fixes._save(state, [fixes.Entry(name, "128", "4096"), fixes.Entry(name, "4096", "65535")])
    put(root, name, present)
    assert all(item.outcome != "foreign" for item in fixes.revert(state, root))
    assert values(root) == VALUES
    assert not state.exists()


def test_what_cannot_be_put_back_stays_in_the_record(
    root: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixes.apply(TWO, state, root)
    real = fixes._set

    def refused(name: str, value: str, root: Path) -> None:
        if name == "net.core.somaxconn":
            raise PermissionError(1, "Operation not permitted")
        real(name, value, root)

    monkeypatch.setattr(fixes, "_set", refused)
    with pytest.raises(FixError, match=r"Could not restore net\.core\.somaxconn"):
        fixes.revert(state, root)
    assert [entry.sysctl for entry in fixes.load(state)] == ["net.core.somaxconn"]
    monkeypatch.undo()
    fixes.revert(state, root)
    assert values(root) == VALUES


def test_nothing_to_revert(root: Path, state: Path) -> None:
    assert fixes.revert(state, root) == []


@pytest.mark.parametrize("text", ["", "[]", '{"version": 9, "changes": []}', '{"version": 1}'])
def test_a_broken_record_is_one_sentence_and_kept(root: Path, state: Path, text: str) -> None:
    state.parent.mkdir()
    state.write_text(text)
    with pytest.raises(UsageError, match="cannot be read"):
        fixes.revert(state, root)
    with pytest.raises(UsageError, match="cannot be read"):
        fixes.apply(TWO, state, root)
    assert state.read_text() == text
    assert values(root) == VALUES


def test_the_sysctl_file_has_a_comment_above_each_line() -> None:
    lines = fixes.render_sysctl(TWO, "A title").splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[number - 1].startswith("# a test")
    assert "net.ipv4.ip_local_port_range = 1024 65535" in lines
    assert "Nothing to set" in fixes.render_sysctl([], "A title")


def test_state_directory_by_argument_by_environment_and_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(fixes.STATE_DIR_VARIABLE, "/a")
    assert fixes.state_path() == Path("/a/doctor-revert.json")
    assert fixes.state_path("/b") == Path("/b/doctor-revert.json")
    monkeypatch.delenv(fixes.STATE_DIR_VARIABLE)
    assert fixes.state_path() == Path("/var/lib/c1m/doctor-revert.json")
