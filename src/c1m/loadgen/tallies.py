"""What a load client has counted and measured since it was last asked, as a `Tally`.

Each second, so it must cost little with a million connections and 200 stages: a stage that is over,
with nothing in flight, is looked at no more, and of a histogram only what is new is taken.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from c1m.loadgen.phases import CLOSE, SETTLE, Phase
from c1m.loadgen.snapshots import Standing
from c1m.results import tally
from c1m.results.histogram import Histogram, Increments
from c1m.results.record import CONNECTION_COUNTS, FAN_OUT_COUNTS, REQUEST_COUNTS, Requests
from c1m.results.tally import StageSpan, Tally

_SHARE_COUNTS = ("connections", "sent", "right", "wrong", "missing")
_BEHIND = {SETTLE.name: tally.SETTLE, CLOSE.name: tally.CLOSE}


class Tallies:
    """Of a run that consists of these; `on_tally` is told."""

    def __init__(
        self,
        standing: Standing,
        phases: Sequence[Phase],
        on_tally: Callable[[Tally], None] | None = None,
    ) -> None:
        self._of, self._phases, self._on_tally = standing, phases, on_tally
        self._before: dict[str, int] = {}
        self._increments: dict[str, Increments] = {}
        self._spans: dict[int, StageSpan] = {}
        self._going: list[int] = []  # stages of which more may come
        self._seen = 0  # phases

    def tell(self, now_ns: int) -> None:
        """Whoever is to be told."""
        if self._on_tally is not None:
            self._on_tally(self.take(now_ns))

    def take(self, now_ns: int) -> Tally:
        """Since the last time."""
        self._going += range(self._seen, len(self._phases))
        self._seen = len(self._phases)
        counts, histograms = self._counts(), {}
        before = self._before
        for name, histogram in self._histograms():
            if name not in self._increments:
                if not histogram.count:
                    continue
                self._increments[name] = Increments(histogram)
            if (delta := self._increments[name].take()) is not None:
                histograms[name] = delta
        new = {name: n - before.get(name, 0) for name, n in counts.items()}
        self._before = before | counts
        stages = len(self._of.plan.stages)
        stage = min(max(self._seen - 1, 0), max(stages - 1, 0))
        made = Tally(
            now_ns - self._of.start_ns, stage, {n: c for n, c in new.items() if c}, histograms,
            list(self._new_spans()),
        )  # fmt: skip
        self._going = [number for number in self._going if not self._is_over(number)]
        return made

    def _is_over(self, number: int) -> bool:
        """Nothing of this stage is to come; what comes behind the last one is counted for it."""
        phase = self._phases[number]
        if number >= self._last() or (phase.group is not None and phase.group.requests.in_flight):
            return False
        for kind in ("corrected", "uncorrected"):
            self._increments.pop(f"stage.{number}.{kind}", None)
        return True

    def _last(self) -> int:
        """The number of the last stage that has begun."""
        return max((n for n, one in enumerate(self._phases) if not _is_behind(one)), default=0)

    def _new_spans(self) -> Iterator[StageSpan]:
        for number in self._going:
            phase, start_ns = self._phases[number], self._of.start_ns
            end_ns = phase.end_ns and phase.end_ns - start_ns
            which = _BEHIND.get(phase.stage.name, number)
            span = StageSpan(which, phase.start_ns - start_ns, end_ns, phase.open_at_end)
            if self._spans.get(which) != span:
                self._spans[which] = span
                yield span

    def _counts(self) -> dict[str, int]:
        """Of the whole run so far, but for stages of which nothing more comes."""
        of = self._of
        pool, recorder, plan = of.connections, of.recorder, of.plan
        counts = {f"connections.{n}": getattr(pool.counts, n) for n in CONNECTION_COUNTS}
        counts |= {"open": pool.live, "in_flight": of.traffic.ledger.in_flight}
        _add(counts, "first", recorder.first_requests)
        last = self._last()
        for number in self._going:
            phase = self._phases[number]
            if phase.group is not None:
                _add(counts, f"stage.{number}", phase.group.requests)
            extras = phase.extras
            if not phase.end_ns:
                extras = of.traffic.ledger.extras - phase.before
            for kind, count in extras.items():
                name = f"stage.{min(number, last)}.faults.{kind}"
                counts[name] = counts.get(name, 0) + count
        for phase_name, errnos in (
            ("connect", pool.connect_errnos), ("tls", pool.tls_errnos),
            ("handshake", pool.handshake_errnos), ("open", pool.lost_errnos),
        ):  # fmt: skip
            counts |= {f"failed.{phase_name}.{code}": n for code, n in errnos.items()}
        counts |= {f"status.{code}": n for code, n in plan.statuses().items()}
        for check in plan.scenario.checks():
            counts[f"check.passed.{check.name}"] = check.passed
            counts[f"check.failed.{check.name}"] = check.failed
        for share in plan.scenario.shares():
            counts |= {f"share.{n}.{share.name}": getattr(share, n) for n in _SHARE_COUNTS}
        if (fan_out := plan.scenario.fan_out()) is not None:
            counts |= {f"fan_out.{n}": getattr(fan_out, n) for n in FAN_OUT_COUNTS}
        counts["late_after"] = recorder.late_after
        return counts | self._process()

    def _process(self) -> dict[str, int]:
        """The load client's, as it was last sampled."""
        columns = self._of.sampler.samples().client
        if not columns.rss_bytes or columns.rss_bytes[-1] is None:
            return {}
        user_s, system_s = columns.user_s[-1] or 0.0, columns.system_s[-1] or 0.0
        return {
            "cpu.user_us": round(user_s * 1e6),
            "cpu.system_us": round(system_s * 1e6),
            "rss": columns.rss_bytes[-1],
        }

    def _histograms(self) -> Iterator[tuple[str, Histogram]]:
        pool, recorder = self._of.connections, self._of.recorder
        yield "connect", pool.latency
        yield "secured", pool.securing
        yield "handshake", pool.handshake
        yield "ended" if self._of.plan.scenario.wants_end else "first", recorder.first.corrected
        yield "lag", recorder.lag
        yield "lag_after", recorder.lag_after
        yield from recorder.pushes.items()
        for number in self._going:
            group = self._phases[number].group
            if group is not None:
                yield f"stage.{number}.corrected", group.corrected
                yield f"stage.{number}.uncorrected", group.uncorrected


def _is_behind(phase: Phase) -> bool:
    return phase.stage is SETTLE or phase.stage is CLOSE


def _add(counts: dict[str, int], name: str, requests: Requests) -> None:
    for each in REQUEST_COUNTS:
        counts[f"{name}.{each}"] = getattr(requests, each)
    faults: Counter[str] = Counter(requests.faults)
    counts |= {f"{name}.faults.{kind}": count for kind, count in faults.items()}
