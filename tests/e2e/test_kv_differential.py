"""Random commands to Debian's redis-server and to `c1m serve kv`: each reply is the same.

A million of them: `python -m tests.conformance redis-differential`.
"""

from __future__ import annotations

import pytest

from conformance.differential import run
from e2e.debian_servers import program


@pytest.mark.conformance
@pytest.mark.timeout(300)
def test_twenty_thousand_commands(capsys: pytest.CaptureFixture[str]) -> None:
    program("redis-server", "redis-server")
    status = run.main(["--commands", "20000", "--seed", "sample"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "0 differences" in said
    assert "does not have" not in said
