"""`c1m doctor --cluster` on processes of this machine, and what it refuses."""

from __future__ import annotations

import json

import pytest

from e2e import cli_helpers as cli


def test_every_worker_has_a_line() -> None:
    done = cli.run("doctor", "--cluster", "local:2", "--connections", 1001)
    assert done.stdout.count("tcp://127.0.0.1:") == 2
    assert "1,001 connections fit on these workers." in done.stdout
    assert done.stderr == ""


def test_as_json() -> None:
    done = cli.run("doctor", "--cluster", "local:2", "--connections", 1001, "--json")
    found = json.loads(done.stdout)
    assert [one["connections"] for one in found["workers"]] == [501, 500]
    assert [one["request"]["role"] for one in found["workers"]] == ["client", "client"]
    assert [one["beside"] for one in found["workers"]] == [2, 2]


def test_what_does_not_fit_has_status_1() -> None:
    done = cli.run("doctor", "--cluster", "local:2", "--connections", "10M", "--sources", 1)
    assert done.returncode == 1
    assert "10,000,000 connections do not fit: 2 of 2 workers." in done.stdout


@pytest.mark.parametrize("option", ["--fix", "--sysctl"])
def test_what_is_about_this_machine_is_refused(option: str) -> None:
    done = cli.run("doctor", "--cluster", "local:2", option)
    assert done.returncode == 2
    assert "on each machine" in done.stderr
