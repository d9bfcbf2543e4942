"""`c1m load` by stages and by a plan in a file, against `c1m serve echo`."""

from __future__ import annotations

from pathlib import Path

from e2e.cli_helpers import Server, assert_as_asked, load, run

PLAN = """
target = "{url}"
stages = ["ramp 0..200 in 500ms", "hold for 1s at 400/s", "steps 100/s..300/s by 100/s every 300ms",
          "storm 25%", "drain to 50 in 300ms", "stampede"]
require = ["p50 < 10s", "lost == 0"]
message = "{{n}}:{{seq}};"
pipeline = 2
arrivals = "poisson"
quiet = true
seed = 7
"""


def test_options_lists_and_the_target_come_from_the_file(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        (tmp_path / "plan.toml").write_text(PLAN.format(url=server.url))
        status, record, said = load(tmp_path, "--plan", tmp_path / "plan.toml")
        assert server.stop() == 0
    assert_as_asked(status, record, said)
    assert record.target == server.url
    asked = record.asked
    assert (asked.connections, asked.pipeline, asked.arrivals, asked.seed) == (200, 2, "poisson", 7)
    names = [phase.name for phase in record.phases]
    steps = ["step"] * 3
    assert names == ["ramp", "hold", *steps, "storm", "drain", "stampede", "settle", "close"]
    assert [stage.open_at_end for stage in record.stages][-3:] == [200, 50, 50]
    c = record.connections
    assert (c.opened, c.closed, c.open_at_end, c.lost) == (250, 200, 50, 0)
    assert [(t.text, t.holds) for t in record.thresholds] == [
        ("p50 < 10s", True), ("lost == 0", True),
    ]  # fmt: skip
    requests = record.requests
    assert requests.right > 100
    assert record.stampede.right == 50
    hold = record.stages[1]
    assert abs(hold.requests.due - 400) < 5 * 20, "Poisson: within five deviations"


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        (tmp_path / "plan.toml").write_text(
            'target = "tcp://127.0.0.1:1"\nconnections = "9k"\nhold = 1\nscenario = "hold"\n'
            'require = ["open == 9k"]\nseed = 3\n'
        )
        status, record, _ = load(
            tmp_path, server.url, "--plan", tmp_path / "plan.toml", "--connections", 20,
            "--hold", "200ms", "--scenario", "echo", "--require", "lost == 0",
        )  # fmt: skip
        assert server.stop() == 0
    assert status == 0
    assert record.target == server.url
    assert (record.asked.connections, record.asked.hold_ns, record.asked.seed) == (20, 2 * 10**8, 3)
    assert record.scenario == "echo"
    assert [threshold.text for threshold in record.thresholds] == ["lost == 0"]


def test_a_threshold_that_does_not_hold_is_status_one(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        status, record, said = load(
            tmp_path, server.url, "--connections", 20, "--require", "lost > 20"
        )
    assert status == 1
    assert [threshold.holds for threshold in record.thresholds] == [False]
    assert "lost > 20" in said


def test_open_and_closed_loop_over_real_connections(tmp_path: Path, engine: str) -> None:
    with Server(tmp_path, "--engine", engine) as server:
        status, record, said = load(
            tmp_path, server.url, "--engine", engine, "--stage", "ramp 100",
            "--stage", "hold for 1s at 500/s churn 50/s", "--stage", "hold for 500ms think 50ms",
            "--stage", "hold for 500ms think 0s churn 50/s", "--stage", "drain in 200ms",
        )  # fmt: skip
        assert server.stop() == 0
    assert_as_asked(status, record, said)
    by_rate, thinking, at_once, drain = record.stages[1:]
    assert by_rate.requests.due == 500
    assert 0 < thinking.requests.sent <= 100 * 10
    assert at_once.requests.sent > thinking.requests.sent
    assert drain.open_at_end == 0
    c = record.connections
    assert c.closed == c.opened > 140
    assert server.figures()["opened"] == c.opened


def test_a_plan_file_is_in_the_help(tmp_path: Path) -> None:
    said = run("load", "--help").stdout
    assert "--plan FILE" in said
    for whole in ("FIRST-LAST", "docs/how-to/several-source-addresses.md"):  # on one line
        assert whole in said
