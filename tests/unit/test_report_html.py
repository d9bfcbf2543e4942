"""The HTML report: self-contained, escaped, small; the check before a run; the command."""

from __future__ import annotations

import builtins
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from c1m.cli.report import report
from c1m.errors import UsageError
from c1m.report import html, plots
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import Latency, RunRecord
from report_records import complete_record, short_record
from report_request_records import publish_record, request_record

BARE = "/* plotly */"  # in place of 4.8 MB of plotly's JavaScript


def made(record: RunRecord) -> dict[str, plots.Plot]:
    return {plot["id"]: plot for plot in plots.plots(record)}


def data_of(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="c1m-figures">(.*?)</script>', page)
    assert found is not None
    figures: list[dict[str, Any]] = json.loads(found[1])
    return figures


class Balance(HTMLParser):
    """Checks that every tag is closed in order; collects what would be loaded."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "record", [complete_record(), short_record(), RunRecord()], ids=["whole", "short", "empty"]
)
def test_the_page_is_sound_and_loads_nothing(record: RunRecord) -> None:
    page = html.render(record, BARE)
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert parser.loads == []
    assert not parser.tags & {"link", "img", "iframe"}
    assert not re.search(r"https?://|@import|url\(", page)
    assert "default-src 'none'" in page
    assert len(page) < 300_000


def test_what_the_page_shows_of_a_complete_run() -> None:
    page = html.render(complete_record(), BARE)
    for part in (
        'class="verdict complete"><strong>COMPLETE: 1,000,000 of 1,000,000',
        "<td>stampede reply right</td><td>1,000,000</td><td>100 %</td>",
        "<td>net.core.somaxconn</td><td>4096</td>",
        "x the second",
        "<b>16.0 B</b><span>server memory a connection</span>",
    ):
        assert part in page
    shown = {figure["id"]: figure for figure in data_of(page)}
    assert list(shown) == ["connections", "ramp", "user-memory", "machine-memory", "cpu", "latency"]
    assert all(f'id="plot-{name}"' in page for name in shown)
    each, mean = shown["ramp"]["traces"]
    assert len(each["y"]) == 1000
    assert len(mean["y"]) == 21  # the last of 20 blocks is there twice, to draw its step
    assert [trace["name"] for trace in shown["latency"]["traces"]] == [
        "connect",
        "first",
        "stampede",
    ]
    bands = shown["connections"]["layout"]["c1mBands"]
    assert [band["name"] for band in bands] == ["ramp", "hold", "stampede", "close"]


def test_what_peers_sent_is_escaped() -> None:
    nasty = "</script><script>alert(1)</script>"
    record = replace(short_record(), target=nasty, scenario="<i>", phases=[])
    latencies = {nasty: record.latencies["first"]}
    page = html.render(replace(record, latencies=latencies), BARE)
    assert nasty not in page
    assert "<i>" not in page
    assert page.count("</script>") == 3
    assert "b&#x27;&lt;/script&gt;&lt;b&gt;18\\n&#x27;" in page
    assert data_of(page)[-1]["traces"][0]["name"] == nasty
    assert "1,200 x ECONNREFUSED" in page


def test_the_latency_curve_rises_to_the_maximum() -> None:
    record = complete_record(20_000)
    figure = made(record)["latency"]
    for trace in figure["traces"]:
        assert trace["x"] == sorted(trace["x"])
        assert trace["y"] == sorted(trace["y"])
        slowest = record.latencies[trace["name"]].max_ns / 1e6
        assert trace["y"][-1] == pytest.approx(slowest, rel=1e-3)
    assert figure["layout"]["xaxis"]["ticktext"] == ["50", "90", "99", "99.9", "99.99"]
    assert "1 ms" in figure["layout"]["yaxis"]["ticktext"]
    assert "10 s" in figure["layout"]["yaxis"]["ticktext"]


def test_a_latency_of_one_or_of_no_sample() -> None:
    empty, one = Histogram(), Histogram()
    assert made(RunRecord(latencies={"first": Latency.of(empty)})) == {}
    one.record(np.zeros(1, np.int64))
    figure = made(RunRecord(latencies={"first": Latency.of(one)}))["latency"]
    json.dumps(figure, allow_nan=False)
    assert figure["layout"]["yaxis"]["tickvals"]


def test_cpu_is_a_share_of_one_core() -> None:
    figure = made(complete_record())["cpu"]
    server, kernel = figure["traces"][:2]
    assert max(server["y"]) == pytest.approx(90, abs=4)
    assert all(a >= b for a, b in zip(server["y"], kernel["y"], strict=True))
    assert len(server["x"]) <= 302


def test_the_file_has_plotly_in_it(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    path.write_text(html.render(complete_record(3_000), html.plotly_javascript()))
    page = path.read_text()
    assert "plotly.js v" in page
    assert 1 << 20 < len(page) < 8 << 20
    assert page.count("</script>") == 3
    assert not re.search(r"<(script|link|img|iframe)[^>]*\b(src|href)=", page)


def test_without_plotly_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "plotly":
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=re.escape("pip install 'c1m[report]'")):
        html.check_available()
    with pytest.raises(UsageError, match=re.escape("pip install 'c1m[report]'")):
        html.plotly_javascript()


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    source, page = tmp_path / "run.json", tmp_path / "run.html"
    short_record().write(source)
    shown = CliRunner().invoke(report, [str(source)], catch_exceptions=False)
    assert shown.exit_code == 0
    assert shown.output.startswith("SHORT: 18,760 of 20,000")
    written = CliRunner().invoke(report, [str(source), "--html", str(page)], catch_exceptions=False)
    assert written.output.endswith(f"\nReport: {page}\n")
    assert "SHORT: 18,760" in page.read_text()
    page.unlink()
    quiet = CliRunner().invoke(report, [str(source), "--html", str(page), "--quiet"])
    assert quiet.output == f"Report: {page}\n"


def test_the_command_refuses_before_it_reads(tmp_path: Path) -> None:
    for arguments, says in (
        ([str(tmp_path / "absent.json")], "no such file"),
        ([str(tmp_path / "absent.json"), "--html", str(tmp_path)], "is a directory"),
    ):
        result = CliRunner().invoke(report, arguments)
        assert isinstance(result.exception, UsageError)
        assert says in result.exception.message


def test_a_record_with_nothing_asked_has_bars_of_no_width() -> None:
    assert "width:0.00%" in html.render(RunRecord(asked=LoadOptions()), BARE)


@pytest.mark.parametrize("record", [request_record(), publish_record()], ids=["rate", "publish"])
def test_the_page_of_a_run_with_requests_is_sound_and_loads_nothing(record: RunRecord) -> None:
    page = html.render(record, BARE)
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    assert parser.loads == []
    assert not re.search(r"https?://|@import|url\(", page)
    assert all(f'id="plot-{figure["id"]}"' in page for figure in data_of(page))


def test_what_the_page_shows_of_a_run_with_requests() -> None:
    page = html.render(request_record(), BARE)
    parts = (
        "<h2>Thresholds: 1 of 3 hold</h2>",
        '<tr class="fail"><td><b>FAIL</b></td><td class="name">p99 &lt; 50ms</td>',
        '<tr class="ok"><td><b>ok</b></td>',
        'class="verdict"><strong>SHORT: 99,990',
        '<p class="bound">LOWER BOUND: the generator was saturated',
        "<b>63,136/s</b><span>right replies a second</span>",
        "<h2>Connections</h2>",
        "<td>ready: first reply right</td><td>249,980</td><td>99.9920 %</td>",
        "<h2>What is missing, and why</h2>",
        "8 x ETIMEDOUT while connecting: the accept queue overflowed 9 times.",
        "<h2>Requests</h2>",
        "<td>wrong: garbled</td><td>4</td>",
        "<h2>Stages</h2>",
        "<td>hold 100k for 30s at 10k/s..50k/s</td><td>100,000</td><td>10k..50k/s</td>",
        "<h2>Latency of requests</h2>",
        "<td>p99</td><td>565 ms</td><td>959 us</td><td>589 x</td>",
        "They differ from p99 on",
        "<h2>Other latencies</h2>",
        "<h2>Over the run</h2>",
        "<h2>First faults</h2>",
        "<code>b&#x27;&lt;/script&gt;&lt;b&gt;4\\n&#x27;</code>",
        "<h2>Notes</h2>",
        "<h2>Limit</h2><p><b>The generator was the limit.</b></p>",
        "<h2>Ramp</h2>",
        "<h2>Memory and CPU</h2>",
        "<h2>Conditions</h2>",
        "<td>requests</td><td>open loop of 50,000/s, arrivals poisson",
    )
    places = [page.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)


def test_a_page_without_requests_has_none_of_their_sections() -> None:
    page = html.render(complete_record(), BARE)
    for title in ("Requests", "Stages", "Thresholds", "First faults", "Notes", "Limit"):
        assert f"<h2>{title}" not in page
    assert "<h2>Latency</h2>" in page
    assert '<p class="bound">' not in page


def test_only_chosen_buttons_are_on_a_plot() -> None:
    """plotly's own choice has one that uploads the figures."""
    assert "modeBarButtons: [buttons]" in html.render(RunRecord(), BARE)
    assert "form-action 'none'" in html.render(RunRecord(), BARE)
