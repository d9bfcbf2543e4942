"""A generator in a real cgroup with a CPU quota: the verdict names it. Needs root and a cgroup."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from c1m.kernel import procfs
from c1m.results.record import RunRecord
from e2e.cli_helpers import COMMAND, PATIENCE_S
from e2e.process_server import ProcessServer

QUOTA_US = 15_000  # of each 100 ms


@pytest.fixture
def group(tmp_path: Path) -> Iterator[Path]:
    """A cgroup with that quota, below our own."""
    groups = procfs.cpu_groups()
    if not groups:
        pytest.skip("this process is in no cgroup with a CPU controller")
    above, is_v2 = groups[0]
    made = above / f"c1m-{tmp_path.name}"
    try:
        made.mkdir()
    except OSError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    try:
        if is_v2:
            (made / "cpu.max").write_text(f"{QUOTA_US} 100000")
        else:
            (made / "cpu.cfs_quota_us").write_text(str(QUOTA_US))
        yield made
    except OSError as error:
        pytest.skip(f"the cgroup takes no quota: {error}")
    finally:
        made.rmdir()


@pytest.mark.parametrize("engine", ["epoll", "uring"])
@pytest.mark.parametrize("loop", [("--think", "0s"), ("--rate", "10k/s")])  # half a core and more
def test_a_generator_that_a_quota_holds_back(
    engine: str, loop: tuple[str, str], group: Path, tmp_path: Path
) -> None:
    path = tmp_path / "run.json"
    with ProcessServer() as server:
        command = [
            *COMMAND, "load", server.url, "--connections", "100", "--hold", "2s", *loop,
            "--engine", engine, "--quiet", "--json", str(path),
        ]  # fmt: skip
        inside = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", inside, "sh", *command],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    limit = RunRecord.read(path).limit
    assert limit.is_lower_bound and limit.who in ("generator", "both")
    assert limit.generator_quota is not None
    assert (limit.generator_quota.group, limit.generator_quota.cores) == (str(group), 0.15)
    assert f"{group} may use 15 ms of processor time each 100 ms" in limit.sentences[0]
    assert "held back by a CPU quota" in done.stdout
