"""Checks of a user's scenario, from its file to the exit status."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from e2e.cli_helpers import Server, finish, load, start

SCENARIO = """
import c1m

class Cart(c1m.Conversation):
    def talk(self, n):
        reply = yield c1m.Say(b"%d\\n" % n, until=b"\\n")
        c1m.check("cart total", int(reply) % 2 == 0, reply)
        c1m.check("in stock", True)
"""


def test_a_check_that_fails_is_exit_status_1_unless_thresholds_decide(tmp_path: Path) -> None:
    (tmp_path / "cart.py").write_text(SCENARIO)
    with Server(tmp_path) as server:
        given = (
            server.url, "--scenario", f"{tmp_path / 'cart.py'}:Cart", "--hold", "200ms",
            "--think", "50ms",
        )  # fmt: skip
        status, record, said = load(tmp_path, *given)
        assert status == 1
        total, stock = record.checks
        assert (total.name, stock.name, stock.failed) == ("cart total", "in stock", 0)
        assert total.passed and total.failed and total.passed + total.failed == stock.passed
        assert record.verdict.shortfalls == [
            f"The check 'cart total' failed {total.failed} of {stock.passed} times."
        ]
        assert record.all_requests.wrong == 0
        assert "FAIL  cart total" in said and "ok    in stock" in said
        for threshold, expected in (("in stock == 0", 0), ("total == 0", 1)):
            status, record, said = load(tmp_path, *given, "--require", f"check:{threshold}")
            assert status == expected, said
        assert "it checked 'cart total', 'in stock'" in " ".join(said.split())


def test_they_are_metrics_while_it_runs(tmp_path: Path) -> None:
    (tmp_path / "cart.py").write_text(SCENARIO)
    with Server(tmp_path) as server:
        running = start(
            "load", server.url, "--scenario", f"{tmp_path / 'cart.py'}:Cart", "--hold", "10m",
            "--think", "20ms", "--metrics", "127.0.0.1:0", "--json", "run.json", cwd=tmp_path,
        )  # fmt: skip
        try:
            assert running.stderr is not None
            url = running.stderr.readline().partition(": ")[2].strip()
            figures: dict[str, float] = {}
            while not figures.get('c1m_checks_failed_total{check="cart total"}'):
                with urllib.request.urlopen(url, timeout=60) as answer:
                    lines = answer.read().decode().splitlines()
                rows = (line.rpartition(" ") for line in lines if not line.startswith("#"))
                figures = {name: float(value) for name, _, value in rows}
            assert figures['c1m_checks_passed_total{check="in stock"}'] > 0
        finally:
            running.terminate()
            finish(running)
    assert json.loads((tmp_path / "run.json").read_text())["checks"][0]["failed"] > 0
