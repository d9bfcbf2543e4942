"""Rows and lines about requests: what became of them, by stage, the first faults, the limit.

Renders a record and computes nothing but shares, sums and rates; the row makers serve the terminal
and the HTML report.
"""

from __future__ import annotations

from collections.abc import Iterator

from c1m.report.text_layout import (
    Row,
    cut,
    named,
    rate,
    seconds,
    sentence,
    share,
    short_rate,
    wrapped,
)
from c1m.results.record import RunRecord
from c1m.results.requests import EXTRA_KINDS, WRONG_KINDS, FaultSeen, Limit, StageResult
from c1m.units import format_count, format_duration, format_rate

REQUESTS_HEAD: Row = ("requests", "count", "share", "")
STAGES_HEAD: Row = ("stages", "open", "asked", "reached", "bad", "p50", "p99", "max")
FAN_OUT_HEAD: Row = ("publish", "count", "share", "")

LOWER_BOUND = (
    "LOWER BOUND: the generator was saturated, so the server may be able to do more than these "
    "figures say."
)
_DOUBT = " (or another: see faults)"  # kind
_PLAIN_STAGES = 3  # ramp, hold, stampede without requests: the funnel has told it all
_STAGE_COLUMNS = 32
_FAULTS_A_KIND = 3

_WHO = {
    "generator": "The generator was the limit.",
    "server": "The server was the limit.",
    "both": "Generator and server both were at their limit.",
    "neither": "Neither was the limit.",
    "unknown": "It is not known what the limit was.",
}


def has_requests(record: RunRecord) -> bool:
    """Whether requests were due in any stage (first replies and stampedes are apart)."""
    return record.requests.due > 0 or record.requests.sent > 0


def request_seconds(record: RunRecord) -> float:
    """How long the stages with requests ran."""
    return record.requests.seconds


def request_rows(record: RunRecord) -> list[Row]:
    """(what became of them, count, share, in words), only what happened."""
    return list(_request_rows(record)) if has_requests(record) else []


def _request_rows(record: RunRecord) -> Iterator[Row]:
    r = record.requests
    due = max(r.due, r.sent)
    asked = record.asked.rate_per_s
    yield ("due", format_count(due), "", f"asked {format_rate(asked)}" if asked else "")
    yield ("sent", format_count(r.sent), share(r.sent, due), "")
    elapsed = request_seconds(record)
    reached = f"{rate(r.right, elapsed)} over {seconds(elapsed)}" if elapsed else ""
    yield ("right", format_count(r.right), share(r.right, r.sent), reached)
    told, doubt = 0, _DOUBT if record.doubts else ""
    for kind, words in WRONG_KINDS.items():
        if count := r.faults.get(kind, 0):
            told += count
            yield (f"wrong: {kind}", format_count(count), share(count, r.sent), words + doubt)
    if r.wrong > told:
        yield ("wrong", format_count(r.wrong - told), share(r.wrong - told, r.sent), "")
    rows = [
        ("missing", r.missing, r.sent, "no reply in time, or its connection ended" + doubt),
        ("unsent", r.unsent, due, "due, not sent before its stage ended"),
        ("waited", r.waited, due, "for the reply before, on the same connection"),
        ("late", r.late, due, "by over 10 ms, because the generator was behind"),
    ]
    for name, count, whole, words in rows:
        if count:
            yield (name, format_count(count), share(count, whole), words)
    extra = {k: n for k, n in r.faults.items() if n and k not in WRONG_KINDS}
    for kind, count in extra.items():
        yield (f"extra: {kind}", format_count(count), "", EXTRA_KINDS.get(kind, "") + doubt)


def reached_per_s(stage: StageResult) -> float:
    """Right replies a second of a stage."""
    return stage.requests.right / max(stage.end_s - stage.start_s, 1e-9)


def stage_rows(record: RunRecord, width: int = _STAGE_COLUMNS) -> list[Row]:
    """(stage as written, open at its end, rate asked, reached, bad, p50, p99, max), corrected.

    Nothing for a plain ramp, hold and stampede: there is nothing to say that the funnel has not.
    """
    load = [stage for stage in record.stages if not stage.is_stampede]
    has_plan = any(s.requests.due or s.rate_from_per_s is not None for s in load)
    if not has_plan and len(record.stages) <= _PLAIN_STAGES:
        return []
    return [_stage_row(stage, width) for stage in record.stages]


def _stage_row(stage: StageResult, width: int) -> Row:
    r, p = stage.requests, stage.latency.percentiles_ns
    bad = r.wrong + r.missing
    return (
        cut(stage.text or stage.name, width),
        format_count(stage.open_at_end),
        _asked_rate(stage),
        short_rate(reached_per_s(stage)) if r.due else "",
        format_count(bad) if bad else "",
        format_duration(p["p50"]) if "p50" in p else "",
        format_duration(p["p99"]) if "p99" in p else "",
        format_duration(stage.latency.max_ns) if stage.latency.count else "",
    )


