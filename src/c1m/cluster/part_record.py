"""The record of an attempt at a part that has none of its own: by its frames alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from c1m.cluster.frames import Frames, Whole
from c1m.cluster.head import Head
from c1m.limits.diagnosis import explanations
from c1m.limits.limit import Evidence
from c1m.limits.reasons import failures_of
from c1m.results import tally
from c1m.results.histogram import Histogram
from c1m.results.ramp import RampTimes
from c1m.results.record import (
    CONNECTION_COUNTS,
    FAN_OUT_COUNTS,
    REQUEST_COUNTS,
    Check,
    Connections,
    Failure,
    FanOut,
    Latency,
    ProcessColumns,
    Ramp,
    Requests,
    RunRecord,
    Samples,
    Saturation,
    Series,
    Share,
    Span,
    StageResult,
)

_SHARE_COUNTS = ("connections", "sent", "right", "wrong", "missing")


def record_of(head: Head, whole: Whole) -> RunRecord:
    """Of the one attempt whose frames, and end, `whole` has got. What is not in frames is not in
    it: peaks of requests in flight, the machine, the faults' bytes, the ramp within a second."""
    (frames,) = whole.parts.values()
    counts, series = frames.counts, whole.series()
    record = _Made(head, frames, whole.histograms).record(series)
    evidence = Evidence(unanswered=record.first.missing, metadata=head.metadata)
    rows = explanations(record.asked, record.connections, record.failures, evidence)
    return replace(
        record,
        explanations=rows,
        checks=_checks(counts),
        shares=_shares(counts),
        fan_out=_fan_out(counts),
        statuses={name: n for name, n in _below(counts, "status.") if n},
    )


def _below(counts: Mapping[str, int], prefix: str) -> Iterator[tuple[str, int]]:
    """Those that begin so, without that, by name."""
    length = len(prefix)
    return ((name[length:], n) for name, n in sorted(counts.items()) if name.startswith(prefix))


def _checks(counts: Mapping[str, int]) -> list[Check]:
    passed, failed = (dict(_below(counts, f"check.{which}.")) for which in ("passed", "failed"))
    names = dict.fromkeys([*passed, *failed])
    return [Check(name, passed.get(name, 0), failed.get(name, 0)) for name in names]


def _shares(counts: Mapping[str, int]) -> list[Share]:
    columns = {which: dict(_below(counts, f"share.{which}.")) for which in _SHARE_COUNTS}
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [Share(name, **{w: c.get(name, 0) for w, c in columns.items()}) for name in names]


def _fan_out(counts: Mapping[str, int]) -> FanOut | None:
    found = dict(_below(counts, "fan_out."))
    return FanOut(**{n: found.get(n, 0) for n in FAN_OUT_COUNTS}) if found else None


