"""The sections of a report about requests: what became of them, stages, latencies, faults, limit.

Corrected latencies count from when a request was due, uncorrected ones from when it was sent; what
lies between is the coordinated omission of a generator that only measures while it may send.
"""

from __future__ import annotations

from collections.abc import Iterator

from c1m.report.blocks import PAGE, Item, Items, Note, Row, Section, Statement, Table
from c1m.results import catalogue
from c1m.results.record import (
    EXTRA_KINDS,
    FAN_OUT_COUNTS,
    LAG_SAID,
    REQUEST_COUNTS,
    WRONG_KINDS,
    FaultSeen,
    Latency,
    RunRecord,
    StageResult,
)
from c1m.units import (
    NS_PER_S,
    format_count,
    format_duration,
    format_rate,
    format_share,
    format_short_rate,
)

LOWER_BOUND = (
    "LOWER BOUND: the generator was saturated, so the server may be able to do more than these "
    "figures say."
)
_DOUBT = " (or another: see faults)"  # kind
_PLAIN_STAGES = 3  # ramp, hold, stampede without requests: the funnel says it all
_DIFFER = 1.1  # the ratio from which two figures differ; a histogram's error is 0.1 %
_WAITED_SHOWN = 0.05  # of the time: two processes on two cores cost each other about so much
_LABELS = {"push_last": "push, last of each", "ended": "ended by the server"}

_WHO = {
    "generator": "The generator was the limit.",
    "server": "The server was the limit.",
    "both": "Both the generator and the server were at their limit.",
    "neither": "Neither was the limit.",
    "unknown": "What the limit was is not known.",
}


def sentence(text: str) -> str:
    """The text with a full stop, unless it ends in some stop already."""
    return text if text.endswith((".", "!", "?", ":")) or not text else text + "."


def requests(record: RunRecord) -> Section:
    """What became of each request that was due; only what happened."""
    rows = list(_request_rows(record)) if record.requests.due else []
    return Section.table("requests", ("count", "share", ""), rows, has_words=True)


def _request_rows(record: RunRecord) -> Iterator[Row]:
    r, asked = record.requests, record.asked.rate_per_s
    doubt = _DOUBT if record.doubts else ""
    said = {"due": f"asked {format_rate(asked)}" if asked else "", "sent": "", "right": ""}
    if r.seconds:
        reached = format_rate(r.right / r.seconds)
        said["right"] = f"{reached} over {format_duration(r.seconds * NS_PER_S)}"
    for name, about in REQUEST_COUNTS.items():
        whole = getattr(r, about.of, 0)
        if name == "wrong":
            for kind, words in WRONG_KINDS.items():
                if count := r.faults.get(kind, 0):
                    share = format_share(count, whole)
                    yield (f"wrong: {kind}", format_count(count), share, words + doubt)
        elif (count := getattr(r, name)) or name in said:
            words = said.get(name, about.help + (doubt if name == "missing" else ""))
            yield (name, format_count(count), format_share(count, whole) if about.of else "", words)
    for kind, count in r.faults.items():
        if count and kind not in WRONG_KINDS:
            yield (f"extra: {kind}", format_count(count), "", EXTRA_KINDS.get(kind, "") + doubt)


def stages(record: RunRecord) -> Section:
    """Each stage: open at its end, rate asked and reached, bad replies, corrected latencies.

    Nothing for a plain ramp, hold and stampede: there is nothing to say that the funnel has not.
    """
    load = [stage for stage in record.stages if not stage.is_stampede]
    has_plan = any(one.requests.due or one.rate_from_per_s is not None for one in load)
    if not has_plan and len(record.stages) <= _PLAIN_STAGES:
        return Section("")
    head = ("open", "asked", "reached", "bad", "p50", "p99", "max")
    note = Note("Latencies are corrected: counted from when a request was due.", only=PAGE)
    return Section("stages", [Table(head, [_stage_row(one) for one in record.stages]), note])