def _asked_rate(stage: StageResult) -> str:
    """'50k/s', '10k..50k/s' or '' where the stage has no open loop."""
    first, last = stage.rate_from_per_s, stage.rate_to_per_s
    if first is None:
        return "" if last is None else short_rate(last)
    if last is None or last == first:
        return short_rate(first)
    return f"{short_rate(first).removesuffix('/s')}..{short_rate(last)}"


def fan_out_rows(record: RunRecord) -> list[Row]:
    """(what became of publications, count, share, in words) of scenario publish."""
    fan = record.fan_out
    if fan is None:
        return []
    received = f"reach {fan.reach:.6g}"
    missing = fan.expected - fan.received
    rows = [
        ("published", format_count(fan.published), "", ""),
        ("pushes expected", format_count(fan.expected), "", "one for each subscriber"),
        ("received", format_count(fan.received), share(fan.received, fan.expected), received),
        ("missing", format_count(missing), share(missing, fan.expected), ""),
        ("doubled", format_count(fan.doubled), "", "pushes that had come already"),
        ("garbled", format_count(fan.garbled), "", "bytes that are no push"),
    ]
    return [row for row in rows if row[1] != "0" or row[0] == "received"]


def fault_texts(record: RunRecord) -> list[tuple[str, list[FaultSeen]]]:
    """('3 x garbled: bytes that are not the reply', the first of them) for each kind seen."""
    words = WRONG_KINDS | EXTRA_KINDS
    counts = record.all_requests().faults
    kinds = dict.fromkeys([*counts, *(one.kind for one in record.faults)])
    made = []
    for kind in kinds:
        seen = [one for one in record.faults if one.kind == kind]
        if seen:
            count = counts.get(kind, 0)
            counted = f"{format_count(count)} x {kind}" if count else kind
            made.append((f"{counted}: {words[kind]}" if kind in words else counted, seen))
    return made


def fault_lines(record: RunRecord) -> list[str]:
    """The first faults of each kind with the bytes expected and received."""
    kinds = fault_texts(record)
    if not kinds:
        return []
    lines = ["first faults"]
    for doubt in record.doubts:
        lines += wrapped(doubt, "  ", "    ")
    for title, seen in kinds:
        lines += wrapped(title, "  ", "    ")
        for one in seen[:_FAULTS_A_KIND]:
            lines += wrapped(f"{fault_place(one)}:", "    ", "      ")
            lines += wrapped(f"expected {bytes_text(one.expected)}", "      ", " " * 15)
            lines += wrapped(f"received {bytes_text(one.received)}", "      ", " " * 15)
            if one.note:
                lines += wrapped(one.note, "      ", " " * 6)
    return lines


def bytes_text(shown: str) -> str:
    """Bytes as a fault has them; 'nothing' for none."""
    return "nothing" if shown in ("", "b''") else shown


def fault_place(one: FaultSeen) -> str:
    """'at 3.21 s, connection 4,711, request 17'."""
    return (
        f"at {seconds(one.t_s)}, connection {format_count(one.connection)}, "
        f"request {format_count(one.seq)}"
    )


def limit_sentences(limit: Limit) -> list[str]:
    """Who the limit was, why, and figures that these sentences do not have; [] of nothing known."""
    told = [sentence(text) for text in limit.sentences]
    whole = " ".join(told)
    figures = []
    if "CPU" not in whole:
        for name, cpu in (("generator", limit.generator_cpu), ("server", limit.server_cpu)):
            figures += [] if cpu is None else [f"{name} {100 * cpu:.0f} % of a core"]
    if limit.schedule_lag.count and "p99 of its lag" not in whole:
        lag, tail = limit.schedule_lag, limit.schedule_lag.percentiles_ns
        p99 = f"p99 {format_duration(tail['p99'])}, " if "p99" in tail else ""
        figures.append(f"generator behind its schedule {p99}max {format_duration(lag.max_ns)}")
    if limit.kernel_drops and "drop" not in whole:
        figures.append(f"packets dropped by this machine {format_count(limit.kernel_drops)}")
    if limit.who == "unknown" and not told and not figures:
        return []
    measured = f"Measured: {'; '.join(figures)}." if figures else ""
    return [text for text in (_WHO.get(limit.who, ""), *told, measured) if text]


def limit_lines(record: RunRecord) -> list[str]:
    """The generator's verdict on itself."""
    sentences = limit_sentences(record.limit)
    if not sentences:
        return []
    lines = named("limit", sentences[0])
    for text in sentences[1:]:
        lines += wrapped(text, " " * 10)
    return lines