@dataclass(slots=True)
class _Made:
    """From these."""

    head: Head
    frames: Frames
    histograms: Mapping[str, Histogram]
    latencies: dict[str, Histogram] = field(default_factory=dict)

    def record(self, series: Series) -> RunRecord:
        """All but what is counted by names of the scenario's own."""
        head, counts, stages = self.head, self.frames.counts, self._stages()
        return RunRecord(
            started=head.started,
            target=",".join(head.asked.targets),
            scenario=head.scenario,
            asked=head.asked,
            assumed=head.assumed,
            metadata=head.metadata,
            connections=Connections(
                **{name: counts.get(f"connections.{name}", 0) for name in CONNECTION_COUNTS}
            ),
            failures=self._failures(),
            phases=self._phases(stages),
            ramp=self._ramp(series, stages),
            latencies=self._latencies(stages),
            samples=self._samples(),
            requests=Requests.together([s.requests for s in stages if not s.is_stampede]),
            first=self._requests("first", stages[0].end_s - stages[0].start_s if stages else 0.0),
            stampede=Requests.together([s.requests for s in stages if s.is_stampede]),
            stages=stages,
            series=series,
            limit=Saturation(schedule_lag=Latency.of(self._sum("lag", "lag_after"))),
        )  # fmt: skip

    def _sum(self, *names: str) -> Histogram:
        histogram = Histogram()
        for name in names:
            if name in self.histograms:
                histogram.merge(self.histograms[name])
        return histogram

    def _failures(self) -> list[Failure]:
        found = []
        for phase in ("connect", "tls", "handshake", "open"):
            counts = _below(self.frames.counts, f"failed.{phase}.")
            found += failures_of(phase, {int(code): n for code, n in counts})
        return found

    def _requests(self, name: str, seconds: float) -> Requests:
        counts = self.frames.counts
        values = {each: counts.get(f"{name}.{each}", 0) for each in REQUEST_COUNTS}
        faults = {kind: n for kind, n in _below(counts, f"{name}.faults.") if n}
        return Requests(**values, faults=faults, seconds=seconds if values["due"] else 0.0)

    def _stages(self) -> list[StageResult]:
        """Those that have begun."""
        stages = []
        for number, stage in enumerate(self.head.stages):
            span = self.frames.spans.get(number)
            if span is None:
                break
            start_s, end_s = span.start_ns / 1e9, (span.end_ns or self.frames.t_ns) / 1e9
            name = f"stage.{number}"
            stages.append(
                replace(
                    stage,
                    start_s=start_s,
                    end_s=end_s,
                    open_at_end=span.open_at_end,
                    requests=self._requests(name, end_s - start_s),
                    latency=Latency.of(self._sum(f"{name}.corrected")),
                    uncorrected=Latency.of(self._sum(f"{name}.uncorrected")),
                )
            )
        return stages

    def _phases(self, stages: list[StageResult]) -> list[Span]:
        spans = [Span(one.name, one.start_s, one.end_s) for one in stages]
        for number, name in ((tally.SETTLE, "settle"), (tally.CLOSE, "close")):
            if span := self.frames.spans.get(number):
                end_ns = span.end_ns or self.frames.t_ns
                spans.append(Span(name, span.start_ns / 1e9, end_ns / 1e9))
        return spans

    def _latencies(self, stages: list[StageResult]) -> dict[str, Latency]:
        """In the order in which they are shown."""
        numbers = range(len(stages))
        load = [n for n in numbers if not stages[n].is_stampede]
        stampedes = [n for n in numbers if stages[n].is_stampede]
        found = {name: self._sum(name) for name in ("connect", "secured", "handshake")}
        found |= {name: self._sum(name) for name in ("ended", "first")}
        found |= {
            "request": self._sum(*(f"stage.{n}.corrected" for n in load)),
            "uncorrected": self._sum(*(f"stage.{n}.uncorrected" for n in load)),
            "stampede": self._sum(*(f"stage.{n}.corrected" for n in stampedes)),
        }
        found |= {name: self._sum(name) for name in ("push", "push_last")}
        return {name: Latency.of(one) for name, one in found.items() if one.count}

    def _ramp(self, series: Series, stages: list[StageResult]) -> Ramp:
        """By the seconds of the first stage."""
        if not stages:
            return Ramp()
        ramp, end_s = RampTimes(round(stages[0].start_s * 1e9)), stages[0].end_s
        for t_s, opened in zip(series.t_s, series.opened, strict=True):
            if t_s - series.interval_s < end_s:
                ramp.add(opened, round(min(t_s, end_s) * 1e9))
        return ramp.result()

    def _samples(self) -> Samples:
        looks = self.frames.looks
        return Samples(
            t_s=[round(one.t_ns / 1e9, 3) for one in looks],
            open=[one.open for one in looks],
            client=ProcessColumns(
                rss_bytes=[one.rss_bytes for one in looks],
                user_s=[one.user_us / 1e6 for one in looks],
                system_s=[one.system_us / 1e6 for one in looks],
            ),
        )
