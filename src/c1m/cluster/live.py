"""Where a run by many workers stands: snapshots of the whole and of each worker. Pure.

What adds up is the whole's. Of each worker its last second is kept, from its latest frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from c1m.cluster.conductor import RUNNING, Conductor, Standing
from c1m.cluster.frames import Whole
from c1m.cluster.part import NS_PER_S, name_of
from c1m.limits.reasons import errno_name
from c1m.loadgen.stages import Stage, most_connections
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import REQUEST_COUNTS, Requests
from c1m.results.snapshot import WORKERS_MAX, Snapshot, WorkerNow, worst
from c1m.results.tally import Tally

QUIET_NS = 4 * NS_PER_S  # who has said nothing for so long is shown as silent
LOST_NAMED = 4  # workers in a sentence
_REQUESTS = ("first.", "stage.")
_COUNTED = ("attempted", "connected", "secured", "opened", "ready", "lost", "closed")


@dataclass(slots=True)
class _Second:
    """The last second that an attempt told of: its tally, and what is made of it to be shown."""

    attempt: int = 0
    tally: Tally | None = None
    seconds: float | None = None  # that it is of; None: it has the process's beginning
    is_read: bool = False
    opened_per_s: float = 0.0
    sent_per_s: float = 0.0
    right_per_s: float = 0.0
    p99_ns: int | None = None
    lag_max_ns: int = 0
    cores: float | None = None

    def read(self) -> None:
        """Once, when it is shown: frames come more often where there are many workers."""
        if self.is_read or self.tally is None:
            return
        self.is_read, counts, per_s = True, self.tally.counts, 1 / (self.seconds or 1.0)
        self.opened_per_s = counts.get("connections.opened", 0) * per_s
        for name, count in counts.items():
            if name.endswith(".sent") and name.startswith(_REQUESTS):
                self.sent_per_s += count * per_s
            elif name.endswith(".right") and name.startswith(_REQUESTS):
                self.right_per_s += count * per_s
        for name, delta in self.tally.histograms.items():
            if name.startswith("lag"):
                self.lag_max_ns = max(self.lag_max_ns, delta.quantile(1.0))
            elif name.endswith(".corrected"):
                self.p99_ns = max(self.p99_ns or 0, delta.quantile(0.99))
        if self.seconds is not None:
            used_us = counts.get("cpu.user_us", 0) + counts.get("cpu.system_us", 0)
            self.cores = used_us / 1e6 * per_s


class View:
    """Of one run with these `stages`; `whole` is the sum that the controller adds frames to."""

    def __init__(
        self,
        asked: LoadOptions,
        stages: Sequence[Stage],
        scenario: str,
        conductor: Conductor,
        whole: Whole,
        *,
        is_tls: bool = False,
    ) -> None:
        self._asked, self._stages, self._scenario = asked, stages, scenario
        self._is_tls = is_tls
        self._conductor, self._whole = conductor, whole
        self._seconds = [_Second() for _ in range(conductor.parts)]

    def hear(self, part: int, attempt: int, tally: Tally) -> None:
        """A frame came, and is in the whole."""
        before, seconds = self._seconds[part], None
        if before.tally is not None and before.attempt == attempt:
            if tally.t_ns <= before.tally.t_ns:
                return  # an older one that was late
            seconds = max(tally.t_ns - before.tally.t_ns, NS_PER_S // 4) / NS_PER_S
        self._seconds[part] = _Second(attempt, tally, seconds)

    def snapshot(self, now_ns: int, *, is_last: bool = False) -> Snapshot:
        """The whole at this moment of the controller's clock."""
        counts = self._whole.counts
        standings = enumerate(self._conductor.standings)
        workers = [self._worker(number, standing, now_ns) for number, standing in standings]
        states = dict(Counter(one.state for one in workers))
        requests, overall = self._requests(), self._overall()
        running = [
            second
            for second, now in zip(self._seconds, workers, strict=True)
            if now.state == RUNNING
        ]
        return Snapshot(
            target=",".join(self._asked.targets),
            scenario=self._scenario,
            **self._stage(now_ns, states),
            asked=most_connections(self._stages),
            **{name: counts[f"connections.{name}"] for name in _COUNTED},  # type: ignore[arg-type]
            open=sum(one.open for one in workers),
            failed=sum(
                count
                for name, count in _named(counts, "failed.").items()
                if not name.startswith("open.")
            ),
            connects_per_s=sum(one.opened_per_s for one in running),
            requests=requests,
            in_flight=counts["in_flight"],
            sent_per_s=sum(one.sent_per_s for one in running),
            right_per_s=sum(one.right_per_s for one in running),
            errnos=_errnos(counts),
            checks_passed=_named(counts, "check.passed."),
            checks_failed=_named(counts, "check.failed."),
            statuses=_named(counts, "status."),
            percentiles_ns=_percentiles(overall),
            recent_ns=self._whole.rows.recent_ns,
            octaves=overall.octaves() if overall.count else [],
            lag_max_ns=max((one.lag_max_ns for one in running), default=0),
            client_rss_bytes=counts["rss"] or None,
            is_tls=self._is_tls,
            is_last=is_last,
            workers=worst(workers, WORKERS_MAX),
            worker_states=states,
            degraded=self._degraded(),
        )

    def _stage(self, now_ns: int, states: Mapping[str, int]) -> dict[str, Any]:
        """What of a snapshot is about the stage."""
        starts_ns, stages = self._conductor.starts_ns, self._stages
        if not starts_ns:
            return {"stage": self._before(states), "stages": len(stages)}
        number = min(max(bisect_right(starts_ns, now_ns), 1), len(stages)) - 1
        left_s, rate = _left(stages[number], now_ns - starts_ns[number])
        return {
            "elapsed_s": max(now_ns - starts_ns[0], 0) / NS_PER_S,
            "stage": stages[number].text,
            "stage_number": number + 1,
            "stages": len(stages),
            "stage_left_s": left_s,
            "rate_asked_per_s": rate,
            "is_closed_loop": stages[number].think_ns is not None,
        }

    def _before(self, states: Mapping[str, int]) -> str:
        """What goes on while no stage has begun."""
        conductor, missing = self._conductor, states.get("starting", 0)
        if conductor.aborted or conductor.stopped_ns is not None:
            return "ends before its beginning"
        return f"waiting for {missing} of {conductor.parts} workers" if missing else "begins"

    def _degraded(self) -> str:
        """Which workers were lost, when and why."""
        losses, start_ns = self._conductor.losses, self._conductor.starts_ns[:1]
        said = []
        for one in losses[:LOST_NAMED]:
            when = "before the start"
            if start_ns:
                when = f"at {max(one.at_ns - start_ns[0], 0) / NS_PER_S:.1f} s"
            said.append(f"{name_of(one.worker)} {when}: {_short(one.why)}")
        more = len(losses) - len(said)
        return "; ".join(said) + (f"; and {more} more" if more else "")

    def _worker(self, number: int, standing: Standing, now_ns: int) -> WorkerNow:
        state, second = standing.state, self._seconds[number]
        second.read()
        if state == RUNNING and now_ns - standing.heard_ns > QUIET_NS:
            state = "silent"
        frames = self._whole.parts.get((number, standing.attempt))
        is_fresh = state == RUNNING and second.attempt == standing.attempt
        return WorkerNow(
            name=name_of(standing.worker),
            state=state,
            open=0 if frames is None or standing.is_over else frames.counts.get("open", 0),
            right_per_s=second.right_per_s if is_fresh else 0.0,
            p99_ns=second.p99_ns if is_fresh else None,
            cores=second.cores if is_fresh else None,
            why=_short(standing.why),
        )

    def _overall(self) -> Histogram:
        """Latencies of all stages' load."""
        found = Histogram()
        for name, histogram in self._whole.histograms.items():
            if name.startswith("stage.") and name.endswith(".corrected"):
                found.merge(histogram)
        return found

    def _requests(self) -> Requests:
        counts = self._whole.counts
        groups = ["first", *(f"stage.{number}" for number in range(len(self._stages)))]
        faults: Counter[str] = Counter()
        for group in groups:
            faults.update(_named(counts, f"{group}.faults."))
        return Requests(
            **{each: sum(counts[f"{group}.{each}"] for group in groups) for each in REQUEST_COUNTS},
            faults=dict(faults),
        )


