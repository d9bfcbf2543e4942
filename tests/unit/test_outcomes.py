"""Checks by name and statuses of HTTP: in thresholds, the verdict, reports, comparisons, live."""

from __future__ import annotations

from dataclasses import replace

import pytest

from c1m.cli.live import prometheus
from c1m.cli.live.dashboard import Dashboard
from c1m.errors import UsageError
from c1m.report import html, text
from c1m.report.compare import BETTER, NOT_COMPARABLE, WORSE, compare
from c1m.results.record import Check, RunRecord, Threshold
from c1m.results.thresholds import evaluate, parse
from c1m.results.verdict import CHECKS_SAID, judge
from report_records import complete_record
from snapshot_samples import busy

CHECKS = [
    Check("cart total", 117, 3, "12.50, not 13.00"),
    Check("in stock", 120, 0),
    Check("price <= 10", 119, 1),
]
STATUSES = {"200": 9_000, "204": 100, "302": 7, "404": 2, "503": 5, "299": 1}


def shop(**changes: object) -> RunRecord:
    record = replace(complete_record(1_000), checks=CHECKS, statuses=STATUSES)
    record = replace(record, **changes)  # type: ignore[arg-type]
    return replace(record, verdict=judge(record))


def judged(threshold: str, record: RunRecord | None = None) -> Threshold:
    return evaluate(record or shop(), [parse(threshold)])[0]


@pytest.mark.parametrize(
    ("threshold", "value", "holds"),
    [
        ("check:cart total == 0", 3, False),
        ("check:cart total <= 3", 3, True),
        ("CHECK: in stock ==0", 0, True),
        ("check:price <= 10 == 0", 1, False),  # the last operator is meant
        ("check:price <= 10 < 2", 1, True),
        ("status:5xx == 0", 5, False),
        ("status:404 < 3", 2, True),
        ("status:2xx >= 9k", 9_101, True),
        ("STATUS:4XX == 2", 2, True),
        ("status:500 == 0", 0, True),
    ],
)
def test_a_threshold_on_a_check_or_a_status(threshold: str, value: float, holds: bool) -> None:
    found = judged(threshold)
    assert (found.value, found.holds) == (value, holds)


def test_a_check_that_the_run_did_not_have_does_not_hold_and_says_which_there_were() -> None:
    found = judged("check:total == 0")
    assert not found.holds
    assert found.why == (
        "The run checked nothing that is called 'total'; it checked 'cart total', 'in stock', "
        "'price <= 10'."
    )
    nothing = judged("check:total == 0", shop(checks=[]))
    assert nothing.why.endswith("; it checked nothing by name.")


def test_statuses_of_a_run_without_responses_do_not_hold() -> None:
    found = judged("status:5xx == 0", shop(statuses={}))
    assert (found.value, found.holds, found.why) == (
        None, False, "The run read no response of HTTP.",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["check: == 0", "status:5x == 0", "status:0 == 0", "status: < 3"])
def test_what_names_no_check_and_no_status(name: str) -> None:
    with pytest.raises(UsageError, match=r"no check|no status"):
        parse(name)


def test_a_failed_check_makes_a_run_incomplete() -> None:
    assert shop().verdict.shortfalls == [
        "The check 'cart total' failed 3 of 120 times.",
        "The check 'price <= 10' failed 1 of 120 times.",
    ]
    assert shop(checks=CHECKS[1:2]).verdict.complete
    many = shop(checks=[Check(f"check {i}", 0, 1) for i in range(CHECKS_SAID + 2)])
    assert many.verdict.shortfalls[CHECKS_SAID:] == ["2 further checks failed."]


def test_the_summary_shows_both() -> None:
    said = text.summary(shop())
    assert "checks: 1 of 3 held" in said
    assert "FAIL  cart total" in said
    assert "the first: 12.50, not 13.00" in said
    lines = [line.split() for line in said.split("\n")]
    assert ["2xx,", "together", "9,101", "99.85", "%"] in lines
    assert "    204 No Content" in said
    assert "\n  302 Found" in said  # alone in its class
    assert "3xx" not in said
    assert "checks: all 1 hold" not in text.summary(shop(checks=CHECKS[1:2]))
    assert "checks: the one check held" in text.summary(shop(checks=CHECKS[1:2]))


def test_the_page_shows_both_and_no_html_of_theirs() -> None:
    page = html.render(shop(checks=[Check("<b>total</b>", 0, 1, "<script>")]), "")
    assert "&lt;b&gt;total&lt;/b&gt;" in page
    assert "<b>total</b>" not in page
    assert "404 Not Found" in page


def test_a_comparison_has_them() -> None:
    good = shop(checks=[Check("total", 10, 0)], statuses={"200": 10})
    bad = shop(checks=[Check("total", 9, 1), Check("new", 1, 1)], statuses={"200": 9, "500": 1})
    rows = {row.name: row.verdict for row in compare([good], [bad]).rows}
    assert rows["check:total"] == rows["status:5xx"] == WORSE
    assert rows["check:new"] == NOT_COMPARABLE
    rows = {row.name: row.verdict for row in compare([bad], [good]).rows}
    assert rows["check:total"] == BETTER


def test_metrics_have_them_by_name() -> None:
    pytest.importorskip("prometheus_client")
    from prometheus_client.exposition import generate_latest

    snapshot = busy(
        checks_passed={"cart total": 7}, checks_failed={"cart total": 2}, statuses={"200": 9}
    )

    class Source:
        def collect(self) -> object:
            return prometheus.families(snapshot)

    said = generate_latest(Source()).decode()  # type: ignore[arg-type]
    assert 'c1m_checks_passed_total{check="cart total"} 7.0' in said
    assert 'c1m_checks_failed_total{check="cart total"} 2.0' in said
    assert 'c1m_responses_total{status="200"} 9.0' in said


def test_the_dashboard_has_a_line_of_them() -> None:
    board = Dashboard()
    board.add(busy(checks_passed={"total": 7}, checks_failed={"total": 2}, statuses={"404": 9}))
    lines = [line.plain.rstrip() for line in board.lines(100, 50)]
    assert " responses 404 9  checks held 7  total failed 2" in lines
    board.add(busy())
    assert not any("responses" in line.plain for line in board.lines(100, 50))