def _stage_row(stage: StageResult) -> Row:
    r, tail = stage.requests, stage.latency.percentiles_ns
    bad = r.wrong + r.missing
    return (
        stage.text or stage.name,
        format_count(stage.open_at_end),
        _asked_rate(stage),
        format_short_rate(r.right / r.seconds) if r.seconds else "",
        format_count(bad) if bad else "",
        _duration(tail.get("p50")),
        _duration(tail.get("p99")),
        _duration(stage.latency.max_ns if stage.latency.count else None),
    )


def _asked_rate(stage: StageResult) -> str:
    """'50k/s', '10k..50k/s' or '' where the stage has no open loop."""
    rates = dict.fromkeys((stage.rate_from_per_s, stage.rate_to_per_s))
    known = [format_short_rate(rate) for rate in rates if rate is not None]
    return "..".join([*(text.removesuffix("/s") for text in known[:-1]), *known[-1:]])


def publications(record: RunRecord) -> Section:
    """What became of the publications of scenario publish, and of their pushes."""
    fan = record.fan_out
    if fan is None:
        return Section("")
    counts = (  # name, count, of how many, words
        ("published", fan.published, 0, ""),
        ("pushes expected", fan.expected, 0, "one for each subscriber"),
        ("received", fan.received, fan.expected, f"reach {fan.reach or 0:.6g}"),
        ("missing", fan.missing, fan.expected, ""),
        ("doubled", fan.doubled, 0, FAN_OUT_COUNTS["doubled"].help),
        ("garbled", fan.garbled, 0, FAN_OUT_COUNTS["garbled"].help),
    )
    rows = [
        (name, format_count(count), format_share(count, whole) if whole else "", words)
        for name, count, whole, words in counts
        if count or name == "received"
    ]
    return Section.table("publications", ("count", "share", ""), rows, has_words=True)


# Latencies


def spectra(record: RunRecord) -> dict[str, Latency]:
    """Corrected and uncorrected latency of all requests; {} of a run without."""
    corrected = catalogue.distribution(record, "request")
    if not corrected.count:
        return {}
    uncorrected = catalogue.distribution(record, "uncorrected")
    return {"corrected": corrected, "uncorrected": uncorrected}


def other_latencies(record: RunRecord) -> dict[str, Latency]:
    """What is not in the spectra: connects, first replies, stampedes, pushes."""
    in_spectra = ("request", "uncorrected") if spectra(record) else ()
    return {
        _LABELS.get(name, name): one
        for name, one in record.latencies.items()
        if one.count and name not in in_spectra
    }


def other_latencies_title(record: RunRecord) -> str:
    """What `other_latencies` are called, beside the spectra or alone."""
    return "other latencies" if spectra(record) else "latency"


def request_latency(record: RunRecord) -> Section:
    """Percentiles, corrected and uncorrected, how many times as much, and why they differ."""
    both = spectra(record)
    if not both:
        return Section("")
    ours, theirs = (
        {**one.percentiles_ns, "max": one.max_ns, "mean": one.mean_ns} if one.count else {}
        for one in both.values()
    )
    pairs = {name: (ours.get(name), theirs.get(name)) for name in [*ours, *theirs]}
    rows = [(name, _duration(a), _duration(b), _times(a, b)) for name, (a, b) in pairs.items()]
    counts = (format_count(one.count) if one.count else "" for one in both.values())
    table = Table((*both, ""), [*rows, ("count", *counts, "")])
    return Section("latency of requests", [table, *_why_they_differ(record)])


def _duration(ns: float | None) -> str:
    return "" if ns is None else format_duration(ns)


def _times(a: float | None, b: float | None) -> str:
    """'37 x' where one is that many times the other and it matters."""
    if a is None or not b or a < _DIFFER * b:
        return ""
    return f"{a / b:,.0f} x" if a >= 10 * b else f"{a / b:.2g} x"


