"""Metrics: names as documented, values as in the snapshot, a histogram that adds up."""

from __future__ import annotations

import math
import re
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from c1m.cli.live import prometheus
from c1m.cli.live.prometheus import Exporter, buckets, families, parse_address
from c1m.errors import UsageError
from c1m.results.snapshot import LIVE_FIGURES, Snapshot
from snapshot_samples import busy, of_a_cluster

exposition = pytest.importorskip("prometheus_client.exposition")
parser = pytest.importorskip("prometheus_client.parser")

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


class Told:
    """Anything with `collect` is a registry to prometheus-client."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def collect(self) -> Any:
        return families(self.snapshot)


def samples(snapshot: Snapshot) -> dict[tuple[str, str], float]:
    """(name, label) -> value, by way of the text and its parser; run_info has no single label."""
    text = exposition.generate_latest(Told(snapshot)).decode()
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels.values() if sample.name != prometheus.INFO else []
            key = (sample.name, *labels) if labels else (sample.name, "")
            assert key not in found
            found[key] = sample.value
    return found


def test_the_values_are_those_of_the_snapshot() -> None:
    s = busy()
    found = samples(s)
    assert found["c1m_connections_opened_total", ""] == s.opened
    assert found["c1m_connections_open", ""] == s.open
    assert found["c1m_replies_total", "right"] == s.requests.right
    assert found["c1m_replies_total", "missing"] == s.requests.missing
    assert found["c1m_connect_errors_total", "ECONNREFUSED"] == 9
    assert found["c1m_faults_total", "garbled"] == 2
    assert found["c1m_request_latency_percentile_seconds", "p99"] == 0.0187
    assert found["c1m_generator_lag_seconds", ""] == 0.00031
    assert found["c1m_server_resident_bytes", ""] == s.server_rss_bytes
    assert found["c1m_request_latency_seconds_bucket", "+Inf"] == sum(s.octaves)


def test_what_is_not_known_is_absent() -> None:
    found = samples(Snapshot(sent_per_s=math.nan, rate_asked_per_s=None))
    assert not {name for name, _ in found if "bytes" in name or "asked_per_second" in name}
    assert found["c1m_connections_opened_total", ""] == 0
    assert found["c1m_request_latency_seconds_bucket", "+Inf"] == 0


def test_names_from_outside_are_escaped() -> None:
    text = exposition.generate_latest(Told(busy(target='a"b\\c\nd', scenario="x"))).decode()
    (info,) = [f for f in parser.text_string_to_metric_families(text) if f.name == prometheus.INFO]
    assert info.samples[0].labels == {"target": 'a"b\\c\nd', "scenario": "x"}


@given(st.lists(st.integers(0, 1000), max_size=60))
def test_buckets_add_up(octaves: list[int]) -> None:
    found = buckets(octaves)
    assert [le for le, _ in found] == [le for le, _ in buckets([])]  # always the same ones
    assert found[-1] == ("+Inf", sum(octaves))
    for le, count in found[:-1]:
        ends_s = [(1 << (i + 1)) / 1e9 for i in range(len(octaves))]
        below = [c for c, end in zip(octaves, ends_s, strict=True) if end <= float(le)]
        assert count == sum(below)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9100", "127.0.0.1", 9100),
        ("9100", "127.0.0.1", 9100),
        ("0.0.0.0:9100", "0.0.0.0", 9100),
        ("[::1]:9100", "::1", 9100),
        ("metrics.example:80", "metrics.example", 80),
        (":0", "127.0.0.1", 0),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize("text", ["", "here", ":", "::1:9100", ":65536", "host:", ":91x", "a b:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="metrics"):
        parse_address(text)


def test_it_is_served_and_a_port_in_use_is_one_sentence() -> None:
    exporter = Exporter(":0")
    exporter.latest = busy()
    with urllib.request.urlopen(exporter.url) as answer:
        assert "\nc1m_connections_open 999940.0\n" in answer.read().decode()
    port = re.findall(r":(\d+)/", exporter.url)[0]
    with pytest.raises(UsageError, match=f"cannot be served at :{port}: address already in use"):
        Exporter(f":{port}")
    exporter.close()


def test_an_address_of_another_machine_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="cannot assign requested address"):
        Exporter("192.0.2.1:9100")


def test_without_the_package_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(UsageError, match=re.escape("pip install 'c1m[metrics]'")):
        Exporter(":0")


def test_the_fields_of_a_metric_agree_and_differ_by_their_label() -> None:
    for fields in prometheus.METRICS.values():
        figures = [LIVE_FIGURES[field] for field in fields]
        assert len({(f.help, f.label, f.unit) for f in figures}) == 1
        assert len({f.label_value for f in figures}) == len(figures)


def test_the_document_names_the_kinds_of_faults() -> None:
    from c1m.results.record import EXTRA_KINDS, WRONG_KINDS

    text = DOCUMENT.read_text()
    assert all(kind in text for kind in (*WRONG_KINDS, *EXTRA_KINDS))


def test_workers_of_a_cluster_have_labels() -> None:
    found = samples(of_a_cluster())
    assert found["c1m_workers", "lost"] == 1 and found["c1m_workers", "running"] == 3
    assert found["c1m_worker_connections_open", "10.0.0.2:40001"] == 249_998
    assert found["c1m_worker_request_latency_p99_seconds", "10.0.0.3:40001"] == 0.017000003
    assert ("c1m_worker_cores", "10.0.0.4:40001") not in found
