"""Rows and lines about latencies: corrected beside uncorrected, why they differ, the others apart.

Corrected is from the moment when a request was due, uncorrected from when it was really sent; what
lies between is the coordinated omission of a generator that only measures while it may send.
"""

from __future__ import annotations

from c1m.report.text_layout import Row, wrapped
from c1m.report.text_requests import has_requests
from c1m.results.record import Latency, RunRecord
from c1m.units import format_count, format_duration

SPECTRUM_HEAD: Row = ("latency of requests", "corrected", "uncorrected", "")
_DIFFER = 1.1  # from this ratio on two figures are told to differ; a histogram's error is 0.1 %
_IN_SPECTRUM = ("request", "uncorrected")

# Where requests, pushes and the rest come in a table, whatever their order in the record.
_NAMES = {"push_last": "push, last of each", "ended": "ended by the server"}


def percentile_names(record: RunRecord) -> list[str]:
    """The percentiles that at least one distribution carries, in their order."""
    return _names_of(record.latencies)


def _names_of(latencies: dict[str, Latency]) -> list[str]:
    names: dict[str, None] = {}
    for latency in sorted(latencies.values(), key=lambda one: -len(one.percentiles_ns)):
        names |= dict.fromkeys(latency.percentiles_ns)
    return list(names)


def spectrum_of(record: RunRecord) -> tuple[Latency, Latency] | None:
    """(corrected, uncorrected) of all requests; None of a run without."""
    request = record.latencies.get("request")
    if request is None or not request.count:
        return None
    return request, record.latencies.get("uncorrected", Latency())


def other_latencies(record: RunRecord) -> dict[str, Latency]:
    """What the spectrum does not have: connect, first, stampede, push."""
    named = dict(record.latencies)
    if record.fan_out is not None:
        named = {"push": record.fan_out.push, "push_last": record.fan_out.last} | named
    if spectrum_of(record) is not None:
        named = {name: one for name, one in named.items() if name not in _IN_SPECTRUM}
        # a stage list makes empty ones: nothing to say
        named = {name: one for name, one in named.items() if one.count}
    return named


def latency_head(record: RunRecord) -> Row:
    """Of `latency_rows`."""
    return ("latency", "count", *_names_of(other_latencies(record)), "max")


def latency_rows(record: RunRecord) -> list[Row]:
    """(name, count, one column a percentile, max) for each distribution but the spectrum's."""
    latencies = other_latencies(record)
    names = _names_of(latencies)
    return [
        (
            _NAMES.get(name, name),
            format_count(one.count),
            *(_duration(one.percentiles_ns.get(p)) or "-" for p in names),
            format_duration(one.max_ns),
        )
        for name, one in latencies.items()
    ]


def spectrum_rows(record: RunRecord) -> list[Row]:
    """(percentile, corrected, uncorrected, how many times as much), then max, mean and count."""
    both = spectrum_of(record)
    if both is None:
        return []
    corrected, uncorrected = both
    names = dict.fromkeys([*corrected.percentiles_ns, *uncorrected.percentiles_ns])
    pairs: list[tuple[str, float | None, float | None]] = [
        (name, corrected.percentiles_ns.get(name), uncorrected.percentiles_ns.get(name))
        for name in names
    ]
    has_both = uncorrected.count > 0
    pairs.append(("max", corrected.max_ns, uncorrected.max_ns if has_both else None))
    pairs.append(("mean", corrected.mean_ns, uncorrected.mean_ns if has_both else None))
    rows = [(name, _duration(a), _duration(b), _times(a, b)) for name, a, b in pairs]
    counts = [format_count(one.count) if one.count else "" for one in both]
    return [*rows, ("count", counts[0], counts[1], "")]


def _duration(ns: float | None) -> str:
    return "" if ns is None else format_duration(ns)


def _times(a: float | None, b: float | None) -> str:
    """'37 x' where one is that many times the other and it matters."""
    if a is None or not b or a < _DIFFER * b:
        return ""
    return f"{a / b:,.0f} x" if a >= 10 * b else f"{a / b:.2g} x"


def why_they_differ(record: RunRecord) -> str:
    """One or two sentences, "" of a run without requests."""
    both = spectrum_of(record)
    if both is None or not both[1].count:
        return ""
    corrected, uncorrected = both
    differing = [
        name
        for name, ns in corrected.percentiles_ns.items()
        if ns >= _DIFFER * uncorrected.percentiles_ns.get(name, ns)
    ]
    if corrected.max_ns >= _DIFFER * uncorrected.max_ns:
        differing.append("max")
    if not differing:
        return "Both agree: requests were sent when they were due."
    r = record.requests
    causes = []
    if r.waited:
        causes.append(f"{format_count(r.waited)} waited for the reply before on their connection")
    if r.late:
        causes.append(f"{format_count(r.late)} were late because the generator was behind")
    why = f" Of the requests {' and '.join(causes)}." if causes else ""
    where = "They differ at the max" if differing == ["max"] else f"They differ from {differing[0]}"
    return (
        f"{where} on: corrected counts from when a request was due, so it has the time that it "
        f"waited to be sent; uncorrected leaves that out, and with it what users would have felt."
        f"{why}"
    ).replace("at the max on:", "at the max:")


def difference_lines(record: RunRecord) -> list[str]:
    """`why_they_differ` below the spectra."""
    text = why_they_differ(record) if has_requests(record) else ""
    return wrapped(text, "  ") if text else []