def _why_they_differ(record: RunRecord) -> list[Note]:
    corrected, uncorrected = spectra(record).values()
    if not uncorrected.count:
        return []
    pairs = {
        f"from {name} on": (ns, uncorrected.percentiles_ns.get(name))
        for name, ns in corrected.percentiles_ns.items()
    } | {"at the max": (corrected.max_ns, uncorrected.max_ns)}
    where = next((place for place, pair in pairs.items() if _times(*pair)), "")
    if not where:
        return [Note("Both agree: requests were sent when they were due.")]
    r = record.requests
    causes = []
    if r.waited:
        causes.append(f"{format_count(r.waited)} waited for the previous reply on their connection")
    if r.late:
        causes.append(f"{format_count(r.late)} were late because the generator was behind")
    why = f" Of the requests {' and '.join(causes)}." if causes else ""
    return [
        Note(
            f"They differ {where}: corrected counts from when a request was due, so it "
            "includes the time it waited to be sent; uncorrected leaves that out, and with it what "
            f"users would have felt.{why}"
        )
    ]


def latencies(record: RunRecord) -> Section:
    """A row for each distribution beside the spectra, a column for each percentile."""
    named = other_latencies(record)
    percentiles = max((one.percentiles_ns for one in named.values()), key=len, default={})
    rows = [
        (
            name,
            format_count(one.count),
            *(_duration(one.percentiles_ns.get(p)) or "-" for p in percentiles),
            format_duration(one.max_ns),
        )
        for name, one in named.items()
    ]
    return Section.table(other_latencies_title(record), ("count", *percentiles, "max"), rows)


# Faults, and who the limit was


def faults(record: RunRecord) -> Section:
    """The first faults of each kind with the bytes expected and received."""
    words, counts = WRONG_KINDS | EXTRA_KINDS, record.all_requests.faults
    blocks: list[Items] = []
    for kind in dict.fromkeys([*counts, *(one.kind for one in record.faults)]):
        title = f"{format_count(counts[kind])} x {kind}" if counts.get(kind) else kind
        if items := [_fault(one) for one in record.faults if one.kind == kind]:
            blocks.append(Items(items, f"{title}: {words[kind]}" if kind in words else title))
    doubts = [Note(doubt) for doubt in record.doubts]
    return Section("first faults", [*doubts, *blocks] if blocks else ())


def _fault(one: FaultSeen) -> Item:
    when = f"at {format_duration(one.t_s * NS_PER_S)}, " if one.t_s else ""
    where = f"{when}connection {format_count(one.connection)}, request {format_count(one.seq)}:"
    both = {"expected": one.expected, "received": one.received}
    if one.note and both["expected"] in ("", "b''"):  # the note says what was expected
        del both["expected"]
    shown = {name: "nothing" if data in ("", "b''") else data for name, data in both.items()}
    return Item(f"{where} {sentence(one.note)}".rstrip(), shown)


def limit(record: RunRecord) -> Section:
    """The generator's verdict on itself: who the limit was, why, and what was measured."""
    known, lag = record.limit, record.limit.schedule_lag
    figures = []
    for name, cpu, waited in (
        ("generator", known.generator_cpu, known.generator_waited),
        ("server", known.server_cpu, known.server_waited),
    ):
        if cpu is not None:
            said_of = f"{name} {100 * cpu:.0f} % of a core"
            if waited is not None and waited >= _WAITED_SHOWN:
                said_of += f" and {100 * waited:.0f} % waiting for one"
            figures.append(said_of)
    # In a sentence of a generator that was the limit by it, its lag stands already.
    if lag.count and not any(LAG_SAID in text for text in known.sentences):
        p99 = lag.percentiles_ns.get("p99")
        tail = "" if p99 is None else f"p99 {format_duration(p99)}, "
        figures.append(f"generator behind its schedule {tail}max {format_duration(lag.max_ns)}")
    said = [sentence(text) for text in known.sentences]
    if figures:
        said.append(f"Measured while requests ran: {'; '.join(figures)}.")
    if known.who in _WHO and (said or known.who != "unknown"):
        said.insert(0, _WHO[known.who])
    return Section("limit", [Statement(said)] if said else ())