def _short(why: str) -> str:
    """'It was killed (by whom is not known).' -> 'it was killed': there is little room."""
    text = why.partition(" (")[0].rstrip(".")
    return text[:1].lower() + text[1:]


def _left(stage: Stage, elapsed_ns: int) -> tuple[float | None, float | None]:
    """Seconds left of a stage so long after it began, and the rate that it asks for now."""
    if stage.duration_ns is None:
        return None, None
    left_ns = min(max(stage.duration_ns - elapsed_ns, 0), stage.duration_ns)
    if stage.rate_from is None or stage.rate_to is None:
        return left_ns / NS_PER_S, None
    share = 1 - left_ns / stage.duration_ns
    return left_ns / NS_PER_S, stage.rate_from + share * (stage.rate_to - stage.rate_from)


def _named(counts: Mapping[str, int], start: str) -> dict[str, int]:
    return {
        name[len(start) :]: count
        for name, count in counts.items()
        if name.startswith(start) and count
    }


def _errnos(counts: Mapping[str, int]) -> dict[str, int]:
    """By name, of all phases."""
    errnos: Counter[str] = Counter()
    for name, count in _named(counts, "failed.").items():
        errnos[errno_name(int(name.rpartition(".")[2]))] += count
    return dict(errnos)


def _percentiles(histogram: Histogram) -> dict[str, int]:
    return histogram.percentiles() | ({"max": histogram.max} if histogram.count else {})
