"""`c1m load --cluster local:N`: the whole is what one load client would have done."""

from __future__ import annotations

from pathlib import Path

from c1m.results.record import RunRecord
from e2e import cli_helpers as cli


def test_two_processes_together_do_what_was_asked(tmp_path: Path) -> None:
    """Connections and requests add up, and nothing of Dask's is said on the terminal."""
    with cli.Server(tmp_path) as server:
        path = tmp_path / "run.json"
        done = cli.run(
            "load", server.url, "--connections", 101, "--hold", "2s", "--rate", "200/s",
            "--cluster", "local:2", "--quiet", "--json", path,
        )  # fmt: skip
    assert done.stderr == ""
    record = RunRecord.read(path)
    assert record.connections.opened == record.connections.open_at_end == 101
    assert record.requests.right == record.requests.sent == 400
