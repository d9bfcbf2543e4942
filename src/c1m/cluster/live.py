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
from c1m.cluster.frames import Frames, Whole
from c1m.cluster.part import NS_PER_S, name_of
from c1m.limits.reasons import errno_name
from c1m.loadgen.stages import Stage, most_connections
from c1m.results.histogram import Histogram
from c1m.results.options import LoadOptions
from c1m.results.record import REQUEST_COUNTS, Requests
from c1m.results.snapshot import WORKERS_MAX, Snapshot, WorkerNow, worst

QUIET_NS = 4 * NS_PER_S  # who has said nothing for so long is shown as silent
LOST_NAMED = 4  # workers in a sentence
_NOTHING = Frames()
_REQUESTS = ("first.", "stage.")
_COUNTED = ("attempted", "connected", "secured", "opened", "ready", "lost", "closed")


@dataclass(slots=True)
class _Second:
    """The last second that a worker told of. Rates: a second."""

    opened: float = 0.0
    sent: float = 0.0
    right: float = 0.0
    p99_ns: int | None = None  # None: no replies
    lag_max_ns: int = 0
    cores: float | None = None

    @classmethod
    def of(cls, frames: Frames) -> _Second:
        """By its latest frame."""
        made, counts, seconds = cls(), frames.last.counts, 1.0
        if frames.last_ns:
            seconds = max(frames.last_ns, NS_PER_S // 4) / NS_PER_S
            used_us = counts.get("cpu.user_us", 0) + counts.get("cpu.system_us", 0)
            made.cores = used_us / 1e6 / seconds
        made.opened = counts.get("connections.opened", 0) / seconds
        for name, count in counts.items():
            if name.endswith(".sent") and name.startswith(_REQUESTS):
                made.sent += count / seconds
            elif name.endswith(".right") and name.startswith(_REQUESTS):
                made.right += count / seconds
        for name, delta in frames.last.histograms.items():
            if name.startswith("lag"):
                made.lag_max_ns = max(made.lag_max_ns, delta.highest)
            elif name.endswith(".corrected"):
                made.p99_ns = max(made.p99_ns or 0, delta.quantile(0.99))
        return made


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

    def snapshot(self, now_ns: int, *, is_last: bool = False) -> Snapshot:
        """The whole at this moment of the controller's clock."""
        counts = self._whole.counts
        workers, running = list[WorkerNow](), list[_Second]()
        for number, standing in enumerate(self._conductor.standings):
            frames = self._whole.parts.get((number, standing.attempt), _NOTHING)
            state, second = standing.state, None
            if state == RUNNING:
                if now_ns - standing.heard_ns > QUIET_NS:
                    state = "silent"
                else:
                    running.append(second := _Second.of(frames))
            workers.append(_worker(standing, state, frames, second))
        states = dict(Counter(one.state for one in workers))
        requests, overall = self._requests(), self._overall()
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
            connects_per_s=sum(one.opened for one in running),
            requests=requests,
            in_flight=counts["in_flight"],
            sent_per_s=sum(one.sent for one in running),
            right_per_s=sum(one.right for one in running),
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


def _worker(standing: Standing, state: str, frames: Frames, second: _Second | None) -> WorkerNow:
    return WorkerNow(
        name=name_of(standing.worker),
        state=state,
        open=0 if standing.is_over else frames.counts.get("open", 0),
        right_per_s=second.right if second else 0.0,
        p99_ns=second.p99_ns if second else None,
        cores=second.cores if second else None,
        why=_short(standing.why),
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
