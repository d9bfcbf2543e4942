"""Waiting for a CPU: a made-up /proc, and this process."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from c1m.loadgen.waits import THREADS_MAX, is_autogrouped, own_waits, waits_of


def thread(root: Path, tid: int, waited_ns: int, ran: int = 1) -> Path:
    directory = root / f"proc/7/task/{tid}"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "schedstat").write_text(f"99 {waited_ns} {ran}\n")
    return directory


def test_threads_are_added_up_from_when_they_were_first_seen(tmp_path: Path) -> None:
    thread(tmp_path, 7, 5_000_000_000)
    waits = waits_of(7, tmp_path)
    assert waits.seconds(1) == 0.0
    thread(tmp_path, 7, 5_500_000_000)
    thread(tmp_path, 8, 9_000_000_000)
    assert waits.seconds(1) == 0.5, "the other one is not looked for until their number says so"
    assert waits.seconds(2) == 0.5
    thread(tmp_path, 8, 9_250_000_000)
    assert waits.seconds(2) == 0.75
    waits.close()


def test_a_process_with_many_threads_is_known_by_its_oldest(tmp_path: Path) -> None:
    for tid in range(100, 100 + 3 * THREADS_MAX):
        thread(tmp_path, tid, 0)
    waits = waits_of(7, tmp_path)
    assert waits.seconds(3 * THREADS_MAX) == 0.0
    thread(tmp_path, 100, 250_000_000)
    thread(tmp_path, 99 + 3 * THREADS_MAX, 900_000_000)
    assert waits.seconds(3 * THREADS_MAX) == 0.25
    waits.close()


def test_a_kernel_that_does_not_say_is_not_known(tmp_path: Path) -> None:
    """Without the file, and with one of zeros."""
    for waits in (waits_of(7, tmp_path), own_waits(tmp_path)):
        assert waits.seconds(1) is None
    thread(tmp_path, 7, 0, ran=0)
    waits = waits_of(7, tmp_path)
    assert waits.seconds(1) is None
    waits.close()


def test_this_thread_and_a_process_that_ends() -> None:
    own = own_waits()
    first, later = own.seconds(1), own.seconds(1)
    if first is None:
        pytest.skip("this kernel does not say how long threads waited")
    assert first == 0.0 and later is not None and later >= 0.0
    own.close()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(b"ran\n")
    child.stdin.flush()
    child.stdout.readline()  # one that has not run yet has no figures either
    waits = waits_of(child.pid)
    before = waits.seconds(1)
    child.communicate()
    assert before == waits.seconds(1) == 0.0, "what it had waited stays"
    waits.close()


V2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
V1 = "31 1 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"


@pytest.mark.parametrize(
    ("sysctl", "cgroup", "mountinfo", "weight", "expected"),
    [
        ("1", "0::/\n", V2, "", True),
        ("0", "0::/\n", V2, "", False),
        ("", "0::/\n", V2, "", False),  # a kernel without
        ("1", "0::/a/b\n", V2, "", True),  # groups without the cpu controller
        ("1", "0::/a/b\n", V2, "a", False),
        ("1", "1:cpu:/\n", V1, "", True),
        ("1", "1:cpu:/pod\n", V1, "", False),
        ("1", "", "", "", True),
    ],
)
def test_sessions_count_only_outside_of_cpu_cgroups(
    sysctl: str, cgroup: str, mountinfo: str, weight: str, expected: bool, tmp_path: Path
) -> None:
    files = {"proc/7/cgroup": cgroup, "proc/self/mountinfo": mountinfo}
    if sysctl:
        files["proc/sys/kernel/sched_autogroup_enabled"] = f"{sysctl}\n"
    if weight:
        files[f"sys/fs/cgroup/{weight}/cpu.weight"] = "100\n"
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert is_autogrouped(7, tmp_path) == expected
