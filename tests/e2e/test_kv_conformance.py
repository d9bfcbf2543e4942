"""`c1m serve kv` beside Debian's redis-server: a sample of what `make conformance` runs.

Random commands, whose replies are all compared; a unit of Redis's own tests; a file of redis-py's.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.differential import run
from conformance.differential.playing import Player
from conformance.differential.sequences import Generator
from conformance.differential.shrinking import shrunk
from conformance.kv_servers import redis
from conformance.obtaining import CannotBeHad
from conformance.redis_suites import EXCLUSIONS, SUITES, judged
from conformance.verdicts import exclusions
from e2e.debian_servers import program

TESTS_LEAST = 20


@pytest.mark.conformance
@pytest.mark.timeout(300)
def test_twenty_thousand_commands(capsys: pytest.CaptureFixture[str]) -> None:
    program("redis-server", "redis-server")
    status = run.main(["--commands", "20000", "--streams", "2000", "--seed", "sample"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "0 differences" in said
    assert "does not have" not in said


@pytest.mark.conformance
@pytest.mark.timeout(300)
def test_ten_thousand_commands_to_nodes_of_a_cluster(capsys: pytest.CaptureFixture[str]) -> None:
    program("redis-server", "redis-server")
    status = run.main(["--cluster", "--commands", "10000", "--streams", "100", "--seed", "sample"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "0 differences" in said


@pytest.mark.timeout(300)
def test_a_difference_is_found_and_shortened(tmp_path: Path) -> None:
    """Two redis-servers, of which one has not GETDEL any more."""
    program("redis-server", "redis-server")
    places = [tmp_path / "whole", tmp_path / "broken"]
    for place in places:
        place.mkdir()
    without = ["--rename-command", "GETDEL", ""]
    with redis(places[0], "--port", "0"), redis(places[1], "--port", "0", *without):
        player = Player(places[0] / "redis.sock", places[1] / "redis.sock")
        units = [unit for n in range(5) for unit in Generator().sequence(f"sample/{n}", 500)]
        found = player.play(units)
        assert found is not None
        assert found.ours.startswith("-\"ERR unknown command 'GETDEL'")
        left = shrunk(units[: found.after], lambda trial: player.play(trial) is not None)
        assert [command[0] for unit in left for command in unit.commands] == [b"GETDEL"]
        player.close()


@pytest.mark.conformance
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("redis-tcl", "unit/type/incr"),
        ("redis-tcl", "unit/pubsub"),
        ("redis-py", "tests/test_pipeline.py"),
        ("redis-py-cluster", "tests/test_cluster_transaction.py"),
    ],
)
def test_foreign_tests_that_redis_server_passes(name: str, part: str) -> None:
    program("redis-server", "redis-server")
    without = [test for each in exclusions(EXCLUSIONS) if each.suite == name for test in each.tests]
    try:
        results = list(judged(SUITES[name](), part, without))
    except CannotBeHad as why:
        pytest.skip(str(why))
    assert sum(verdict == "passed" for verdict, _ in results) >= TESTS_LEAST
    assert {r.test: r.text for verdict, r in results if verdict == "failed"} == {}
